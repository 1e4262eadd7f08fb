"""The kinds `http` and `callback`: what is sent, what counts as success, what is tried again."""

import base64
import hashlib
import hmac
import json
import re
import time

import pytest

from harness.heddle import Heddle
from harness.kinds import (Receiver, cancel, die, refused, run, submit, succeed, wait_for_state,
                           wait_until_final)
from harness.wait import wait_until

SECRET_KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(SECRET_KEY).decode()


@pytest.fixture(scope="module")
def module_receiver():
    with Receiver() as server:
        yield server


@pytest.fixture
def receiver(module_receiver):
    module_receiver.forget()
    return module_receiver


@pytest.fixture(scope="module")
def program(tmp_path_factory, upstream, module_receiver):
    hosts = [*upstream.origins[:2], module_receiver.host, "localhost"]
    tasks = {"allowed_hosts": hosts, "webhook_secret": SECRET}
    with Heddle(tmp_path_factory.mktemp("http"), tasks=tasks) as heddle:
        yield heddle


# ---- what is sent ----

def test_a_get_brings_the_answer(program, upstream):
    result = succeed(program, "http", {"url": upstream.url(body="hello", type="text/plain")})
    assert result.keys() == {"status", "content_type", "body", "elapsed"}
    assert result["status"] == 200
    assert result["content_type"] == "text/plain"
    assert result["body"] == "hello"
    assert 0 <= result["elapsed"] < 20


def test_json_comes_as_json(program, upstream):
    url = upstream.url(body='{"a": [1, 2.5, "ü", null]}', type="application/json; charset=utf-8")
    assert succeed(program, "http", {"url": url})["body"] == {"a": [1, 2.5, "ü", None]}


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "[" * 100 + "]" * 100, '"\\u0000"', ""],
                         ids=["cut", "twice", "deep", "nul", "empty"])
def test_what_is_no_good_json_comes_as_text(program, upstream, text):
    url = upstream.url(body=text, type="application/json", size=len(text))
    assert succeed(program, "http", {"url": url})["body"] == text


@pytest.mark.parametrize("value", [12, "text", True, None, -2.5])
def test_json_that_is_one_value(program, upstream, value):
    url = upstream.url(body=json.dumps(value), type="application/json")
    assert succeed(program, "http", {"url": url})["body"] == value


def test_text_of_any_charset_and_of_none(program, upstream):
    url = upstream.url(body="grün".encode("latin-1"), type="text/plain; charset=iso-8859-1")
    assert succeed(program, "http", {"url": url})["body"] == "grün"
    assert succeed(program, "http", {"url": upstream.url(body=b"a\xffb\x00")})["body"].startswith("a\ufffdb")


def test_method_headers_and_body_arrive(program, receiver):
    payload = {"url": receiver.url("/a?b=c"), "method": "PUT", "body": "grün",
               "headers": {"X-One": "1", "Accept": "text/x", "X-Empty": ""}}
    task_id = submit(program, "http", payload)
    assert wait_until_final(program, task_id)["state"] == "succeeded"
    [got] = receiver.received
    assert (got.method, got.path, got.body) == ("PUT", "/a?b=c", "grün".encode())
    assert got.headers["x-one"] == "1" and got.headers["accept"] == "text/x" and got.headers["x-empty"] == ""
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["idempotency-key"] == task_id
    assert got.headers["x-heddle-attempt"] == "1"
    assert re.fullmatch("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01", got.headers["traceparent"])


@pytest.mark.parametrize("body", [{"a": [1, None]}, [], 5, None, False], ids=repr)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_any_other_body_is_sent_as_json(program, receiver, method, body):
    succeed(program, "http", {"url": receiver.url(), "method": method, "body": body})
    [got] = receiver.received
    assert got.method == method and json.loads(got.body) == body
    assert got.headers["content-type"] == "application/json"


def test_headers_of_the_payload_come_first(program, receiver):
    own = {"idempotency-key": "mine", "Content-Type": "application/x-own", "Traceparent": "none"}
    succeed(program, "http", {"url": receiver.url(), "method": "POST", "body": {}, "headers": own})
    [got] = receiver.received
    assert got.headers["idempotency-key"] == "mine"
    assert got.headers["content-type"] == "application/x-own"
    assert got.headers["traceparent"] == "none"


