"""`make run` as a newcomer uses it: does what it prints, ends on Ctrl-C, keeps to its own folder."""

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from harness.build import SANITIZED
from harness.programs import clean_environment, free_port
from harness.tree import copy_tree, environment
from harness.wait import wait_until


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    if SANITIZED:
        pytest.skip("`make run` builds and runs the release")
    return copy_tree(tmp_path_factory.mktemp("make-run") / "heddle")


def make_run(tree, **variables):
    arguments = [f"{name}={value}" for name, value in variables.items()]
    with open(tree.parent / "output", "w") as output:
        return subprocess.Popen(["make", "run", *arguments], cwd=tree, env=environment(), stdout=output,
                                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)


def output(tree):
    return (tree.parent / "output").read_text()


def files(tree):
    """{file: when it was written}, without what the program may write."""
    return {path: path.stat().st_mtime_ns for path in tree.rglob("*")
            if path.relative_to(tree).parts[0] not in ("run", "build")}


def working_in(tree):
    """The commands of the processes whose working directory is in `tree`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(tree):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
    return found


@pytest.fixture
def demo(tree):
    """(URL, the printed commands) of a running demo, which ends on Ctrl-C and leaves nothing behind."""
    before = files(tree)
    port = free_port()
    process = make_run(tree, PORT=port)

    def ready():
        assert process.poll() is None, output(tree)
        return "ready on" in output(tree) and output(tree).endswith("\n\n")
    try:
        wait_until(ready, "the demo is ready", 60)
        yield f"http://127.0.0.1:{port}", re.findall(r"^  (curl .*)$", output(tree), re.MULTILINE)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) != 0, "make says that it was interrupted"
        assert "heddle: stopping\n" in output(tree)
        assert working_in(tree) == []
        assert files(tree) == before
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_it_does_what_it_prints(demo):
    url, commands = demo
    fan_out, customer, task, metrics = (
        subprocess.run(shlex.split(command) + ["-sS", "-i"], capture_output=True, text=True, timeout=30,
                       env=clean_environment(), check=True).stdout for command in commands)
    assert all(f"{url}/" in command for command in commands)

    head, _, body = fan_out.partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    answer = json.loads(body)
    assert [result["status"] for result in answer["results"]] == [200] * 10
    assert 1.0 <= answer["total_time"] < sum(result["elapsed"] for result in answer["results"])

    head, _, body = customer.partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    assert json.loads(body)["parts"] == {
        "profile": {"name": "Ada", "account": "A-42"}, "orders": {"total": 7, "shown": 2},
        "account": {"balance": 12.5}}

    head, _, body = task.partition("\n\n")
    assert head.startswith("HTTP/1.1 202")
    assert json.loads(body)["message"] == "Background task started successfully"

    head, _, body = metrics.partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    assert 'heddle_fetches_total{outcome="ok"} 13' in body


@pytest.mark.parametrize("variable, value, complaint", [
    ("PORT", "abc", "PORT=abc is not a port number, 1 to 65535"),
    ("PORT", "65536", "PORT=65536 is not a port number, 1 to 65535"),
    ("HEDDLE_CONF", "none.yaml", "HEDDLE_CONF=none.yaml cannot be read")])
def test_what_is_wrong_is_said(tree, variable, value, complaint):
    process = make_run(tree, **{variable: value})
    assert process.wait(60) == 2
    assert f"heddle: {complaint}\n" in output(tree)
    assert working_in(tree) == []


def test_a_port_in_use_is_said(tree, upstream):
    port = upstream.origins[0].rpartition(":")[2]
    process = make_run(tree, PORT=port)
    assert process.wait(60) == 2
    assert f"heddle: port {port} is in use; choose another" in output(tree)
