#!/usr/bin/env bash
# Runs every harness of tests/fuzz for SECONDS, beginning with its corpus.  What it finds stays in build/fuzz.
#
#   scripts/fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: scripts/fuzz.sh SECONDS}
mapfile -t sources < <(git ls-files 'app/*/*.c')
mkdir -p build/fuzz
for harness in tests/fuzz/fuzz_*.c; do
    name=$(basename "$harness" .c)
    echo "== $name"
    clang -std=gnu17 -g -O1 -D_GNU_SOURCE '-DHEDDLE_VERSION="fuzz"' -Iapp -fsanitize=fuzzer,address,undefined \
        -o "build/fuzz/$name" "$harness" "${sources[@]}" -lfcgi -lcurl -ljansson -lfyaml -lsqlite3 -lm -pthread
    mkdir -p "build/fuzz/found-$name"
    "build/fuzz/$name" -max_total_time="$seconds" -artifact_prefix=build/fuzz/ "build/fuzz/found-$name" \
        "tests/fuzz/corpus/${name#fuzz_}" 2>&1 | tail -n 3
done
