"""Starts programs, and sees to it that each of them ends, and ends well."""

import os
import signal
import socket
import subprocess

from harness.wait import DEADLINE, wait_until

SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                     "runtime error:")
LOG_TAIL_LINES = 60

# Programs started and not yet reported on, for the report of a test that fails.
started = []


def clean_environment():
    """The environment without what would lead fetches or descriptors elsewhere."""
    return {name: value for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("LISTEN_")}


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def accepts(address):
    """True when something accepts connections at `address`, a (host, port) or a path."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as sock:
        return sock.connect_ex(address) == 0


class Program:
    """A running program. What it writes goes to `log_path`. As a context it is stopped at the end, and must
    then have exited with 0 and without a sanitizer's report."""

    def __init__(self, name, argv, directory, env=None, **options):
        self.name = name
        self.log_path = directory / f"{name}.log"
        self.judged = False  # its end has been looked at, or does not matter
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, argv)], cwd=directory,
                env=clean_environment() | (env or {}), stdin=subprocess.DEVNULL,
                **{"stdout": log, "stderr": log, **options})
        started.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def running(self):
        return self.process.poll() is None

    def wait_for_listener(self, address):
        def ready():
            assert self.running(), f"{self.name} ended with {self.process.returncode}:\n{self.log()}"
            return accepts(address)
        try:
            wait_until(ready, f"{self.name} listens on {address}")
        except AssertionError:
            self.kill()
            raise

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """Take the program away without a warning; what it did until then is still judged."""
        self.judged = True
        self.process.kill()
        self.process.wait()
        self.check_reports()

    def wait(self, timeout=DEADLINE):
        """The exit status, once the program has ended by itself."""
        return self.process.wait(timeout)

    def stop(self):
        if self.judged:
            return
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"{self.name} does not stop on SIGTERM") from None
        self.check_end()

    def check_end(self, *allowed):
        """Check the exit status, 0 unless others are `allowed`, and that no sanitizer has complained."""
        self.judged = True
        self.check_reports()
        status = self.process.returncode
        assert status in (allowed or (0,)), f"{self.name} ended with {status}:\n{self.log()}"

    def check_reports(self):
        log = self.log()
        reports = [report for report in SANITIZER_REPORTS if report in log]
        assert not reports, f"{self.name}: {reports[0]}\n{log}"

    def thread_count(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def status_kib(self, field):
        """A field of /proc/PID/status that is given in kB, such as VmHWM."""
        with open(f"/proc/{self.pid}/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def log_tails():
    """(title, text) for each program whose log has not been shown."""
    for program in started:
        if program.log_path.exists():
            lines = program.log().splitlines()[-LOG_TAIL_LINES:]
            yield f"log of {program.name} (pid {program.pid})", "\n".join(lines)
