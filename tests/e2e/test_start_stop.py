"""How heddle starts, takes over its socket, drains and stops."""

import json
import os
import resource
import signal
import socket
import stat
import threading

import pytest

from harness import fastcgi, metrics
from harness.build import HEDDLE
from harness.expect import busy, fan_out
from harness.heddle import Heddle, run, socket_directory
from harness.programs import accepts, free_port
from harness.wait import wait_until

FAN_OUT = "/concurrent_requests/"
SIGNALS = [signal.SIGTERM, signal.SIGINT]


class Asking(threading.Thread):
    """Asks in the background; `reply` is what came, or the exception."""

    def __init__(self, client, method, target):
        super().__init__()
        self.client, self.method, self.target = client, method, target
        self.reply = None
        self.start()

    def run(self):
        try:
            self.reply = self.client.ask(self.method, self.target)
        except Exception as error:  # whatever it is, the test that reads `reply` tells
            self.reply = error

    def result(self):
        self.join()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def in_flight(upstream, count):
    """Wait until that many requests wait in the mock upstream."""
    wait_until(lambda: upstream.stats()["in_flight"] >= count, f"{count} requests in the upstream")


# ---- stopping --------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", SIGNALS)
def test_an_idle_server_stops_with_0(heddle, number):
    program = heddle()
    program.ask("GET", "/health/live")
    program.signal(number)
    assert program.wait() == 0
    assert not program.socket.exists(), "the socket file is left behind"


@pytest.mark.parametrize("number", SIGNALS)
def test_requests_in_flight_are_answered_before_the_end(heddle, via, fresh_upstream, number):
    program = heddle([fresh_upstream.url(f"/{path}", delay=1500) for path in range(3)])
    client = via(program)
    asking = [Asking(client, "GET", FAN_OUT) for _ in range(4)]
    in_flight(fresh_upstream, 12)
    program.signal(number)
    for each in asking:
        assert all(result.get("status") == 200 for result in fan_out(each.result())["results"])
    assert program.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_what_takes_longer_than_shutdown_timeout_is_cancelled(heddle, via, fresh_upstream, number):
    program = heddle([fresh_upstream.url(delay=600_000)], shutdown_timeout="300ms",
                     fetch={"timeout": "20m"})
    client = via(program)
    asking = [Asking(client, "GET", FAN_OUT) for _ in range(3)]
    in_flight(fresh_upstream, 3)
    program.signal(number)
    assert program.wait() == 0
    for each in asking:
        each.join()
    wait_until(lambda: fresh_upstream.stats()["aborted"] == 3, "the upstream saw 3 fetches end early")


def test_new_connections_are_refused_while_draining_and_ready_says_so(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=600_000)], shutdown_timeout="10m", fetch={"timeout": "20m"})
    kept = [program.connect() for _ in range(8)]
    assert {connection.ask("GET", "/health/ready").status for connection in kept} == {200}
    with program.connect() as waiting:
        waiting.send(fastcgi.http_request("GET", FAN_OUT))
        in_flight(fresh_upstream, 1)
        program.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(program.address), "the socket does not accept")
        for connection in kept:
            busy(connection.ask("GET", "/health/ready"))
            assert connection.at_end()
            connection.close()
    assert program.wait() == 0, "the last client has gone"


def test_a_kept_connection_is_closed_after_its_answer_while_draining(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=1000)])
    with program.connect() as connection:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
        in_flight(fresh_upstream, 1)
        program.signal(signal.SIGTERM)
        fan_out(connection.read_reply())
        assert connection.at_end()
    assert program.wait() == 0


def test_idle_connections_do_not_hold_up_the_end(heddle):
    program = heddle(shutdown_timeout="10m")
    idle = [program.connect() for _ in range(20)]
    for connection in idle[:10]:
        connection.ask("GET", "/health/live")
    idle[-1].send(fastcgi.begin())  # half a request
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_the_wait(heddle, fresh_upstream, number):
    program = heddle([fresh_upstream.url(delay=600_000)], shutdown_timeout="10m", fetch={"timeout": "20m"})
    with program.connect() as connection:
        connection.send(fastcgi.http_request("GET", FAN_OUT))
        in_flight(fresh_upstream, 1)
        program.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(program.address), "the first signal is seen")

        def ends():
            program.signal(number)  # right after the first it means nothing
            return not program.running()

        wait_until(ends, "a later signal ends it")
    program.check_end(0, -number)


def test_signals_that_come_together_are_one_wish_to_stop(heddle, fresh_upstream):
    program = heddle([fresh_upstream.url(delay=1000)])
    asking = Asking(program, "GET", FAN_OUT)
    in_flight(fresh_upstream, 1)
    for number in SIGNALS * 3:
        program.signal(number)
    assert fan_out(asking.result())["results"][0]["status"] == 200
    assert program.wait() == 0


