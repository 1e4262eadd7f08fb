#include "cli/table.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define GAP "  "

/* Characters, each of which is taken for one column wide. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_row(const struct table *table, const char *const cells[], const size_t *widths)
{
    for (size_t i = 0; i < table->columns; i++) {
        bool is_last = i + 1 == table->columns;
        size_t missing = is_last ? 0 : widths[i] - width_of(cells[i]);
        printf("%s%*s%s", cells[i], (int)missing, "", is_last ? "\n" : GAP);
    }
}

static const char *const *fill(const struct table *table, size_t row,
                               char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE],
                               const char *ret[TABLE_COLUMNS_MAX])
{
    for (size_t i = 0; i < TABLE_COLUMNS_MAX; i++) {
        cells[i][0] = '\0';
        ret[i] = cells[i];
    }
    table->fill(table->arg, row, cells);
    return ret;
}

void table_print(const struct table *table)
{
    char cells[TABLE_COLUMNS_MAX][TABLE_CELL_SIZE];
    const char *texts[TABLE_COLUMNS_MAX];
    size_t widths[TABLE_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < table->columns; i++)
        widths[i] = width_of(table->titles[i]);
    for (size_t row = 0; row < table->rows; row++) {
        fill(table, row, cells, texts);
        for (size_t i = 0; i < table->columns; i++)
            widths[i] = MAX(widths[i], width_of(texts[i]));
    }
    print_row(table, table->titles, widths);
    for (size_t row = 0; row < table->rows; row++)
        print_row(table, fill(table, row, cells, texts), widths);
}

/* C0, DEL, and C1, which in UTF-8 are C2 80 to C2 9F: some terminals obey those as well. */
static bool is_control(const char *text, size_t size)
{
    unsigned char first = (unsigned char)text[0];

    return first < 0x20 || first == 0x7f || (size == 2 && first == 0xc2 && (unsigned char)text[1] < 0xa0);
}

void table_set_cell(char ret_cell[TABLE_CELL_SIZE], const char *text, size_t max_chars)
{
    const size_t room = TABLE_CELL_SIZE - sizeof("...");
    size_t left = strlen(text);
    size_t size = 0;
    size_t chars = 0;

    while (left > 0) {
        size_t step = text_utf8_char_size(text, left);
        bool is_blank = step == 0 || is_control(text, step);
        step = MAX(step, (size_t)1);
        if (chars == max_chars || size + step > room) {
            memcpy(ret_cell + size, "...", 3);
            size += 3;
            break;
        }
        memcpy(ret_cell + size, is_blank ? " " : text, is_blank ? 1 : step);
        size += is_blank ? 1 : step;
        chars++;
        text += step;
        left -= step;
    }
    ret_cell[size] = '\0';
}
