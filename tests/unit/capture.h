/* capture.h - what is logged: standard error goes into a pipe while a test logs.  The 64 KiB of the pipe hold
 * everything that tests write there. */
#pragma once

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct capture {
    int saved_stderr;
    int read_end;
    char text[65537];
};

static inline void capture_start(struct capture *capture)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    capture->saved_stderr = dup(STDERR_FILENO);
    assert_true(capture->saved_stderr >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    capture->read_end = ends[0];
}

static inline const char *capture_stop(struct capture *capture)
{
    size_t size = 0;
    ssize_t got;

    assert_true(dup2(capture->saved_stderr, STDERR_FILENO) >= 0);
    close(capture->saved_stderr);
    while ((got = read(capture->read_end, capture->text + size, sizeof(capture->text) - 1 - size)) > 0)
        size += (size_t)got;
    close(capture->read_end);
    capture->text[size] = '\0';
    return capture->text;
}
