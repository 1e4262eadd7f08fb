"""POST /tasks: one task, its members, Idempotency-Key, Prefer: wait; GET /tasks/{id} and what belongs to it."""

import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from harness.expect import busy, detailed_problem, problem
from harness.fastcgi import http_request
from harness.metrics import GONE, IN_FLIGHT
from harness.tasks import (JSON, NO_ID, accepted, check_task, post, refused, show, shown, sleep, submit,
                           wait_for, wait_until_final)
from harness.wait import wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


# ---- what is accepted ----

def test_a_task_is_accepted_and_succeeds(heddle, via):
    client = via(heddle())
    task = accepted(submit(client, sleep(0.1, "hello")))
    assert task["kind"] == "sleep" and task["queue"] == "default" and task["priority"] == 5
    assert task["payload"] == {"message": "hello", "duration": 0.1}
    done = wait_until_final(client, task["id"])
    assert done["state"] == "succeeded" and done["attempts"] == 1 and done["progress"] == 1
    assert done["result"]["message"] == "hello"
    result = client.ask("GET", f"/tasks/{task['id']}/result")
    assert result.status == 200 and result.json() == done["result"]


def test_every_member_is_kept(heddle, via):
    client = via(heddle(queues={"mail": {"concurrency": 2}}, tasks={"allowed_hosts": ["hooks.example"]}))
    task = accepted(submit(client, sleep(
        queue="mail", priority=2, delay="10m", timeout=1.5, max_attempts=3, unique_key="k", tenant="acme",
        backoff={"base": 0.5, "factor": 3, "max": "1m", "jitter": 0}, tags=["a", "ü"],
        callback={"url": "https://hooks.example/done"}), {"traceparent": TRACE}))
    kept = show(client, task["id"])
    expected = {"state": "scheduled", "queue": "mail", "priority": 2, "timeout": 1.5, "max_attempts": 3,
                "unique_key": "k", "tenant": "acme", "tags": ["a", "ü"],
                "callback": {"url": "https://hooks.example/done"}}
    assert {name: kept[name] for name in expected} == expected
    created, run_at = (datetime.fromisoformat(kept[name].replace("Z", "+00:00"))
                       for name in ("created_at", "run_at"))
    assert timedelta(seconds=599) < run_at - created <= timedelta(seconds=601)


def test_numbers_come_back_as_they_were(ask):
    body = b'{"kind": "sleep", "payload": {"message": "m", "duration": 0.30000000000000004}}'
    reply = ask("POST", "/tasks", body, JSON)
    assert b'"duration":0.30000000000000004' in reply.body


def test_a_task_starts_at_its_time(heddle):
    program = heddle()
    at = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    task = accepted(submit(program, sleep(run_at=at.isoformat())))
    assert task["state"] == "scheduled"
    done = wait_until_final(program, task["id"])
    assert done["started_at"] >= task["run_at"]


def test_a_delayed_task_says_when_to_look_again(ask):
    reply = ask("POST", "/tasks", b'{"kind":"sleep","payload":{"message":"m","duration":0},"delay":90}', JSON)
    assert 85 <= int(reply.headers["retry-after"]) <= 90


# ---- what is refused ----

