"""`heddle tasks`: over the socket of a running server, and on the store of one that is stopped."""

import json
import re
import socket
import subprocess
from contextlib import ExitStack

import pytest

from harness.build import HEDDLE
from harness.heddle import Heddle, run, socket_directory
from harness.programs import clean_environment
from harness.wait import DEADLINE, wait_until

JSON = {"Content-Type": "application/json"}
NOBODY = "01890000-0000-7000-8000-000000000000"
STATES = ["scheduled", "queued", "running", "succeeded", "dead", "cancelled"]
FINAL = {"succeeded", "dead", "cancelled"}
DONE, REFUSED, USAGE, UNREACHABLE = range(4)


class Place:
    """A server with a store; `tasks(...)` runs the command, whether the server is running or not."""

    def __init__(self, directory, stack, **settings):
        self.directory, self.stack, self.settings = directory, stack, settings
        self.socket = f"{stack.enter_context(socket_directory())}/s"
        self.start()

    def start(self):
        self.server = self.stack.enter_context(Heddle(
            self.directory, socket=self.socket, **{"queues": {"slow": {"concurrency": 1}}, **self.settings}))
        return self.server

    def stop(self):
        self.server.stop()

    def submit(self, duration=0, **members):
        body = {"kind": "sleep", "payload": {"message": "m", "duration": duration}, **members}
        reply = self.server.ask("POST", "/tasks", json.dumps(body).encode(), JSON)
        assert reply.status == 202, reply
        return reply.json()["id"]

    def submit_many(self, count, **members):
        body = {"kind": "sleep", "payload": {"message": "m", "duration": 0}, **members}
        lines = "".join(json.dumps(body) + "\n" for _ in range(count))
        reply = self.server.ask("POST", "/tasks/batch", lines.encode(),
                                {"Content-Type": "application/x-ndjson"})
        assert reply.status < 300, reply

    def finished(self, **members):
        """The id of a task that has ended."""
        task_id = self.submit(**members)
        wait_until(lambda: self.state(task_id) in FINAL, "the task ends")
        return task_id

    def dead(self):
        return self.finished(duration=3600, timeout=0.05, max_attempts=1)

    def state(self, task_id):
        return self.server.ask("GET", f"/tasks/{task_id}").json()["state"]

    def counts(self):
        return self.server.ask("GET", "/tasks/stats").json()["counts"]

    def tasks(self, *arguments, status=DONE):
        done = run("tasks", "-c", self.server.config_path, *arguments)
        assert done.returncode == status, done
        assert (done.stderr == "") == (status == DONE), done
        return done

    def json(self, *arguments):
        return json.loads(self.tasks(*arguments, "--json").stdout)

    def export(self, *arguments):
        return [json.loads(line) for line in self.tasks("export", *arguments).stdout.splitlines()]

    def listed(self, *arguments):
        return [task["id"] for task in self.json("list", *arguments)["tasks"]]


@pytest.fixture
def place(tmp_path):
    with ExitStack() as stack:
        yield lambda **settings: Place(tmp_path, stack, **settings)


@pytest.fixture(params=["running", "stopped"])
def ready(request):
    """What a test that is made for both does when its tasks are there."""
    def ready(place):
        if request.param == "stopped":
            place.stop()
    ready.is_running = request.param == "running"
    return ready


# ---- looking --------------------------------------------------------------------------------------

def test_a_table_for_people(place, ready):
    here = place()
    good, bad = here.finished(), here.dead()
    ready(here)
    header, *rows = here.tasks("list").stdout.splitlines()
    assert header.split() == ["ID", "STATE", "KIND", "QUEUE", "ATTEMPTS", "AGE", "ERROR"]
    columns = [re.split(r"  +", row.rstrip(), maxsplit=6) for row in rows]
    assert [row[:5] for row in columns] == [[bad, "dead", "sleep", "default", "1/1"],
                                            [good, "succeeded", "sleep", "default", "1/5"]]
    assert all(re.fullmatch(r"\d+[smhd]", row[5]) for row in columns)
    assert columns[0][6] and len(columns[0][6]) <= 63
    assert {row.index(state) for row, state in zip(rows, ["dead", "succeeded"])} == {header.index("STATE")}
    assert {row.index("default") for row in rows} == {header.index("QUEUE")}


