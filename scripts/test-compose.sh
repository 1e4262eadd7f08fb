#!/usr/bin/env bash
# Builds the images of docker-compose.yml, starts the stack, runs tests/compose/smoke.py against it and takes
# everything down again.  Called by `make test-compose`.
#
# It uses a docker engine of its own with its own data, which leaves no trace on the machine: no image, no
# bridge, no firewall rule.  Where debian:bookworm-slim cannot be pulled, debootstrap makes it, with the apt
# sources of this machine.
#
#   HEDDLE_IMAGE_CACHE=   a folder that keeps what debootstrap made, for the next time
#
# Ends with "N passed, N failed, N skipped".
#
# shellcheck disable=SC2317  # cleanup and the steps are called by name
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH # Debian's docker before any other

finish() { # PASSED FAILED SKIPPED
    echo "$1 passed, $2 failed, $3 skipped"
    exit $(($2 > 0))
}

skip() {
    echo "skipped: $*"
    finish 0 0 1
}

if ((EUID != 0)); then
    sudo -n true 2>/dev/null || skip "a docker engine of our own needs root"
    exec sudo --preserve-env=HEDDLE_IMAGE_CACHE "${BASH_SOURCE[0]}"
fi
scripts/deps.sh compose || skip "docker could not be installed"

work=$(mktemp -d /var/tmp/heddle-compose.XXXXXX) # short: sockets lie in it
engine='' COMPOSE=''
# Whatever the user's own docker is set up to use does not matter here.
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config PORT=0
export COMPOSE_PROJECT_NAME=heddle COMPOSE_FILE=docker-compose.yml:$work/host-network.yml

cleanup() {
    trap '' INT TERM HUP
    set +e
    if [[ $engine ]]; then
        if [[ $COMPOSE ]]; then $COMPOSE down --volumes --timeout 5; fi
        kill "$engine"
        timeout 30 tail --pid="$engine" -f /dev/null || kill -s KILL "$engine"
        wait "$engine"
    fi >/dev/null 2>&1
    awk -v dir="$work/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r umount --lazy
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# step NAME COMMAND...: runs it with its output in the log and says how long it took.
# (`set -e` has no effect inside: the steps chain their commands with &&.)
step() {
    local name=$1 began=$SECONDS
    shift
    "$@" >"$work/log" 2>&1 && echo "$name: $((SECONDS - began)) s"
}

# Sets COMPOSE to the plugin or the program, whichever is there, once the engine answers.
find_compose() {
    docker info >/dev/null 2>&1 &&
        for COMPOSE in "docker compose" docker-compose; do $COMPOSE version && break; done >/dev/null 2>&1 &&
        export COMPOSE
}

start_engine() {
    cat >"$work/daemon.json" <<END
{
    "hosts": ["$DOCKER_HOST"],
    "data-root": "$work/data",
    "exec-root": "$work/exec",
    "pidfile": "$work/docker.pid",
    "containerd-namespace": "heddle",
    "bridge": "none",
    "iptables": false,
    "ip6tables": false,
    "ip-forward": false
}
END
    setsid dockerd --config-file "$work/daemon.json" --containerd-plugins-namespace heddle-plugins \
        >"$work/dockerd.log" 2>&1 &
    engine=$!
    local deadline=$((SECONDS + 30))
    until find_compose; do
        if ! kill -0 "$engine" 2>/dev/null || ((SECONDS >= deadline)); then
            skip "no docker engine runs here: $(grep -v level=info "$work/dockerd.log" | tail -n 1)"
        fi
        sleep 0.1
    done
}

get_base_image() {
    local tar=${HEDDLE_IMAGE_CACHE:-$work}/debian-bookworm-minbase.tar
    timeout 120 docker pull debian:bookworm-slim && return
    if [[ ! -f $tar ]]; then
        scripts/make-debian.sh "$work/debian" && tar -C "$work/debian" -cf "$tar.part" . && mv "$tar.part" "$tar"
    fi && docker import "$tar" debian:bookworm-slim
}

# Our engine has no network that leads outside, so the build uses the machine's.
start_stack() {
    cat >"$work/host-network.yml" <<END
services:
  nginx: {build: {network: host}}
  heddle: {build: {network: host}}
  upstream: {build: {network: host}}
END
    $COMPOSE build && $COMPOSE up -d
}

start_engine
step "base image" get_base_image ||
    skip "debian:bookworm-slim can neither be pulled nor made here: $(tail -n 1 "$work/log")"
step "first container" docker run --rm --network=none debian:bookworm-slim true ||
    skip "the docker engine starts no container here: $(tail -n 1 "$work/log")"
step "images and start" start_stack || {
    tail -n 30 "$work/log"
    finish 0 1 0
}

HEDDLE_URL=http://$($COMPOSE port nginx 80)
export HEDDLE_URL
status=0
/usr/bin/python3 -m pytest -q --noconftest -p no:cacheprovider --durations=3 tests/compose/smoke.py | tee "$work/tests" || status=$?

count() { tail -n 1 "$work/tests" | grep -oP "[0-9]+(?= $1)" || echo 0; }
failed=$(($(count failed) + $(count error)))
if ((status)); then
    $COMPOSE logs --no-color --tail=40
    failed=$((failed ? failed : 1))
fi
finish "$(count passed)" "$failed" "$(count skipped)"
