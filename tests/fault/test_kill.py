"""SIGKILL behind a running nginx: clients get a clear answer, and a new heddle takes over."""

import signal

import pytest

from harness.expect import fan_out, problem
from harness.heddle import Heddle
from harness.nginx import Nginx
from harness.wait import wait_until

FAN_OUT = "/concurrent_requests/"


@pytest.fixture
def stack(tmp_path, upstream):
    """(start, nginx): start() starts a heddle on the socket that this nginx knows."""
    programs = []

    def start():
        folder = tmp_path / str(len(programs))
        folder.mkdir()
        socket = programs[0].socket if programs else None
        programs.append(Heddle(folder, [upstream.url(delay=20)], socket=socket, shutdown_timeout="500ms"))
        return programs[-1]
    first = start()
    with Nginx(first.address_for_nginx, tmp_path / "nginx") as nginx:
        yield start, first, nginx
        for program in programs:
            program.stop()


def test_nginx_answers_for_it_and_a_new_one_takes_over(stack):
    start, first, nginx = stack
    fan_out(nginx.ask("GET", FAN_OUT))
    first.kill()
    for method, path in (("GET", FAN_OUT), ("GET", "/tasks"), ("POST", "/start_background_task/")):
        reply = nginx.ask(method, path)
        assert reply.status in (502, 503)
        problem(reply, reply.status)
        assert int(reply.headers["retry-after"]) >= 1
    start()
    wait_until(lambda: nginx.ask("GET", "/tasks").status == 200, "nginx reaches the new one")
    fan_out(nginx.ask("GET", FAN_OUT))


def test_again_and_again(stack):
    start, program, nginx = stack
    for _ in range(5):
        program.kill()
        program = start()
        wait_until(lambda: nginx.ask("GET", FAN_OUT).status == 200, "nginx reaches the new one")


def test_a_restart_is_seen_by_clients_only_as_a_short_break(stack):
    start, first, nginx = stack
    fan_out(nginx.ask("GET", FAN_OUT))
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    start()
    wait_until(lambda: nginx.ask("GET", "/tasks").status == 200, "nginx reaches the new one")
