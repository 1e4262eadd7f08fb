"""What is measured of endpoints and upstreams, what heddle is to reach, and who is measured."""

from contenders import lua_missing, without
from suite import Contender, Workload, figure_of
from upstreams import attempts, costs, endpoint, fan_outs, isolation
from upstreams import heddle as program
from workloads import Target

WORKLOADS = [
    Workload(
        "U1", "healthy endpoints beside a black hole: 3 parts of 50 ms, 32 clients",
        "Meanwhile 100 requests/s are made to an endpoint of another upstream, which accepts no connection; "
        "without: which is well."),
    Workload(
        "U2", "ten times what an upstream can do: max_in_flight 20, max_queue 20, 50 ms",
        "The peak by 30 clients, one request after the other; then ten times as many at a fixed rate, "
        "whether they are answered or not."),
    Workload(
        "U3", "1 % stragglers of 500 ms: 8 parts of 20 ms, 200 requests/s",
        "Without: no hedging. Extra requests are those that reached the upstream beyond 8 for each."),
    Workload(
        "U4", "an outage, every answer 503, 100 requests/s",
        "How many requests reach the upstream for each that is made: with retries (and no breaker), with the "
        "breaker too, as it is by default, and with neither.", once=True),
    Workload(
        "U5", "a client that leaves: 8 parts that are never answered",
        "From its close() until the upstream has seen the last of the eight connections close, by the "
        "machine's monotonic clock."),
    Workload(
        "U6", "bodies of 1 GiB, where 1 MiB is allowed",
        "The resident memory of a fresh heddle at its peak (VmHWM) over that before, five such bodies one "
        "after the other; the bomb is 1 MiB of gzip.", once=True),
    Workload("U7a", "W1 with bulkhead, breaker and retries (10 x 0 ms, 32 clients)",
             "Without: none of them."),
    Workload("U7b", "W2 with bulkhead, breaker and retries (10 x 50 ms, 64 clients)", "As U7a."),
    Workload(
        "U8", "W1 over TLS: 10 x 0 ms, 32 clients",
        "Certificates are verified; all policies that are on by default. Lua's proxy_ssl speaks HTTP/1.1 "
        "only. The upstream is one nginx for all ten origins, with a process for each core."),
    Workload("U9a", "W2 over TLS: 10 x 50 ms, 64 clients", "As U8; the delay is ngx.sleep in the upstream."),
    Workload("U9b", "W2 over TLS: 10 x 50 ms, 512 clients", "As U9a."),
    Workload("U10a", "W1 with coalescing: 10 x 0 ms, 32 clients", "Without: none."),
    Workload("U10b", "W2 with coalescing: 10 x 50 ms, 1,500 clients", "As U10a."),
    Workload(
        "U11", "an endpoint of 5 parts, one of which needs another's answer, 32 clients",
        "The upstream is nginx, answering JSON by itself. Go and Node have no nginx in front."),
]

