/* TLS settings with files that may change while they are in use.
 *
 * What the files hold is read into a snapshot, which connections are made with; a changed file makes a new
 * one.  A snapshot has a number that is part of the route (route.c), so a connection that was opened with
 * other settings, or with what the files held before, is never taken. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "fetch/fetch_int.h"

/* Looking at the files costs a few microseconds. */
#define CHECK_MS 1000

enum { FILE_CA, FILE_CERT, FILE_KEY, FILE_COUNT };

/* What changes; `fetch_tls` itself never does. */
struct tls_state {
    _Atomic uint64_t check_at_ns;
    _Atomic uint64_t current_id;
    pthread_mutex_t lock;
    /* guarded by lock: */
    struct tls_snapshot *current;
    bool is_checking;                         /* by one thread, whose are: */
    struct tls_file_stamp stamps[FILE_COUNT]; /* of the files that were last read, be they good or not */
};

struct fetch_tls {
    char *paths[FILE_COUNT]; /* "": none */
    bool verify;
    bool http2;
    unsigned min_version_x10;
    struct tls_state *state;
};

/* ---- snapshots ---- */

static atomic_ullong last_id;

struct tls_snapshot *tls_snapshot_ref(struct tls_snapshot *snapshot)
{
    atomic_fetch_add(&snapshot->refs, 1);
    return snapshot;
}

void tls_snapshot_unref(struct tls_snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub(&snapshot->refs, 1) > 1)
        return;
    tls_trust_release(snapshot->trust);
    tls_identity_free(snapshot->identity);
    free(snapshot);
}

static int load_files(const struct fetch_tls *tls, struct tls_snapshot *snapshot, struct err *err)
{
    int rc = tls->verify ? tls_trust_acquire(tls->paths[FILE_CA], &snapshot->trust, err) : 0;

    if (rc == 0 && tls->paths[FILE_CERT][0] != '\0')
        rc = tls_identity_create(tls->paths[FILE_CERT], tls->paths[FILE_KEY], &snapshot->identity, err);
    return rc;
}

