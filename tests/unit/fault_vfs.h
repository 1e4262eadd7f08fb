/* fault_vfs.h - a file system for SQLite, over the real one, that remembers everything that is done to the
 * files of a database, and fails when it is told to.
 *
 * How to use it: fault_vfs_register once, before SQLite is used: it becomes the default.  Then
 *   - fault_record, work, fault_record_end; fault_disk_step and fault_disk_write then make, for any moment of
 *     that work, the files as a disk may have them when the power is cut then.
 *   - fault_arm: the n-th write, truncation or sync from now on fails.  fault_disarm ends it.
 * What a disk may have: all that was written to a file before its last sync; and of what was written after it
 * any part, in any order, to the sector.  Nothing is really synced here, which would only take time.
 * Threads: one. */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#define FAULT_SECTOR 512

/* The files of a database, and what their names end with. */
enum fault_file_type { FAULT_FILE_DB, FAULT_FILE_LOG, FAULT_FILE_JOURNAL, FAULT_FILE_COUNT };
static const char *const fault_endings[FAULT_FILE_COUNT] = {"", "-wal", "-journal"};

enum fault_op_type { FAULT_WRITE, FAULT_TRUNCATE, FAULT_SYNC, FAULT_DELETE, FAULT_MARK };

struct fault_op {
    enum fault_op_type type;
    int file;  /* enum fault_file_type */
    size_t at; /* where it was written; the new size; the number of a mark */
    size_t size;
    uint8_t *data;
};

enum fault_kind {
    FAULT_IO,         /* once */
    FAULT_FULL,       /* until fault_disarm; a sync that fails is an I/O error, whatever its reason */
    FAULT_SHORT_IO,   /* once, and half of it is written */
    FAULT_SHORT_FULL, /* the same as FAULT_FULL at first */
    FAULT_KIND_COUNT,
};

static struct fault_vfs {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;

    bool is_recording;
    struct fault_op *ops;
    size_t count;
    size_t capacity;

    unsigned long calls;   /* writes, truncations and syncs since fault_arm */
    unsigned long fail_at; /* 0: never */
    enum fault_kind kind;
    bool db_only; /* only what concerns the database's file counts */
    int errnum;   /* of the last failure */
} fault;

struct fault_file {
    sqlite3_file base;
    int type; /* enum fault_file_type, or -1: another file */
    sqlite3_file *real;
};

/* ---- what is remembered ---- */

static inline void fault_remember(enum fault_op_type type, int file, size_t at, const void *data, size_t size)
{
    if (!fault.is_recording || file < 0)
        return;
    if (fault.count == fault.capacity) {
        fault.capacity = fault.capacity * 2 + 64;
        fault.ops = reallocarray(fault.ops, fault.capacity, sizeof(*fault.ops));
        assert(fault.ops);
    }
    struct fault_op op = {.type = type, .file = file, .at = at, .size = size};
    if (size > 0) {
        op.data = malloc(size);
        assert(op.data);
        memcpy(op.data, data, size);
    }
    fault.ops[fault.count++] = op;
}

/* Without a sync of the folder the file may come back. */
static inline void fault_remember_delete(int file, bool sync_folder)
{
    fault_remember(FAULT_DELETE, file, 0, NULL, 0);
    if (sync_folder)
        fault_remember(FAULT_SYNC, file, 0, NULL, 0);
}

static inline void fault_record(void)
{
    fault.is_recording = true;
}

/* Notes that something has been reached. */
static inline void fault_mark(size_t number)
{
    fault_remember(FAULT_MARK, 0, number, NULL, 0);
}

static inline void fault_record_end(void)
{
    fault.is_recording = false;
}

static inline void fault_forget(void)
{
    for (size_t i = 0; i < fault.count; i++)
        free(fault.ops[i].data);
    free(fault.ops);
    fault.ops = NULL;
    fault.count = fault.capacity = 0;
}

/* ---- what fails ---- */

static inline void fault_arm(enum fault_kind kind, unsigned long fail_at, bool db_only)
{
    fault.kind = kind;
    fault.fail_at = fail_at;
    fault.db_only = db_only;
    fault.calls = 0;
    fault.errnum = 0;
}

