"""U7 to U10: the fan-out workloads, with policies, over TLS, with answers that are shared."""

from dataclasses import dataclass

from contenders import start_lua
from processes import BenchError, Unavailable
from upstream import check_answer
from upstreams.heddle import Heddle
from upstreams.load import loaded
from upstreams.origin import Origins
from workloads import WORKLOADS

SPARE_DESCRIPTORS = 500
PATH = "/concurrent_requests/"
UPSTREAM = '  - {{name: origin{number}, base_url: "{base}", {settings}}}'
POLICIES = "max_in_flight: 4000, max_queue: 4000"  # breaker and retries are on by themselves
NO_POLICIES = "max_in_flight: 0, breaker: {enabled: false}, retry: {enabled: false}"
COALESCING = POLICIES + ", coalesce: true"
BY_NAME = {workload.name: workload for workload in WORKLOADS}


@dataclass
class Lua:
    port: int
    processes: dict


class MockOrigins:
    """The mock upstream, as the fan-out workloads use it."""

    def __init__(self, bench, delay_ms):
        self.upstream, self.delay_ms = bench.upstream, delay_ms

    def urls(self):
        return self.upstream.urls(self.delay_ms)

    def bodies(self):
        return self.upstream.bodies(self.delay_ms)

    def requests(self):
        return self.upstream.requests()


def start_heddle(bench, urls, settings):
    bases = [url[:url.index("/", url.index("//") + 2)] for url in urls]
    return Heddle(bench, "fan_out.yaml.in", URLS="\n".join(f'    - "{url}"' for url in urls),
                  UPSTREAMS="\n".join(UPSTREAM.format(number=number, base=base, settings=settings)
                                      for number, base in enumerate(bases)))


def measure(bench, scale, server, origins, workload, shares=False):
    """Prove that the answer is right, load, and prove that each answer has made its fetches, unless they are
    shared."""
    if (needed := workload.clients + workload.in_flight + SPARE_DESCRIPTORS) > bench.descriptors:
        raise Unavailable(f"needs {needed} descriptors, has {bench.descriptors}")
    check_answer(f"http://127.0.0.1:{server.port}{PATH}", origins.bodies(), workload.delay_ms)
    figures, completed, fetches = loaded(bench, server, PATH, workload.clients, scale.seconds,
                                         origins.requests)
    if fetches < workload.fetches * completed and not shares:
        raise BenchError(f"{completed} answers made only {fetches} fetches")
    if shares:
        figures["fetches of 10"] = fetches / completed
    return figures


def heddle(name, settings, shares=False):
    """Over plain HTTP."""
    def run(bench, scale):
        workload = BY_NAME[name]
        origins = MockOrigins(bench, workload.delay_ms)
        server = start_heddle(bench, origins.urls(), settings)
        return measure(bench, scale, server, origins, workload, shares)
    return run


def heddle_tls(name, http2):
    def run(bench, scale):
        workload = BY_NAME[name]
        origins = Origins(bench, workload.delay_ms)
        settings = f"{POLICIES}, http2: {http2}, tls: {{ca_file: {origins.certificate}}}"
        server = start_heddle(bench, origins.urls(), settings)
        return measure(bench, scale, server, origins, workload)
    return run


def lua(name):
    def run(bench, scale):
        workload = BY_NAME[name]
        origins = MockOrigins(bench, workload.delay_ms)
        return measure(bench, scale, Lua(*start_lua(bench, origins.urls())), origins, workload)
    return run


def lua_tls(name):
    def run(bench, scale):
        workload = BY_NAME[name]
        origins = Origins(bench, workload.delay_ms)
        server = Lua(*start_lua(bench, origins.urls(), origins.certificate))
        return measure(bench, scale, server, origins, workload)
    return run
