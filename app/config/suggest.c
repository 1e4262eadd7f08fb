#include "config/config_int.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Of letters added, left out, replaced, or changed with their neighbour (Damerau, 1964; "optimal string
 * alignment").  Both words are at most CONFIG_NAME_MAX_BYTES long. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t d[CONFIG_NAME_MAX_BYTES + 1][CONFIG_NAME_MAX_BYTES + 1];

    for (size_t i = 0; i <= a_size; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b_size; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        for (size_t j = 1; j <= b_size; j++) {
            size_t replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1, replaced);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[a_size][b_size];
}

/* The part of `key` that a file writes inside `section`: up to the next dot.  NULL when the key is elsewhere.
 */
static const char *word_in_section(const char *key, const char *section, size_t *ret_size)
{
    size_t prefix = strlen(section);

    if (prefix > 0) {
        if (strncmp(key, section, prefix) != 0 || key[prefix] != '.')
            return NULL;
        key += prefix + 1;
    }
    *ret_size = strcspn(key, ".");
    return key;
}

/* A key that exists with exactly this name, only in another section. */
static const char *same_word_elsewhere(const struct config_table *table, const char *name)
{
    for (size_t i = 0; i < table->row_count; i++) {
        const char *key = table->rows[i].key;
        const char *dot = strrchr(key, '.');
        if (strcmp(dot ? dot + 1 : key, name) == 0)
            return key;
    }
    return NULL;
}

bool config_suggest(const struct config_table *table, const char *section, const char *name,
                    char ret_key[CONFIG_KEY_MAX_BYTES])
{
    size_t size = strlen(name);
    size_t nearest = 2 + size / 4; /* as many typing errors and one more */
    const char *elsewhere = same_word_elsewhere(table, name);

    ret_key[0] = '\0';
    assert(size <= CONFIG_NAME_MAX_BYTES);
    for (size_t i = 0; i < table->row_count; i++) {
        size_t word_size;
        const char *word = word_in_section(table->rows[i].key, section, &word_size);
        if (!word)
            continue;
        size_t d = distance(name, size, word, word_size);
        if (d < nearest && d < word_size) {
            nearest = d;
            snprintf(ret_key, CONFIG_KEY_MAX_BYTES, "%.*s", (int)word_size, word);
        }
    }
    if (ret_key[0] == '\0' && elsewhere)
        snprintf(ret_key, CONFIG_KEY_MAX_BYTES, "%s", elsewhere);
    return ret_key[0] != '\0';
}