def test_filters(place, ready):
    here = place()
    tagged = here.finished(tags=["a b&c", "ü"])
    queued = here.finished(queue="slow")
    later = here.submit(run_at="2099-01-01T00:00:00Z")
    ready(here)
    assert here.listed() == [later, queued, tagged]
    assert here.listed("--state", "succeeded") == [queued, tagged]
    assert here.listed("--state", "scheduled") == [later]
    assert here.listed("--queue=slow") == [queued]
    assert here.listed("--tag", "a b&c") == here.listed("--tag", "ü") == [tagged]
    assert here.listed("--tag", "a b") == here.listed("--kind", "nope") == here.listed("--state", "dead") == []
    assert here.listed("--kind", "sleep", "--state", "succeeded", "--queue", "default") == [tagged]
    assert here.listed("--limit", "2") == [later, queued]
    assert [task["id"] for task in here.export("--queue", "slow")] == [queued]
    for command in ("list", "export"):
        assert "there is no queue" in here.tasks(command, "--queue", "nope", status=REFUSED).stderr


def test_both_show_the_same(place):
    """What the server writes is what is written on its store when it is stopped, and in both ways."""
    def look():
        return [here.tasks(*arguments).stdout for arguments in (
            ["show", done], ["show", bad, "--json"], ["export"], ["stats"], ["stats", "--json"],
            ["list", "--json"], ["list", "--json", "--state", "dead"])]

    here = place()
    done, bad = here.finished(tags=["t"], tenant="x"), here.dead()
    here.finished(queue="slow", unique_key="k")
    running = look()
    over_http = here.server.ask("GET", f"/tasks/{bad}").json()
    here.stop()
    assert look() == running
    assert json.loads(running[1]) == over_http
    assert running[0].startswith('{\n  "id": "') and json.loads(running[0])["id"] == done
    assert [task["id"] for task in json.loads(running[6])["tasks"]] == [bad]


def test_stats(place, ready):
    here = place()
    here.finished()
    here.finished(queue="slow")
    here.dead()
    ready(here)
    assert here.json("stats")["counts"] == dict.fromkeys(STATES, 0) | {"succeeded": 2, "dead": 1}
    rows = [line.split() for line in here.tasks("stats").stdout.splitlines()]
    assert rows[0] == ["QUEUE", *map(str.upper, STATES)]
    assert ["default", "0", "0", "0", "1", "1", "0"] in rows
    assert rows[-1] == ["(all)", "0", "0", "0", "2", "1", "0"]


def test_an_export_has_all_tasks_with_all_there_is(place, ready):
    here = place()
    here.submit_many(3000)
    wait_until(lambda: here.counts()["succeeded"] == 3000, "all have ended")
    ready(here)
    tasks = here.export()
    assert len({task["id"] for task in tasks}) == len(tasks) == 3000
    assert [task["id"] for task in tasks] == sorted((task["id"] for task in tasks), reverse=True)
    assert all(task["payload"] == {"message": "m", "duration": 0} and "result" in task for task in tasks)
    assert here.export("--state", "dead") == []


