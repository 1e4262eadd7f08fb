"""POST /tasks/{id}/cancel and /retry, PATCH and DELETE /tasks/{id}."""

import json
import time
from types import SimpleNamespace

import pytest

from harness.expect import detailed_problem, problem
from harness.tasks import (JSON, NO_ID, accepted, post, refused, show, shown, sleep, submit, wait_for,
                           wait_until_final)


def make(client, request):
    return accepted(submit(client, request))["id"]


def cancel(client, task_id):
    return post(client, f"/tasks/{task_id}/cancel")


def retry(client, task_id):
    return post(client, f"/tasks/{task_id}/retry")


def patch(client, task_id, change, headers=None):
    body = change if isinstance(change, bytes) else json.dumps(change).encode()
    return client.ask("PATCH", f"/tasks/{task_id}", body, JSON | (headers or {}))


def remove(client, task_id):
    return client.ask("DELETE", f"/tasks/{task_id}")


def etag(client, task_id):
    return client.ask("GET", f"/tasks/{task_id}").headers["etag"]


# ---- cancel ----

@pytest.mark.parametrize("members, state", [({"delay": 3600}, "scheduled"), ({"queue": "held"}, "queued")])
def test_a_task_that_waits_is_cancelled_at_once(heddle, via, members, state):
    client = via(heddle(queues={"held": {"paused": True}}))
    task_id = make(client, sleep(0, **members))
    assert show(client, task_id)["state"] == state
    assert shown(cancel(client, task_id))["state"] == "cancelled"
    assert show(client, task_id)["finished_at"]


def test_a_task_that_runs_is_stopped(heddle, via):
    client = via(heddle())
    task_id = make(client, sleep(3600))
    wait_for(client, task_id, "running")
    before = time.monotonic()
    assert shown(cancel(client, task_id))["state"] == "cancelled"
    assert time.monotonic() - before < 1


def test_a_finished_task_cannot_be_cancelled(heddle):
    program = heddle()
    task_id = make(program, sleep(0))
    wait_until_final(program, task_id)
    assert detailed_problem(cancel(program, task_id), 409)["state"] == "succeeded"


def test_a_cancelled_task_stays_so_over_a_crash(heddle):
    program = heddle()
    task_id = make(program, sleep(3600))
    shown(cancel(program, task_id))
    program.kill()
    assert show(heddle(), task_id)["state"] == "cancelled"


# ---- retry ----

def test_a_cancelled_task_is_tried_again(heddle, via):
    client = via(heddle())
    task_id = make(client, sleep(0.1, delay=3600))
    cancel(client, task_id)
    assert shown(retry(client, task_id))["state"] in ("queued", "running")
    done = wait_until_final(client, task_id)
    assert done["state"] == "succeeded" and done["attempts"] == 1


@pytest.mark.parametrize("request_of", [lambda: sleep(3600), lambda: sleep(0, delay=3600)],
                         ids=["running", "scheduled"])
def test_an_unfinished_task_is_not_tried_again(heddle, request_of):
    program = heddle()
    detailed_problem(retry(program, make(program, request_of())), 409)


def test_a_task_whose_key_is_taken_is_not_tried_again(heddle):
    program = heddle()
    first = make(program, sleep(3600, unique_key="k"))
    cancel(program, first)
    make(program, sleep(3600, unique_key="k"))
    detailed_problem(retry(program, first), 409)


# ---- PATCH ----

def test_a_task_that_waits_is_changed(heddle, via):
    client = via(heddle(queues={"other": {"paused": True}}))
    task_id = make(client, sleep(0, delay=3600))
    changed = shown(patch(client, task_id, {"priority": 1, "run_at": "2040-01-01T00:00:00Z", "queue": "other"}))
    assert changed["priority"] == 1 and changed["queue"] == "other"
    assert changed["run_at"] == "2040-01-01T00:00:00.000Z"
    assert show(client, task_id) == changed
    assert shown(patch(client, task_id, {"delay": 0}))["state"] == "queued"
    shown(patch(client, task_id, {"queue": "default"}))
    assert wait_until_final(client, task_id)["state"] == "succeeded"


def test_a_change_is_for_one_version(heddle, via):
    client = via(heddle())
    task_id = make(client, sleep(0, delay=3600))
    old = etag(client, task_id)
    new = patch(client, task_id, {"priority": 1}, {"If-Match": old}).headers["etag"]
    assert new != old
    reply = patch(client, task_id, {"priority": 2}, {"If-Match": old})
    detailed_problem(reply, 412)
    assert reply.headers["etag"] == new
    detailed_problem(patch(client, task_id, {"priority": 2}, {"If-Match": f"W/{new}"}), 412)
    assert show(client, task_id)["priority"] == 1
    shown(patch(client, task_id, {"priority": 3}, {"If-Match": "*"}))
    detailed_problem(patch(client, task_id, {"priority": 2}, {"If-Match": "nonsense"}), 400)


@pytest.mark.parametrize("change, field", [
    ({"priority": 10}, "priority"), ({"run_at": "soon"}, "run_at"), ({"queue": "none"}, "queue"),
    ({"kind": "sleep"}, "kind"), ({"delay": 1, "run_at": "2040-01-01T00:00:00Z"}, "run_at"),
])
def test_a_wrong_change_is_named(heddle, change, field):
    program = heddle()
    refused(patch(program, make(program, sleep(0, delay=3600)), change), field)


def test_no_change_is_refused(heddle):
    program = heddle()
    task_id = make(program, sleep(0, delay=3600))
    detailed_problem(patch(program, task_id, {}), 422)
    detailed_problem(patch(program, task_id, b"["), 400)
    detailed_problem(program.ask("PATCH", f"/tasks/{task_id}", b"{}", {"Content-Type": "text/plain"}), 415)


def test_a_task_that_runs_is_not_changed(heddle):
    program = heddle()
    task_id = make(program, sleep(3600))
    wait_for(program, task_id, "running")
    detailed_problem(patch(program, task_id, {"priority": 1}), 409)


# ---- DELETE ----

def test_a_finished_task_is_removed(heddle, via):
    client = via(heddle())
    task_id = make(client, sleep(0))
    wait_until_final(client, task_id)
    reply = remove(client, task_id)
    assert reply.status == 204 and reply.body == b""
    problem(client.ask("GET", f"/tasks/{task_id}"), 404)
    problem(remove(client, task_id), 404)


def test_an_unfinished_task_is_not_removed(heddle):
    program = heddle()
    task_id = make(program, sleep(3600))
    detailed_problem(remove(program, task_id), 409)
    assert show(program, task_id)["state"] == "running"


# ---- none of them ----

@pytest.mark.parametrize("task_id", [NO_ID, "nope"])
def test_an_unknown_task_is_not_found(ask, task_id):
    client = SimpleNamespace(ask=ask)
    for act in (cancel, retry, remove, lambda who, which: patch(who, which, {"priority": 1})):
        detailed_problem(act(client, task_id), 404)
