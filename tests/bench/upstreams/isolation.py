"""U1, U2: an upstream that is dead, and one that is asked too much."""

import socket
from contextlib import contextmanager

from processes import BenchError
from upstreams.heddle import Heddle
from upstreams.load import Steady, loaded

HEALTHY_CLIENTS = 32
OTHER_RATE = 100
PEAK_CLIENTS = 30
OVERLOAD = 10


# U1: what others notice of a black hole

@contextmanager
def black_hole():
    """An address where a connection is neither accepted nor refused: its backlog is full for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield "{}:{}".format(*listener.getsockname())
        finally:
            for filler in fillers:
                filler.close()


def beside(bench, scale, other, statuses):
    """The healthy endpoint's figures while another one is asked at a fixed rate, most of whose answers have
    one of these statuses."""
    heddle = Heddle(bench, "black_hole.yaml.in", HEALTHY=bench.upstream.origins[0], OTHER=other)
    steady = Steady(bench, heddle.port, "/api/other", OTHER_RATE, 2 * scale.seconds + 3)
    figures, *_ = loaded(bench, heddle, "/api/healthy", HEALTHY_CLIENTS, 2 * scale.seconds)
    result = steady.result()
    others = {each: figures["count"] for each, figures in result["by_status"].items()}
    if max(others, key=others.get) not in statuses:
        raise BenchError(f"the other endpoint was answered with {others}")
    return figures


def with_black_hole(bench, scale):
    with black_hole() as address:
        return beside(bench, scale, address, (502, 503, 504))


def without_black_hole(bench, scale):
    return beside(bench, scale, bench.upstream.origins[1], (200,))


# U2: ten times what an upstream can do

def overload(bench, scale):
    heddle = Heddle(bench, "overload.yaml.in", UPSTREAM=bench.upstream.origins[0])
    peak, *_ = loaded(bench, heddle, "/api/fragile", PEAK_CLIENTS, scale.seconds)
    if peak["errors"]:
        raise BenchError(f"{peak['errors']} errors below the limit")
    peak = peak["requests/s"]
    result = Steady(bench, heddle.port, "/api/fragile", OVERLOAD * peak, scale.seconds).result()
    by_status = result["by_status"]
    if set(by_status) != {200, 503} or result["broken"] or result["unanswered"]:
        raise BenchError(f"answers other than 200 and 503: {result}")
    good, refused = by_status[200], by_status[503]
    goodput = good["count"] / result["seconds"]
    return {
        "peak/s": peak, "asked/s": result["sent"] / result["seconds"], "good/s": goodput,
        "goodput % of peak": 100 * goodput / peak, "good p99 ms": good["p99_ms"],
        "refused p50 ms": refused["p50_ms"], "refused p99 ms": refused["p99_ms"],
        "with Retry-After %": 100 * refused["retry_after"] / refused["count"],
    }
