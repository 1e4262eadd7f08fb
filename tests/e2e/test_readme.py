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
from harness.heddle import Heddle
from harness.nginx import Nginx
from harness.programs import clean_environment

README = PROJECT / "README.md"
EXAMPLE_COUNT = 9  # as many as are run below: a marker with a slip of the pen is no test
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
def demo(tmp_path_factory, upstream):
    """Like `make run`: (port of nginx, heddle's socket, the upstream's host and port)."""
    folder = tmp_path_factory.mktemp("readme")
    urls = [upstream.url(f"/{number}", delay=number, size=200) for number in range(3)]
    conf = (PROJECT / "conf/heddle.yaml").read_text()
    sections = "\n".join(re.search(rf"^{name}:\n(?:(?: .*)?\n)*", conf, re.MULTILINE)[0]
                         for name in ("upstreams", "endpoints"))
    with Heddle(folder, urls, tasks={"allowed_hosts": upstream.origins[:1]}, more_yaml=sections,
                env={"UPSTREAM_PORT": upstream.origins[0].rpartition(":")[2]}) as program:
        with Nginx(program.address_for_nginx, folder / "nginx") as nginx:
            yield nginx.port, program.socket, upstream.origins[0]


def first_words(text):
    """The first word of each line; ids are alike, and what is shortened is left out."""
    return [re.sub(r"^[0-9a-f-]{36}$", "ID", line.split()[0]) for line in text.splitlines()
            if line.strip() and "..." not in line and not line.startswith('{"id"')]


def run_example(command, demo):
    port, socket, upstream = demo
    command = command.replace("127.0.0.1:9001", upstream)
    command = re.sub(r"(localhost|127\.0\.0\.1):8080", f"127.0.0.1:{port}", command)
    command = command.replace("build/heddle", str(HEDDLE))
    return subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=PROJECT, text=True,
                          capture_output=True, env=clean_environment() | {"HEDDLE_SOCKET": str(socket)},
                          timeout=60)


@pytest.mark.parametrize("command, expected", examples())
def test_the_examples_of_the_readme_work(command, expected, demo):
    done = run_example(command, demo)
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


@pytest.mark.parametrize("name", ["a configuration", "tasks in a configuration"])
def test_the_configurations_of_the_readme(name, tmp_path):
    path = tmp_path / "readme.yaml"
    path.write_text(block(name))
    done = heddle_program.run("check", "-c", path)
    assert done.returncode == 0, done.stderr
