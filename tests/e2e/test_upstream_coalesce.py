"""Coalescing: identical GETs in flight at the same time share one fetch."""

import pytest

from harness import metrics
from harness.endpoints import (ask_at_once, begin, endpoint, errors, finish, leave, live, part, reasons,
                               service, values, wait_for_live)
from harness.wait import wait_until

COUNT = 20


@pytest.fixture
def start(heddle, fresh_upstream):
    def start(**settings):
        both = {"coalesce": True, "timeout": "30s", "forward_headers": ["Accept-Language"],
                "retry": {"enabled": False}, **settings}
        return heddle(upstreams=[service("u", fresh_upstream.origins[0], **both)],
                      endpoints=[endpoint("/e", part("p", "u"), timeout="20s"),
                                 endpoint("/twice", part("a", "u"), part("b", "u")),
                                 endpoint("/fails", part("p", "u", query={"fail": "1", "status": None})),
                                 endpoint("/post", part("p", "u", method="POST"), method="POST")])
    return start


def test_one_fetch_for_all_who_ask_at_the_same_time(start, fresh_upstream):
    program = start()
    for reply in ask_at_once(program, "/e?delay=500&key=k", COUNT):
        assert values(reply) == {"p": {"ok": True}}
    assert fresh_upstream.count("k") == 1
    assert program.metric(metrics.UPSTREAM_COALESCED, upstream="u") == COUNT - 1


def test_those_who_come_later_get_an_answer_of_their_own(start, fresh_upstream):
    program = start()
    for _ in range(3):
        values(program.ask("GET", "/e?key=k"))
    assert fresh_upstream.count("k") == 3


def test_parts_of_one_request_share_too(start, fresh_upstream):
    program = start()
    assert values(program.ask("GET", "/twice?delay=100&key=k")) == {"a": {"ok": True}, "b": {"ok": True}}
    assert fresh_upstream.count("k") == 1


def test_off_unless_configured(start, fresh_upstream):
    program = start(coalesce=False)
    ask_at_once(program, "/e?delay=100&key=k", 5)
    assert fresh_upstream.count("k") == 5


def test_other_queries_are_other_requests(start, fresh_upstream):
    program = start()
    finish(begin(program, "/e?delay=200&key=a") + begin(program, "/e?delay=200&key=b"))
    assert (fresh_upstream.count("a"), fresh_upstream.count("b")) == (1, 1)


def test_other_forwarded_headers_are_other_requests(start, fresh_upstream):
    program = start()
    clients = []
    for number, language in enumerate(("de", "en", "de")):
        headers = {"Accept-Language": language, "X-Other": str(number)}
        clients += begin(program, "/e?delay=500&key=k", headers)
    finish(clients)
    assert sorted(r["headers"]["Accept-Language"] for r in fresh_upstream.requests("k")) == ["de", "en"]


def test_what_must_not_be_repeated_is_never_shared(start, fresh_upstream):
    program = start()
    ask_at_once(program, "/post?delay=100&key=k", 3, method="POST", body=b"{}",
                headers={"Content-Type": "application/json"})
    assert fresh_upstream.count("k") == 3


def test_a_failure_is_shared_but_does_not_stick(start, fresh_upstream):
    program = start()
    for reply in ask_at_once(program, "/fails?delay=300&key=k", 5):
        assert reasons(reply) == {"p": "http_status"}
    assert fresh_upstream.count("k") == 1
    values(program.ask("GET", "/fails?key=k"))


def wait_for_all(program, mock, count):
    wait_until(lambda: mock.count("k") == 1, "the fetch is in flight")
    wait_until(lambda: program.metric(metrics.UPSTREAM_COALESCED, upstream="u") == count - 1, "all share it")


def test_one_that_leaves_does_not_cancel_the_others(start, fresh_upstream):
    program = start()
    first, *others = begin(program, "/e?delay=1000&key=k", count=4)
    wait_for_all(program, fresh_upstream, 4)
    first.close()
    for reply in finish(others):
        values(reply)
    assert fresh_upstream.count("k") == 1
    assert fresh_upstream.stats()["aborted"] == 0


def test_when_all_have_left_it_is_cancelled(start, fresh_upstream):
    program = start()
    clients = begin(program, "/e?delay=600000&key=k", count=4)
    wait_for_all(program, fresh_upstream, 4)
    leave(clients)
    wait_until(lambda: len(fresh_upstream.gone("k")) == 1, "the upstream saw it end")
    wait_for_live(program, "u", "nothing in flight", lambda shown: shown["in_flight"] == 0)


def test_a_short_deadline_is_of_its_caller_alone(start, fresh_upstream):
    program = start()
    clients = begin(program, "/e?delay=1500&key=k", headers={"X-Request-Timeout": "0.5"})
    wait_until(lambda: fresh_upstream.count("k") == 1, "the hasty one has asked")
    clients += begin(program, "/e?delay=1500&key=k")
    hasty, patient = finish(clients)
    assert errors(hasty, 504)["p"]["reason"] == "timeout"
    values(patient)
    assert fresh_upstream.stats()["requests"] <= 2


def test_the_live_numbers(start, fresh_upstream):
    program = start()
    ask_at_once(program, "/e?delay=500&key=k", 5)
    assert live(program, "u")["coalesce"]["joined_total"] == 4
