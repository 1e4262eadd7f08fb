"""U3, U4: more requests than were asked for, where they help and where they must not."""

import json
import time
import urllib.request

from processes import BenchError
from upstream import OPENER, PROCESSES, get
from upstreams.heddle import Heddle
from upstreams.load import Steady

PARTS = 8
HEDGED_RATE = 200
LEARN_SECONDS = 2  # how long answers take
SLOW = "delay: '20', slow_every: '100', slow_delay: '500', size: '256'"
PART = "      - {{name: p{number}, upstream: {upstream}, path: /p, required: true, query: {{{query}}}}}"
OUTAGE_RATE = 100
OUTAGE_TIMES = 12  # as long as the load of other workloads: 60 s
OUTAGE_TIMES_QUICK = 3


def eight_parts(upstream, query):
    return "\n".join(PART.format(number=number, upstream=upstream, query=query) for number in range(PARTS))


# U3: stragglers

def stragglers(hedge):
    def measure(bench, scale):
        origin = bench.upstream.origins[0]
        heddle = Heddle(bench, "hedging.yaml.in", UPSTREAM=origin, HEDGE=hedge,
                        PARTS=eight_parts("replicas", SLOW))
        bench.upstream.wait_until_idle()
        before = bench.upstream.requests()
        learnt = Steady(bench, heddle.port, "/api/eight", HEDGED_RATE, LEARN_SECONDS).result()
        result = Steady(bench, heddle.port, "/api/eight", HEDGED_RATE, 2 * scale.seconds).result()
        bench.upstream.wait_until_idle()
        made, asked = bench.upstream.requests() - before, PARTS * (learnt["sent"] + result["sent"])
        if set(result["by_status"]) != {200} or made < asked:
            raise BenchError(f"{made} requests for {asked} parts: {result}")
        good = result["by_status"][200]
        return {"p50 ms": good["p50_ms"], "p99 ms": good["p99_ms"],
                "extra requests %": 100 * (made / asked - 1)}
    return measure


# U4: an outage

def set_mode(upstream, mode):
    for origin in upstream.origins[:PROCESSES]:
        request = urllib.request.Request(f"http://{origin}/_mode?{mode}", method="POST")
        with OPENER.open(request, timeout=10):
            pass


def counts(upstream, key):
    """How many requests with this key there were, by the three names of the upstream."""
    return {name: sum(json.loads(get(f"http://{origin}/_count?key={name}-{key}")[1])["count"]
                      for origin in upstream.origins[:PROCESSES])
            for name in ("retried", "guarded", "bare")}


def ask_all(bench, heddle, seconds):
    loads = {name: Steady(bench, heddle.port, f"/api/{name}", OUTAGE_RATE, seconds)
             for name in ("retried", "guarded", "bare")}
    return {name: load.result() for name, load in loads.items()}


def outage(bench, scale):
    """Healthy first, so that there are recent requests; then nothing but 503."""
    upstream, key = bench.upstream, time.monotonic_ns()
    seconds = scale.seconds * (OUTAGE_TIMES if scale.part == 1 else OUTAGE_TIMES_QUICK)
    heddle = Heddle(bench, "outage.yaml.in", RETRIED=upstream.origins[0], GUARDED=upstream.origins[1],
                    BARE=upstream.origins[2], KEY=key)
    healthy = ask_all(bench, heddle, scale.seconds)
    if any(set(result["by_status"]) != {200} for result in healthy.values()):
        raise BenchError(f"errors before the outage: {healthy}")
    before = counts(upstream, key)
    set_mode(upstream, "status=503")
    try:
        sent = {name: result["sent"] for name, result in ask_all(bench, heddle, seconds).items()}
        upstream.wait_until_idle()
        after = counts(upstream, key)
    finally:
        set_mode(upstream, "")
    reached = {name: (after[name] - before[name]) / sent[name] for name in sent}
    return {"seconds": seconds, "requests": sent["retried"], "reached, times": reached["retried"],
            "allowed, times": 1.2 + 3 * seconds / sent["retried"],
            "with the breaker, times": reached["guarded"], "without retries, times": reached["bare"]}
