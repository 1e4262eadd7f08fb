#include "base/trace.h"

#include <string.h>

#include "base/random.h"

#define WORD_DIGITS 16

/* Where the fields are in the text. */
#define TRACE_AT 3
#define SPAN_AT  36
#define FLAGS_AT 53

/* Sixteen digits that are not all zeros, as ids must be. */
static int write_random(char *ret)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t word;

    int rc = random_u64(&word);
    if (rc < 0)
        return rc;
    word |= 1;
    for (unsigned i = 0; i < WORD_DIGITS; i++)
        ret[i] = digits[word >> (60 - 4 * i) & 15];
    return 0;
}

static bool is_hex(const char *text, size_t size, bool may_be_zero)
{
    return strspn(text, "0123456789abcdef") >= size && (may_be_zero || strspn(text, "0") < size);
}

/* Later versions may mean other things by what follows the version. */
static bool is_parent(const char *text)
{
    return strlen(text) == TRACE_PARENT_SIZE - 1 && strncmp(text, "00-", 3) == 0 &&
           is_hex(text + TRACE_AT, 2 * WORD_DIGITS, false) && text[SPAN_AT - 1] == '-' &&
           is_hex(text + SPAN_AT, WORD_DIGITS, false) && text[FLAGS_AT - 1] == '-' &&
           is_hex(text + FLAGS_AT, 2, true);
}

int trace_continue(const char *parent, char ret[TRACE_PARENT_SIZE])
{
    char text[TRACE_PARENT_SIZE] = "00-00000000000000000000000000000000-0000000000000000-01";
    int rc = 0;

    if (is_parent(parent)) {
        memcpy(text, parent, sizeof(text));
    } else {
        rc = write_random(text + TRACE_AT);
        if (rc == 0)
            rc = write_random(text + TRACE_AT + WORD_DIGITS);
    }
    if (rc == 0)
        rc = write_random(text + SPAN_AT);
    if (rc == 0)
        memcpy(ret, text, sizeof(text));
    return rc;
}
