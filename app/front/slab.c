/* Connection slots: made in chunks, never given back to malloc, so that an event for a closed connection
 * still finds a valid object and can see by its generation that it has come too late. */
#include "front/front_int.h"

#include <errno.h>
#include <stdlib.h>

static void conn_init(struct conn *conn, struct front *front, uint32_t index)
{
    conn->front = front;
    conn->index = index;
    conn->fd = -1;
    conn->spool_fd = -1;
    conn->req.headers.max = REQUEST_HEADER_MAX_BYTES;
    mutex_init(&conn->lock);
}

static size_t chunk_max(const struct front *front)
{
    return (front->options.config->max_connections + CONNS_PER_CHUNK - 1) / CONNS_PER_CHUNK;
}

int slab_init(struct front *front)
{
    front->chunks = calloc(chunk_max(front), sizeof(*front->chunks));
    return front->chunks ? 0 : -ENOMEM;
}

static bool grow_locked(struct front *front)
{
    struct conn *chunk = calloc(CONNS_PER_CHUNK, sizeof(*chunk));

    if (!chunk)
        return false;
    uint32_t first = (uint32_t)(front->chunk_count * CONNS_PER_CHUNK);
    for (uint32_t i = CONNS_PER_CHUNK; i-- > 0;) {
        conn_init(&chunk[i], front, first + i);
        SLIST_INSERT_HEAD(&front->free_conns, &chunk[i], free_link);
    }
    atomic_store(&front->chunks[front->chunk_count++], chunk);
    return true;
}

static struct conn *pop_free(struct front *front)
{
    LOCK(&front->lock);
    if (front->conn_count >= front->options.config->max_connections)
        return NULL;
    if (SLIST_EMPTY(&front->free_conns) && !grow_locked(front))
        return NULL;
    struct conn *conn = SLIST_FIRST(&front->free_conns);
    SLIST_REMOVE_HEAD(&front->free_conns, free_link);
    front->conn_count++;
    return conn;
}

struct conn *slab_acquire(struct front *front)
{
    struct conn *conn = pop_free(front);

    if (!conn)
        return NULL;
    conn->keep = true;
    conn->rest_since_ns = 0;
    frames_init(&conn->frames);
    body_begin(conn);
    LOCK(&conn->lock);
    conn->state = CONN_READING;
    return conn;
}

unsigned slab_size(struct front *front)
{
    LOCK(&front->lock);
    return (unsigned)front->chunk_count * CONNS_PER_CHUNK;
}

struct conn *slab_find(struct front *front, uint32_t index)
{
    if (index / CONNS_PER_CHUNK >= chunk_max(front))
        return NULL;
    struct conn *chunk = atomic_load(&front->chunks[index / CONNS_PER_CHUNK]);
    return chunk ? &chunk[index % CONNS_PER_CHUNK] : NULL;
}

static void retire(struct conn *conn)
{
    LOCK(&conn->lock);
    conn->state = CONN_FREE;
    conn->generation++;
    conn->pending = false;
    conn->peer_gone = false;
    conn->peer_ended = false;
}

void slab_release(struct conn *conn)
{
    struct front *front = conn->front;

    retire(conn);
    LOCK(&front->lock);
    SLIST_INSERT_HEAD(&front->free_conns, conn, free_link);
    front->conn_count--;
}

void slab_free_all(struct front *front)
{
    for (size_t i = 0; i < front->chunk_count; i++) {
        for (size_t j = 0; j < CONNS_PER_CHUNK; j++)
            pthread_mutex_destroy(&front->chunks[i][j].lock);
        free(front->chunks[i]);
    }
    free(front->chunks);
}