def test_a_head_has_no_body(program, receiver):
    assert succeed(program, "http", {"url": receiver.url(), "method": "HEAD"})["body"] == ""
    assert receiver.received[0].method == "HEAD"


def test_the_trace_goes_on_with_a_span_of_its_own(program, receiver):
    parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-00"
    run(program, "http", {"url": receiver.url()}, headers={"traceparent": parent})
    sent = receiver.received[0].headers["traceparent"]
    assert sent.startswith("00-" + "ab" * 16 + "-") and sent.endswith("-00") and sent != parent


# ---- what is tried again ----

@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 599])
def test_what_may_pass_is_tried_again(program, receiver, status):
    receiver.answers = [(status, {}, b"later")] * 2
    task = run(program, "http", {"url": receiver.url()})
    assert task["state"] == "succeeded", task
    assert [got.headers["x-heddle-attempt"] for got in receiver.received] == ["1", "2", "3"]
    assert len({got.headers["idempotency-key"] for got in receiver.received}) == 1
    assert len({got.headers["traceparent"] for got in receiver.received}) == 3


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 409, 410, 422])
def test_what_will_not_pass_is_final(program, receiver, status):
    receiver.answers = [(status, {}, b"")] * 5
    task = die(program, "http", {"url": receiver.url()})
    assert len(receiver.received) == 1
    assert task["error"].startswith(f"HTTP {status}")


def test_the_error_has_the_beginning_of_the_body(program, receiver):
    receiver.answers = [(404, {"Content-Type": "text/plain"}, b"\n no\tsuch\x01thing\n" + b"x" * 1000)]
    error = die(program, "http", {"url": receiver.url()})["error"]
    assert error.startswith("HTTP 404 Not Found: no such\ufffdthing xxx")
    assert 180 <= error.count("x") <= 200


def test_retry_after_is_honoured(program, receiver):
    receiver.answers = [(429, {"Retry-After": "1"}, b"")]
    began = time.monotonic()
    assert run(program, "http", {"url": receiver.url()})["state"] == "succeeded"
    assert time.monotonic() - began >= 0.9
    assert len(receiver.received) == 2


def test_retry_after_is_a_day_at_most(program, receiver):
    receiver.answers = [(503, {"Retry-After": "99999999"}, b"")]
    task = wait_for_state(program, submit(program, "http", {"url": receiver.url()}), "scheduled")
    run_at = time.strptime(task["run_at"][:19], "%Y-%m-%dT%H:%M:%S")
    assert 86000 < time.mktime(run_at) - time.mktime(time.gmtime()) <= 86410


def test_who_does_not_answer_is_asked_again_and_again(program, upstream):
    task = die(program, "http", {"url": upstream.url(reset=1)}, max_attempts=3)
    assert task["attempts"] == 3
    assert task["error"].startswith("protocol: ")


def test_a_time_out_of_its_own(program, upstream):
    url = upstream.url(delay=60000)
    task = die(program, "http", {"url": url, "timeout": 0.05}, max_attempts=1)
    assert task["error"].startswith("timeout: ")


def test_a_body_that_is_larger_than_a_result_is_cut(heddle, upstream):
    program = heddle(tasks={"allowed_hosts": [upstream.origins[0]], "max_result": "4KiB"})
    result = succeed(program, "http", {"url": upstream.url(size=100000)})
    assert result["truncated"] is True
    assert 2000 < len(result["body"]) <= 2048
    result = succeed(program, "http", {"url": upstream.url(body=b"\x01" * 2000)})
    assert result["truncated"] is True


def test_a_body_that_is_too_large_for_us_is_final(heddle, upstream):
    program = heddle(tasks={"allowed_hosts": [upstream.origins[0]]}, fetch={"max_response": "10KiB"})
    task = die(program, "http", {"url": upstream.url(size=100000)})
    assert task["error"].startswith("too_large: ")


# ---- hosts ----

@pytest.mark.parametrize("url", ["http://example.com/", "http://127.0.0.1:1/", "https://localhost:81/"])
def test_hosts_that_are_not_allowed(program, url):
    problem = refused(program, "http", {"url": url})
    assert "tasks.allowed_hosts" in problem["detail"]
    assert url.split("/")[2].split(":")[0] in problem["detail"]


def test_no_host_is_allowed_unless_configured(heddle, upstream):
    refused(heddle(), "http", {"url": upstream.url()})


