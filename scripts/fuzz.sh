#!/usr/bin/env bash
# Runs harnesses of tests/fuzz, all or those named, for SECONDS each, as many at once as there are processors,
# beginning with their corpus.  What they find stays in build/fuzz.
#
#   scripts/fuzz.sh SECONDS [NAME...]
# shellcheck disable=SC2317  # run is called by name
set -euo pipefail
cd "$(dirname "$0")/.."

readonly seconds=${1:?usage: scripts/fuzz.sh SECONDS [NAME...]}
shift
names=("$@")
if ((${#names[@]} == 0)); then mapfile -t names < <(basename -s .c -a tests/fuzz/fuzz_*.c | sed 's/^fuzz_//'); fi
jobs=$(nproc)

make --no-print-directory -j "$jobs" MODE=fuzz CC=clang EXTRA_CFLAGS=-w "${names[@]/#/build/fuzz/fuzz_}"

run() { # run SECONDS NAME: the last lines of what it says, and whether it found nothing
    local log=build/fuzz/$2.log
    mkdir -p "build/fuzz/found-$2"
    if "build/fuzz/fuzz_$2" -max_total_time="$1" -artifact_prefix=build/fuzz/ "build/fuzz/found-$2" \
        "tests/fuzz/corpus/$2" >"$log" 2>&1; then
        printf 'ok    %s: %s\n' "$2" "$(tail -n 1 "$log")"
    else
        printf 'FAIL  %s\n%s\n' "$2" "$(tail -n 40 "$log")"
    fi
}
export -f run

results=$(printf '%s\n' "${names[@]}" | xargs -P "$jobs" -I NAME bash -c "run $seconds NAME")
printf '%s\n' "$results"
failed=$(grep -c '^FAIL ' <<<"$results" || true)
printf '%d passed, %d failed, 0 skipped\n' $((${#names[@]} - failed)) "$failed"
exit $((failed > 0))
