/* err.h - what went wrong, in words for people and a code for programs.
 *
 * How to use it: the caller owns a `struct err err = {0}` and passes its address last; the function that
 * fails calls err_set and returns its result, so `return err_set(err, -EINVAL, "...")` is the usual form.
 * Ownership: no allocation, nothing to free.  Threads: one at a time per object. */
#pragma once

#include "base/common.h"

struct err {
    int code;       /* negative errno value, 0 when nothing is set */
    char text[512]; /* one sentence without a full stop, cut between characters when longer */
};

/* Sets the text and returns `code`.  `err` may be NULL, and err->text among the arguments (to put words
 * around an inner error). */
int err_set(struct err *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* err_set with ": " and the system's text for `errnum` (positive errno) behind it; returns -errnum. */
int err_set_errno(struct err *err, int errnum, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The system's text for a positive errno value.  Thread-safe; valid until the thread's next call. */
const char *err_errno_text(int errnum);
