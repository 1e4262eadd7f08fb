"""GET /queues, GET /queues/{name}, POST /queues/{name}/pause and /resume."""

import pytest

from harness.expect import detailed_problem, problem
from harness.tasks import STATES, accepted, post, show, sleep, submit, wait_for, wait_until_final

QUEUES = {"mail": {"concurrency": 2, "rate": "100/s", "weight": 3}, "held": {"paused": True}}


def queue(client, name):
    reply = client.ask("GET", f"/queues/{name}")
    assert reply.status == 200, reply
    return reply.json()


def set_paused(client, name, verb):
    reply = post(client, f"/queues/{name}/{verb}")
    assert reply.status == 200, reply
    assert reply.json()["name"] == name
    return reply.json()["paused"]


def test_queues_are_listed_with_what_they_may_do(heddle, via):
    client = via(heddle(queues=QUEUES))
    queues = {each["name"]: each for each in client.ask("GET", "/queues").json()["queues"]}
    assert queues.keys() == {"default", "mail", "held"}
    none = dict.fromkeys(STATES, 0)
    assert queues["mail"] == {"name": "mail", "paused": False, "weight": 3, "concurrency": 2, "rate": 100,
                              "counts": none}
    assert queues["held"]["paused"] and not queues["default"]["paused"]
    assert queue(client, "mail") == queues["mail"]
    assert client.ask("HEAD", "/queues/mail").status == 200


def test_a_queue_counts_its_tasks(heddle):
    program = heddle(queues=QUEUES)
    running = accepted(submit(program, sleep(3600, queue="mail")))
    accepted(submit(program, sleep(0, queue="mail", delay=3600)))
    wait_for(program, running["id"], "running")
    counts = queue(program, "mail")["counts"]
    assert counts["running"] == counts["scheduled"] == 1 and counts["queued"] == 0


def test_a_paused_queue_starts_nothing_until_it_is_resumed(heddle, via):
    client = via(heddle(queues=QUEUES))
    assert set_paused(client, "mail", "pause")
    waiting = accepted(submit(client, sleep(0, queue="mail")))["id"]
    other = accepted(submit(client, sleep(0)))["id"]
    assert wait_until_final(client, other)["state"] == "succeeded"
    assert show(client, waiting)["state"] == "queued"
    assert set_paused(client, "mail", "pause")
    assert not set_paused(client, "mail", "resume")
    assert wait_until_final(client, waiting)["state"] == "succeeded"


def test_a_pause_survives_a_crash(heddle):
    program = heddle(queues=QUEUES)
    set_paused(program, "mail", "pause")
    set_paused(program, "held", "resume")
    task_id = accepted(submit(program, sleep(0, queue="mail")))["id"]
    program.kill()
    program = heddle(queues=QUEUES)
    assert queue(program, "mail")["paused"]
    assert show(program, task_id)["state"] == "queued"
    set_paused(program, "mail", "resume")
    assert wait_until_final(program, task_id)["state"] == "succeeded"


def test_what_runs_goes_on_while_its_queue_is_paused(heddle):
    program = heddle()
    task_id = accepted(submit(program, sleep(0.3)))["id"]
    wait_for(program, task_id, "running", "succeeded")
    set_paused(program, "default", "pause")
    assert wait_until_final(program, task_id)["state"] == "succeeded"


@pytest.mark.parametrize("name", ["none", "%c3%28", "x" * 100, "a%22b"])
def test_an_unknown_queue_is_not_found(ask, name):
    for method, rest in (("GET", ""), ("POST", "/pause"), ("POST", "/resume")):
        detailed_problem(ask(method, f"/queues/{name}{rest}"), 404)


def test_other_methods_are_refused(ask):
    for method, path in (("POST", "/queues"), ("GET", "/queues/default/pause"), ("DELETE", "/queues/default")):
        reply = ask(method, path)
        problem(reply, 405)
        assert reply.headers["allow"]
