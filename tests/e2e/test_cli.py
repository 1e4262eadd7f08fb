"""The command line: serve is tested elsewhere; here check, version, docs, help and what is wrong."""

import re
import subprocess

import pytest

from harness.build import HEDDLE, PROJECT
from harness.heddle import run

GOOD = "listen: unix:/tmp/heddle-test.sock\n"


@pytest.fixture
def check(tmp_path):
    """Runs `heddle check` on a text; returns its exit status and its lines without the path."""
    path = tmp_path / "some.yaml"

    def check(text, **environment):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = run("check", "-c", path, env=environment)
        return done.returncode, (done.stdout + done.stderr).replace(f"{path}:", "").splitlines()
    return check


def places(lines):
    """(line, column) of each error."""
    return [tuple(map(int, re.match(r"(\d+):(\d+): \S", line).groups())) for line in lines]


@pytest.mark.parametrize("name", ["heddle.yaml", "public-sites.yaml", "compose.yaml", "gateway.yaml"])
def test_the_configurations_that_come_along_are_good(name):
    done = run("check", "-c", PROJECT / "conf" / name)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", ["", "\n", "---\n", "# only a comment\n", "{}\n", GOOD])
def test_few_lines_are_enough(check, text):
    status, lines = check(text)
    assert status == 0, lines


ALL_WRONG = """\
listen: pipe:nowhere
socket_mode: 0999
max_in_flight: many
shutdown_timeout: 10 parsecs
lgo:
  level: info
log:
  level: loud
  format: 7
fetch:
  timeout: -1s
  conect_timeout: 1s
  max_response: 1 TB
  max_redirects: 1.5
concurrent_requests:
  urls:
    - http://good.example/
    - ftp://bad.example/
    - not a url
  max_concurrency: -3
tasks:
  runners: 0
  queue_capacity: 99999999999999999999999
"""


def test_all_errors_come_at_once_with_their_places(check):
    status, lines = check(ALL_WRONG)
    assert status == 1
    wrong_lines = [1, 2, 3, 4, 5, 8, 9, 11, 12, 13, 14, 18, 19, 20, 22, 23]
    assert [line for line, _ in places(lines)] == wrong_lines
    starts = {11: "-1s", 18: "ftp:", 19: "not", 22: "0", 1: "pipe", 12: "conect"}
    source = ALL_WRONG.splitlines()
    for line, column in places(lines):
        if line in starts:
            assert source[line - 1][column - 1:].startswith(starts[line]), (line, column)


def test_an_error_says_what_is_allowed(check):
    _, lines = check("log:\n  level: loud\ntasks:\n  runners: 0\nfetch:\n  timeout: 5\n")
    assert all(name in lines[0] for name in ("debug", "info", "warning", "error"))
    assert "1" in lines[1] and "256" in lines[1]
    assert "s" in lines[2] and "ms" in lines[2]


@pytest.mark.parametrize("text, known", [
    ("max_inflight: 5\n", "max_in_flight"), ("lgo:\n", '"log"'), ("lisen: unix:x\n", "listen"),
    ("fetch:\n  time_out: 5s\n", "timeout"),
    ("concurent_requests:\n  urls: []\n", "concurrent_requests"), ("tasks:\n  runers: 5\n", "runners")])
def test_an_unknown_key_is_told_the_nearest_known_one(check, text, known):
    status, lines = check(text)
    assert status == 1
    assert known in lines[0]


@pytest.mark.parametrize("text", [
    "listen: [\n", "a: b: c\n", "\tlisten: x\n", "- listen\n", "text\n", "listen:\n  a: b\n",
    "listen: unix:a\nlisten: unix:b\n",
    "log: 5\n", "fetch: [1]\n", "concurrent_requests:\n  urls: 5\n", "concurrent_requests:\n  urls: [[1]]\n",
    "listen: \"unterminated\n", "listen: *nowhere\n", "? [a]\n: b\n",
    b"listen: \xff\xfe\n", b"\x00", b"\xff\xfe",
    "--- {}\n--- {}\n", "listen: unix:" + "x" * 200 + "\n", "listen: unix:\n", "listen: tcp:127.0.0.1\n",
    "listen: tcp:127.0.0.1:70000\n", "listen: tcp:example.com:80\n", "listen:\n", "&a [*a]\n", "[" * 10000,
    "concurrent_requests: {urls: [\"http://a b/\"]}\n", "concurrent_requests: {urls: [\"http://\"]}\n",
    "concurrent_requests: {urls: [\"file:///etc/passwd\"]}\n", "concurrent_requests: {urls: [\"\"]}\n",
    "fetch: {timeout: 99999999999999999999s}\n", "fetch: {timeout: ''}\n", "socket_mode: 1777\n"],
    ids=lambda value: repr(value)[:40])