@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_enough_is_no_failure(place, ready, lines):
    here = place()
    here.submit_many(600)
    ready(here)
    with subprocess.Popen([HEDDLE, "tasks", "-c", here.server.config_path, "export"], text=True,
                          env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(lines):
            json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.wait(DEADLINE) == DONE
        assert process.stderr.read() == ""


def test_output_that_cannot_be_written_is_a_failure(place, ready):
    here = place()
    ready(here)
    with open("/dev/full", "wb") as full:
        assert subprocess.run([HEDDLE, "tasks", "-c", here.server.config_path, "list"], stdout=full,
                              stderr=subprocess.DEVNULL).returncode == REFUSED


# ---- changing -------------------------------------------------------------------------------------

def test_what_waits_is_cancelled(place, ready):
    here = place()
    ids = [here.submit(run_at="2099-01-01T00:00:00Z") for _ in range(3)]
    ready(here)
    assert here.tasks("cancel", *ids[:2]).stdout == "".join(f"{task_id} cancelled\n" for task_id in ids[:2])
    assert here.json("cancel", ids[2])["state"] == "cancelled"
    assert set(here.listed("--state", "cancelled")) == set(ids)
    assert here.json("stats")["counts"]["cancelled"] == 3


def test_a_running_one_is_cancelled(place):
    here = place()
    task_id = here.submit(duration=3600)
    wait_until(lambda: here.state(task_id) == "running", "it runs")
    assert here.tasks("cancel", task_id).stdout == f"{task_id} cancelled\n"
    assert here.state(task_id) == "cancelled"


def test_a_dead_one_is_tried_again(place, ready):
    here = place()
    task_id = here.dead()
    ready(here)
    assert here.tasks("retry", task_id).stdout in (f"{task_id} queued\n", f"{task_id} running\n")
    if not ready.is_running:
        assert here.json("show", task_id)["state"] == "queued"
        here.start()
    wait_until(lambda: here.state(task_id) == "dead", "it is dead again")
    assert len(here.json("show", task_id)["history"]) == 1


def test_each_refusal_is_named_and_the_others_are_changed(place, ready):
    here = place()
    done, waits = here.finished(), here.submit(run_at="2099-01-01T00:00:00Z")
    ready(here)
    told = here.tasks("cancel", NOBODY, done, waits, status=REFUSED)
    assert told.stdout == f"{waits} cancelled\n"
    assert told.stderr.splitlines() == [
        f"heddle: {NOBODY}: there is no task with this id",
        f"heddle: {done}: only a task that has not finished can be cancelled: the task is succeeded"]
    assert here.tasks("retry", done, status=REFUSED).stderr == (
        f"heddle: {done}: only a dead or cancelled task can be tried again: the task is succeeded\n")
    assert here.tasks("show", NOBODY, status=REFUSED).stderr == (
        f"heddle: {NOBODY}: there is no task with this id\n")


def test_a_retry_whose_unique_key_is_taken_is_refused(place, ready):
    here = place()
    first = here.submit(run_at="2099-01-01T00:00:00Z", unique_key="k")
    here.tasks("cancel", first)
    here.submit(run_at="2099-01-01T00:00:00Z", unique_key="k")
    ready(here)
    assert here.tasks("retry", first, status=REFUSED).stderr == (
        f"heddle: {first}: an unfinished task has the same unique key\n")


def test_purge(place, ready):
    here = place()
    here.submit_many(1500)
    bad = here.dead()
    wait_until(lambda: here.counts()["succeeded"] == 1500, "all have ended")
    ready(here)
    assert here.tasks("purge", "--state", "succeeded", "--older-than", "7d").stdout == "0 purged\n"
    assert here.json("purge", "--state=succeeded", "--older-than=1h") == {"purged": 0}
    assert here.tasks("purge", "--state", "succeeded").stdout == "1500 purged\n"
    assert here.listed() == [bad]
    assert here.json("purge", "--state", "dead", "--older-than", "0s") == {"purged": 1}
    assert here.json("stats")["counts"] == dict.fromkeys(STATES, 0)


def test_what_is_done_on_the_store_is_there_when_the_server_starts(place):
    here = place()
    kept, gone = here.submit(run_at="2099-01-01T00:00:00Z"), here.finished()
    here.stop()
    here.tasks("cancel", kept)
    here.tasks("purge", "--state", "succeeded")
    server = here.start()
    assert here.state(kept) == "cancelled"
    assert server.ask("GET", f"/tasks/{gone}").status == 404
    assert here.counts()["succeeded"] == 0
    assert here.finished() > kept


# ---- what a crash has left ------------------------------------------------------------------------

def test_a_look_costs_what_a_crash_has_left_running_no_interruption(place):
    here = place()
    ids = [here.submit(duration=3600) for _ in range(2)]
    wait_until(lambda: here.counts()["running"] == 2, "both run")
    here.server.kill()
    for _ in range(5):
        assert here.listed("--state", "running") == ids[::-1]
        assert here.json("stats")["counts"]["running"] == 2
    assert here.tasks("retry", ids[0], status=REFUSED).stderr
    assert here.tasks("cancel", ids[0]).stdout == f"{ids[0]} cancelling\n"
    assert here.json("show", ids[1]).get("interruptions", 0) == 0
    here.start()
    assert here.state(ids[0]) == "cancelled"
    task = here.json("show", ids[1])
    assert (task["interruptions"], task["state"] in ("queued", "running")) == (1, True)


# ---- nobody to ask --------------------------------------------------------------------------------

def test_a_store_that_another_process_has_is_told_with_its_pid(place):
    here = place()
    config = here.directory / "other.yaml"
    config.write_text(here.server.config_path.read_text().replace(here.socket, here.socket + "-nobody"))
    done = run("tasks", "-c", config, "list")
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert f"process {here.server.pid}" in done.stderr and "-nobody" in done.stderr


def test_without_a_store_none_is_made(tmp_path):
    config = tmp_path / "some.yaml"
    config.write_text(f"listen: unix:{tmp_path}/s\ntasks:\n  store: sqlite:{tmp_path}/none/tasks.db\n")
    done = run("tasks", "-c", config, "list")
    assert (done.returncode, done.stdout) == (UNREACHABLE, "")
    assert "there is no task store" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["some.yaml"]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\x06\x00\x01\x00\x05"],
                         ids=["nothing", "HTTP", "a part"])
