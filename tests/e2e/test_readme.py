"""Runs the examples of README.md.

An example is a fenced block marked `sh`, directly below a line `<!-- test -->`; what it prints must be like
the fenced block that comes next: JSON of the same shape, or else lines that begin with the same words.
Blocks below `<!-- test: NAME -->` have a test of their own.
"""

import json
import re
import subprocess

import pytest

from harness import heddle as heddle_program
from harness.build import HEDDLE, PROJECT
from harness.expect import fan_out
from harness.nginx import Nginx
from harness.programs import clean_environment

README = PROJECT / "README.md"
EXAMPLE_COUNT = 6  # as many as are run below: a marker with a slip of the pen is no test
EXAMPLE = re.compile(r"^<!-- test -->\n```sh\n(.*?)^```\n.*?^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples():
    return [pytest.param(command, expected, id=command.strip().splitlines()[0][:60])
            for command, expected in EXAMPLE.findall(README.read_text())]


def block(name):
    """The text of the block below `<!-- test: NAME -->`."""
    return re.search(rf"^<!-- test: {name} -->\n```[a-z]+\n(.*?)^```", README.read_text(),
                     re.MULTILINE | re.DOTALL)[1]


def shape(value):
    """What stays the same from run to run: names and types; of a list its members' different shapes."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
    return "number" if type(value) in (int, float) else type(value).__name__


def parse(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


@pytest.fixture(scope="module")
def port(tmp_path_factory, session_server):
    with Nginx(session_server.address_for_nginx, tmp_path_factory.mktemp("readme") / "nginx") as nginx:
        yield nginx.port


def first_words(text):
    return [line.split()[0] for line in text.splitlines() if line.strip() and "..." not in line]


def run_example(command, port):
    command = re.sub(r"(localhost|127\.0\.0\.1):8080", f"127.0.0.1:{port}", command)
    command = command.replace("build/heddle", str(HEDDLE))
    return subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=PROJECT, text=True,
                          capture_output=True, env=clean_environment() | {"PORT": str(port)}, timeout=60)


@pytest.mark.parametrize("command, expected", examples())
def test_the_examples_of_the_readme_work(command, expected, port):
    done = run_example(command, port)
    assert done.returncode == 0, done.stderr
    if parse(expected) is not None:
        assert shape(parse(done.stdout)) == shape(parse(expected)), done.stdout
    else:
        assert set(first_words(expected)) <= set(first_words(done.stdout + done.stderr)), done.stdout


def test_all_examples_of_the_readme_are_run():
    assert len(examples()) == EXAMPLE_COUNT
    assert len(re.findall("^```sh", README.read_text(), re.MULTILINE)) == EXAMPLE_COUNT


def test_the_failed_url_of_the_readme(heddle, upstream):
    program = heddle(urls=[upstream.url("/orders", status=503)])
    expected = json.loads(block("a failed URL"))
    result = fan_out(program.ask("GET", "/concurrent_requests/"))["results"][0]
    assert shape(result) == shape(expected)
    assert {**expected, "url": result["url"], "elapsed": result["elapsed"]} == result


def test_the_configuration_of_the_readme(tmp_path):
    path = tmp_path / "readme.yaml"
    path.write_text(block("a configuration"))
    done = heddle_program.run("check", "-c", path)
    assert done.returncode == 0, done.stderr