@pytest.mark.parametrize("attempt", range(3))
def test_a_stop_under_load_cuts_no_answer_short(heddle, upstream, attempt):
    """Kept connections that ask again and again: each gets whole answers, and then its connection closed."""
    program = heddle([upstream.url(f"/{number}", delay=number) for number in range(5)])
    answers, cut_short = [], []

    def ask_until_closed():
        with program.connect() as connection:
            try:
                while True:
                    fan_out(connection.ask("GET", FAN_OUT))
                    answers.append(1)
            except (fastcgi.Closed, BrokenPipeError, ConnectionResetError) as end:
                cut_short.append(getattr(end, "midway", False))
    threads = [threading.Thread(target=ask_until_closed) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 20, "they are being answered")
    program.signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert program.wait() == 0
    assert cut_short == [False] * 8


def test_sleeping_tasks_do_not_hold_up_the_end(heddle):
    program = heddle(shutdown_timeout="10m")
    for _ in range(5):
        reply = program.ask("POST", "/start_background_task/", b'{"message": "m", "duration": 86400}',
                            {"Content-Type": "application/json"})
        assert reply.status == 202
    wait_until(lambda: program.metric(metrics.SLEEPING) == 5, "5 tasks sleep")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0


def test_a_signal_right_after_the_start_stops_it(tmp_path):
    for attempt in range(10):
        (tmp_path / str(attempt)).mkdir()
        with Heddle(tmp_path / str(attempt), wait=False) as program:
            wait_until(lambda: program.socket.exists(), "the socket file is there")


def test_a_hang_up_or_a_broken_pipe_signal_does_not_end_it(heddle):
    program = heddle()
    program.signal(signal.SIGPIPE)
    assert program.ask("GET", "/health/live").status == 200


# ---- the socket ------------------------------------------------------------------------------------

def refused_start(tmp_path, *words, **options):
    """Start a heddle that must give up; returns what it says."""
    (tmp_path / "refused").mkdir()
    program = Heddle(tmp_path / "refused", wait=False, **options)
    program.wait()
    program.check_end(1)
    for word in words:
        assert word in program.log(), program.log()
    return program.log()


def test_a_socket_that_a_live_server_uses_is_left_alone(heddle, tmp_path):
    first = heddle()
    refused_start(tmp_path, str(first.socket), "in use", socket=first.socket)
    assert first.ask("GET", "/health/live").status == 200


def test_a_stale_socket_file_is_replaced(heddle, tmp_path):
    first = heddle()
    first.kill()
    assert first.socket.exists()
    (tmp_path / "second").mkdir()
    with Heddle(tmp_path / "second", socket=first.socket) as second:
        assert second.ask("GET", "/health/live").status == 200


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path):
    with socket_directory() as folder:
        path = os.path.join(folder, "precious")
        with open(path, "w") as file:
            file.write("precious")
        refused_start(tmp_path, path, socket=path)
        with open(path) as file:
            assert file.read() == "precious"


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with socket_directory() as folder:
        path = os.path.join(folder, "missing/too/s")  # one missing folder heddle makes itself
        refused_start(tmp_path, path, "No such file or directory", socket=path)


def test_a_folder_that_may_not_be_written_is_told(tmp_path):
    if os.geteuid() == 0:
        wrapper = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    else:
        wrapper = []
    with socket_directory() as folder:
        os.chmod(folder, 0o500)
        path = os.path.join(folder, "s")
        refused_start(tmp_path, path, "Permission denied", socket=path, wrapper=wrapper)