@pytest.mark.parametrize("members, field", [
    ({"kind": "nothing"}, "kind"), ({"kind": 1}, "kind"), ({"payload": []}, "payload"),
    ({"payload": {"message": "m"}}, "payload.duration"), ({"queue": "none"}, "queue"),
    ({"priority": 10}, "priority"), ({"delay": -1}, "delay"), ({"delay": 1, "run_at": "2030-01-01T00:00:00Z"}, "run_at"),
    ({"run_at": "soon"}, "run_at"), ({"timeout": 0}, "timeout"), ({"max_attempts": 0}, "max_attempts"),
    ({"backoff": {"base": 9, "max": 1}}, "backoff.max"), ({"backoff": {"what": 1}}, "backoff.what"),
    ({"unique_key": ""}, "unique_key"), ({"on_unique": "reject"}, "on_unique"), ({"tenant": "x" * 65}, "tenant"),
    ({"tags": ["x"] * 2}, "tags[1]"), ({"tags": list("abcdefghijklmnopq")}, "tags"),
    ({"callback": {"url": "http://nowhere.example/"}}, "callback.url"), ({"delays": 1}, "delays"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_member_is_named(server, members, field):
    refused(submit(server, sleep() | members), field)


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b"{", b"nonsense", b'{"kind":"sleep","kind":"sleep"}'])
def test_what_is_no_object_is_refused(ask, body):
    detailed_problem(ask("POST", "/tasks", body, JSON), 400)


def test_the_kind_must_be_there(ask):
    refused(ask("POST", "/tasks", b"{}", JSON), "kind")


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}])
def test_other_content_types_are_refused(ask, headers):
    detailed_problem(ask("POST", "/tasks", b"{}", headers), 415)


def test_a_payload_that_is_too_large_is_refused(heddle, via):
    client = via(heddle(tasks={"max_payload": "100KiB"}))
    # The kind `sleep` drops members that it does not know, so it is the message that counts.
    refused(submit(client, sleep(message="x" * 9000)), "payload.message")
    reply = submit(client, sleep() | {"payload": {"message": "m", "duration": 0, "more": "x" * 200_000}})
    accepted(reply)


def test_a_body_larger_than_all_batches_is_refused(heddle, via):
    client = via(heddle(tasks={"max_batch_bytes": "64KiB"}))
    problem(client.ask("POST", "/tasks", b" " * 70_000 + b"{}", JSON), 413)


@pytest.mark.parametrize("path", ["/tasks/batch", "/tasks/stats", "/tasks/events"])
def test_names_below_tasks_are_no_ids(ask, path):
    reply = ask("PATCH", path, b"{}", JSON)
    problem(reply, 405)


# ---- unique keys ----

def test_a_second_task_with_a_unique_key_is_refused_and_told_of_the_first(heddle, via):
    client = via(heddle())
    first = accepted(submit(client, sleep(3600, unique_key="k")))
    reply = submit(client, sleep(0, unique_key="k"))
    assert detailed_problem(reply, 409)["task"] == first["id"]
    assert reply.headers["location"] == f"/tasks/{first['id']}"


def test_a_second_task_with_a_unique_key_may_be_the_first(heddle):
    program = heddle()
    first = accepted(submit(program, sleep(3600, unique_key="k")))
    second = shown(submit(program, sleep(0, unique_key="k", on_unique="return")))
    assert second["id"] == first["id"]


def test_a_task_that_waits_is_replaced(heddle):
    program = heddle()
    first = accepted(submit(program, sleep(0, unique_key="k", delay=3600)))
    second = accepted(submit(program, sleep(0, unique_key="k", on_unique="replace")))
    assert second["id"] != first["id"]
    assert show(program, first["id"])["state"] == "cancelled"
    assert wait_until_final(program, second["id"])["state"] == "succeeded"


def test_a_unique_key_is_free_when_its_task_has_finished(heddle):
    program = heddle()
    wait_until_final(program, accepted(submit(program, sleep(0, unique_key="k")))["id"])
    accepted(submit(program, sleep(0, unique_key="k")))


# ---- Idempotency-Key ----

