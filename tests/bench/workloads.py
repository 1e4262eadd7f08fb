"""What is measured, and what heddle is to reach."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    clients: int
    delay_ms: int = 0
    path: str = "/concurrent_requests/"
    fetches: int = 10
    weighs_fetches: bool = False  # is memory per fetch worth showing: are nearly all of them in flight?

    @property
    def fans_out(self):
        return self.fetches > 0

    @property
    def in_flight(self):
        return self.clients * self.fetches

    def seconds(self, least):
        """Slow answers need a longer run: the first ones arrive only after the delay."""
        return least + 5 * self.delay_ms // 1000


WORKLOADS = [
    Workload("W0", "no fetch", 32, path="/health/live", fetches=0),
    Workload("W1", "10 x 0 ms", 32),
    Workload("W2a", "10 x 50 ms", 64, 50),
    Workload("W2b", "10 x 50 ms", 512, 50),
    Workload("W2c", "10 x 50 ms", 1500, 50),
    Workload("W3", "10 x 1 s", 1500, 1000, weighs_fetches=True),
]

# CPU per fetch at these must not grow with what is in flight.
SAME_COST = ["W2a", "W2b", "W2c"]


@dataclass(frozen=True)
class Target:
    """A bound on `value(cell)`, where `cell(workload, contender)` is the median of that contender's runs."""
    workload: str
    what: str
    value: object
    least: float = None
    most: float = None

    def met(self, value):
        return value >= self.least if self.most is None else value <= self.most

    @property
    def bound(self):
        return f"<= {self.most:g}" if self.least is None else f">= {self.least:g}"


def throughput_against(workload, rival):
    return lambda cell: cell(workload, "heddle").requests_per_s / cell(workload, rival).requests_per_s


def own(workload, field):
    return lambda cell: getattr(cell(workload, "heddle"), field)


def spread_of_cost(cell):
    costs = [cell(workload, "heddle").cpu_us_per_fetch for workload in SAME_COST]
    return max(costs) / min(costs)


TARGETS = [
    Target("W0", "requests/s, of `return 200`", throughput_against("W0", "return200"), least=0.6),
    Target("W1", "requests/s, of Lua", throughput_against("W1", "lua"), least=0.75),
    Target("W1", "CPU per fetch, heddle alone, us", own("W1", "cpu_us_per_fetch_program"), most=27),
    Target("W1", "CPU per fetch, with nginx in front, us", own("W1", "cpu_us_per_fetch"), most=27),
    Target("W2a", "p50, ms", own("W2a", "p50_ms"), most=52),
    Target("W2a", "p99, ms", own("W2a", "p99_ms"), most=60),
    Target("W2b", "requests/s, of Lua", throughput_against("W2b", "lua"), least=0.9),
    Target("W2a-c", "CPU per fetch, dearest by cheapest", spread_of_cost, most=1.3),
    Target("W3", "requests/s, of Lua", throughput_against("W3", "lua"), least=0.9),
    Target("W3", "p50, ms", own("W3", "p50_ms"), most=1100),
    Target("W3", "errors", own("W3", "errors"), most=0),
    Target("W3", "KiB per fetch in flight, heddle alone", own("W3", "kib_per_fetch_program"), most=20),
]
