#!/usr/bin/env bash
# Installs the Debian packages that the named groups need and this machine lacks.
#
#   scripts/deps.sh GROUP...
#
# Says nothing when all are there.  Services that come along (nginx, docker) are neither started nor
# enabled: heddle starts its own, and port 80 stays as it was.
set -euo pipefail

readonly build="gcc libc6-dev make pkgconf libfcgi-dev libcurl4-openssl-dev libjansson-dev libfyaml-dev libjemalloc-dev
                libsqlite3-dev libssl-dev
                uthash-dev zlib1g-dev"
declare -A PACKAGES=(
    [build]="$build"
    [run]="$build nginx curl tzdata"
    [test]="$build nginx curl libcmocka-dev python3-pytest python3-aiosmtpd openssl tzdata"
    [lint]="$build clang libclang-rt-14-dev clang-tidy clang-format cppcheck shellcheck"
    [bench]="$build nginx curl wrk openssl libnginx-mod-http-lua python3-flask python3-requests gunicorn
             redis-server beanstalkd postgresql python3-celery python3-rq python3-redis"
    [compose]="docker.io docker-compose debootstrap ca-certificates python3-pytest"
)
declare -A WHY=(
    [build]="to build" [run]="to run" [test]="to test" [lint]="to check the source"
    [bench]="to measure" [compose]="to test the containers"
)
declare -A SERVICES=([nginx]="nginx.service"
                     [redis-server]="redis-server.service" [beanstalkd]="beanstalkd.service"
                     [postgresql]="postgresql.service"
                     [docker.io]="docker.service docker.socket containerd.service")

PATH=$PATH:/usr/sbin:/sbin
readonly POLICY=/usr/sbin/policy-rc.d # invoke-rc.d and deb-systemd-invoke ask it before they start anything

fail() {
    echo "heddle: $*" >&2
    exit 1
}

# as_root COMMAND...: runs it, through sudo when we are not root.
as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# missing PACKAGE...: prints those that are not installed.
missing() {
    local -A installed=()
    local name status
    while read -r name status; do
        if [[ $status == installed ]]; then installed[$name]=1; fi
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
    for name; do
        if [[ -z ${installed[$name]:-} ]]; then echo "$name"; fi
    done
}

# apt_install PACKAGE...: installs them; without package lists, or with lists too old, fetches lists first.
apt_install() {
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
    local install=("${apt[@]}" install --no-install-recommends "$@")
    as_root "${install[@]}" || { as_root "${apt[@]}" update && as_root "${install[@]}"; }
}

# While this lasts no package may start a service.  A policy of the machine's own is left as it is.
forbid_services() {
    if [[ -e $POLICY ]]; then return; fi
    trap 'as_root rm -f "$POLICY"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

# disable_services PACKAGE...: what we installed does not start at the next boot either.
disable_services() {
    local name units=()
    command -v systemctl >/dev/null || return 0
    for name; do
        if [[ -n ${SERVICES[$name]:-} ]]; then read -ra units -d '' <<<"${units[*]} ${SERVICES[$name]}" || true; fi
    done
    if ((${#units[@]})); then as_root systemctl disable "${units[@]}"; fi
}

wanted=() reasons=()
for group; do
    [[ -n ${PACKAGES[$group]:-} ]] || fail "deps.sh: no group '$group'; there are: ${!PACKAGES[*]}"
    read -ra names -d '' <<<"${PACKAGES[$group]}" || true
    wanted+=("${names[@]}")
    reasons+=("${WHY[$group]}")
done
((${#wanted[@]})) || fail "usage: scripts/deps.sh GROUP..., of: ${!PACKAGES[*]}"

command -v dpkg-query >/dev/null || fail "this is not Debian; install what these packages hold: ${wanted[*]}"
mapfile -t lacking < <(missing "${wanted[@]}" | sort -u)
((${#lacking[@]})) || exit 0

if ((EUID != 0)) && ! command -v sudo >/dev/null; then
    fail "packages are missing and there is no sudo; as root, run:
    apt-get update && apt-get install --no-install-recommends ${lacking[*]}"
fi
why=$(printf ' and %s' "${reasons[@]}")
echo "heddle: installing ${lacking[*]} (needed ${why# and })"

log=$(mktemp)
forbid_services
if ! { apt_install "${lacking[@]}" && disable_services "${lacking[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "could not install them (the whole output: $log); by hand, as root:
    apt-get update && apt-get install --no-install-recommends ${lacking[*]}"
fi
rm -f "$log"
