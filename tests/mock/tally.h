/* tally.h - how often each key was asked for, so that an answer can differ from the one before.
 *
 * Threads: none.  Keys are known by a hash of 64 bits; beyond TALLY_KEYS_MAX of them new ones are not
 * counted. */
#pragma once

#include "text.h"

#define TALLY_KEYS_MAX 65536

/* What keys are known by; never 0. */
uint64_t tally_hash(struct slice key);

/* Counts one more; how many that makes, 0 when there is no room. */
uint64_t tally_add(struct slice key);

uint64_t tally_count(struct slice key);
