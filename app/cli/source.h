/* source.h - where tasks are looked up and changed: the running server, or the store of one that is stopped.
 *
 * Both give the same JSON and refuse in the same words, so that a command does not see which it works with.
 * How to use it: source_open; the calls below; source_close.
 * Ownership: a reply's text is the caller's (source_reply_done, also after an error, so that it begins
 * zeroed); all else is lent.
 * Threads: one.
 * Errors: 0, also for what was refused, which is in the reply; or a negative errno value with `err` set:
 * there is nobody (any more) who could be asked. */
#pragma once

#include "base/buf.h"
#include "base/common.h"
#include "base/err.h"
#include "base/uuid.h"
#include "config/config.h"

/* As many tasks one page may have, and one change. */
#define SOURCE_PAGE_MAX 1000

#define SOURCE_CURSOR_SIZE 64

struct source_filter {
    const char *state; /* NULL in these: all */
    const char *kind;
    const char *queue;
    const char *tag;
};

enum source_change { SOURCE_CANCEL, SOURCE_RETRY, SOURCE_REMOVE };

struct source_reply {
    bool is_refused;
    bool is_missing; /* refused, since there is no such task */
    struct buf text; /* JSON; refused: a sentence */
};

struct source_ops {
    /* {"tasks": [summaries], "counts", "next": the cursor, where there are more}. */
    int (*page)(void *self, const struct source_filter *filter, size_t limit, const char *cursor,
                struct source_reply *ret, struct err *err);
    /* The task with all there is. */
    int (*get)(void *self, const struct uuid *id, struct source_reply *ret, struct err *err);
    /* {"counts", "queues": {name: counts}}. */
    int (*stats)(void *self, struct source_reply *ret, struct err *err);
    /* Changes up to SOURCE_PAGE_MAX tasks; a reply for each: the task as it is then, or no text for one that
     * was removed. */
    int (*change)(void *self, enum source_change change, const struct uuid *ids, size_t count,
                  struct source_reply *ret, struct err *err);
    void (*close)(void *self);
};

struct source {
    const struct source_ops *ops;
    void *self;
};

/* The server that listens at config->listen or, when nobody does, the store; `config` is lent until the
 * close.  -EBUSY when another process has the store, but does not answer. */
must_check int source_open(const struct config *config, struct source *ret, struct err *err);

/* One that is zeroed is fine. */
void source_close(struct source *source);

void source_reply_done(struct source_reply *reply);

/* The two kinds of source; each in the file of its name. */
must_check int source_server_open(const struct config *config, struct source *ret, struct err *err);
must_check int source_stopped_open(const struct config *config, struct source *ret, struct err *err);
