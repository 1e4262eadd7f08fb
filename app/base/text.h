/* text.h - bytes of any charset into valid UTF-8.
 *
 * Threads: any.  Ownership: the input is lent for the call, the output is appended to the caller's buffer. */
#pragma once

#include "base/buf.h"
#include "base/common.h"

/* True when the bytes are UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above
 * U+10FFFF, no cut sequence at the end. */
must_check bool text_utf8_is_valid(const char *bytes, size_t size);

/* Bytes of the valid UTF-8 character at the beginning; 0 when there is none. */
must_check size_t text_utf8_char_size(const char *bytes, size_t size);

/* Appends the first `max_chars` characters (Unicode scalar values) of `bytes` to `out` as valid UTF-8.
 *
 * `charset` is a name as Content-Type writes it; NULL or a name that iconv does not know is taken for UTF-8,
 * as browsers do.  A byte order mark at the start decides over it and is dropped.  What cannot be decoded
 * becomes U+FFFD: in UTF-8 one for each maximal subpart (Unicode, section 3.9), otherwise one for each byte
 * or code unit.  `is_whole` is false when the input was cut by us: an incomplete sequence at its end is then
 * left out and not replaced.
 *
 * Costs about what is read for the characters asked for, not what the input is long. */
void text_decode_prefix(const char *charset, const char *bytes, size_t size, bool is_whole, size_t max_chars,
                        struct buf *out);

/* Appends `bytes`, which are taken for UTF-8, as text that can be stored and shown: U+FFFD stands for each
 * maximal subpart that is not valid, and for each control character (U+0000 to U+001F but tab and newline,
 * and U+007F).  At most three times as long as `bytes`. */
void text_utf8_mend(const char *bytes, size_t size, struct buf *out);