def test_the_same_request_gets_the_same_answer(heddle, via):
    client = via(heddle())
    key = {"Idempotency-Key": "order 17"}
    first = submit(client, sleep(0), key)
    task = accepted(first)
    assert "idempotency-replayed" not in first.headers
    wait_until_final(client, task["id"])
    again = submit(client, sleep(0), key)
    assert accepted(again)["id"] == task["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json()["state"] == task["state"]
    refused(submit(client, sleep(0.5), key), "Idempotency-Key")


def test_a_key_survives_a_restart(heddle):
    program = heddle()
    key = {"Idempotency-Key": "k"}
    task = accepted(submit(program, sleep(0), key))
    program.kill()
    assert accepted(submit(heddle(), sleep(0), key))["id"] == task["id"]


def test_one_of_many_requests_at_once_makes_the_task(heddle):
    program = heddle()
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(
        submit(program, sleep(0), {"Idempotency-Key": "k"}))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} <= {202, 409}
    assert len({reply.json()["id"] for reply in replies if reply.status == 202}) == 1
    for reply in replies:
        if reply.status == 409:
            assert int(reply.headers["retry-after"]) >= 1
    assert sum(program.ask("GET", "/tasks/stats").json()["counts"].values()) == 1


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\there", "\xe9"], ids=["empty", "long", "tab", "latin1"])
def test_a_key_that_is_none_is_refused(server, key):
    detailed_problem(submit(server, sleep(0), {"Idempotency-Key": key}), 400)


def test_a_key_of_200_characters_is_taken(server):
    key = uuid.uuid4().hex
    accepted(submit(server, sleep(0), {"Idempotency-Key": key + "~" * (200 - len(key))}))


# ---- Prefer: wait ----

def test_who_waits_gets_the_result(heddle, via):
    client = via(heddle())
    reply = submit(client, sleep(0.3), {"Prefer": "wait=10"})
    task = shown(reply)
    assert task["state"] == "succeeded" and task["result"]["message"] == "m"
    assert reply.headers["preference-applied"] == "wait=10"
    assert reply.headers["location"] == f"/tasks/{task['id']}"


def test_who_waits_in_vain_gets_the_task(heddle, via):
    client = via(heddle())
    before = time.monotonic()
    reply = submit(client, sleep(3600), {"Prefer": "respond-async, wait=1"})
    assert 0.9 < time.monotonic() - before < 10
    assert accepted(reply)["state"] == "running"
    assert reply.headers["preference-applied"] == "respond-async, wait=1"


def test_a_look_may_wait_as_well(heddle, via):
    client = via(heddle())
    task = accepted(submit(client, sleep(0.3)))
    reply = client.ask("GET", f"/tasks/{task['id']}", headers={"Prefer": "wait=10"})
    assert shown(reply)["state"] == "succeeded"
    assert reply.headers["preference-applied"] == "wait=10"
    reply = client.ask("GET", f"/tasks/{task['id']}", headers={"Prefer": "wait=10"})
    assert shown(reply)["state"] == "succeeded"


def test_a_look_that_waits_in_vain_shows_where_the_task_stands(heddle):
    program = heddle()
    task = accepted(submit(program, sleep(3600)))
    reply = program.ask("GET", f"/tasks/{task['id']}", headers={"Prefer": "wait=1"})
    assert shown(reply)["state"] == "running"


def test_nobody_waits_for_a_task_that_is_not_there(ask):
    problem(ask("GET", f"/tasks/{NO_ID}", None, {"Prefer": "wait=60"}), 404)


def test_those_who_wait_hold_no_thread(heddle):
    program = heddle(request_threads=2)
    task = accepted(submit(program, sleep(3600)))
    connections = [program.connect() for _ in range(200)]
    for connection in connections:
        connection.send(http_request("GET", f"/tasks/{task['id']}", None, {"Prefer": "wait=60"}))
    before = program.thread_count()
    assert program.ask("GET", "/health/live").status == 200
    assert program.thread_count() == before
    post(program, f"/tasks/{task['id']}/cancel")
    for connection in connections:
        assert shown(connection.read_reply())["state"] == "cancelled"
        connection.close()


def test_a_client_that_goes_away_is_not_waited_for(heddle):
    program = heddle()
    task = accepted(submit(program, sleep(3600)))
    with program.connect() as connection:
        connection.send(http_request("GET", f"/tasks/{task['id']}", None, {"Prefer": "wait=60"}))
        wait_until(lambda: program.metric(IN_FLIGHT) >= 2, "it waits")
    wait_until(lambda: program.metric(GONE) == 1, "it is not waited for any more")


