"""Background tasks: POST /start_background_task/, GET /tasks/{id}, GET /tasks."""

import json
import socket
import threading
import time

import pytest

from harness import metrics
from harness.expect import TIMESTAMP, busy, detailed_problem, problem
from harness.nginx import Nginx
from harness.wait import DEADLINE, wait_until

SUBMIT = "/start_background_task/"
JSON = {"Content-Type": "application/json"}
FINAL_STATES = {"succeeded", "dead", "cancelled"}


def submit(client, message="hello", duration=0, path=SUBMIT):
    return client.ask("POST", path, json.dumps({"message": message, "duration": duration}).encode(), JSON)


def accepted(reply):
    """The task in a 202."""
    assert reply.status == 202, reply
    assert reply.media_type() == "application/json"
    body = reply.json()
    assert body.keys() == {"message", "task"}
    assert body["message"] == "Background task started successfully"
    check_task(body["task"])
    assert reply.headers["location"] == f"/tasks/{body['task']['id']}"
    return body["task"]


def check_task(task):
    assert {"id", "kind", "state", "created_at", "attempts"} <= task.keys()
    assert task["kind"] == "sleep"
    assert task["state"] in {"scheduled", "queued", "running"} | FINAL_STATES
    times = [value for name, value in task.items() if name.endswith("_at") and value is not None]
    assert all(TIMESTAMP.fullmatch(value) for value in times), task


def show(client, task_id):
    reply = client.ask("GET", f"/tasks/{task_id}")
    assert reply.status == 200, reply
    task = reply.json()
    check_task(task)
    assert task["id"] == task_id
    return task


def wait_until_final(client, task_id):
    return wait_until(lambda: (task := show(client, task_id))["state"] in FINAL_STATES and task,
                      f"task {task_id} has ended")


