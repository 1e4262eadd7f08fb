/* cursor.h - where a page of a list begins, as a text that says nothing to clients and goes into URLs as it
 * is. */
#pragma once

#include "base/uuid.h"

/* 32 characters and the NUL. */
#define CURSOR_SIZE 33

void cursor_format(const struct uuid *at, char ret_text[CURSOR_SIZE]);

/* False, with `ret` untouched, for what cursor_format has not made. */
must_check bool cursor_parse(const char *text, struct uuid *ret);
