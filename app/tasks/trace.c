#include "tasks/trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TRACE_ID_SIZE 16
#define SPAN_ID_SIZE  8

#define TRACE_AT 3  /* of the trace in the text */
#define FLAGS_AT 53 /* of the flags */

static void write_hex(char *ret, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[2 * size] = '\0';
}

static bool is_hex(const char *text, size_t size, bool may_be_zero)
{
    return strspn(text, "0123456789abcdef") >= size && (may_be_zero || strspn(text, "0") < size);
}

/* Later versions may mean other things by what follows the version. */
static bool is_parent(const char *text)
{
    return strlen(text) == TRACE_PARENT_SIZE - 1 && strncmp(text, "00-", 3) == 0 &&
           is_hex(text + TRACE_AT, 32, false) && text[35] == '-' && is_hex(text + 36, 16, false) &&
           text[52] == '-' && is_hex(text + FLAGS_AT, 2, true);
}

int trace_continue(const char *parent, char ret[TRACE_PARENT_SIZE])
{
    uint8_t random[TRACE_ID_SIZE + SPAN_ID_SIZE];
    char trace[2 * TRACE_ID_SIZE + 1];
    char span[2 * SPAN_ID_SIZE + 1];
    const char *flags = "01";

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return errno ? -errno : -EIO;
    random[0] |= 1; /* neither may be all zeros */
    random[TRACE_ID_SIZE] |= 1;
    write_hex(trace, random, TRACE_ID_SIZE);
    write_hex(span, random + TRACE_ID_SIZE, SPAN_ID_SIZE);
    if (is_parent(parent)) {
        memcpy(trace, parent + TRACE_AT, sizeof(trace) - 1);
        flags = parent + FLAGS_AT;
    }
    snprintf(ret, TRACE_PARENT_SIZE, "00-%s-%s-%.2s", trace, span, flags);
    return 0;
}