CONTENDERS = [
    Contender("heddle", "heddle", program.missing, {
        "U1": isolation.with_black_hole, "U2": isolation.overload, "U3": attempts.stragglers("true"),
        "U4": attempts.outage, "U5": costs.cancel, "U6": costs.hostile,
        "U7a": fan_outs.heddle("W1", fan_outs.POLICIES), "U7b": fan_outs.heddle("W2a", fan_outs.POLICIES),
        "U8": fan_outs.heddle_tls("W1", "false"), "U9a": fan_outs.heddle_tls("W2a", "false"),
        "U9b": fan_outs.heddle_tls("W2b", "false"),
        "U10a": fan_outs.heddle("W1", fan_outs.COALESCING, shares=True),
        "U10b": fan_outs.heddle("W2c", fan_outs.COALESCING, shares=True),
        "U11": endpoint.endpoint(endpoint.start_heddle),
    }, may_fail=False),
    Contender("without", "heddle, without", program.missing, {
        "U1": isolation.without_black_hole, "U3": attempts.stragglers("false"),
        "U7a": fan_outs.heddle("W1", fan_outs.NO_POLICIES),
        "U7b": fan_outs.heddle("W2a", fan_outs.NO_POLICIES),
        "U10a": fan_outs.heddle("W1", fan_outs.POLICIES), "U10b": fan_outs.heddle("W2c", fan_outs.POLICIES),
    }, may_fail=False),
    Contender("http2", "heddle, HTTP/2", program.missing, {
        "U8": fan_outs.heddle_tls("W1", "true"), "U9a": fan_outs.heddle_tls("W2a", "true"),
        "U9b": fan_outs.heddle_tls("W2b", "true"),
    }, may_fail=False),
    Contender("lua", "nginx + Lua", lambda _: lua_missing(), {
        "U8": fan_outs.lua_tls("W1"), "U9a": fan_outs.lua_tls("W2a"), "U9b": fan_outs.lua_tls("W2b"),
        "U10a": fan_outs.lua("W1"), "U10b": fan_outs.lua("W2c"),
    }),
    Contender("go", "Go net/http", lambda _: without("go"), {
        "U11": endpoint.endpoint(endpoint.start_go),
    }),
    Contender("node", "Node http", lambda _: without("node"), {
        "U11": endpoint.endpoint(endpoint.start_node),
    }),
]


def ratio(workload, figure, one, other):
    return lambda cell: cell(workload, one)[figure] / cell(workload, other)[figure]


def of_requests(workload, one, other):
    return ratio(workload, "requests/s", one, other)


def of_allowed(cell):
    figures = cell("U4", "heddle")
    return figures["reached, times"] / figures["allowed, times"]


TARGETS = [
    Target("U1", "p99, by that without", ratio("U1", "p99 ms", "heddle", "without"), most=1.05),
    Target("U2", "goodput % of peak", figure_of("U2", "goodput % of peak"), least=90),
    Target("U2", "refused p99 ms", figure_of("U2", "refused p99 ms"), most=5),
    Target("U2", "refused with Retry-After %", figure_of("U2", "with Retry-After %"), least=100),
    Target("U3", "p99 ms", figure_of("U3", "p99 ms"), most=60),
    Target("U3", "extra requests %", figure_of("U3", "extra requests %"), most=5),
    Target("U4", "requests reaching it, by those allowed", of_allowed, most=1),
    Target("U5", "p99 ms", figure_of("U5", "p99 ms"), most=10),
    Target("U6", "MiB beyond the cap", figure_of("U6", "beyond the cap, MiB"), most=1),
    Target("U7a", "requests/s, of those without", of_requests("U7a", "heddle", "without"), least=0.95),
    Target("U7b", "requests/s, of those without", of_requests("U7b", "heddle", "without"), least=0.95),
    Target("U8", "requests/s over HTTP/1.1, of Lua", of_requests("U8", "heddle", "lua"), least=1),
    Target("U8", "requests/s over HTTP/2, of Lua", of_requests("U8", "http2", "lua"), least=1),
    Target("U9a", "requests/s over HTTP/1.1, of Lua", of_requests("U9a", "heddle", "lua"), least=1),
    Target("U9a", "requests/s over HTTP/2, of Lua", of_requests("U9a", "http2", "lua"), least=1),
    Target("U9b", "requests/s over HTTP/1.1, of Lua", of_requests("U9b", "heddle", "lua"), least=1),
    Target("U9b", "requests/s over HTTP/2, of Lua", of_requests("U9b", "http2", "lua"), least=1),
    Target("U10a", "requests/s, of Lua", of_requests("U10a", "heddle", "lua"), least=2),
    Target("U10b", "requests/s, of Lua", of_requests("U10b", "heddle", "lua"), least=2),
    Target("U11", "requests/s, of Go", of_requests("U11", "heddle", "go"), least=1),
    Target("U11", "requests/s, of Node", of_requests("U11", "heddle", "node"), least=1),
]
