"""What is measured of tasks, what heddle is to reach, and who is measured. A contender that has no measure
for a workload does not take part in it: what it is, it cannot show there."""

from suite import Contender, Workload, figure_of
from tasks import heddle, rivals
from workloads import Target

WORKLOADS = [
    Workload(
        "T1", "one task a POST, 64 clients, tasks running meanwhile",
        "heddle through nginx, the others directly; on disk before each 202. CPU and memory are of all "
        "that the contender needs: server, workers, database, nginx."),
    Workload("T2", "the same from one client at a time", "As T1."),
    Workload("T3", "batches of 1,000, one after the other, nothing runs",
             "heddle over HTTP through nginx, the others by their own library."),
    Workload("T3b", "batches of 1,000, four at a time, nothing runs", "As T3."),
    Workload(
        "T4", "submit to the end of 100,000 no-op tasks, durable",
        "From the first batch of 1,000 (one after the other) until all have ended, workers running from the "
        "beginning. Slow ones get fewer tasks."),
    Workload(
        "T5", "accepted to started, idle system",
        "From sending the task until its start is seen: heddle's by the event `running` on GET "
        "/tasks/events, through nginx both ways, in the thread that sent the POST; the others' when the "
        "handler is called, in the enqueueing process or by the machine's monotonic clock. `mean inside` is "
        "heddle_task_wait_seconds."),
    Workload(
        "T6", "SIGKILL with 1,000 tasks running",
        "Seconds from the restart (exec) until all of them run again. What is killed is what holds the "
        "tasks: heddle, beanstalkd, the others' worker. -: not within the time given (--patience).",
        once=True),
    Workload("T7", "`digest` of 256 MiB of text: two tasks at once against one after the other",
             "Medians of some pairs, in seconds. Python: two threads that hash pieces of 64 bytes."),
    Workload("T8", "a flood of 100,000 tasks of one tenant, and one task of another",
             "POST to the answer that it has succeeded (Prefer: wait), through nginx."),
    Workload(
        "T9", "10 million waiting tasks",
        "Memory of heddle over the empty process; p99 of accepted to started as in T5, with none and all of "
        "them waiting (after a restart); then the paused queue is resumed.", once=True, asked=True),
    Workload("T10", "5,000 listeners on GET /tasks/events",
             "Memory of heddle; from a POST until each has the event, in a Python client.", once=True),
]

CONTENDERS = [
    Contender("heddle", "heddle", heddle.missing, heddle.MEASURES, may_fail=False),
    *(Contender(*rival) for rival in rivals.RIVALS),
]

TARGETS = [
    Target("T1", "tasks/s", figure_of("T1", "tasks/s"), least=12_000),
    Target("T1", "p99 ms", figure_of("T1", "p99 ms"), most=10),
    Target("T2", "tasks/s", figure_of("T2", "tasks/s"), least=2_000),
    Target("T3", "tasks/s", figure_of("T3", "tasks/s"), least=60_000),
    Target("T4", "tasks/s", figure_of("T4", "tasks/s"), least=35_000),
    Target("T5", "p50 ms", figure_of("T5", "p50 ms"), most=0.7),
    Target("T5", "p99 ms", figure_of("T5", "p99 ms"), most=4),
    Target("T6", "seconds", figure_of("T6", "seconds"), most=0.5),
    Target("T7", "times as fast", figure_of("T7", "times as fast"), least=1.9),
    Target("T8", "delay of the other tenant, max ms", figure_of("T8", "delay max ms"), most=50),
    Target("T9", "MiB over the empty process", figure_of("T9", "MiB over empty"), most=64),
    Target("T9", "p99 of the start, by that with none", figure_of("T9", "times"), most=2),
]
