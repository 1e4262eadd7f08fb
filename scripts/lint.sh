#!/usr/bin/env bash
# What the compiler does not say.  Each check prints what it found and counts as one test.
# shellcheck disable=SC2317  # the checks are called by name
set -uo pipefail
cd "$(dirname "$0")/.." || exit

mapfile -t app_sources < <(git ls-files 'app/*.c')
mapfile -t app_files < <(git ls-files 'app/*.[ch]')
mapfile -t headers < <(git ls-files 'app/*.h')
mapfile -t c_files < <(git ls-files '*.c' '*.h')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
readonly flags=(-std=gnu17 -D_GNU_SOURCE '-DHEDDLE_VERSION="lint"' -Iapp)
jobs=$(nproc)
readonly jobs

# gcc 12 loses a pointer that lies in a struct behind another pointer: what it calls a leak in these files is none.
# The tests under the address sanitizer look for leaks in all of them.
readonly leaks_are_not_seen='^app/fetch/(body|call|origin|tls)\.c$'

analyzer() {
    local bad=0
    local -a analyze=(xargs -r -P "$jobs" -n 1 gcc "${flags[@]}" -O1 -fanalyzer -Werror -c -o /dev/null)
    printf '%s\n' "${app_sources[@]}" | grep -vE "$leaks_are_not_seen" | "${analyze[@]}" || bad=1
    printf '%s\n' "${app_sources[@]}" | grep -E "$leaks_are_not_seen" |
        "${analyze[@]}" -Wno-analyzer-malloc-leak || bad=1
    return "$bad"
}

tidy() {
    printf '%s\n' "${app_sources[@]}" |
        xargs -r -P "$jobs" -n 1 -I FILE clang-tidy --quiet FILE -- "${flags[@]}" 2>/dev/null |
        { ! grep -E 'warning:|error:'; }
}

cppcheck_all() {
    cppcheck --quiet --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
        --suppress=missingInclude --std=c11 -j "$jobs" "${flags[@]:1}" "${app_sources[@]}"
}

headers_alone() {
    local header
    for header in "${headers[@]}"; do
        echo "#include \"${header#app/}\"" |
            gcc "${flags[@]}" -Wall -Wextra -Wno-unused-function -Werror -fsyntax-only -x c - || return 1
    done
}

# base <- config, metrics <- fetch, front <- mail, upstream <- gather <- tasks <- api, cli <- main.
# A row: folder, what it may include.
include_rule() {
    local bad=0 folder allowed file included
    while read -r folder allowed; do
        while IFS=: read -r file included; do
            if [[ " $folder $allowed " != *" ${included%%/*} "* ]]; then
                echo "$file includes $included: $folder may include $folder $allowed"
                bad=1
            fi
        done < <(git grep -hoE '^#include "[a-z]+/[^"]+"' -- "app/$folder/*.[ch]" |
            sed -E "s|#include \"(.*)\"|app/$folder:\1|" | sort -u)
    done <<'RULE'
base
config base
metrics base
fetch base config metrics
upstream base config metrics fetch
mail base config metrics fetch
front base config metrics
gather base config metrics fetch upstream
tasks base config metrics fetch mail upstream gather
api base config metrics fetch mail front upstream gather tasks
cli base config tasks
RULE
    return "$bad"
}

# Each library is known where it is wrapped, and nowhere else.  A row: calls, files that may make them.
library_rule() {
    local bad=0 calls files
    while read -r calls files; do
        # shellcheck disable=SC2086  # a list of paths
        if git grep -nP "\\b($calls)\\(" -- 'app/*.[ch]' $files; then
            echo "only these may call $calls: ${files//:!/}"
            bad=1
        fi
    done <<'RULE'
FCGX_GetParam :!app/front/request.c
FCGX_(?!GetParam\b)\w+ :!app/front/fcgi.c
curl_global_\w+ :!app/serve.c
curl_(?!global_)\w+ :!app/fetch/ :!app/mail/ :!app/config/url.c
fy_\w+ :!app/config/
sqlite3_\w+ :!app/tasks/sqlite* :!app/tasks/store_sqlite.c
v?fork|exec[lv]p?e?|execveat|fexecve|posix_spawnp?|system|popen|(__)?clone3? :!app/base/spawn.c
spawn_\w+ :!app/base/spawn.c :!app/base/spawn.h :!app/base/process.c
(EVP|OPENSSL|OSSL|HMAC|RAND)_\w+ :!app/tasks/webhook.c :!app/tasks/sha256.c :!app/fetch/tls_files.c
(SSL|X509|PEM|ERR)_\w+ :!app/fetch/tls_files.c
RULE
    return "$bad"
}

banned_calls() {
    ! grep -nE '\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|gets|gmtime|localtime|strerror|alloca)\(' \
        "${app_files[@]}" &&
        ! grep -nE '\bstrto(u?ll?|d|f)\(' "${app_files[@]}" | grep -vE '^app/base/(json|parse)\.c:'
}

format() {
    clang-format --dry-run -Werror "${c_files[@]}" &&
        awk 'length > 110 { print FILENAME ":" FNR ": longer than 110 columns"; bad = 1 } END { exit bad }' \
            "${c_files[@]}"
}

shell() {
    shellcheck "${scripts[@]}"
}

passed=0 failed=0
check() { # check NAME COMMAND
    local start=$SECONDS
    if "$2"; then
        passed=$((passed + 1))
        printf 'ok    %s (%d s)\n' "$1" $((SECONDS - start))
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n' "$1"
    fi
}

check 'banned calls' banned_calls
check 'includes point one way' include_rule
check 'libraries are called where they are wrapped' library_rule
check 'every header compiles alone' headers_alone
check 'clang-format, line lengths' format
check 'shellcheck' shell
check 'cppcheck' cppcheck_all
check 'gcc -fanalyzer' analyzer
check 'clang-tidy' tidy
printf '%d passed, %d failed, 0 skipped\n' "$passed" "$failed"
exit $((failed > 0))
