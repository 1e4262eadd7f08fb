"""One timed run: load from wrk, and what the loaded processes use meanwhile, read from /proc."""

import json
import os
import subprocess
import threading
from pathlib import Path

from processes import BenchError

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
WRK_THREADS = 2
WRK_TIMEOUT = 30
RSS_INTERVAL = 0.1


def load(processes, url, clients, seconds, body=None):
    """Run wrk and return its figures, as wrk.lua writes them. With a `body`, JSON, each request posts it."""
    command = ["wrk", "-t", min(WRK_THREADS, clients), "-c", clients, "-d", f"{seconds}s",
               "--timeout", f"{WRK_TIMEOUT}s", "-s", HERE / "wrk.lua", url]
    if body:
        command += ["--", body.decode()]
    wrk = processes.start("wrk", command, stdout=subprocess.PIPE)
    try:
        output, _ = wrk.communicate(timeout=seconds + WRK_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end: {url}") from None
    finally:
        processes.stop(wrk)
    if wrk.returncode != 0:
        raise BenchError(f"wrk failed: {processes.log_tail(wrk)}")
    return json.loads(output.splitlines()[-1])


def stat_fields(pid):
    """The fields of /proc/PID/stat after the name, which may hold blanks; [] when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def all_pids():
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def tree(root):
    """The process `root` and all below it."""
    children = {}
    for pid in all_pids():
        if fields := stat_fields(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(pids):
    """User and system time of these processes, with that of children that have ended."""
    return sum(int(ticks) for pid in pids for ticks in stat_fields(pid)[11:15]) / TICKS


def foreign_cpu_seconds():
    """What all programs but this benchmark have used: they disturb it."""
    return cpu_seconds(set(all_pids()) - set(tree(os.getpid())))


def resident_bytes(pids):
    total = 0
    for pid in pids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


class Meter:
    """Of each named process tree: its memory now, and within a `with`, its CPU time and most memory."""

    def __init__(self, roots):
        self.roots = roots
        self.find_trees()
        self.rss_idle = self.rss_peak = self.rss_now()
        self.cpu, self.foreign_cpu = {}, 0.0
        self.stop = threading.Event()
        self.sampler = threading.Thread(target=self.sample)

    def find_trees(self):
        self.pids = {name: tree(root) for name, root in self.roots.items()}

    def rss_now(self):
        return {name: resident_bytes(pids) for name, pids in self.pids.items()}

    def cpu_now(self):
        return {name: cpu_seconds(tree(root)) for name, root in self.roots.items()}

    def sample(self):
        while not self.stop.wait(RSS_INTERVAL):
            now = self.rss_now()
            self.rss_peak = {name: max(peak, now[name]) for name, peak in self.rss_peak.items()}

    def __enter__(self):
        self.find_trees()
        self.foreign_before, self.cpu_before = foreign_cpu_seconds(), self.cpu_now()
        self.sampler.start()
        return self

    def __exit__(self, *_):
        after = self.cpu_now()
        self.cpu = {name: after[name] - self.cpu_before[name] for name in self.roots}
        self.foreign_cpu = foreign_cpu_seconds() - self.foreign_before
        self.stop.set()
        self.sampler.join()
