"""What one run gave, and what is derived from it."""

from dataclasses import asdict, dataclass, fields
from statistics import median


@dataclass(frozen=True)
class Run:
    """`program` is the contender's own process tree; the total has nginx in front of it too."""
    workload: str
    contender: str
    requests_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    errors: int
    cpu_us_per_request: float | None
    cpu_us_per_request_program: float | None
    cpu_us_per_fetch: float | None
    cpu_us_per_fetch_program: float | None
    rss_mib: float
    rss_mib_program: float
    kib_per_fetch: float | None
    kib_per_fetch_program: float | None
    upstream_cores: float
    foreign_cores: float
    fetches: int
    completed: int

    def as_dict(self):
        return asdict(self)


def make_run(workload, contender, figures, fetches, meter):
    """Work out a Run from wrk's figures, the upstream's count and the meter's readings."""
    program = contender.name

    def total(readings):
        return sum(value for name, value in readings.items() if name != "upstream")

    def per(amount, count):
        return amount / count if count else None

    in_flight = workload.in_flight if workload.weighs_fetches else 0
    cpu, idle, peak, completed = meter.cpu, meter.rss_idle, meter.rss_peak, figures["completed"]
    return Run(
        workload=workload.name,
        contender=contender.name,
        requests_per_s=completed / figures["seconds"],
        p50_ms=figures["p50_ms"] if completed else None,
        p99_ms=figures["p99_ms"] if completed else None,
        errors=sum(figures["errors"].values()),
        cpu_us_per_request=per(1e6 * total(cpu), completed),
        cpu_us_per_request_program=per(1e6 * cpu[program], completed),
        cpu_us_per_fetch=per(1e6 * total(cpu), fetches),
        cpu_us_per_fetch_program=per(1e6 * cpu[program], fetches),
        rss_mib=total(peak) / 2**20,
        rss_mib_program=peak[program] / 2**20,
        kib_per_fetch=per((total(peak) - total(idle)) / 1024, in_flight),
        kib_per_fetch_program=per((peak[program] - idle[program]) / 1024, in_flight),
        upstream_cores=cpu["upstream"] / figures["seconds"],
        foreign_cores=meter.foreign_cpu / figures["seconds"],
        fetches=fetches,
        completed=completed,
    )


def median_of(runs):
    """The run whose every figure is the median of that figure in `runs`; of errors, the worst."""
    def middle(name):
        values = [getattr(run, name) for run in runs]
        if None in values:
            return None
        if isinstance(values[0], str):
            return values[0]
        return max(values) if name == "errors" else median(values)
    return Run(**{field.name: middle(field.name) for field in fields(Run)})
