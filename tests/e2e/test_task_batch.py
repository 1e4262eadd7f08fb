"""POST /tasks/batch: many tasks in one commit."""

import json

import pytest

from harness.expect import busy, detailed_problem, problem
from harness.tasks import JSON, accepted, post, refused, show, sleep, submit, wait_until_final
from harness.wait import wait_until

NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(requests):
    return "".join(json.dumps(request) + "\n" for request in requests).encode()


def results(reply, status=200):
    assert reply.status == status, reply
    body = reply.json()
    assert body["accepted"] == sum(result["status"] == 202 for result in body["results"])
    return body["results"]


def statuses(reply, status=200):
    return [result["status"] for result in results(reply, status)]


def count(program):
    return sum(program.ask("GET", "/tasks/stats").json()["counts"].values())


def test_an_array_is_accepted_in_order(heddle, via):
    client = via(heddle())
    got = results(post(client, "/tasks/batch", [sleep(0, str(number)) for number in range(20)]))
    assert [result["status"] for result in got] == [202] * 20
    ids = [result["id"] for result in got]
    assert ids == sorted(ids) and len(set(ids)) == 20
    assert [show(client, task_id)["payload"]["message"] for task_id in ids] == [str(n) for n in range(20)]
    for task_id in ids:
        assert wait_until_final(client, task_id)["state"] == "succeeded"


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/ndjson; charset=utf-8",
                                        "application/jsonl"])
def test_lines_are_accepted_in_order(heddle, via, media_type):
    client = via(heddle())
    body = lines([sleep(0, "a"), sleep(0, "b")]).replace(b"\n", b"\r\n\n")
    got = results(client.ask("POST", "/tasks/batch", body, {"Content-Type": media_type}))
    assert [show(client, result["id"])["payload"]["message"] for result in got] == ["a", "b"]


def test_each_task_has_its_own_result(heddle, via):
    client = via(heddle())
    kept = accepted(submit(client, sleep(3600, unique_key="k")))
    got = results(post(client, "/tasks/batch", [
        sleep(0), sleep(0) | {"kind": "none"}, 5, sleep(0, unique_key="k"),
        sleep(0, unique_key="k", on_unique="return"), sleep(0) | {"priority": 10}, sleep(0)]))
    assert [result["status"] for result in got] == [202, 422, 400, 409, 200, 422, 202]
    assert got[1]["field"] == "kind" and got[1]["detail"]
    assert got[3]["id"] == got[4]["id"] == kept["id"] and got[4]["existing"]
    assert got[5]["field"] == "priority"
    assert count(client) == 3


def test_a_line_that_is_no_json_is_refused_alone(heddle):
    program = heddle()
    body = lines([sleep(0)]) + b'{"kind":\n' + lines([sleep(0)])
    assert statuses(program.ask("POST", "/tasks/batch", body, NDJSON)) == [202, 400, 202]


def test_an_atomic_batch_is_accepted_as_a_whole_or_not(heddle, via):
    client = via(heddle())
    reply = post(client, "/tasks/batch?atomic=true", [sleep(0), sleep(0) | {"kind": "none"}, sleep(0)])
    detailed_problem(reply, 422)
    got = results(reply, 422)
    assert [result["status"] for result in got] == [424, 422, 424] and got[1]["field"] == "kind"
    assert count(client) == 0
    assert statuses(post(client, "/tasks/batch?atomic=true", [sleep(0), sleep(0)])) == [202, 202]
    assert count(client) == 2


def test_an_atomic_batch_with_a_key_that_is_taken_is_refused(heddle):
    program = heddle()
    accepted(submit(program, sleep(3600, unique_key="k")))
    reply = post(program, "/tasks/batch?atomic=true", [sleep(0), sleep(0, unique_key="k")])
    assert statuses(reply, 409) == [424, 409]
    assert count(program) == 1


def test_two_of_a_batch_cannot_have_the_same_key(heddle):
    program = heddle()
    batch = [sleep(3600, unique_key="k"), sleep(3600, unique_key="k")]
    assert statuses(post(program, "/tasks/batch", batch)) == [202, 409]


def test_what_has_no_room_is_refused(heddle, via):
    client = via(heddle(tasks={"queue_capacity": 3}))
    got = results(post(client, "/tasks/batch", [sleep(3600)] * 5))
    assert [result["status"] for result in got] == [202] * 3 + [503] * 2
    busy(post(client, "/tasks/batch", [sleep(0)] * 2))
    reply = post(client, "/tasks/batch?atomic=true", [sleep(0)] * 2)
    busy(reply)


def test_an_empty_batch_is_nothing(ask):
    for body, headers in ((b"[]", JSON), (b"\n", NDJSON)):
        assert results(ask("POST", "/tasks/batch", body, headers)) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"[{}", b"[{},]", b"[] []", b'["', b"\x00"])
def test_what_is_no_array_is_refused(ask, body):
    detailed_problem(ask("POST", "/tasks/batch", body, JSON), 400)


def test_other_content_types_are_refused(ask):
    detailed_problem(ask("POST", "/tasks/batch", b"[]", {"Content-Type": "text/plain"}), 415)


@pytest.mark.parametrize("value", ["", "1", "yes", "true&atomic=true", "%zz"])
def test_atomic_is_true_or_false(ask, value):
    refused(ask("POST", f"/tasks/batch?atomic={value}", b"[]", JSON), "atomic")


def test_a_key_for_many_answers_is_refused(ask):
    detailed_problem(ask("POST", "/tasks/batch", b"[]", JSON | {"Idempotency-Key": "k"}), 400)


def test_too_many_tasks_are_refused(heddle, via):
    client = via(heddle(tasks={"max_batch": 10}))
    assert statuses(post(client, "/tasks/batch", [sleep(0)] * 10)) == [202] * 10
    detailed_problem(post(client, "/tasks/batch", [sleep(0)] * 11), 413)
    assert count(client) == 10


def test_too_large_a_batch_is_refused(heddle, via):
    client = via(heddle(tasks={"max_batch_bytes": "64KiB"}))
    problem(post(client, "/tasks/batch", [sleep(0)] * 2000), 413)


def test_ten_thousand_tasks_are_one_batch(heddle, via):
    program = heddle()
    reply = via(program).ask("POST", "/tasks/batch", lines([sleep(0)] * 10_000), NDJSON)
    got = results(reply)
    assert len(got) == len({result["id"] for result in got}) == 10_000
    wait_until(lambda: program.ask("GET", "/tasks/stats").json()["counts"]["succeeded"] == 10_000,
               "all have ended")


def test_a_batch_is_kept_over_a_crash(heddle):
    program = heddle()
    got = results(post(program, "/tasks/batch", [sleep(3600)] * 100))
    program.kill()
    program = heddle()
    for result in got[::10]:
        assert show(program, result["id"])["state"] in ("queued", "running")