@pytest.mark.parametrize("path", ["/start_background_task/", "/start_background_task"])
def test_a_task_is_accepted_shown_and_succeeds(heddle, via, path):
    client = via(heddle())
    before = int(time.time())
    task = accepted(submit(client, "write the report", 0.2, path))
    done = wait_until_final(client, task["id"])
    assert done["state"] == "succeeded"
    assert done["attempts"] == 1
    assert done["created_at"] == task["created_at"]
    assert before <= time.mktime(time.strptime(done["created_at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert done["created_at"] <= done["started_at"] < done["finished_at"]
    assert not done.get("error")


def test_a_task_without_duration_ends_at_once(heddle):
    program = heddle()
    task = accepted(submit(program, duration=0))
    assert wait_until_final(program, task["id"])["state"] == "succeeded"


@pytest.mark.parametrize("message", ["", "ü😀\u0301", 'a"b\\c/d\n\t', "x" * 8192, "é" * 4096],
                         ids=["empty", "unicode", "escapes", "8 KiB", "8 KiB of two bytes"])
def test_messages_that_are_good(ask, message):
    reply = ask("POST", SUBMIT, json.dumps({"message": message, "duration": 0}).encode(), JSON)
    accepted(reply)


@pytest.mark.parametrize("duration", [
    "0", "0.0", "-0", "-0.0", "0.001", "5", "1e1", "86400", "86400.0", "8.64E4"])
def test_durations_that_are_good(ask, duration):
    accepted(ask("POST", SUBMIT, b'{"message": "m", "duration": %s}' % duration.encode(), JSON))


@pytest.mark.parametrize("content_type", [
    "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON",
    "application/json ; a=b", "application/vnd.example+json"])
def test_content_types_that_are_json(ask, content_type):
    accepted(ask("POST", SUBMIT, b'{"message": "m", "duration": 0}', {"Content-Type": content_type}))


def test_members_nobody_knows_and_white_space_do_no_harm(ask):
    accepted(ask("POST", SUBMIT, b' \r\n\t{"x": [1, {"y": null}], "duration" : 0 , "message":"m"} \n', JSON))


def test_members_nobody_knows_are_not_kept(ask):
    body = b'{"message": "hello", "duration": 0, "more": "' + b"x" * 1000 + b'"}'
    task = accepted(ask("POST", SUBMIT, body, JSON))
    assert task["payload"] == {"message": "hello", "duration": 0}


def test_ids_differ(server):
    ids = [accepted(submit(server))["id"] for _ in range(50)]
    assert len(set(ids)) == 50


def listed(reply):
    assert reply.status == 200, reply
    tasks = reply.json()["tasks"]
    for task in tasks:
        check_task(task)
    return [task["id"] for task in tasks]


def test_tasks_are_listed_newest_first(heddle, via):
    client = via(heddle())
    assert listed(client.ask("GET", "/tasks")) == []
    ids = [accepted(submit(client, str(number)))["id"] for number in range(12)]
    assert listed(client.ask("GET", "/tasks")) == ids[::-1]
    assert listed(client.ask("GET", "/tasks/")) == ids[::-1]
    assert listed(client.ask("GET", "/tasks?limit=5")) == ids[:-6:-1]
    assert listed(client.ask("GET", "/tasks?limit=1")) == ids[-1:]
    assert listed(client.ask("GET", "/tasks?other=1&limit=2")) == ids[:-3:-1]


def test_a_list_is_of_at_most_1000(ask):
    assert ask("GET", "/tasks?limit=1000").status == 200
    for limit in (0, 1001):
        reply = ask("GET", f"/tasks?limit={limit}")
        assert detailed_problem(reply, 422)["field"] == "limit"


def test_the_list_counts_all_tasks_by_state(heddle):
    def counts():
        return program.ask("GET", "/tasks?limit=1").json()["counts"]

    program = heddle()
    none = dict.fromkeys(("scheduled", "queued", "running", "succeeded", "dead", "cancelled"), 0)
    assert counts() == none
    for _ in range(3):
        wait_until_final(program, accepted(submit(program))["id"])
    for _ in range(2):
        accepted(submit(program, duration=3600))
    wait_until(lambda: program.metric(metrics.SLEEPING) == 2, "both sleep")
    assert counts() == none | {"running": 2, "succeeded": 3}


def test_the_list_leaves_out_what_may_be_large(heddle):
    program = heddle()
    message = "\\u0001" * 8192
    [task_id, *_] = [accepted(program.ask("POST", SUBMIT, f'{{"message": "{message}", "duration": 0}}'.encode(),
                                          JSON))["id"] for _ in range(20)]
    reply = program.ask("GET", "/tasks")
    assert reply.status == 200 and len(reply.body) < 20_000
    assert not {"payload", "result"} & set().union(*reply.json()["tasks"])
    assert program.ask("GET", f"/tasks/{task_id}").json()["payload"]["message"] == "\u0001" * 8192


@pytest.mark.parametrize("limit", ["-1", "x", "", "1.5", "99999999999999999999", "1%00", "%", "1&limit=x"])
def test_a_limit_that_is_no_number_is_named(ask, limit):
    reply = ask("GET", f"/tasks?limit={limit}")
    assert reply.status in (400, 422)
    assert "limit" in detailed_problem(reply, reply.status)["detail"]


@pytest.mark.parametrize("task_id", [
    "01890000-0000-7000-8000-000000000000", "01890000-0000-7000-8000-00000000000g", "0", "1",
    "18446744073709551615", "99999999999999999999999", "-1", "nope", "%00", "..", "%2e%2e%2f", "a" * 1000,
    "%c3%28", "'", "{id}", "x/y"],
    ids=lambda value: value[:40])
def test_an_unknown_task_is_not_found(ask, task_id):
    reply = ask("GET", f"/tasks/{task_id}")
    if reply.status == 400:  # nginx refuses %00 and what climbs out of the root
        problem(reply, 400)
    else:
        problem(reply, 404)


def test_an_id_is_taken_literally(server):
    task = accepted(submit(server))
    for spelling in (task["id"] + "x", task["id"] + "%20", " " + task["id"], task["id"][:-1]):
        problem(server.ask("GET", f"/tasks/{spelling}".replace(" ", "%20")), 404)
    assert show(server, task["id"])["id"] == task["id"]
    assert server.ask("GET", f"/tasks/{task['id']}/").status == 200
    assert server.ask("GET", f"/tasks/{task['id']}?x=1").status == 200


def test_a_full_queue_is_a_503_and_takes_tasks_again_later(heddle, via):
    program = heddle(tasks={"queue_capacity": 4, "runners": 1})
    client = via(program)
    replies = [submit(client, duration=0.5) for _ in range(10)]
    assert [reply.status for reply in replies] == [202] * 4 + [503] * 6
    busy(replies[-1])
    for reply in replies[:4]:
        assert wait_until_final(program, accepted(reply)["id"])["state"] == "succeeded"
    accepted(submit(client))


def test_tasks_of_different_length_end_in_that_order(heddle):
    program = heddle()
    ids = [accepted(submit(program, duration=duration))["id"] for duration in (1.5, 0.1, 0.8)]
    finished = [wait_until_final(program, task_id)["finished_at"] for task_id in ids]
    assert sorted(range(3), key=finished.__getitem__) == [1, 2, 0]


def test_more_tasks_than_runners_sleep_side_by_side(heddle):
    program = heddle(tasks={"runners": 1})
    ids = [accepted(submit(program, duration=1))["id"] for _ in range(20)]
    wait_until(lambda: program.metric(metrics.SLEEPING) == 20, "all 20 sleep")
    assert all(wait_until_final(program, task_id)["state"] == "succeeded" for task_id in ids)
    assert program.metric(metrics.SLEEPING) == 0
    assert program.metric(metrics.TASKS, state="succeeded") == 20


def post_many(port, count, duration):
    """POST that many tasks over one keep-alive connection."""
    body = json.dumps({"message": "sleep", "duration": duration})
    request = (f"POST {SUBMIT} HTTP/1.1\r\nHost: heddle.test\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as sock:
        answers = sock.makefile("rb")
        for _ in range(count):
            sock.sendall(request)
            assert answers.readline().split()[1] == b"202"
            length = 0
            while (line := answers.readline().lower()) != b"\r\n":
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)


def test_ten_thousand_tasks_sleep_at_once_without_threads(heddle, tmp_path):
    program = heddle(tasks={"queue_capacity": 10000})
    assert program.ask("GET", "/tasks").status == 200  # all threads are there
    threads_before = program.thread_count()
    with Nginx(program.address_for_nginx, tmp_path / "nginx") as nginx:
        clients = [threading.Thread(target=post_many, args=(nginx.port, 2500, 3600)) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    wait_until(lambda: program.metric(metrics.SLEEPING) == 10000, "10,000 tasks sleep")
    assert program.thread_count() == threads_before < 64
    assert program.ask("GET", "/health/live").status == 200
    assert len(listed(program.ask("GET", "/tasks?limit=3"))) == 3


def test_the_queue_is_measured(heddle):
    program = heddle()
    assert program.metric(metrics.QUEUE_DEPTH) == 0
    accepted(submit(program, duration=3600))
    wait_until(lambda: program.metric(metrics.SLEEPING) == 1, "the task sleeps")
    scrape = program.metrics()
    assert scrape.value(metrics.QUEUE_DEPTH) == 0
    assert scrape.value(metrics.TASKS, state="running") == 1
    assert scrape.value(metrics.TASKS) == 1
