#include "tally.h"

/* Open addressing, at most half full; a zeroed row is free. */
static struct row {
    uint64_t hash;
    uint64_t count;
} rows[2 * TALLY_KEYS_MAX];
static uint64_t key_count;

/* FNV-1a. */
uint64_t tally_hash(struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ (unsigned char)key.at[i]) * 0x100000001b3;
    }
    return hash ? hash : 1;
}

static struct row *find(uint64_t hash)
{
    size_t i = hash % (2 * TALLY_KEYS_MAX);
    while (rows[i].hash != 0 && rows[i].hash != hash) {
        i = (i + 1) % (2 * TALLY_KEYS_MAX);
    }
    return &rows[i];
}

uint64_t tally_add(struct slice key)
{
    uint64_t hash = tally_hash(key);
    struct row *row = find(hash);
    if (row->hash == 0 && key_count == TALLY_KEYS_MAX) {
        return 0;
    }
    key_count += row->hash == 0;
    row->hash = hash;
    return ++row->count;
}

uint64_t tally_count(struct slice key)
{
    return find(tally_hash(key))->count;
}
