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
    struct question_list asked_long;
    unsigned busy_long; /* threads with a long one */
    bool is_stopping;

    /* set before threads start, then read-only: */
    const struct task_store_ops *store;

    /* the owner's thread only: */
    unsigned started; /* threads that run */
    unsigned count;
    struct reader all[];
};

/* Short ones first; long ones as long as that leaves a thread for others. */
static struct question_list *list_to_take_locked(struct task_readers *readers)
{
    bool may_be_long = readers->busy_long + 1 < readers->count || readers->count == 1 || readers->is_stopping;

    if (!TAILQ_EMPTY(&readers->asked))
        return &readers->asked;
    return may_be_long && !TAILQ_EMPTY(&readers->asked_long) ? &readers->asked_long : NULL;
}

/* The next question, NULL when there will be none. */
static struct task_question *take_question(struct task_readers *readers)
{
    struct question_list *list;

    LOCK(&readers->lock);
    while (!(list = list_to_take_locked(readers)) && !readers->is_stopping)
        pthread_cond_wait(&readers->wake, &readers->lock);
    struct task_question *question = list ? TAILQ_FIRST(list) : NULL;
    if (!question)
        return NULL;
    TAILQ_REMOVE(list, question, in_list);
    readers->busy_long += question->is_long;
    return question;
}

static void end_long(struct task_readers *readers)
{
    LOCK(&readers->lock);
    readers->busy_long--;
    pthread_cond_signal(&readers->wake);
}

static void *reader_main(void *arg)
{
    struct reader *reader = arg;
    struct task_question *question;

    while ((question = take_question(reader->readers)) != NULL) {
        bool is_long = question->is_long;
        question->answer(question, reader->readers->store, reader->reader, 0);
        if (is_long)
            end_long(reader->readers);
    }
    return NULL;
}

/* False when nobody will look there any more. */
static bool put_with_asked(struct task_readers *readers, struct task_question *question)
{
    LOCK(&readers->lock);
    if (readers->is_stopping)
        return false;
    TAILQ_INSERT_TAIL(question->is_long ? &readers->asked_long : &readers->asked, question, in_list);
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
    TAILQ_INIT(&readers->asked_long);
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
    assert(readers->started == 0 && TAILQ_EMPTY(&readers->asked) && TAILQ_EMPTY(&readers->asked_long));
    for (unsigned i = 0; i < readers->count; i++)
        readers->store->reader_close(readers->all[i].reader);
    pthread_cond_destroy(&readers->wake);
    pthread_mutex_destroy(&readers->lock);
    free(readers);
}
