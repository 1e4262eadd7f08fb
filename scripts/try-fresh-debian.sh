#!/usr/bin/env bash
# Proves that the two commands of the README work on a fresh Debian 12 that has git, make and gcc and nothing
# else: `make run` as root, again as an ordinary user, and, with --test, `make test`.
#
#   scripts/try-fresh-debian.sh [--test] [FOLDER]
#
# The Debian is made in FOLDER, which is kept (and no longer fresh the next time), or in a temporary one.
# It shares the machine's network, so PORT= chooses another port than 8080.  Needs root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin

with_test=
if [[ ${1:-} == --test ]]; then
    with_test=1
    shift
fi
if (($#)); then
    folder=$(realpath -m "$1")
else
    folder=$(mktemp -d /var/tmp/heddle-debian.XXXXXX)
    trap 'rm -rf --one-file-system "$folder"' EXIT
    trap 'exit 130' INT TERM HUP
fi
command -v debootstrap >/dev/null || {
    echo "debootstrap is missing: apt-get install debootstrap" >&2
    exit 1
}

if [[ ! -e $folder/etc/debian_version ]]; then
    echo "== a fresh Debian 12 with git, make and gcc, in $folder"
    mkdir -p "$folder"
    chmod 755 "$folder" # mktemp's folder is closed to the ordinary user inside
    scripts/make-debian.sh "$folder" git make gcc >"$folder.log" 2>&1 || {
        tail -n 20 "$folder.log"
        exit 1
    }
    rm -f "$folder.log"
fi

# What a clone of this working tree would hold.
rm -rf "$folder/home/user"
mkdir -p "$folder/home/user/heddle"
git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - |
    tar -x -C "$folder/home/user/heddle" --no-same-owner

# Mounts and processes live in namespaces of their own and end with them.
# shellcheck disable=SC2016  # for the shell inside
unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    mount --rbind /dev "$1/dev"
    mount -t proc proc "$1/proc"
    exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PORT="$2" WITH_TEST="$3" bash -euo pipefail -s
' - "$folder" "${PORT:-8080}" "$with_test" <<'INSIDE'

log=/tmp/run.log

fail() {
    echo "FAILED: $*"
    tail -n 30 "$log"
    exit 1
}

# Starts `make run`, asks it for the fan-out when it is ready, presses Ctrl-C.
demo() {
    local deadline=$((SECONDS + 600)) status=0
    set -m # a process group of its own, as a terminal gives it
    make run PORT="$PORT" </dev/null >"$log" 2>&1 &
    set +m
    until grep -q "ready on" "$log"; do
        kill -0 $! 2>/dev/null || fail "make run ended by itself"
        ((SECONDS < deadline)) || fail "make run is not ready"
        sleep 0.2
    done
    grep "^heddle:" "$log"
    curl -fsS "http://127.0.0.1:$PORT/concurrent_requests/" | cut -c 1-200
    kill -INT -- -$!
    wait $! || status=$?
    [[ $status == 0 || $status == 130 ]] || fail "make run ended with $status" # 130: make itself got the Ctrl-C
    grep -q stopping "$log" || fail "make run did not stop the way it should"
}
export -f demo fail
export log

nothing_left() {
    local left
    left=$(readlink /proc/[0-9]*/exe | grep -vE '/(bash|readlink|grep)$' || true)
    [[ -z $left ]] || fail "still running: $left"
}

useradd --shell /bin/bash user 2>/dev/null || true
cd /home/user/heddle

echo "== make run, as root"
demo
nothing_left

echo "== make run, as an ordinary user"
make clean >/dev/null
rm -rf run "$log"
chown -R user: /home/user
setpriv --reuid user --regid user --init-groups env HOME=/home/user PATH=/usr/bin:/bin \
    bash -euo pipefail -c demo </dev/null
nothing_left

if [[ $WITH_TEST ]]; then
    echo "== make test"
    make test </dev/null
    nothing_left
fi
echo "== all of it worked"
INSIDE