static inline void fault_disarm(void)
{
    fault.fail_at = 0;
}

static inline bool fault_is_full(void)
{
    return fault.kind == FAULT_FULL || fault.kind == FAULT_SHORT_FULL;
}

/* Whether this call is to fail. */
static inline bool fault_strikes(const struct fault_file *file)
{
    if (fault.fail_at == 0 || file->type < 0 || (fault.db_only && file->type != FAULT_FILE_DB))
        return false;
    fault.calls++;
    if (fault.calls != fault.fail_at && !(fault_is_full() && fault.calls > fault.fail_at))
        return false;
    fault.errnum = fault_is_full() ? ENOSPC : EIO;
    return true;
}

/* ---- the methods of a file ---- */

static inline struct fault_file *fault_of(sqlite3_file *base)
{
    return (struct fault_file *)base;
}

static int fault_close(sqlite3_file *base)
{
    struct fault_file *file = fault_of(base);

    return file->real->pMethods->xClose(file->real);
}

static int fault_read(sqlite3_file *base, void *data, int size, sqlite3_int64 at)
{
    struct fault_file *file = fault_of(base);

    return file->real->pMethods->xRead(file->real, data, size, at);
}

static int fault_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 at)
{
    struct fault_file *file = fault_of(base);
    bool fails = fault_strikes(file);
    bool is_short = fails && (fault.kind == FAULT_SHORT_IO || fault.kind == FAULT_SHORT_FULL);

    if (is_short)
        size /= 2;
    if (!fails || is_short) {
        fault_remember(FAULT_WRITE, file->type, (size_t)at, data, (size_t)size);
        int rc = file->real->pMethods->xWrite(file->real, data, size, at);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (fails)
        return fault_is_full() ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    return SQLITE_OK;
}

static int fault_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct fault_file *file = fault_of(base);

    if (fault_strikes(file))
        return SQLITE_IOERR_TRUNCATE;
    fault_remember(FAULT_TRUNCATE, file->type, (size_t)size, NULL, 0);
    return file->real->pMethods->xTruncate(file->real, size);
}

static int fault_sync(sqlite3_file *base, int flags)
{
    struct fault_file *file = fault_of(base);

    (void)flags;
    if (fault_strikes(file))
        return SQLITE_IOERR_FSYNC;
    fault_remember(FAULT_SYNC, file->type, 0, NULL, 0);
    return SQLITE_OK;
}

static int fault_file_size(sqlite3_file *base, sqlite3_int64 *ret)
{
    return fault_of(base)->real->pMethods->xFileSize(fault_of(base)->real, ret);
}

static int fault_lock(sqlite3_file *base, int level)
{
    return fault_of(base)->real->pMethods->xLock(fault_of(base)->real, level);
}

static int fault_unlock(sqlite3_file *base, int level)
{
    return fault_of(base)->real->pMethods->xUnlock(fault_of(base)->real, level);
}

static int fault_check_lock(sqlite3_file *base, int *ret)
{
    return fault_of(base)->real->pMethods->xCheckReservedLock(fault_of(base)->real, ret);
}

static int fault_control(sqlite3_file *base, int op, void *arg)
{
    return fault_of(base)->real->pMethods->xFileControl(fault_of(base)->real, op, arg);
}

static int fault_sector_size(sqlite3_file *base)
{
    return fault_of(base)->real->pMethods->xSectorSize(fault_of(base)->real);
}

static int fault_characteristics(sqlite3_file *base)
{
    return fault_of(base)->real->pMethods->xDeviceCharacteristics(fault_of(base)->real);
}

static int fault_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **ret)
{
    return fault_of(base)->real->pMethods->xShmMap(fault_of(base)->real, page, size, extend, ret);
}

static int fault_shm_lock(sqlite3_file *base, int at, int count, int flags)
{
    return fault_of(base)->real->pMethods->xShmLock(fault_of(base)->real, at, count, flags);
}

static void fault_shm_barrier(sqlite3_file *base)
{
    fault_of(base)->real->pMethods->xShmBarrier(fault_of(base)->real);
}

static int fault_shm_unmap(sqlite3_file *base, int is_delete)
{
    return fault_of(base)->real->pMethods->xShmUnmap(fault_of(base)->real, is_delete);
}

