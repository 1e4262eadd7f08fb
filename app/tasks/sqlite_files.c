/* What lies beside the database.
 *
 * The lock file says which process owns the store; the kernel drops the lock with the process, however it
 * ends, so there is nothing to clear up.  The reserve is a file of zeros: a full disk refuses new tasks, and
 * what it gives up lets the ends of those that run be written. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tasks/sqlite_int.h"

#define RESERVE_BYTES ((off_t)4 << 20)

/* The folder that the file is in, if it is not there; not those above it. */
static void make_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash && slash > path ? strndup(path, (size_t)(slash - path)) : NULL;

    if (folder)
        mkdir(folder, 0700); /* what goes wrong shows when the file is opened */
    free(folder);
}

static int open_beside(const char *where, const char *ending, char ret_path[4096], int *ret_fd,
                       struct err *err)
{
    if (snprintf(ret_path, 4096, "%s%s", where, ending) >= 4096)
        return err_set(err, -ENAMETOOLONG, "the task store's path is too long");
    int fd = open(ret_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", ret_path);
    *ret_fd = fd;
    return 0;
}

/* ---- the lock ---- */

static int say_who_has_it(int fd, const char *path, struct err *err)
{
    char holder[32] = "";
    ssize_t size = pread(fd, holder, sizeof(holder) - 1, 0);

    holder[size > 0 ? strcspn(holder, "\n") : 0] = '\0';
    return err_set(err, -EBUSY, "the task store is in use by process %s (%s)", holder[0] ? holder : "?",
                   path);
}

static int take_lock(int fd, const char *path, struct err *err)
{
    char pid[32];

    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? say_who_has_it(fd, path, err) : err_set_errno(err, errno, "%s", path);
    int length = snprintf(pid, sizeof(pid), "%jd\n", (intmax_t)getpid());
    if (ftruncate(fd, 0) != 0)
        return err_set_errno(err, errno, "%s", path);
    /* On a full disk it is nobody's name that is missing, but the lock is held all the same. */
    if (pwrite(fd, pid, (size_t)length, 0) != length && errno != ENOSPC)
        return err_set_errno(err, errno, "%s", path);
    return 0;
}

int sqlite_lock(const char *where, int *ret_fd, struct err *err)
{
    char path[4096];
    int fd = -1;

    make_folder(where);
    int rc = open_beside(where, ".lock", path, &fd, err);
    if (rc != 0)
        return rc;
    rc = take_lock(fd, path, err);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- the reserve ---- */

int sqlite_reserve_keep(int fd, struct err *err)
{
    struct stat now;

    if (fstat(fd, &now) == 0 && now.st_size >= RESERVE_BYTES && (off_t)now.st_blocks * 512 >= RESERVE_BYTES)
        return 0;
    int errnum = posix_fallocate(fd, 0, RESERVE_BYTES);
    if (errnum == 0)
        return 0;
    sqlite_reserve_free(fd); /* half of it would only be in the way */
    return err_set_errno(err, errnum == EDQUOT ? ENOSPC : errnum, "the task store's reserve");
}

void sqlite_reserve_free(int fd)
{
    if (ftruncate(fd, 0) != 0)
        return; /* then the disk stays full, and who writes is told so */
}

int sqlite_reserve_open(const char *where, int *ret_fd, struct err *err)
{
    char path[4096];

    return open_beside(where, ".reserve", path, ret_fd, err);
}
