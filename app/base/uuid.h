/* uuid.h - UUID version 7 (RFC 9562): identifiers that sort by the time they were made.
 *
 * How to use it: uuid_create for a new one, uuid_format for people, uuid_parse for what they send back.
 * Threads: any.  Ownership: plain values, nothing to free.
 * Invariants: of two UUIDs made by one process, the one made later is greater by memcmp and by strcmp of
 * their texts, also within one millisecond and when the wall clock is set back. */
#pragma once

#include "base/common.h"

struct uuid {
    uint8_t bytes[16];
};

/* 8-4-4-4-12 hexadecimal digits and the NUL. */
#define UUID_TEXT_SIZE 37

/* Makes a new one; 62 of its bits are random and cannot be guessed.  Returns 0, or -errno when the system has
 * no random bytes. */
must_check int uuid_create(struct uuid *ret);

/* The same for the given millisecond since 1970; uuid_create calls it with the wall clock. */
must_check int uuid_create_at(uint64_t wall_ms, struct uuid *ret);

/* From now on makes only greater ones than `last`, which another process may have made. */
void uuid_begin_after(const struct uuid *last);

/* When one of version 7 was made: milliseconds since 1970. */
uint64_t uuid_stamp_ms(const struct uuid *uuid);

/* Writes the text form in lower case. */
void uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_SIZE]);

/* Reads exactly the text form of any UUID version, in either case, and nothing around it.  False, with `ret`
 * untouched, for everything else. */
must_check bool uuid_parse(const char *text, struct uuid *ret);

must_check bool uuid_equal(const struct uuid *a, const struct uuid *b);

/* Which of `buckets` (> 0) one made by uuid_create belongs to: evenly spread, out of its random bits. */
must_check size_t uuid_bucket(const struct uuid *uuid, size_t buckets);