def test_a_tcp_port_in_use_is_told(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        refused_start(tmp_path, str(port), "in use", listen=f"tcp:127.0.0.1:{port}")


def test_a_tcp_address_is_served(heddle, via):
    program = heddle(listen=f"tcp:127.0.0.1:{free_port()}")
    assert via(program).ask("GET", "/tasks").status == 200


@pytest.mark.parametrize("mode", ["0660", "0600", "0666", "0606"])
def test_the_socket_has_the_configured_mode(heddle, mode):
    program = heddle(socket_mode=mode)
    assert stat.S_IMODE(program.socket.stat().st_mode) == int(mode, 8)


def test_the_socket_mode_does_not_depend_on_the_umask(heddle):
    program = heddle(socket_mode="0666", wrapper=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    assert stat.S_IMODE(program.socket.stat().st_mode) == 0o666


def inherit(*sockets, extra=""):
    """A command that runs another with these sockets from descriptor 3 on, as systemd passes them. `extra` is
    shell code that goes before."""
    moves = " ".join(f"{10 + at}<&{sock.fileno()}" for at, sock in enumerate(sockets))
    places = " ".join(f"{3 + at}<&{10 + at}" for at in range(len(sockets)))
    variables = f"export LISTEN_PID=$$ LISTEN_FDS={len(sockets)}"
    return ["bash", "-c", f'exec {moves}; exec {places}; {variables}; {extra}exec "$@"', "bash"]


class Inherited(Heddle):
    """A heddle that gets these listening sockets."""

    def __init__(self, directory, *sockets, extra="", **settings):
        for sock in sockets:
            sock.set_inheritable(True)
        self.sockets = sockets
        super().__init__(directory, wrapper=inherit(*sockets, extra=extra), close_fds=False, **settings)


@pytest.fixture
def listening():
    """(path, listening unix socket)"""
    with socket_directory() as folder, socket.socket(socket.AF_UNIX) as sock:
        path = f"{folder}/inherited"
        sock.bind(path)
        sock.listen(1024)
        yield path, sock


def test_a_socket_from_systemd_is_used(tmp_path, listening):
    path, sock = listening
    with Inherited(tmp_path, sock, socket=path, listen="unix:/nonexistent/not-used", wait=False):
        with fastcgi.Connection(path) as connection:
            assert connection.ask("GET", "/health/live").status == 200
    assert os.path.exists(path), "the socket file belongs to systemd"


def test_connections_made_before_the_start_are_served(tmp_path, listening):
    path, sock = listening
    with fastcgi.Connection(path) as early:
        early.send(fastcgi.http_request("GET", "/tasks"))
        with Inherited(tmp_path, sock, socket=path, wait=False):
            assert early.read_reply().status == 200


def test_a_socket_meant_for_another_process_is_not_used(tmp_path, listening):
    _, sock = listening
    with Inherited(tmp_path, sock, extra="export LISTEN_PID=1; ") as program:
        assert program.ask("GET", "/health/live").status == 200


def test_a_restart_with_an_inherited_socket_drops_nothing(tmp_path, listening):
    path, sock = listening
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with Inherited(tmp_path / "first", sock, socket=path, wait=False):
        with fastcgi.Connection(path) as connection:
            connection.ask("GET", "/tasks")
    with fastcgi.Connection(path) as between:
        between.send(fastcgi.http_request("GET", "/tasks"))
        with Inherited(tmp_path / "second", sock, socket=path, wait=False):
            assert between.read_reply().status == 200


# ---- limits ----------------------------------------------------------------------------------------

def test_the_descriptor_limit_is_raised_to_the_hard_one(heddle):
    program = heddle(wrapper=["prlimit", "--nofile=256:4096"], max_in_flight=16)
    assert resource.prlimit(program.pid, resource.RLIMIT_NOFILE) == (4096, 4096)
    assert program.metric("process_max_fds") == 4096


def test_more_in_flight_than_descriptors_is_refused_at_the_start(tmp_path):
    refused_start(tmp_path, "max_in_flight", "1024", max_in_flight=100_000, max_connections=200_000,
                  wrapper=["prlimit", "--nofile=1024:1024"])


def test_as_many_in_flight_as_connections_is_refused_at_the_start(tmp_path):
    refused_start(tmp_path, "max_in_flight", "max_connections", max_in_flight=100, max_connections=100)


def test_too_few_descriptors_for_anything_are_refused_at_the_start(tmp_path):
    refused_start(tmp_path, "descriptors", wrapper=["prlimit", "--nofile=64:64"])


def test_a_bad_configuration_is_refused_at_the_start(tmp_path):
    refused_start(tmp_path, "heddle.yaml:", "max_in_flight", max_in_flight="many")


def test_serve_without_its_file_is_told():
    for arguments in (["serve"], ["serve", "-c"], ["serve", "-c", "/nonexistent.yaml"], ["serve", "-x"]):
        done = run(*arguments)
        assert done.returncode != 0 and done.stderr, arguments
        assert done.returncode < 128


def test_it_runs_without_stdin_stdout_or_a_tty(tmp_path):
    (tmp_path / "x").mkdir()
    program = Heddle(tmp_path / "x", wrapper=["bash", "-c", 'exec "$@" <&- >&-', "bash"])
    with program:
        assert program.ask("GET", "/health/live").status == 200
    assert HEDDLE.exists()


def test_the_log_is_a_line_for_each_event_in_both_formats(tmp_path, upstream):
    for form in ("json", "text"):
        (tmp_path / form).mkdir()
        urls = [upstream.url(hangup="before")]
        with Heddle(tmp_path / form, urls, log={"format": form, "level": "debug"}) as program:
            program.ask("GET", FAN_OUT)
            program.ask("GET", "/nope\nforged line", headers={"X-Request-Id": "a\nforged"})
        lines = program.log().splitlines()
        assert lines and not [line for line in lines if line.startswith("forged")]
        if form == "json":
            assert all(isinstance(json.loads(line), dict) for line in lines)
