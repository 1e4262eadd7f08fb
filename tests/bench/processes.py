"""Starts the programs of a benchmark and stops every one of them, whatever happens."""

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

STOP_SECONDS = 5
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "TERM"]


class BenchError(Exception):
    """Something is broken: a program does not start, an answer is wrong, a fetch was not made."""


class Unavailable(BenchError):
    """What is to be measured is not there: it is skipped, with these words."""


def wait_until(predicate, timeout, what):
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def accepts(address):
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as sock:
        return sock.connect_ex(address) == 0


def raise_descriptor_limit():
    """Give this process, and so all that it starts, as many descriptors as allowed; returns how many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def clean_environment():
    """The environment without proxies: several clients would send their fetches there."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class Processes:
    """All programs now running. Each leads a process group of its own, so that Ctrl-C reaches only us and
    stopping it takes its workers along."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()

    def start(self, name, argv, env=None, stdout=None):
        """Start a program; its output goes to NAME.log, unless `stdout` takes the standard output."""
        with open(self.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                DIE_WITH_PARENT + [str(arg) for arg in argv],
                cwd=self.directory, env=clean_environment() | (env or {}),
                stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log, start_new_session=True)
        process.name = name
        self.running.append(process)
        return process

    def wait_for_listener(self, process, address, timeout=20):
        """Wait until the program accepts on `address`, a (host, port) or the path of a socket."""
        def ready():
            if process.poll() is not None:
                raise BenchError(f"{process.name} ended with {process.returncode}:\n{self.log_tail(process)}")
            return accepts(address)
        wait_until(ready, timeout, f"{process.name} listens on {address}")

    def log_tail(self, process):
        text = (self.directory / f"{process.name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-15:])

    def stop(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        self.running.remove(process)

    def kill(self, process):
        """End it as a crash would, with all its children."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def stop_all(self, but=0):
        """Stop what was started last first; the first `but` programs go on."""
        for process in reversed(self.running[but:]):
            self.stop(process)
