#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 256

void buf_done(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf)BUF_INIT(buf->max);
}

bool buf_reserve(struct buf *buf, size_t size)
{
    if (buf->failed || size > buf->max - buf->size) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->size + size;
    if (need <= buf->capacity)
        return true;

    size_t capacity = MAX(need, MAX(buf->capacity * 2, (size_t)CAPACITY_MIN));
    capacity = MAX(need, MIN(capacity, buf->max));
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void buf_append(struct buf *buf, const void *data, size_t size)
{
    if (size == 0 || !buf_reserve(buf, size))
        return;
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
}

void buf_append_str(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
        return;
    }
    if ((size_t)length < sizeof(text)) {
        buf_append(buf, text, (size_t)length);
        return;
    }
    char *whole;
    va_start(args, format);
    length = vasprintf(&whole, format, args);
    va_end(args);
    if (length < 0) {
        buf->failed = true;
        return;
    }
    buf_append(buf, whole, (size_t)length);
    free(whole);
}

void buf_consume(struct buf *buf, size_t size)
{
    assert(size <= buf->size);
    if (size == 0)
        return; /* an empty buffer has no data to point at */
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}

char *buf_take(struct buf *buf)
{
    if (buf->failed)
        return NULL;
    char *data = realloc(buf->data, buf->size + 1);
    if (!data)
        return NULL;
    data[buf->size] = '\0';
    *buf = (struct buf)BUF_INIT(buf->max);
    return data;
}
