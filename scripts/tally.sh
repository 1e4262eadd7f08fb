#!/usr/bin/env bash
# Runs a command, shows what it prints, and ends with the sum of all the tests that it reported:
# cmocka's and pytest's closing lines, and lines "N passed, N failed, N skipped".
#
#   scripts/tally.sh COMMAND...
#
# Exits with the command's status, and 1 when a test failed or none ran.
set -uo pipefail

# sum LINES: adds up the closing lines on standard input.
sum() {
    awk '
        /^\[  PASSED  \] [0-9]+ test/ { passed += $4 }
        /^\[  FAILED  \] [0-9]+ test/ { failed += $4 }
        /^\[  SKIPPED \] [0-9]+ test/ { skipped += $4 }
        /^(=+ )?[0-9]+ (passed|failed|skipped|error|errors)(,| in )/ || /^[0-9]+ passed, [0-9]+ failed/ {
            for (i = 1; i < NF; i++) {
                if ($(i + 1) ~ /^passed/) passed += $i
                if ($(i + 1) ~ /^(failed|errors?)/) failed += $i
                if ($(i + 1) ~ /^skipped/) skipped += $i
            }
        }
        END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }'
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
total=$(sum <"$log")
# A test that dies without a word of its own is one that failed.
if ((status != 0)); then total=${total/, 0 failed,/, 1 failed,}; fi
echo "$total"
if [[ $total == "0 passed, "*" 0 skipped" || $total != *" 0 failed, "* ]]; then exit 1; fi
exit "$status"
