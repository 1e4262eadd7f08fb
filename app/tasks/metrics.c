#include "tasks/metrics.h"

#include "tasks/tasks_int.h"

#define ROW(kind) #kind,
static const char *const kind_names[] = {TASK_KINDS(ROW) "other"};
static const char *const reason_names[] = {
    [TASK_REJECTED_FULL] = "full",
    [TASK_REJECTED_DISK_FULL] = "disk_full",
    [TASK_REJECTED_STOPPING] = "stopping",
    [TASK_REJECTED_FAILED] = "failed",
};

#define BY_KIND                                                                                              \
    {                                                                                                        \
        "kind", kind_names, ARRAY_LEN(kind_names)                                                            \
    }
#define BY_STATE(label)                                                                                      \
    {                                                                                                        \
        label, task_state_names, TASK_STATE_COUNT                                                            \
    }

struct metric tasks_metrics[] = {
    [TASK_METRIC_TASKS] = {.name = "heddle_tasks",
                           .type = METRIC_GAUGE,
                           .help = "tasks in the store by state; finished ones as far as they are kept",
                           .labels = {BY_STATE("state")}},
    [TASK_METRIC_SUBMITTED] = {.name = "heddle_tasks_submitted_total",
                               .type = METRIC_COUNTER,
                               .help = "tasks accepted",
                               .labels = {BY_KIND}},
    [TASK_METRIC_REJECTED] =
        {.name = "heddle_tasks_rejected_total",
         .type = METRIC_COUNTER,
         .help =
             "tasks refused: too many unfinished ones, no room on the disk, stopping, the store has failed",
         .labels = {{"reason", reason_names, ARRAY_LEN(reason_names)}}},
    [TASK_METRIC_FINISHED] = {.name = "heddle_tasks_finished_total",
                              .type = METRIC_COUNTER,
                              .help = "tasks that ended, by the state they ended in",
                              .labels = {BY_KIND, BY_STATE("outcome")}},
    [TASK_METRIC_RETRIED] = {.name = "heddle_tasks_retried_total",
                             .type = METRIC_COUNTER,
                             .help = "attempts that failed and will be tried again",
                             .labels = {BY_KIND}},
    [TASK_METRIC_QUEUE_DEPTH] = {.name = "heddle_task_queue_depth",
                                 .type = METRIC_GAUGE,
                                 .help = "tasks that could start and wait for their turn"},
    [TASK_METRIC_SLEEPING] = {.name = "heddle_task_sleeping",
                              .type = METRIC_GAUGE,
                              .help = "tasks that wait for a time and hold no thread"},
    [TASK_METRIC_RUN_SECONDS] = {.name = "heddle_task_run_seconds",
                                 .type = METRIC_HISTOGRAM,
                                 .help = "from a task's start to its end",
                                 .labels = {BY_KIND}},
    [TASK_METRIC_WAIT_SECONDS] = {.name = "heddle_task_wait_seconds",
                                  .type = METRIC_HISTOGRAM,
                                  .help = "from a task's acceptance to its start"},
    [TASK_METRIC_FAULTS] = {.name = "heddle_task_faults_total",
                            .type = METRIC_COUNTER,
                            .help = "tasks that ended by a bug in their kind: a crash or a broken contract"},
    [TASK_METRIC_INTERRUPTED] = {.name = "heddle_tasks_interrupted_total",
                                 .type = METRIC_COUNTER,
                                 .help = "tasks that ran when a process before this one ended"},
    [TASK_METRIC_COMMIT_SECONDS] = {.name = "heddle_task_commit_seconds",
                                    .type = METRIC_HISTOGRAM,
                                    .help = "one transaction of the task store with its sync to the disk"},
    [TASK_METRIC_EVENTS] = {.name = "heddle_task_events_total",
                            .type = METRIC_COUNTER,
                            .help = "changes of tasks that have been committed"},
    [TASK_METRIC_WATCHERS] = {.name = "heddle_task_watchers",
                              .type = METRIC_GAUGE,
                              .help = "event listeners, and requests that wait for a task's end"},
};

const size_t tasks_metrics_count = ARRAY_LEN(tasks_metrics);

size_t task_metric_kind(const struct task_kind *kind)
{
    size_t i = 0;

    while (task_kinds[i] && task_kinds[i] != kind)
        i++;
    return i; /* "other" behind the last */
}
