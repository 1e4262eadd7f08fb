/* Deadlines of connections that make nobody wait but themselves: silent after connecting, half a request, not
 * reading an answer, not closing.  All have the same time-out, so a list in order of arrival is a queue by
 * deadline. Connections that wait between two requests have none: nginx keeps them as long as it likes. */
#include "front/front_int.h"

static void insert(struct conn *conn)
{
    struct front *front = conn->front;

    LOCK(&front->lock);
    if (conn->is_listed)
        return;
    conn->is_listed = true;
    conn->listed_generation = conn->generation;
    TAILQ_INSERT_TAIL(&front->deadlines, conn, deadline_link);
    if (TAILQ_FIRST(&front->deadlines) == conn)
        atomic_store(&front->sweep_at_ns, conn->deadline_ns);
}

void deadline_set(struct conn *conn)
{
    if (conn->deadline_ns == 0)
        conn->deadline_ns = clock_deadline_ns(clock_now_ns(), conn->front->options.config->client_timeout_ms);
    insert(conn);
}

static void remove_locked(struct front *front, struct conn *conn)
{
    TAILQ_REMOVE(&front->deadlines, conn, deadline_link);
    conn->is_listed = false;
    struct conn *first = TAILQ_FIRST(&front->deadlines);
    atomic_store(&front->sweep_at_ns, first ? first->deadline_ns : CLOCK_NEVER);
}

void deadline_clear(struct conn *conn)
{
    struct front *front = conn->front;

    if (conn->deadline_ns == 0)
        return;
    LOCK(&front->lock);
    if (conn->is_listed)
        remove_locked(front, conn);
    conn->deadline_ns = 0;
}

static struct conn *pop_due(struct front *front, uint64_t now_ns, uint32_t *ret_generation)
{
    LOCK(&front->lock);
    struct conn *conn = TAILQ_FIRST(&front->deadlines);
    if (!conn || conn->deadline_ns > now_ns)
        return NULL;
    remove_locked(front, conn);
    *ret_generation = conn->listed_generation;
    return conn;
}

void deadline_sweep(struct front *front, uint64_t now_ns)
{
    struct conn *conn;
    uint32_t generation;

    while ((conn = pop_due(front, now_ns, &generation)))
        conn_on_event(conn, generation, 0);
}
