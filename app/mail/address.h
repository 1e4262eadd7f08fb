/* address.h - who a message is from and to: `a@b` or `Name <a@b>`, read strictly.
 *
 * The grammar is the part of RFC 5322 that people write: a dot-atom, @, a host name; a name before it is
 * plain words or one quoted string.  Comments, groups, source routes, quoted local parts and address literals
 * are refused, and so is a list in one text: what is meant as two addresses never becomes a name and one.
 * Ownership: nothing is kept.  Threads: any.
 * Invariants: neither text has a control character in it, so neither can end a line of a header or a command;
 * the mailbox is ASCII, the name valid UTF-8. */
#pragma once

#include "base/common.h"
#include "base/err.h"

/* RFC 5321, section 4.5.3.1: the part before the @, and all of a path without its angle brackets. */
#define ADDRESS_LOCAL_MAX_BYTES 64
#define ADDRESS_MAX_BYTES       254
#define ADDRESS_NAME_MAX_BYTES  200

struct address {
    char name[ADDRESS_NAME_MAX_BYTES + 1]; /* without quotes; "": none */
    char mailbox[ADDRESS_MAX_BYTES + 1];   /* a@b */
};

/* Reads `text`.  Returns 0, or -EINVAL with a text for the client. */
must_check int address_parse(const char *text, size_t size, struct address *ret, struct err *err);

/* What stands behind the @. */
const char *address_domain(const struct address *address);
