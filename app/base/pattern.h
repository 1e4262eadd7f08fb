/* pattern.h - extended regular expressions that a text must match from its first character to its last.
 *
 * POSIX's syntax (IEEE 1003.1, section 9.4): . [a-z] [^a-z] [[:alpha:]] ( ) | * + ? {2,5} ^ $ and \ before
 * a character that would mean something.  Refused is what POSIX leaves open, and what takes more than time
 * in proportion to the text: back-references.  Characters are those of UTF-8; classes such as [:alpha:] are
 * ASCII.
 *
 * Why not regcomp: glibc's regexec keeps every set of states that a text has led it through.  For a pattern
 * such as .*a.{20} a client finds texts that make it take a megabyte more each time, and seconds.
 *
 * How to use it: pattern_parse once, pattern_matches for each text.
 * Threads: a pattern never changes and may be shared; no locks. */
#pragma once

#include "base/common.h"
#include "base/err.h"

struct pattern;

/* Places that a pattern may come to when its repetitions are written out, give or take a few. */
#define PATTERN_PLACES_MAX 1000

/* Returns 0, -EINVAL with what is wrong and where ("column 7: ..."), -ERANGE when it comes to too much, or
 * -ENOMEM. */
must_check int pattern_parse(const char *text, struct pattern **ret, struct err *err);
void pattern_free(struct pattern *pattern);

/* Time: the bytes of `text` times the places of the pattern, at the most.  No memory but 12 KiB of the
 * stack. */
must_check bool pattern_matches(const struct pattern *pattern, const char *text, size_t size);
