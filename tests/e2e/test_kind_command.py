"""The kind `command`: programs of the configuration, their input, output, environment and end."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from harness.heddle import Heddle
from harness.kinds import cancel, die, refused, run, show, submit, succeed, wait_until_final
from harness.wait import wait_until

SCRIPTS = {
    "echo": "import sys; sys.stdout.write(sys.stdin.read())",
    "count": "import sys; print(len(sys.stdin.buffer.read()))",
    "text": "print('not { json')",
    "bytes": r"import sys; sys.stdout.buffer.write(b'gr\xfcn')",
    "nothing": "",
    "exit": "import json, sys; n = json.load(sys.stdin); print(f'bad {n}', file=sys.stderr); sys.exit(n)",
    "talk": "import sys\nfor n in range(1000): print('line', n, file=sys.stderr)\nprint(1)",
    "complain": "import sys\n"
                "for n in range(1000): print('üüüüüüüüüüüü line', n, file=sys.stderr)\n"
                "sys.exit(1)",
    "die": "import os; os.kill(os.getpid(), 9)",
    "environment": "import json, os; print(json.dumps(dict(os.environ)))",
    "attempt": "import os, sys; sys.exit(0 if os.environ['HEDDLE_ATTEMPT'] == '3' else 1)",
    "descriptors": "import os; print([n for n in range(1000) if os.path.exists(f'/proc/self/fd/{n}')])",
    "flood": "import sys\nwhile True: sys.stdout.write('x' * 65536)",
    "sleep": "import time; time.sleep(600)",
    "progress": "import os, time\nos.write(3, b'progress 0.25\\n')\ntime.sleep(600)",
    "stubborn": "import os, signal, sys, time\n"
                "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                "path = sys.argv[1]\n"
                "child = os.fork()\n"
                "open(f'{path}.{os.getpid()}', 'w').close()\n"
                "time.sleep(600)",
    "where": "import os; print(os.getcwd())",
    "arguments": "import json, sys; print(json.dumps(sys.argv[1:]))",
    "memory": "x = bytearray(1 << 30)",
    "spin": "while True: pass",
}


def commands_of(directory):
    """The configuration's `commands`: each of the scripts, and some of them with more settings."""
    def entry(name, *arguments, **settings):
        path = directory / f"{name}.py"
        path.write_text(SCRIPTS[name] + "\n", encoding="utf-8")
        return {"argv": [sys.executable, "-I", str(path), *arguments], **settings}

    return {
        **{name: entry(name) for name in SCRIPTS},
        "environment": entry("environment", environment=["ONE=1 2", "HEDDLE_ATTEMPT=9", "EMPTY="]),
        "path": entry("environment", environment=["PATH=/opt/bin"]),
        "stubborn": entry("stubborn", f"{directory}/stubborn"),
        "where": entry("where", directory="/usr"),
        "arguments": entry("arguments", "a b", "$HOME", "*", ";"),
        "memory": entry("memory", max_memory="256MiB"),
        "spin": entry("spin", cpu="1s"),
        "short": entry("sleep", timeout="100ms"),
        "missing": {"argv": [f"{directory}/missing"]},
        "plain": {"argv": [str(directory / "echo.py")]},
    }


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    directory = tmp_path_factory.mktemp("command")
    with Heddle(directory, tasks={"runners": 2}, commands=commands_of(directory)) as heddle:
        yield heddle


@pytest.fixture
def own_program(heddle, tmp_path):
    return heddle(tasks={"runners": 2}, commands=commands_of(tmp_path))


def command(name, **payload):
    return {"command": name, **payload}


# ---- input and output ----

@pytest.mark.parametrize("value", [{"a": [1, "ü", None]}, [], "text", 5, True, None], ids=repr)
def test_the_input_comes_as_json_and_the_output_goes_as_json(program, value):
    result = succeed(program, "command", command("echo", input=value))
    assert result.keys() == {"output", "elapsed"}
    assert result["output"] == value


def test_no_input_is_nothing_to_read(program):
    assert succeed(program, "command", command("count"))["output"] == 0
    assert succeed(program, "command", command("nothing"))["output"] == ""


def test_what_is_no_json_is_text(program):
    assert succeed(program, "command", command("text"))["output"] == "not { json\n"
    assert succeed(program, "command", command("bytes"))["output"] == "gr\ufffdn"


def test_a_megabyte_of_input(heddle, tmp_path):
    program = heddle(tasks={"max_payload": "2MiB"}, commands=commands_of(tmp_path), max_body="3MiB")
    assert succeed(program, "command", command("count", input="x" * 1048576))["output"] == 1048578


def test_a_program_need_not_read_its_input(program):
    assert succeed(program, "command", command("text", input="x" * 200000))["output"] == "not { json\n"


def test_who_writes_too_much_is_stopped_and_not_tried_again(program):
    task = die(program, "command", command("flood"))
    assert "tasks.max_result" in task["error"]
    assert task["attempts"] == 1


def test_the_last_lines_of_standard_error_are_kept(program):
    result = succeed(program, "command", command("talk"))
    assert result["output"] == 1
    assert result["stderr"].splitlines() == [f"line {number}" for number in range(980, 1000)]


# ---- the end ----

