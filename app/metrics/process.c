/* The rows every Prometheus client library has about its own process, under their usual names, and the build.
 */
#include "metrics/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef HEDDLE_VERSION
#error "HEDDLE_VERSION comes from the Makefile"
#endif

static double resident_memory_bytes(void)
{
    unsigned long total;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (!file)
        return 0;
    if (fscanf(file, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory's own descriptor */

    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static double max_fds(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    return (double)limit.rlim_cur;
}

static double start_time_seconds;

__attribute__((constructor)) static void remember_start(void)
{
    start_time_seconds = (double)time(NULL);
}

static double start_time(void)
{
    return start_time_seconds;
}

static double one(void)
{
    return 1;
}

static const char *const versions[] = {HEDDLE_VERSION};

struct metric metrics_process[] = {
    {.name = "heddle_build_info",
     .type = METRIC_GAUGE,
     .help = "always 1; the label says which version runs",
     .labels = {{"version", versions, ARRAY_LEN(versions)}},
     .read = one},
    {.name = "process_resident_memory_bytes",
     .type = METRIC_GAUGE,
     .help = "resident memory",
     .read = resident_memory_bytes},
    {.name = "process_cpu_seconds_total",
     .type = METRIC_COUNTER,
     .help = "user and system CPU time",
     .read = cpu_seconds},
    {.name = "process_open_fds", .type = METRIC_GAUGE, .help = "open descriptors", .read = open_fds},
    {.name = "process_max_fds", .type = METRIC_GAUGE, .help = "limit of descriptors", .read = max_fds},
    {.name = "process_start_time_seconds",
     .type = METRIC_GAUGE,
     .help = "start of the process, seconds since 1970",
     .read = start_time},
};
const size_t metrics_process_count = ARRAY_LEN(metrics_process);