static const sqlite3_io_methods fault_methods = {
    .iVersion = 2,
    .xClose = fault_close,
    .xRead = fault_read,
    .xWrite = fault_write,
    .xTruncate = fault_truncate,
    .xSync = fault_sync,
    .xFileSize = fault_file_size,
    .xLock = fault_lock,
    .xUnlock = fault_unlock,
    .xCheckReservedLock = fault_check_lock,
    .xFileControl = fault_control,
    .xSectorSize = fault_sector_size,
    .xDeviceCharacteristics = fault_characteristics,
    .xShmMap = fault_shm_map,
    .xShmLock = fault_shm_lock,
    .xShmBarrier = fault_shm_barrier,
    .xShmUnmap = fault_shm_unmap,
};

/* ---- the file system ---- */

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
    struct fault_file *file = fault_of(base);

    (void)vfs;
    file->base.pMethods = NULL;
    file->real = (sqlite3_file *)(void *)(file + 1);
    file->type = -1;
    if (flags & SQLITE_OPEN_MAIN_DB)
        file->type = FAULT_FILE_DB;
    else if (flags & SQLITE_OPEN_WAL)
        file->type = FAULT_FILE_LOG;
    else if (flags & SQLITE_OPEN_MAIN_JOURNAL)
        file->type = FAULT_FILE_JOURNAL;
    int rc = fault.real->xOpen(fault.real, name, file->real, flags, ret_flags);
    if (rc == SQLITE_OK)
        file->base.pMethods = &fault_methods;
    return rc;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    size_t length = strlen(name);

    (void)vfs;
    for (int type = FAULT_FILE_LOG; type < FAULT_FILE_COUNT; type++) {
        size_t size = strlen(fault_endings[type]);
        if (length > size && strcmp(name + length - size, fault_endings[type]) == 0)
            fault_remember_delete(type, sync_folder != 0);
    }
    return fault.real->xDelete(fault.real, name, 0);
}

static int fault_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    (void)size;
    (void)text;
    return fault.errnum != 0 ? fault.errnum : errno;
}

static inline void fault_vfs_register(void)
{
    fault.real = sqlite3_vfs_find(NULL);
    assert(fault.real);
    fault.vfs = *fault.real;
    fault.vfs.zName = "fault";
    fault.vfs.pNext = NULL;
    fault.vfs.szOsFile = (int)sizeof(struct fault_file) + fault.real->szOsFile;
    fault.vfs.xOpen = fault_open;
    fault.vfs.xDelete = fault_delete;
    fault.vfs.xGetLastError = fault_last_error;
    int rc = sqlite3_vfs_register(&fault.vfs, 1);
    assert(rc == SQLITE_OK);
    (void)rc;
}

/* ---- what is on the disk after the power was cut ---- */

struct fault_content {
    bool exists;
    uint8_t *bytes;
    size_t size;
    size_t capacity;
};

/* The disk at a moment of what was recorded. */
struct fault_disk {
    struct fault_content durable[FAULT_FILE_COUNT];
    size_t moment;                   /* ops before this one have happened */
    size_t synced[FAULT_FILE_COUNT]; /* ops of the file before this one are durable */
};

/* Which part of what was not synced is kept. */
enum fault_keep {
    FAULT_KEEP_NONE,
    FAULT_KEEP_ALL,
    FAULT_KEEP_FIRST,   /* up to some moment, and a part of the next write */
    FAULT_KEEP_SOME,    /* each write or not */
    FAULT_KEEP_SECTORS, /* each sector of each write or not */
    FAULT_KEEP_COUNT,
};

static inline uint32_t fault_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static inline void fault_resize(struct fault_content *content, size_t size)
{
    if (size > content->capacity) {
        content->capacity = size * 2;
        content->bytes = realloc(content->bytes, content->capacity);
        assert(content->bytes);
    }
    if (size > content->size)
        memset(content->bytes + content->size, 0, size - content->size);
    content->size = size;
}

static inline void fault_put(struct fault_content *content, const struct fault_op *op, size_t from, size_t to)
{
    if (from >= to)
        return;
    if (content->size < op->at + to)
        fault_resize(content, op->at + to);
    memcpy(content->bytes + op->at + from, op->data + from, to - from);
}