@pytest.mark.parametrize("status, attempts", [(1, 2), (64, 1), (65, 1), (66, 2), (75, 2), (255, 2)])
def test_exit_statuses(program, status, attempts):
    task = die(program, "command", command("exit", input=status), max_attempts=2)
    assert task["error"] == f"exit status {status}: bad {status}"
    assert task["attempts"] == attempts


def test_the_end_of_a_long_error_is_kept(program):
    error = die(program, "command", command("complain"), max_attempts=1)["error"]
    assert error.startswith("exit status 1: ") and error.endswith("line 999")
    assert 400 < len(error.encode()) < 512


def test_a_failure_is_tried_again(program):
    assert run(program, "command", command("attempt"))["state"] == "succeeded"


def test_a_signal_is_a_failure(program):
    assert die(program, "command", command("die"), max_attempts=2)["error"] == "killed by SIGKILL"


@pytest.mark.parametrize("name, text", [("missing", "No such file"),
                                        ("plain", "Permission denied|Exec format")])
def test_a_program_that_cannot_be_run(program, name, text):
    error = die(program, "command", command(name), max_attempts=2)["error"]
    assert error.startswith("cannot run ") and re.search(text, error)


def test_limits_of_memory_and_processor_time(program):
    assert "MemoryError" in die(program, "command", command("memory"), max_attempts=1)["error"]
    assert die(program, "command", command("spin"), max_attempts=1)["error"] == "killed by SIGXCPU"


# ---- what it finds ----

def test_the_environment_is_clean(program):
    task_id = submit(program, "command", command("environment"))
    environment = wait_until_final(program, task_id)["result"]["output"]
    environment.pop("LC_CTYPE", None)  # Python's own
    trace = environment.pop("TRACEPARENT")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace)
    assert environment.pop("PATH").endswith(":/bin")
    assert environment == {"HEDDLE_TASK_ID": task_id, "HEDDLE_ATTEMPT": "1", "ONE": "1 2", "EMPTY": ""}


def test_the_path_may_be_configured(program):
    assert succeed(program, "command", command("path"))["output"]["PATH"] == "/opt/bin"


def test_arguments_reach_no_shell(program):
    assert succeed(program, "command", command("arguments"))["output"] == ["a b", "$HOME", "*", ";"]


def test_its_directory_and_descriptors(program):
    assert succeed(program, "command", command("where"))["output"] == "/usr\n"
    assert succeed(program, "command", command("descriptors"))["output"] == [0, 1, 2, 3]


# ---- progress, cancel, deadline ----

def test_progress_moves(program):
    task_id = submit(program, "command", command("progress"))
    wait_until(lambda: show(program, task_id).get("progress") == 0.25, "a quarter is done")
    cancel(program, task_id)
    assert wait_until_final(program, task_id)["state"] == "cancelled"


def test_a_cancel_ends_it_at_once(program):
    task_id = submit(program, "command", command("progress"))
    wait_until(lambda: show(program, task_id).get("progress") == 0.25, "it runs")
    began = time.monotonic()
    cancel(program, task_id)
    assert wait_until_final(program, task_id)["state"] == "cancelled"
    assert time.monotonic() - began < 1


def stubborn_pids(directory):
    return [int(path.suffix[1:]) for path in Path(directory).glob("stubborn.[0-9]*")]


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_who_ignores_sigterm_is_killed_with_its_children(own_program, tmp_path, how):
    program = own_program
    timeout = {"timeout": 3} if how == "deadline" else {}
    task_id = submit(program, "command", command("stubborn"), max_attempts=1, **timeout)
    wait_until(lambda: len(stubborn_pids(tmp_path)) == 2, "it has a child")
    began = time.monotonic()
    if how == "cancel":
        cancel(program, task_id)
    task = wait_until_final(program, task_id)
    assert task["state"] == ("cancelled" if how == "cancel" else "dead")
    assert time.monotonic() - began < (2 if how == "cancel" else 5.5)
    wait_until(lambda: all(map(is_gone, stubborn_pids(tmp_path))), "all are gone")


def test_its_own_time_is_over(program):
    task = die(program, "command", command("short"), max_attempts=1)
    assert task["error"] == "not done within the command's timeout of 100ms"


def test_the_time_of_the_task_is_over(program):
    task = die(program, "command", command("sleep"), max_attempts=1, timeout=0.2)
    assert "timeout of 200ms" in task["error"]


def test_it_dies_with_the_server(own_program, tmp_path):
    submit(own_program, "command", command("stubborn"))
    wait_until(lambda: len(stubborn_pids(tmp_path)) == 2, "it has a child")
    parent, child = sorted(stubborn_pids(tmp_path))
    os.kill(child, signal.SIGKILL)  # only the program itself is killed by the kernel
    own_program.kill()
    wait_until(lambda: is_gone(parent), "the program is gone")


# ---- payloads ----

@pytest.mark.parametrize("payload", [{}, {"command": 5}, {"command": "unknown"}, {"command": "/bin/sh"},
                                     {"command": ""}, {"command": "echo "}], ids=repr)
def test_payloads_that_are_no_good(program, payload):
    problem = refused(program, "command", payload)
    assert "command" in problem["detail"]


def test_nothing_runs_unless_configured(heddle):
    refused(heddle(), "command", {"command": "echo"})
