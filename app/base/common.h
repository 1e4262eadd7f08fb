/* common.h - the few macros every file may use. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* On a function whose result must be looked at. */
#define must_check __attribute__((warn_unused_result))

/* Run fn(&variable) when the variable goes out of scope. */
#define cleanup(fn) __attribute__((cleanup(fn)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of the given type whose `member` lies at `pointer`. */
#define container_of(pointer, type, member) ((type *)((uintptr_t)(pointer)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
