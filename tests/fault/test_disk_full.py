"""A full disk: a file system of a few MiB under the task store, filled up and emptied again."""

import os
import subprocess

import pytest

from harness.expect import detailed_problem
from harness.heddle import Heddle
from harness.tasks import accepted, show, sleep, submit, wait_for, wait_until_final
from harness.wait import wait_until

SIZE_MIB = 24


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", folder],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def program(small_disk, tmp_path):
    tasks = {"store": f"sqlite:{small_disk}/tasks.db"}
    with Heddle(tmp_path, tasks=tasks, queues={"later": {"paused": True}}) as program:
        yield program


def fill(folder):
    with open(folder / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(64 * 1024)):
                pass
        except OSError:
            os.fsync(filler.fileno())


def submit_until_full(program):
    """The ids of those that were accepted before the first 507."""
    ids = []
    message = "x" * 4096
    while True:
        reply = submit(program, sleep(0, message, queue="later"))
        if reply.status == 507:
            detailed_problem(reply, 507)
            return ids
        ids.append(accepted(reply)["id"])


def test_new_tasks_are_refused_and_what_runs_is_finished(program, small_disk):
    running = [accepted(submit(program, sleep(3600)))["id"] for _ in range(20)]
    fill(small_disk)
    kept = submit_until_full(program)
    for task_id in running:
        assert program.ask("POST", f"/tasks/{task_id}/cancel").status in (200, 202)
    for task_id in running:
        wait_for(program, task_id, "cancelled")
    assert submit(program, sleep(0)).status == 507
    (small_disk / "filler").unlink()
    wait_until(lambda: submit(program, sleep(0)).status == 202, "tasks are accepted again")
    assert program.ask("POST", "/queues/later/resume").status == 200
    for task_id in kept[-20:]:
        assert wait_until_final(program, task_id)["state"] == "succeeded"


def test_nothing_is_lost_when_it_is_killed_with_a_full_disk(program, small_disk, tmp_path):
    fill(small_disk)
    kept = submit_until_full(program)
    running = program.metric("heddle_tasks", state="running")
    assert running == 0
    program.kill()
    (small_disk / "filler").unlink()
    with Heddle(tmp_path, name="again", tasks=program.config["tasks"], queues=program.config["queues"]) as again:
        for task_id in kept:
            assert show(again, task_id)["state"] == "queued"
        assert submit(again, sleep(0)).status == 202