static int snapshot_create(const struct fetch_tls *tls, struct tls_snapshot **ret_snapshot, struct err *err)
{
    struct tls_snapshot *snapshot = calloc(1, sizeof(*snapshot));

    if (!snapshot) {
        err_set(err, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    atomic_init(&snapshot->refs, 1);
    snapshot->verify = tls->verify;
    snapshot->http2 = tls->http2;
    snapshot->min_version_x10 = tls->min_version_x10;
    int rc = load_files(tls, snapshot, err);
    if (rc < 0) {
        tls_snapshot_unref(snapshot);
        return rc;
    }
    snapshot->id = atomic_fetch_add(&last_id, 1) + 1;
    *ret_snapshot = snapshot;
    return 0;
}

struct tls_snapshot *tls_acquire(const struct fetch_tls *tls)
{
    LOCK(&tls->state->lock);
    return tls_snapshot_ref(tls->state->current);
}

/* ---- changed files ---- */

static void look_at_files(const struct fetch_tls *tls, struct tls_file_stamp ret_stamps[FILE_COUNT])
{
    for (int i = 0; i < FILE_COUNT; i++)
        tls_file_stamp(tls->paths[i], &ret_stamps[i]);
}

static void replace(struct tls_state *state, struct tls_snapshot *snapshot)
{
    mutex_lock(&state->lock);
    struct tls_snapshot *old = state->current;
    state->current = snapshot;
    atomic_store(&state->current_id, snapshot->id);
    mutex_unlock(&state->lock);
    tls_snapshot_unref(old);
}

/* The stamps are taken before the files are read: what is written meanwhile is seen the next time. */
static void reload_if_changed(const struct fetch_tls *tls)
{
    struct tls_file_stamp stamps[FILE_COUNT];
    struct tls_snapshot *snapshot;
    struct err err = {0};

    look_at_files(tls, stamps);
    if (memcmp(stamps, tls->state->stamps, sizeof(stamps)) == 0)
        return;
    memcpy(tls->state->stamps, stamps, sizeof(stamps));
    if (snapshot_create(tls, &snapshot, &err) < 0) {
        log_warning("changed TLS files are not used", LOG_STR("error", err.text));
        return;
    }
    replace(tls->state, snapshot);
    log_info("changed TLS files are used for new connections", LOG_STR("ca_file", tls->paths[FILE_CA]),
             LOG_STR("cert_file", tls->paths[FILE_CERT]));
}

static bool try_begin_check(struct tls_state *state)
{
    LOCK(&state->lock);
    if (state->is_checking)
        return false;
    state->is_checking = true;
    return true;
}

static void end_check(struct tls_state *state, uint64_t next_ns)
{
    LOCK(&state->lock);
    state->is_checking = false;
    atomic_store(&state->check_at_ns, next_ns);
}

uint64_t tls_current_id(const struct fetch_tls *tls, uint64_t now_ns)
{
    struct tls_state *state = tls->state;

    if (now_ns >= atomic_load(&state->check_at_ns) && try_begin_check(state)) {
        reload_if_changed(tls);
        end_check(state, clock_deadline_ns(now_ns, CHECK_MS));
    }
    return atomic_load(&state->current_id);
}

/* ---- life ---- */

static int fill(struct fetch_tls *tls, const char *const paths[FILE_COUNT], struct err *err)
{
    tls->state = calloc(1, sizeof(*tls->state));
    if (!tls->state)
        return err_set(err, -ENOMEM, "out of memory");
    mutex_init(&tls->state->lock);
    for (int i = 0; i < FILE_COUNT; i++)
        if (!(tls->paths[i] = strdup(paths[i])))
            return err_set(err, -ENOMEM, "out of memory");
    look_at_files(tls, tls->state->stamps);
    int rc = snapshot_create(tls, &tls->state->current, err);
    if (rc < 0)
        return rc;
    atomic_init(&tls->state->current_id, tls->state->current->id);
    atomic_init(&tls->state->check_at_ns, clock_deadline_ns(clock_now_ns(), CHECK_MS));
    return 0;
}

/* The file that libcurl was built to use.  "" on a system that has none: there nobody is trusted. */
static const char *system_ca_file(void)
{
    const char *path = curl_version_info(CURLVERSION_NOW)->cainfo;

    return path && access(path, R_OK) == 0 ? path : "";
}

int fetch_tls_create(const struct config *config, const struct fetch_tls_options *options,
                     struct fetch_tls **ret_tls, struct err *err)
{
    const char *own_ca = options->ca_file[0] != '\0' ? options->ca_file : config->fetch.ca_file;
    const char *const paths[FILE_COUNT] = {
        [FILE_CA] = own_ca[0] != '\0' ? own_ca : system_ca_file(),
        [FILE_CERT] = options->cert_file,
        [FILE_KEY] = options->key_file[0] != '\0' ? options->key_file : options->cert_file,
    };
    struct fetch_tls *tls = calloc(1, sizeof(*tls));

    if (!tls)
        return err_set(err, -ENOMEM, "out of memory");
    tls->verify = options->verify;
    tls->http2 = options->http2;
    tls->min_version_x10 = options->min_version_x10;
    int rc = fill(tls, paths, err);
    if (rc < 0) {
        fetch_tls_free(tls);
        return rc;
    }
    *ret_tls = tls;
    return 0;
}

void fetch_tls_free(struct fetch_tls *tls)
{
    if (!tls)
        return;
    if (tls->state) {
        tls_snapshot_unref(tls->state->current);
        pthread_mutex_destroy(&tls->state->lock);
    }
    free(tls->state);
    for (int i = 0; i < FILE_COUNT; i++)
        free(tls->paths[i]);
    free(tls);
}