# ---- looking ----

def test_an_etag_is_compared(heddle, via):
    client = via(heddle())
    task = accepted(submit(client, sleep(3600)))
    path = f"/tasks/{task['id']}"
    etag = client.ask("GET", path).headers["etag"]
    same = client.ask("GET", path, headers={"If-None-Match": f'"x", W/{etag}'})
    assert same.status == 304 and same.body == b"" and same.headers["etag"] == etag
    post(client, f"{path}/cancel")
    changed = client.ask("GET", path, headers={"If-None-Match": etag})
    assert shown(changed)["state"] == "cancelled" and changed.headers["etag"] != etag


def test_there_is_no_result_before_the_end(heddle):
    program = heddle()
    task = accepted(submit(program, sleep(3600)))
    reply = program.ask("GET", f"/tasks/{task['id']}/result")
    assert detailed_problem(reply, 409)["state"] == "running"
    assert int(reply.headers["retry-after"]) >= 1
    post(program, f"/tasks/{task['id']}/cancel")
    assert detailed_problem(program.ask("GET", f"/tasks/{task['id']}/result"), 409)["state"] == "cancelled"


@pytest.mark.parametrize("rest", ["", "/result", "/explain", "/events"])
@pytest.mark.parametrize("task_id", [NO_ID, "nope"])
def test_an_unknown_task_has_nothing(ask, task_id, rest):
    detailed_problem(ask("GET", f"/tasks/{task_id}{rest}"), 404)


@pytest.mark.parametrize("rest", ["", "/result", "/explain"])
def test_head_is_get_without_a_body(heddle, via, rest):
    client = via(heddle())
    task = accepted(submit(client, sleep(0)))
    wait_until_final(client, task["id"])
    reply = client.ask("HEAD", f"/tasks/{task['id']}{rest}")
    assert reply.status == 200 and reply.body == b""


# ---- a full queue ----

def test_a_full_queue_is_a_503(heddle, via):
    client = via(heddle(tasks={"queue_capacity": 2}))
    for _ in range(2):
        accepted(submit(client, sleep(3600)))
    busy(submit(client, sleep(0)))


# ---- explanations ----

def explain(client, task_id):
    reply = client.ask("GET", f"/tasks/{task_id}/explain")
    assert reply.status == 200, reply
    body = reply.json()
    assert body["id"] == task_id and body["text"]
    return body


def test_a_task_that_runs_or_waits_for_its_time_is_explained(heddle, via):
    client = via(heddle())
    running = accepted(submit(client, sleep(3600)))
    assert explain(client, running["id"])["reason"] == "running"
    scheduled = accepted(submit(client, sleep(0, delay=3600)))
    body = explain(client, scheduled["id"])
    assert body["reason"] == "waiting_for_time" and body["run_at"] == scheduled["run_at"]


def test_a_queue_that_is_busy_or_paused_is_explained(heddle):
    program = heddle(queues={"one": {"concurrency": 1}})
    first = accepted(submit(program, sleep(3600, queue="one")))
    waiting = [accepted(submit(program, sleep(0, queue="one")))["id"] for _ in range(3)]
    body = explain(program, waiting[2])
    assert body["reason"] == "queue_concurrency" and body["position"] == 2
    assert body["running"] == [first["id"]]
    assert body["estimated_start"]
    post(program, "/queues/one/pause")
    body = explain(program, waiting[0])
    assert body["reason"] == "queue_paused" and body["position"] == 0 and body["queue"]["paused"]
    assert "estimated_start" not in body


def test_the_end_is_explained(heddle):
    program = heddle()
    task = accepted(submit(program, sleep(0)))
    wait_for(program, task["id"], "succeeded")
    assert explain(program, task["id"])["reason"] == "succeeded"
    check_task(show(program, task["id"]))
