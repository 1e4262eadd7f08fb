/* fuzz_pattern.c - pattern_parse and pattern_matches: whatever the pattern is, it is read soon, and what it
 * says of a text does not depend on what it is given.
 *
 * Build: clang -fsanitize=fuzzer,address,undefined.  Input: a pattern up to a newline, the rest is the
 * text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/pattern.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

/* Other patterns that must say the same; "(x)" can come to too much where "x" does not. */
static void check_same(const char *format, const char *pattern, const char *text, size_t size, bool is_match)
{
    char *other_text;
    struct pattern *other;

    check(asprintf(&other_text, format, pattern, pattern) >= 0);
    if (pattern_parse(other_text, &other, NULL) == 0) {
        check(pattern_matches(other, text, size) == is_match);
        pattern_free(other);
    }
    free(other_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *newline = memchr(text, '\n', MIN(size, (size_t)512));
    struct pattern *pattern;
    struct err err = {0};

    if (!newline)
        return 0;
    char *source = strndup(text, (size_t)(newline - text));
    size_t rest = size - (size_t)(newline + 1 - text);
    check(source != NULL);
    if (pattern_parse(source, &pattern, &err) < 0) {
        check(err.text[0] != '\0' && text_utf8_is_valid(err.text, strlen(err.text)));
    } else {
        bool is_match = pattern_matches(pattern, newline + 1, rest);
        check_same("(%s)", source, newline + 1, rest, is_match);
        check_same("^(%s)$", source, newline + 1, rest, is_match);
        check_same("%s|%s", source, newline + 1, rest, is_match);
        check_same("(%s){1,1}", source, newline + 1, rest, is_match);
        pattern_free(pattern);
    }
    free(source);
    return 0;
}
