/* table.h - rows for people: aligned columns on standard output, the last one as long as it is.
 *
 * Threads: one.  Ownership: everything is lent for the call. */
#pragma once

#include "base/common.h"

#define TABLE_COLUMNS_MAX 8
#define TABLE_CELL_SIZE   256 /* UTF-8 and the NUL */

struct table {
    const char *const *titles; /* `columns` of them */
    size_t columns;
    size_t rows;
    /* Fills in the cells of a row, "" until then; called twice for each. */
    void (*fill)(void *arg, size_t row, char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE]);
    void *arg;
};

void table_print(const struct table *table);

/* Copies UTF-8 text in a form that is safe on a terminal: control characters become blanks, and what is
 * longer than `max_chars` characters, or does not fit, is cut and ends in "...". */
void table_set_cell(char ret_cell[TABLE_CELL_SIZE], const char *text, size_t max_chars);
