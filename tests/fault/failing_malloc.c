/* failing_malloc - lets allocations of the program fail, as often and when a test says so.
 *
 * A library for LD_PRELOAD. HEDDLE_FAILING_MALLOC names a file of one struct plan, which both sides map: the
 * test writes `skip` and `fail`, this library counts them down. Only calls that come out of the program's own
 * code count, not those of the libraries it uses: libfcgi ends the process when it gets no memory. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
    atomic_long skip;   /* so many succeed first; negative: nothing fails */
    atomic_long fail;   /* then so many fail; after the last of them nothing does */
    atomic_long failed; /* how many did */
};

/* The function of that name behind this library: glibc's, or that of the allocator heddle is linked with. */
#define NEXT(name)                                                                                           \
    ({                                                                                                       \
        static __typeof__(&name) next;                                                                       \
        if (!next)                                                                                           \
            next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                               \
        next;                                                                                                \
    })

static struct plan nothing = {.skip = -1};
static struct plan *plan = &nothing;
static uintptr_t text_begin;
static uintptr_t text_end;

/* The first object is the program itself. */
static int find_text(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X) {
            text_begin = info->dlpi_addr + segment->p_vaddr;
            text_end = text_begin + segment->p_memsz;
        }
    }
    return 1;
}

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("HEDDLE_FAILING_MALLOC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *shared = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared == MAP_FAILED)
        abort();
    dl_iterate_phdr(find_text, NULL);
    plan = shared;
}

static bool is_to_fail(const void *caller)
{
    if ((uintptr_t)caller < text_begin || (uintptr_t)caller >= text_end || atomic_load(&plan->skip) < 0)
        return false;
    if (atomic_fetch_sub(&plan->skip, 1) > 0)
        return false;
    long left = atomic_fetch_sub(&plan->fail, 1);
    atomic_store(&plan->skip, left > 1 ? 0 : -1);
    if (left < 1)
        return false;
    atomic_fetch_add(&plan->failed, 1);
    errno = ENOMEM;
    return true;
}

#define FAIL_WHEN_TOLD()                                                                                     \
    do {                                                                                                     \
        if (is_to_fail(__builtin_return_address(0)))                                                         \
            return NULL;                                                                                     \
    } while (0)

void *malloc(size_t size)
{
    FAIL_WHEN_TOLD();
    return NEXT(malloc)(size);
}

void *calloc(size_t count, size_t size)
{
    FAIL_WHEN_TOLD();
    return NEXT(calloc)(count, size);
}

void *realloc(void *old, size_t size)
{
    FAIL_WHEN_TOLD();
    return NEXT(realloc)(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
    size_t total;

    FAIL_WHEN_TOLD();
    if (__builtin_mul_overflow(count, size, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return NEXT(realloc)(old, total);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    FAIL_WHEN_TOLD();
    return NEXT(aligned_alloc)(alignment, size);
}

char *strndup(const char *text, size_t max)
{
    FAIL_WHEN_TOLD();
    size_t size = strnlen(text, max);
    char *copy = NEXT(malloc)(size + 1);
    if (copy) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

char *strdup(const char *text)
{
    FAIL_WHEN_TOLD();
    size_t size = strlen(text) + 1;
    char *copy = NEXT(malloc)(size);
    return copy ? memcpy(copy, text, size) : NULL;
}
