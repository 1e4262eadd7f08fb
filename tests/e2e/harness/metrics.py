"""Readings of GET /metrics (Prometheus text 0.0.4), and the names the tests expect there."""

import re
from dataclasses import dataclass, field

# The one place that knows heddle's names.
REQUESTS = "heddle_requests_total"
REQUEST_SECONDS = "heddle_request_seconds"
IN_FLIGHT = "heddle_requests_in_flight"
GONE = "heddle_requests_gone_total"
FETCHES = "heddle_fetches_total"
FETCH_SECONDS = "heddle_fetch_seconds"
CONNECTIONS = "heddle_fetch_connections_total"
LOOKUPS = "heddle_fetch_lookups_total"
QUEUE_DEPTH = "heddle_task_queue_depth"
TASKS = "heddle_tasks"
SLEEPING = "heddle_task_sleeping"
MAILS = "heddle_mails_total"
BUILD_INFO = "heddle_build_info"
UPSTREAM_REQUESTS = "heddle_upstream_requests_total"
UPSTREAM_REFUSED = "heddle_upstream_refused_total"
UPSTREAM_DENIED = "heddle_upstream_retries_denied_total"
UPSTREAM_OPENED = "heddle_upstream_breaker_opened_total"
UPSTREAM_EJECTED = "heddle_upstream_addresses_ejected"
UPSTREAM_IN_FLIGHT = "heddle_upstream_in_flight"
UPSTREAM_QUEUED = "heddle_upstream_queued"
UPSTREAM_RETRIES = "heddle_upstream_retries_total"
UPSTREAM_HEDGES = "heddle_upstream_hedges_total"
UPSTREAM_COALESCED = "heddle_upstream_coalesced_total"

TYPES = {
    REQUESTS: "counter", REQUEST_SECONDS: "histogram", IN_FLIGHT: "gauge", GONE: "counter",
    FETCHES: "counter", FETCH_SECONDS: "histogram", CONNECTIONS: "counter",
    QUEUE_DEPTH: "gauge", TASKS: "gauge", SLEEPING: "gauge", MAILS: "counter", BUILD_INFO: "gauge",
}

# Values of the label `route`.
ROUTE_FAN_OUT = "/concurrent_requests/"
ROUTE_SUBMIT = "/start_background_task/"
ROUTE_TASK = "/tasks/{id}"
ROUTE_TASKS = "/tasks"
ROUTE_LIVE = "/health/live"
ROUTE_METRICS = "/metrics"

_NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = rf'({_NAME})="((?:[^"\\\n]|\\.)*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


@dataclass
class Family:
    kind: str
    help: str
    samples: list = field(default_factory=list)  # (name, labels, value)


class Metrics:
    """One scrape, taken apart strictly: what is not in the format fails the test."""

    def __init__(self, text):
        self.families = {}
        assert text.endswith("\n")
        helps, family, name = {}, None, None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                _, _, name, text_of_help = line.split(" ", 3)
                helps[name] = text_of_help
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name in helps and name not in self.families, line
                family = self.families[name] = Family(kind, helps[name])
            else:
                self._add_sample(name, family, line)

    @staticmethod
    def _add_sample(family_name, family, line):
        match = _SAMPLE.fullmatch(line)
        assert match, f"not a sample: {line}"
        name, labels = match[1], dict(re.findall(_LABEL, match[2] or ""))
        allowed = [family_name + suffix for suffix in _SUFFIXES.get(family.kind, ("",))]
        assert name in allowed, f"{name} stands below TYPE {family_name}"
        assert not any(same[:2] == (name, labels) for same in family.samples), f"twice: {line}"
        family.samples.append((name, labels, float(match[match.lastindex])))

    def samples(self, name, **labels):
        """[(labels, value)] of all samples of that name with these labels, and perhaps others."""
        family = self.families.get(name) or self.families.get(re.sub("_(bucket|sum|count)$", "", name))
        assert family, f"no metric {name}"
        return [(got, value) for got_name, got, value in family.samples
                if got_name == name and labels.items() <= got.items()]

    def value(self, name, **labels):
        """The sum of those samples; 0 when there is none yet."""
        return sum(value for _, value in self.samples(name, **labels))
