/* fake_names.h - a getaddrinfo for the tests: names that are there, that are not, that take as long as the
 * test likes.  Include it in one file of a program; the libraries find it before that of the C library. */
#pragma once

#include <dlfcn.h>
#include <netdb.h>

#include "harness.h"

/*     once.test, other.test   127.0.0.1               gone.test   no such host
 *     slow.test               127.0.0.1 when names_let_go() has been called
 *     moved.test              127.0.0.1, then 127.0.0.2, ... with each look-up
 *     many.test               what names_set_many() says
 *     gone-later.test         127.0.0.1 at first, then no such host
 *     dumb-later.test         127.0.0.1 at first, then no name server answers
 *     all others              what the C library says */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    char many[256]; /* "127.0.0.1,127.0.0.2" */
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static atomic_uint names_asked; /* look-ups of the names above */
static atomic_uint names_held;  /* look-ups of slow.test that have begun */

static inline void names_open(bool is_open)
{
    LOCK(&names.lock);
    names.is_open = is_open;
    pthread_cond_broadcast(&names.changed);
}

static inline void names_set_many(const char *addresses)
{
    LOCK(&names.lock);
    snprintf(names.many, sizeof(names.many), "%s", addresses);
}

static inline void names_wait(void)
{
    LOCK(&names.lock);
    atomic_fetch_add(&names_held, 1);
    while (!names.is_open)
        pthread_cond_wait(&names.changed, &names.lock);
}

static inline bool is_fake_name(const char *name)
{
    size_t length = name ? strlen(name) : 0;

    return length > 5 && strcmp(name + length - 5, ".test") == 0;
}

typedef int (*lookup_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* One list out of those of each address; the C library frees its elements one by one. */
static inline int look_up_many(lookup_fn look_up, const char *service, const struct addrinfo *hints,
                               struct addrinfo **ret_list)
{
    char addresses[sizeof(names.many)];
    struct addrinfo **end = ret_list;
    char *rest = addresses;
    char *address;

    mutex_lock(&names.lock);
    snprintf(addresses, sizeof(addresses), "%s", names.many);
    mutex_unlock(&names.lock);
    while ((address = strsep(&rest, ","))) {
        int rc = look_up(address, service, hints, end);
        if (rc != 0)
            return rc;
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    union {
        void *symbol;
        lookup_fn fn;
    } real = {.symbol = dlsym(RTLD_NEXT, "getaddrinfo")};
    char address[32] = "127.0.0.1";

    if (!is_fake_name(name))
        return real.fn(name, service, hints, ret_list);
    unsigned number = atomic_fetch_add(&names_asked, 1) + 1;
    if (strcmp(name, "gone.test") == 0 || (strcmp(name, "gone-later.test") == 0 && number > 1))
        return EAI_NONAME;
    if (strcmp(name, "dumb-later.test") == 0 && number > 1)
        return EAI_AGAIN;
    if (strcmp(name, "many.test") == 0)
        return look_up_many(real.fn, service, hints, ret_list);
    if (strcmp(name, "slow.test") == 0)
        names_wait();
    if (strcmp(name, "moved.test") == 0)
        snprintf(address, sizeof(address), "127.0.0.%u", number);
    return real.fn(address, service, hints, ret_list);
}
