#!/usr/bin/env bash
# The demo: upstream, heddle and nginx on http://127.0.0.1:$PORT until Ctrl-C.  Called by `make run`.
#
#   PORT=8080                      where nginx listens
#   UPSTREAM_PORT=                 where the demo upstream listens; 9001, or any free port when that is taken
#   HEDDLE_CONF=conf/heddle.yaml   heddle's configuration, e.g. conf/public-sites.yaml
#
# Everything it writes is under run/.  Exit status 0 after Ctrl-C, 1 when one of the three failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin # nginx is there, and not in everyone's path

readonly PORT=${PORT:-8080} CONF=${HEDDLE_CONF:-conf/heddle.yaml} READY_SECONDS=10
readonly URL=http://127.0.0.1:$PORT

declare -A LOG=([upstream]=run/upstream.log [heddle]=run/heddle.log [nginx]=run/nginx/error.log)
declare -A STOP_SIGNAL=([upstream]=TERM [heddle]=TERM [nginx]=QUIT)
declare -A STOP_SECONDS=([upstream]=5 [heddle]=35 [nginx]=10)
declare -A pid=()

say() { echo "heddle: $*" 2>/dev/null || true; } # the terminal may be gone

fail() {
    echo "heddle: $*" >&2
    exit 1
}

# start NAME COMMAND...: in a session of its own, so that Ctrl-C reaches this script alone, which stops the
# three in order; should this script be killed, they get SIGTERM.
start() {
    local name=$1
    shift
    setpriv --pdeathsig TERM setsid "$@" </dev/null >>"${LOG[$name]}" 2>&1 9>&- &
    pid[$name]=$!
}

alive() { kill -0 "${pid[$1]}" 2>/dev/null; }

stop() {
    local name=$1 deadline
    [[ -n ${pid[$name]:-} ]] || return 0
    deadline=$((SECONDS + STOP_SECONDS[$name]))
    kill -s "${STOP_SIGNAL[$name]}" "${pid[$name]}" 2>/dev/null || true
    while alive "$name"; do
        if ((SECONDS >= deadline)); then
            say "$name did not stop in ${STOP_SECONDS[$name]} s: killed"
            kill -s KILL "${pid[$name]}" 2>/dev/null || true
            break
        fi
        sleep 0.05
    done
    wait "${pid[$name]}" 2>/dev/null || true
    kill -s KILL -- "-${pid[$name]}" 2>/dev/null || true # what a crashed one left behind, e.g. nginx's workers
}

# From the front to the back: nobody loses an answer that is still being made.
stop_all() {
    trap '' INT TERM HUP
    stop nginx
    stop heddle
    stop upstream
}

died() {
    say "$1 stopped unexpectedly${2:+ (exit status $2)}; the end of ${LOG[$1]}:"
    tail -n 15 "${LOG[$1]}" | sed 's/^/    /'
    exit 1
}

# until_true WHAT COMMAND...: waits until the command succeeds, for as long as all that was started lives.
until_true() {
    local what=$1 deadline=$((SECONDS + READY_SECONDS)) name
    shift
    until "$@"; do
        for name in "${!pid[@]}"; do
            alive "$name" || died "$name"
        done
        ((SECONDS < deadline)) || fail "$what is not ready after $READY_SECONDS s; see run/"
        sleep 0.05
    done
}

port_taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
upstream_ready() { UPSTREAM_PORT=$(sed -n 's/^listening .*:\([0-9]*\)$/\1/p' "${LOG[upstream]}") && [[ $UPSTREAM_PORT ]]; }
heddle_ready() { curl -fsS -m 2 -o /dev/null "$URL/health/ready" 2>/dev/null; }

for program in build/mock-upstream build/heddle nginx curl; do
    command -v "$program" >/dev/null || fail "there is no $program; \`make run\` builds and installs what is needed"
done
[[ $PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535 ]] || fail "PORT=$PORT is not a port number, 1 to 65535"
[[ -r $CONF ]] || fail "HEDDLE_CONF=$CONF cannot be read"
mkdir -p run/nginx
exec 9>run/lock
flock -n 9 || fail "is already running in this folder (stop it with Ctrl-C where it was started)"
! port_taken "$PORT" || fail "port $PORT is in use; choose another: make run PORT=$((PORT < 65535 ? PORT + 1 : 8080))"
ulimit -n "$(ulimit -Hn)"
for log in "${LOG[@]}"; do : >"$log"; done
sed -e 's|@NGINX@|../../nginx|' -e 's|@HEDDLE@|unix:run/heddle.sock|' -e "s|@PORT@|$PORT|" \
    nginx/run.conf.in >run/nginx/nginx.conf

trap 'say stopping; exit 0' INT TERM HUP
trap stop_all EXIT

# The README's examples ask the upstream at this port.
if [[ -z ${UPSTREAM_PORT:-} ]] && ! port_taken 9001; then UPSTREAM_PORT=9001; fi
start upstream build/mock-upstream --address 127.0.0.1 --port "${UPSTREAM_PORT:-0}"
until_true "the demo upstream" upstream_ready
export UPSTREAM_PORT HEDDLE_SOCKET=run/heddle.sock
start heddle build/heddle serve -c "$CONF"
start nginx nginx -p run/nginx -c nginx.conf -e error.log
until_true heddle heddle_ready

endpoint= # of the demo's own configuration
[[ $CONF != conf/heddle.yaml ]] || endpoint=$'\n'"  curl '$URL/api/customers/42?limit=2'"
echo "heddle: ready on $URL (Ctrl-C stops it).  Try, in another terminal:

  curl $URL/concurrent_requests/$endpoint
  curl -d '{\"message\": \"hello\", \"duration\": 5}' -H 'Content-Type: application/json' $URL/start_background_task/
  curl $URL/metrics
"

status=0
wait -n -p first "${pid[@]}" 2>/dev/null || status=$?
for name in "${!pid[@]}"; do
    [[ ${pid[$name]} != "$first" ]] || died "$name" "$status"
done
