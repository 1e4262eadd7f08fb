"""The kind `digest`: SHA-256 and size of a text or a document."""

import hashlib
import time

import pytest

from harness.heddle import Heddle
from harness.kinds import cancel, die, refused, show, submit, succeed, wait_for_state, wait_until_final
from harness.wait import wait_until

ENDLESS = {"text": "x" * 1000, "repeat": 1000000000}


@pytest.fixture(scope="module")
def program(tmp_path_factory, upstream):
    tasks = {"allowed_hosts": [*upstream.origins[:2], "localhost"], "runners": 2}
    with Heddle(tmp_path_factory.mktemp("digest"), tasks=tasks) as heddle:
        yield heddle


def digest_of(data):
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


@pytest.mark.parametrize("text, repeat", [
    ("", 1), ("", 1000000000), ("abc", 1), ("abc", 3), ("a", 65536), ("a", 65537), ("abc", 21846),
    ("abc", 1000000), ("grün", 100000), ("x" * 70000, 1), ("xy" * 50000, 77),
], ids=lambda value: str(value)[:8])
def test_a_repeated_text(program, text, repeat):
    expected = digest_of(text.encode() * repeat if text else b"")
    assert succeed(program, "digest", {"text": text, "repeat": repeat}) == expected


def test_a_text_once(program):
    assert succeed(program, "digest", {"text": "hello"}) == digest_of(b"hello")


@pytest.mark.parametrize("body", ["", "hello"])
def test_a_document(program, upstream, body):
    url = upstream.url(body=body, size=len(body))
    assert succeed(program, "digest", {"url": url}) == digest_of(body.encode())


def test_a_large_document_up_to_what_may_be_fetched(program, upstream):
    assert succeed(program, "digest", {"url": upstream.url(size=1048576)})["size"] == 1048576
    task = die(program, "digest", {"url": upstream.url(size=1048577)})
    assert task["error"].startswith("too_large: ")


def test_a_document_that_is_not_there(program, upstream):
    assert die(program, "digest", {"url": upstream.url(status=404)})["error"].startswith("HTTP 404")
    key = upstream.url(key="digest-later", fail=2)
    assert "sha256" in succeed(program, "digest", {"url": key})


def test_redirects_lead_to_hosts_that_are_allowed(program, upstream):
    bad = upstream.url("/to", redirect_to=upstream.url(origin=2))
    assert "not among those" in die(program, "digest", {"url": bad})["error"]


@pytest.mark.parametrize("payload, field", [
    ({}, "url"), ({"text": 5}, "text"), ({"url": 5}, "url"),
    ({"text": "a", "url": "http://localhost/"}, "url"),
    ({"url": "http://localhost/", "repeat": 2}, "repeat"), ({"text": "a", "repeat": 0}, "repeat"),
    ({"text": "a", "repeat": 1.5}, "repeat"), ({"text": "a", "repeat": 1000000001}, "repeat"),
    ({"text": "a" * 2000, "repeat": 1000000000}, "repeat"), ({"url": "http://example.com/"}, "allowed_hosts"),
], ids=lambda value: repr(value)[:60])
def test_payloads_that_are_no_good(program, payload, field):
    assert field in refused(program, "digest", payload)["detail"]


@pytest.mark.parametrize("source", ["text", "url"])
def test_it_is_cancelled_while_it_runs(program, upstream, source):
    payload = ENDLESS if source == "text" else {"url": upstream.url(delay=60000)}
    task_id = submit(program, "digest", payload)
    wait_for_state(program, task_id, "running")
    began = time.monotonic()
    cancel(program, task_id)
    assert wait_until_final(program, task_id)["state"] == "cancelled"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("source", ["text", "url"])
def test_its_time_is_over(program, upstream, source):
    payload = ENDLESS if source == "text" else {"url": upstream.url(delay=60000)}
    task = die(program, "digest", payload, timeout=0.2, max_attempts=1)
    assert "timeout" in task["error"]


def test_progress_is_told(program):
    task_id = submit(program, "digest", {"text": "x" * 1000, "repeat": 20000000})
    wait_until(lambda: 0 < show(program, task_id).get("progress", 0) < 1, "it is on its way")
    cancel(program, task_id)
    wait_until_final(program, task_id)


def test_a_stop_of_the_program_does_not_wait_for_it(heddle):
    program = heddle(shutdown_timeout="100ms")
    task_id = submit(program, "digest", ENDLESS)
    wait_for_state(program, task_id, "running")
    began = time.monotonic()
    program.stop()
    assert time.monotonic() - began < 5