static inline void fault_apply(struct fault_content *content, const struct fault_op *op)
{
    if (op->type == FAULT_DELETE)
        content->exists = false, content->size = 0;
    else if (op->type == FAULT_TRUNCATE)
        fault_resize(content, op->at);
    else if (op->type == FAULT_WRITE)
        fault_put(content, op, 0, op->size);
    if (op->type == FAULT_WRITE || op->type == FAULT_TRUNCATE)
        content->exists = true;
}

/* Each of its sectors or not. */
static inline void fault_apply_sectors(struct fault_content *content, const struct fault_op *op,
                                       uint32_t *seed)
{
    for (size_t from = 0; from < op->size;) {
        size_t to = (op->at + from) / FAULT_SECTOR * FAULT_SECTOR + FAULT_SECTOR - op->at;
        to = to < op->size ? to : op->size;
        if (fault_random(seed) & 1)
            fault_put(content, op, from, to);
        from = to;
    }
    content->exists = true;
}

/* Goes on to the next moment.  False at the end. */
static inline bool fault_disk_step(struct fault_disk *disk)
{
    if (disk->moment == fault.count)
        return false;
    const struct fault_op *op = &fault.ops[disk->moment++];
    if (op->type != FAULT_SYNC)
        return true;
    for (size_t i = disk->synced[op->file]; i < disk->moment; i++)
        if (fault.ops[i].file == op->file)
            fault_apply(&disk->durable[op->file], &fault.ops[i]);
    disk->synced[op->file] = disk->moment;
    return true;
}

/* What the file may be now. */
static inline void fault_disk_file(const struct fault_disk *disk, int file, enum fault_keep keep,
                                   uint32_t *seed, struct fault_content *ret)
{
    size_t first = disk->synced[file];
    size_t stop = first + fault_random(seed) % (disk->moment - first + 1);

    ret->exists = disk->durable[file].exists;
    ret->size = 0;
    fault_resize(ret, disk->durable[file].size);
    if (ret->size > 0)
        memcpy(ret->bytes, disk->durable[file].bytes, ret->size);
    for (size_t i = first; i < disk->moment && keep != FAULT_KEEP_NONE; i++) {
        const struct fault_op *op = &fault.ops[i];
        if (op->file != file || op->type == FAULT_MARK)
            continue;
        bool is_kept = keep == FAULT_KEEP_ALL || (keep == FAULT_KEEP_FIRST && i < stop) ||
                       (keep >= FAULT_KEEP_SOME && (fault_random(seed) & 1));
        if (op->type == FAULT_DELETE && !is_kept)
            return; /* what came then, came to a file that nobody finds */
        if (op->type == FAULT_WRITE &&
            (keep == FAULT_KEEP_SECTORS || (keep == FAULT_KEEP_FIRST && i == stop)))
            fault_apply_sectors(ret, op, seed);
        else if (is_kept)
            fault_apply(ret, op);
        if (keep == FAULT_KEEP_FIRST && i >= stop)
            return;
    }
}

/* Writes the database `path` as it may be on the disk now.  The same seed, the same files. */
static inline void fault_disk_write(const struct fault_disk *disk, enum fault_keep keep, uint32_t seed,
                                    const char *path)
{
    static struct fault_content content;
    char name[256];

    snprintf(name, sizeof(name), "%s-shm", path);
    unlink(name);
    for (int file = 0; file < FAULT_FILE_COUNT; file++) {
        snprintf(name, sizeof(name), "%s%s", path, fault_endings[file]);
        unlink(name);
        fault_disk_file(disk, file, keep, &seed, &content);
        if (!content.exists)
            continue;
        FILE *out = fopen(name, "w");
        assert(out);
        size_t written = fwrite(content.bytes, 1, content.size, out);
        assert(written == content.size);
        (void)written;
        fclose(out);
    }
}

static inline void fault_disk_done(struct fault_disk *disk)
{
    for (int file = 0; file < FAULT_FILE_COUNT; file++)
        free(disk->durable[file].bytes);
    *disk = (struct fault_disk){0};
}
