"""Tasks over crashes: SIGKILL at any moment loses nothing that was acknowledged, and costs no time.

TORTURE_CYCLES is how often the process is killed; `make torture N=10000` sets it.
"""

import json
import os
import random
import threading
from collections import Counter
from contextlib import ExitStack

import pytest

from harness import metrics
from harness.build import SANITIZED
from harness.events import Events
from harness.heddle import Heddle, socket_directory
from harness.nginx import Nginx
from harness.tasks import FINAL_STATES, sleep
from harness.wait import wait_until

CYCLES = int(os.environ.get("TORTURE_CYCLES", 10 if SANITIZED else 100))
CLIENTS = 4
BATCH = 5
SUBMIT = "/start_background_task/"
JSON = {"Content-Type": "application/json"}


def task_body(duration):
    return json.dumps({"message": "m", "duration": duration}).encode()


class Lives:
    """Heddles one after the other, with one socket and one store."""

    def __init__(self, directory, stack, **tasks):
        self.directory = directory
        self.stack = stack
        self.socket = f"{stack.enter_context(socket_directory())}/s"
        self.tasks = {"store": f"sqlite:{directory}/tasks.db", **tasks}
        self.count = 0
        self.start()

    def start(self, **options):
        self.count += 1
        self.program = self.stack.enter_context(
            Heddle(self.directory, name="heddle", socket=self.socket, tasks=self.tasks,
                   log={"level": "warning"}, **options))
        return self.program

    def kill_and_start(self):
        self.program.kill()
        return self.start()

    def stop_and_start(self):
        self.program.stop()
        return self.start()


@pytest.fixture
def lives(tmp_path):
    with ExitStack() as stack:
        yield lambda **tasks: Lives(tmp_path, stack, **tasks)


def submit(program, duration):
    reply = program.ask("POST", SUBMIT, task_body(duration), JSON)
    assert reply.status == 202, reply
    return reply.json()["task"]["id"]


def show(program, task_id):
    reply = program.ask("GET", f"/tasks/{task_id}")
    assert reply.status == 200, reply
    return reply.json()


def unfinished(program):
    scrape = program.metrics()
    return sum(scrape.value(metrics.TASKS, state=state) for state in ("scheduled", "queued", "running"))


class Submitter(threading.Thread):
    """Submits tasks one after the other, over crashes, in all the ways there are, and keeps the id of each that
    was acknowledged."""

    def __init__(self, nginx, seed):
        super().__init__()
        self.nginx = nginx
        self.random = random.Random(seed)
        self.acknowledged = []
        self.keys = {}  # an Idempotency-Key: the id of its task
        self.is_over = False

    def duration(self):
        return self.random.choice([0, 0, 0.002, 0.05])

    def post(self, path, body, headers=None):
        """The reply, or None when there was none, or nothing was accepted."""
        try:
            reply = self.nginx.ask("POST", path, body, JSON | (headers or {}))
        except OSError:
            return None
        assert reply.status in (200, 202, 409, 502, 503, 504), reply
        return reply if reply.status in (200, 202) else None

    def post_as_the_tutorial(self):
        if reply := self.post(SUBMIT, task_body(self.duration())):
            self.acknowledged.append(reply.json()["task"]["id"])

    def post_batch(self):
        tasks = [sleep(self.duration()) for _ in range(BATCH)]
        if reply := self.post("/tasks/batch", json.dumps(tasks).encode()):
            self.acknowledged.extend(result["id"] for result in reply.json()["results"])

    def post_with_key(self):
        """The same again until it is answered, over any number of crashes."""
        key = f"{self.name}-{len(self.keys)}"
        body = json.dumps(sleep(self.duration())).encode()
        while not self.is_over:
            if reply := self.post("/tasks", body, {"Idempotency-Key": key}):
                self.keys[key] = reply.json()["id"]
                self.acknowledged.append(reply.json()["id"])
                return

    def run(self):
        while not self.is_over:
            self.random.choice([self.post_as_the_tutorial, self.post_with_key, self.post_batch])()