def test_something_else_listens_there(tmp_path, answer):
    with socket_directory() as directory, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{directory}/s")
        listener.listen()
        config = tmp_path / "some.yaml"
        config.write_text(f"listen: unix:{directory}/s\ntasks:\n  store: sqlite:{tmp_path}/tasks.db\n")
        with subprocess.Popen([HEDDLE, "tasks", "-c", config, "list"], text=True, env=clean_environment(),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)
            output, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, output) == (UNREACHABLE, "")
    assert errors.startswith("heddle: ")


def test_a_server_that_listens_on_tcp(place):
    from harness.programs import free_port
    here = place(listen=f"tcp:127.0.0.1:{free_port()}")
    task_id = here.finished()
    assert here.listed() == [task_id]


# ---- the command line -----------------------------------------------------------------------------

@pytest.mark.parametrize("arguments", [
    [], ["nope"], ["show"], ["show", NOBODY, NOBODY], ["show", "x"], ["cancel"], ["cancel", "x"], ["retry"],
    ["list", "x"], ["list", "--state", "nope"], ["list", "--state"], ["list", "--limit", "0"],
    ["list", "--limit", "1001"], ["list", "--limit", "x"], ["list", "--nope"], ["list", "--json=1"],
    ["list", "--tag", ""], ["list", "--kind", "x" * 65], ["list", "--older-than", "7d"], ["purge"],
    ["purge", "--state", "running"], ["purge", "--state", "dead", "--older-than", "7"],
    ["purge", "--state", "dead", "--older-than", "-1d"], ["purge", "--state", "dead", "--kind", "sleep"],
    ["export", "--limit", "5"], ["export", "--json"], ["stats", "x"], ["-c"]], ids=" ".join)
def test_wrong_arguments(tmp_path, arguments):
    config = tmp_path / "some.yaml"
    config.write_text("{}\n")
    done = run("tasks", *arguments, *(["-c", config] if arguments != ["-c"] else []))
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr.startswith("heddle: ") and "purge --state" in done.stderr


def test_a_configuration_that_is_wrong(tmp_path):
    config = tmp_path / "some.yaml"
    config.write_text("lisen: x\n")
    for path in (config, tmp_path / "missing.yaml"):
        done = run("tasks", "list", "-c", path)
        assert (done.returncode, done.stdout) == (USAGE, "")
        assert str(path) in done.stderr


def test_the_configuration_is_conf_heddle_yaml_unless_another_is_named(tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/heddle.yaml").write_text(f"listen: unix:{tmp_path}/nobody\n")
    done = run("tasks", "list", cwd=tmp_path)
    assert done.returncode == UNREACHABLE and "nobody" in done.stderr
