#include "tasks/readers.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/thread.h"

TAILQ_HEAD(question_list, task_question);

struct reader {
    struct task_readers *readers;
    struct task_reader *reader;
    pthread_t thread;
};

struct task_readers {
    pthread_mutex_t lock;

    /* guarded by lock: */
    pthread_cond_t wake; /* something to read, or stopping */
    struct question_list asked;
    bool is_stopping;

    /* set before threads start, then read-only: */
    const struct task_store_ops *store;

    /* the owner's thread only: */
    unsigned started; /* threads that run */
    unsigned count;
    struct reader all[];
};

/* The next question, NULL when there will be none. */
static struct task_question *take_question(struct task_readers *readers)
{
    LOCK(&readers->lock);
    while (TAILQ_EMPTY(&readers->asked) && !readers->is_stopping)
        pthread_cond_wait(&readers->wake, &readers->lock);
    struct task_question *question = TAILQ_FIRST(&readers->asked);
    if (question)
        TAILQ_REMOVE(&readers->asked, question, in_list);
    return question;
}

static void *reader_main(void *arg)
{
    struct reader *reader = arg;
    struct task_question *question;

    while ((question = take_question(reader->readers)) != NULL)
        question->answer(question, reader->readers->store, reader->reader, 0);
    return NULL;
}

/* False when nobody will look there any more. */
static bool put_with_asked(struct task_readers *readers, struct task_question *question)
{
    LOCK(&readers->lock);
    if (readers->is_stopping)
        return false;
    TAILQ_INSERT_TAIL(&readers->asked, question, in_list);
    pthread_cond_signal(&readers->wake);
    return true;
}

void task_readers_ask(struct task_readers *readers, struct task_question *question)
{
    if (put_with_asked(readers, question))
        return;
    question->answer(question, readers->store, NULL, -ESHUTDOWN);
}

int task_readers_create(const struct task_store_ops *store, const char *where, unsigned count,
                        struct task_readers **ret, struct err *err)
{
    assert(count > 0);
    struct task_readers *readers = calloc(1, sizeof(*readers) + count * sizeof(readers->all[0]));
    if (!readers)
        return err_set(err, -ENOMEM, "out of memory");
    readers->store = store;
    readers->count = count;
    mutex_init(&readers->lock);
    cond_init(&readers->wake);
    TAILQ_INIT(&readers->asked);
    for (unsigned i = 0; i < count; i++) {
        readers->all[i].readers = readers;
        int rc = store->reader_open(where, &readers->all[i].reader, err);
        if (rc != 0) {
            task_readers_free(readers);
            return rc;
        }
    }
    *ret = readers;
    return 0;
}

int task_readers_start(struct task_readers *readers, struct err *err)
{
    char name[32];

    for (; readers->started < readers->count; readers->started++) {
        struct reader *reader = &readers->all[readers->started];
        snprintf(name, sizeof(name), "task-reader-%u", readers->started + 1);
        int rc = thread_start(&reader->thread, name, reader_main, reader, err);
        if (rc != 0) {
            task_readers_stop(readers);
            return rc;
        }
    }
    return 0;
}

static void ask_to_stop(struct task_readers *readers)
{
    LOCK(&readers->lock);
    readers->is_stopping = true;
    pthread_cond_broadcast(&readers->wake);
}

void task_readers_stop(struct task_readers *readers)
{
    ask_to_stop(readers);
    for (; readers->started > 0; readers->started--)
        thread_join(readers->all[readers->started - 1].thread);
    reader_main(&readers->all[0]); /* what no thread has answered, since none was started */
}

void task_readers_free(struct task_readers *readers)
{
    if (!readers)
        return;
    assert(readers->started == 0 && TAILQ_EMPTY(&readers->asked));
    for (unsigned i = 0; i < readers->count; i++)
        readers->store->reader_close(readers->all[i].reader);
    pthread_cond_destroy(&readers->wake);
    pthread_mutex_destroy(&readers->lock);
    free(readers);
}