def test_whatever_is_wrong_has_a_place_and_exit_status_1(check, text):
    status, lines = check(text)
    assert status == 1
    assert lines and places(lines[:1]), lines


def test_settings_that_contradict_each_other_are_told(check):
    status, lines = check("max_in_flight: 50\nmax_connections: 50\n")
    assert status == 1
    assert "max_in_flight" in lines[0] and "max_connections" in lines[0]
    assert places(lines) == [(1, 1)]


@pytest.mark.parametrize("text", ["x: " + "y" * 2_000_000, "x: 1\n" * 200_000], ids=["bytes", "lines"])
def test_a_file_that_is_too_large_is_told(check, text):
    status, lines = check(text)
    assert (status, len(lines)) == (1, 1)


def test_many_errors_do_not_flood(check):
    status, lines = check("".join(f"unknown_{number}: 1\n" for number in range(5_000)))
    assert status == 1
    assert 100 <= len(lines) < 110
    assert places(lines[:50])


def test_variables_are_replaced_from_the_environment(check):
    text = "listen: unix:${HEDDLE_TEST_PATH}\nlog:\n  level: ${HEDDLE_TEST_LEVEL:-warning}\n"
    assert check(text, HEDDLE_TEST_PATH="/tmp/x")[0] == 0
    assert check(text, HEDDLE_TEST_PATH="/tmp/x", HEDDLE_TEST_LEVEL="debug")[0] == 0
    status, lines = check(text, HEDDLE_TEST_PATH="/tmp/x", HEDDLE_TEST_LEVEL="loud")
    assert (status, places(lines)[0][0]) == (1, 3)
    status, lines = check(text)
    assert (status, places(lines)[0][0]) == (1, 1)
    assert "HEDDLE_TEST_PATH" in lines[0]


def test_a_variable_is_a_value_and_cannot_become_structure(check):
    text = "listen: unix:${HEDDLE_TEST_PATH}\n"
    assert check(text, HEDDLE_TEST_PATH="/tmp/x\nunknown: 1")[0] in (0, 1)
    _, lines = check(text, HEDDLE_TEST_PATH="/tmp/x\nunknown: 1")
    assert not any("unknown key" in line for line in lines)


@pytest.mark.parametrize("text", [
    "listen: ${\n", "listen: ${}\n", "listen: ${A B}\n", "listen: ${A:-\n", "listen: ${A:=x}\n"])
def test_a_broken_variable_is_an_error(check, text):
    status, lines = check(text)
    assert status == 1 and places(lines)[0][0] == 1


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    for path in (tmp_path / "missing.yaml", tmp_path):
        done = run("check", "-c", path)
        assert done.returncode == 1
        assert str(path) in done.stderr


def test_version():
    done = run("version")
    assert done.returncode == 0
    assert re.fullmatch(r"heddle \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_names_the_commands(arguments):
    done = run(*arguments)
    assert done.returncode == 0 and done.stderr == ""
    assert all(word in done.stdout for word in ("serve", "check", "version", "docs", "-c"))


@pytest.mark.parametrize("arguments", [
    [], ["sreve"], ["--nope"], ["check"], ["version", "x"], ["docs"], ["docs", "x"], ["check", "-c"],
    ["check", "-c", "a", "b"]], ids=" ".join)
def test_a_wrong_command_line_is_told_and_fails(arguments):
    done = run(*arguments)
    assert 0 < done.returncode < 128
    assert done.stdout == "" and done.stderr


@pytest.mark.parametrize("subject, name", [("configuration", "CONFIGURATION.md"), ("metrics", "METRICS.md")])
def test_the_generated_documents_are_up_to_date(subject, name):
    done = run("docs", subject)
    assert done.returncode == 0 and done.stdout.startswith("# ")
    assert (PROJECT / name).read_text() == done.stdout, "run `make docs`"


@pytest.mark.parametrize("arguments", [["version"], ["--help"], ["docs", "metrics"]], ids=" ".join)
def test_output_that_cannot_be_written_is_a_failure(arguments):
    with open("/dev/full", "wb") as full:
        assert subprocess.run([HEDDLE, *arguments], stdout=full).returncode == 1


def test_every_key_is_documented_and_in_the_sample():
    document = run("docs", "configuration").stdout
    sample = (PROJECT / "conf/heddle.yaml").read_text()
    for key in re.findall(r"^\| `([a-z_.]+)`", document, re.MULTILINE):
        name = key.rpartition(".")[2]
        assert re.search(f"^[# ]*{name}:", sample, re.MULTILINE), f"{key} is not in conf/heddle.yaml"