def count_ends(program, count):
    """How often each task was seen to end, in all events there were, of which `count` tell of an end."""
    ends = Counter()
    with Events(program, "/tasks/events", {"Last-Event-ID": "0"}) as events:
        while ends.total() < count:
            event = events.next()
            assert event, "the stream has ended"
            if event.data["state"] in FINAL_STATES:
                ends[event.data["id"]] += 1
    return ends


def test_nothing_that_was_acknowledged_is_lost(lives, tmp_path):
    life = lives(keep_succeeded=1_000_000_000, keep_events=1_000_000_000, max_interruptions=1000)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    moments = random.Random(seed)
    with Nginx(life.program.address_for_nginx, tmp_path / "nginx") as nginx:
        clients = [Submitter(nginx, seed + number) for number in range(CLIENTS)]

        def acknowledged():
            return sum(len(client.acknowledged) for client in clients)

        for client in clients:
            client.start()
        try:
            for _ in range(CYCLES):
                goal = acknowledged() + moments.randrange(60)
                wait_until(lambda: acknowledged() >= goal, "tasks are accepted")
                life.kill_and_start()
        finally:
            for client in clients:
                client.is_over = True
            for client in clients:
                client.join()
    program = life.program
    wait_until(lambda: unfinished(program) == 0, "all tasks have ended")
    ids = [task_id for client in clients for task_id in client.acknowledged]
    assert len(ids) == len(set(ids)) > CYCLES
    for task_id in ids:
        task = show(program, task_id)
        assert (task["state"], task["attempts"]) == ("succeeded", 1), task
    # Those whose acknowledgement was lost on the way are there as well, and nothing else.
    succeeded = int(program.metric(metrics.TASKS, state="succeeded"))
    assert len(ids) <= succeeded <= len(ids) + CYCLES * CLIENTS * BATCH
    ends = count_ends(program, succeeded)
    assert len(ends) == succeeded and set(ids) <= ends.keys()  # each has ended once


def test_what_ran_is_running_again_at_once(lives):
    life = lives()
    ids = [submit(life.program, 3600) for _ in range(50)]
    wait_until(lambda: life.program.metric(metrics.SLEEPING) == 50, "all sleep")
    program = life.kill_and_start()
    wait_until(lambda: program.metric(metrics.SLEEPING) == 50, "all sleep again", 1 if not SANITIZED else 10)
    for task_id in ids:
        task = show(program, task_id)
        assert (task["state"], task["attempts"], task["interruptions"]) == ("running", 1, 1)
    assert program.metric("heddle_tasks_interrupted_total") == 50


def test_a_task_under_which_the_process_dies_too_often_is_set_aside(lives):
    life = lives(max_interruptions=2)
    deadly = submit(life.program, 3600)
    for _ in range(2):
        life.kill_and_start()
        wait_until(lambda: show(life.program, deadly)["state"] == "running", "it runs again")
    task = show(life.kill_and_start(), deadly)
    assert (task["state"], task["attempts"], task["interruptions"]) == ("dead", 0, 3)
    assert task["error"] == "interrupted 3 times: the process ended while it ran"
    assert task["finished_at"]


def test_a_stop_is_not_held_against_a_task(lives):
    life = lives(max_interruptions=0)
    sleeper = submit(life.program, 3600)
    for _ in range(3):
        life.stop_and_start()
        wait_until(lambda: show(life.program, sleeper)["state"] == "running", "it runs again")
    task = show(life.program, sleeper)
    assert task["attempts"] == 1 and "interruptions" not in task


def test_finished_tasks_are_there_after_a_crash(lives):
    life = lives()
    task_id = submit(life.program, 0)
    wait_until(lambda: show(life.program, task_id)["state"] == "succeeded", "it ends")
    before = show(life.program, task_id)
    assert show(life.kill_and_start(), task_id) == before


def test_a_second_process_says_who_has_the_store(lives, tmp_path):
    life = lives()
    with pytest.raises(AssertionError) as caught:
        Heddle(tmp_path, name="second", tasks=life.tasks)
    assert f"in use by process {life.program.pid} " in str(caught.value)
    assert "ended with 1" in str(caught.value)
    submit(life.program, 0)