def test_redirects_are_followed_to_hosts_that_are_allowed(program, upstream):
    good = upstream.url("/to", redirect_to=upstream.url(origin=1, body="there"))
    assert succeed(program, "http", {"url": good})["body"] == "there"
    bad = upstream.url("/to", redirect_to=upstream.url(origin=2, body="there"))
    task = die(program, "http", {"url": bad})
    assert "not among those that tasks may call" in task["error"]


# ---- payloads ----

@pytest.mark.parametrize("change, field", [
    ({"url": None}, "url"), ({"url": 5}, "url"), ({"url": "ftp://localhost/"}, "url"),
    ({"url": "/relative"}, "url"), ({"url": "http://me:pw@localhost/"}, "url"),
    ({"method": "get"}, "method"), ({"method": "TRACE"}, "method"), ({"method": 1}, "method"),
    ({"method": "CONNECT"}, "method"),
    ({"headers": []}, "headers"), ({"headers": {"A": 1}}, "headers"),
    ({"headers": {"A": "b\r\nX: y"}}, "headers"), ({"headers": {"A\r\nX: y": "b"}}, "headers"),
    ({"headers": {"A: b": "c"}}, "headers"), ({"headers": {"": "c"}}, "headers"),
    ({"headers": {"Host": "c"}}, "headers"), ({"headers": {"Content-Length": "1"}}, "headers"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "headers"),
    ({"headers": {"A": "1", "a": "2"}}, "headers"),
    ({"headers": {f"X-{number}": "1" for number in range(51)}}, "headers"),
    ({"body": "x"}, "body"), ({"method": "HEAD", "body": {}}, "body"),
    ({"timeout": 0}, "timeout"), ({"timeout": "1s"}, "timeout"), ({"timeout": -1}, "timeout"),
    ({"timeout": 1e9}, "timeout"),
])
def test_payloads_that_are_no_good(program, change, field):
    problem = refused(program, "http", {"url": "http://localhost/", **change})
    assert field in problem["field"]


def test_a_url_is_needed(program):
    assert "url" in refused(program, "http", {})["detail"]


# ---- the end from outside ----

def test_a_call_that_runs_is_cancelled(program, upstream):
    task_id = submit(program, "http", {"url": upstream.url(delay=60000)})
    wait_for_state(program, task_id, "running")
    began = time.monotonic()
    cancel(program, task_id)
    assert wait_until_final(program, task_id)["state"] == "cancelled"
    assert time.monotonic() - began < 2


def test_a_call_that_takes_longer_than_its_task_may(program, upstream):
    task = die(program, "http", {"url": upstream.url(delay=60000)}, timeout=0.1, max_attempts=2)
    assert "timeout" in task["error"]


# ---- callbacks ----

def signature_of(got):
    text = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    return "v1," + base64.b64encode(hmac.digest(SECRET_KEY, text, hashlib.sha256)).decode()


def test_the_end_of_a_task_is_told_and_signed(program, receiver):
    receiver.answers = [(503, {}, b"")]
    task_id = submit(program, "http", {"url": receiver.url("/first")}, max_attempts=1,
                     callback={"url": receiver.url("/told")})
    wait_until(lambda: len(receiver.received) == 2, "the end is told")
    got = receiver.received[1]
    assert (got.method, got.path) == ("POST", "/told")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-signature"] == signature_of(got)
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 100
    assert got.headers["webhook-id"] != task_id
    body = json.loads(got.body)
    assert body["type"] == "task.dead"
    assert body["data"]["id"] == task_id
    assert body["data"]["error"].startswith("HTTP 503")


def test_who_is_told_may_fail_first(heddle, receiver):
    program = heddle(tasks={"allowed_hosts": [receiver.host], "backoff_base": "10ms"})
    receiver.answers = [(500, {}, b""), (503, {}, b"")]
    submit(program, "sleep", {"message": "m", "duration": 0}, callback={"url": receiver.url()})
    wait_until(lambda: len(receiver.received) == 3, "told three times")
    assert len({got.headers["webhook-id"] for got in receiver.received}) == 1
    assert len({got.body for got in receiver.received}) == 1
    assert "webhook-signature" not in receiver.received[0].headers
    assert json.loads(receiver.received[0].body)["type"] == "task.succeeded"


def test_callbacks_are_not_for_clients(program, receiver):
    refused(program, "callback", {"url": receiver.url(), "body": "{}"})
    assert receiver.received == []
