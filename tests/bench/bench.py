#!/usr/bin/python3
"""make bench: heddle, its limit and its rivals under the same load, one table.

Each contender is measured in several rounds; within a round the contenders take turns, so that a
machine that slows down slows all of them. Each run has fresh processes, proves first that the answer is
right, and afterwards that each completed request has made its fetches. Slow is not an error; wrong is.

    make bench BENCH=tasks                               background tasks, but for T9
    make bench BENCH=upstreams                           endpoints, and upstreams that misbehave
    make bench BENCH="--only T9"                         10 million waiting tasks: minutes, gigabytes of disk
    make bench BENCH="tasks --quick --contenders heddle" does it work?"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import suite
import tasks.disk
import tasks.rows
import upstreams.rows
from contenders import CONTENDERS, REPOSITORY
from measure import Meter, foreign_cpu_seconds, load
from processes import BenchError, Processes, raise_descriptor_limit
from report import render
from runs import make_run
from upstream import Upstream, check_answer
from warmup import warm_up
from workloads import WORKLOADS

SPARE_DESCRIPTORS = 500
# What a contender that does not start, does not answer, or answers nonsense makes us raise.
BROKEN = (BenchError, OSError, HTTPException, ValueError, KeyError)
UPSTREAM = Path(os.environ.get("MOCK_UPSTREAM", REPOSITORY / "build/mock-upstream")).absolute()


QUICK_PART = 0.02


@dataclass
class Bench:
    """What every run needs."""
    directory: Path  # short, for sockets
    data: Path       # on a disk, for what must be durable
    processes: Processes
    descriptors: int
    upstream: Upstream = None
    broken: list = field(default_factory=list)

    def fresh_data(self, name):
        """An empty folder on the disk; anybody may pass through to it."""
        path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.data))
        path.chmod(0o755)
        return path

    @staticmethod
    def progress(text):
        progress(text)


def names(text):
    return text.split(",")


def listed(rows):
    return ",".join(row.name for row in rows)


SUITES = {
    "fan-out": (WORKLOADS, CONTENDERS),
    "tasks": (tasks.rows.WORKLOADS, tasks.rows.CONTENDERS),
    "upstreams": (upstreams.rows.WORKLOADS, upstreams.rows.CONTENDERS),
}


def of_suites(which):
    """All workloads, or all contenders, a name once."""
    return list({row.name: row for rows in SUITES.values() for row in rows[which]}.values())


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", nargs="?", choices=list(SUITES), help="one of them only")
    parser.add_argument("--only", metavar="W,..", type=names, help=f"of {listed(of_suites(0))}")
    parser.add_argument("--contenders", metavar="NAME,..", type=names, help=f"of {listed(of_suites(1))}")
    parser.add_argument("--seconds", type=int, default=5, help="of a run; more for slow answers (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="the medians of which are shown (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 seconds, few tasks")
    parser.add_argument("--patience", metavar="S", type=int, default=75,
                        help="seconds that interrupted tasks have to run again, in T6 (default 75)")
    parser.add_argument("--data", metavar="DIR", type=Path, default=REPOSITORY / "build",
                        help="a folder on a disk for the stores (default build/)")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write all runs as JSON")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 2, 1
    for rows, wanted in ((of_suites(0), options.only), (of_suites(1), options.contenders)):
        if unknown := set(wanted or []) - {row.name for row in rows}:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {listed(rows)}")
    return options


def chosen(options, name):
    """The workloads and contenders of this suite that are wanted."""
    if options.suite not in (None, name):
        return [], []
    workloads, contenders = SUITES[name]
    if options.only:
        workloads = [row for row in workloads if row.name in options.only]
    else:
        workloads = [row for row in workloads if not getattr(row, "asked", False)]
    if options.contenders:
        contenders = [row for row in contenders if row.name in options.contenders]
    return workloads, contenders


def measure(bench, workload, contender, seconds):
    """One run: start, prove, warm up, load, stop."""
    processes, upstream = bench.processes, bench.upstream
    urls = upstream.urls(workload.delay_ms)
    bodies = upstream.bodies(workload.delay_ms) if workload.fans_out else {}
    others = len(processes.running)
    try:
        port, started = contender.start(bench, urls)
        url = f"http://127.0.0.1:{port}{workload.path}"
        check_answer(url, bodies, workload.delay_ms)
        measured = started | {"upstream": upstream.process}
        meter = Meter({name: process.pid for name, process in measured.items()})
        if contender.warms_up:
            warm_up(port, workload.path, workload.clients)
        upstream.wait_until_idle()
        before = upstream.requests()
        with meter:
            figures = load(processes, url, workload.clients, workload.seconds(seconds))
        fetches = upstream.requests() - before if workload.fans_out else 0
        answered = figures["completed"] - figures["errors"]["status"]
        if fetches < workload.fetches * answered:
            raise BenchError(f"{answered} answers made only {fetches} fetches")
        return make_run(workload, contender, figures, fetches, meter)
    finally:
        processes.stop_all(but=others)


def lacking(workload, contender, descriptors):
    """Why this pair cannot be measured, if so."""
    if workload.fans_out and not contender.fans_out:
        return "does not fetch"
    needed = workload.clients + workload.in_flight + SPARE_DESCRIPTORS
    return f"needs {needed} descriptors, has {descriptors}" if needed > descriptors else None


def run_workload(bench, workload, contenders, options):
    """All rounds of one workload; returns its runs. A contender that breaks is out of it."""
    runs, contenders = [], list(contenders)
    for turn in range(options.rounds):
        for contender in contenders.copy():
            try:
                run = measure(bench, workload, contender, options.seconds)
            except BROKEN as error:
                bench.upstream.check_alive()
                bench.broken.append(f"{workload.name}, {contender.title}: {error}")
                contenders.remove(contender)
                progress(f"{workload.name} {contender.name}: BROKEN: {error}")
                continue
            runs.append(run)
            if run.errors and not contender.may_fail:
                bench.broken.append(f"{workload.name}, {contender.title}: {run.errors} errors")
            progress(f"{workload.name} {contender.name} {turn + 1}: {run.requests_per_s:,.0f}/s")
    return runs


def progress(text):
    print(text, file=sys.stderr, flush=True)


def run_all(bench, workloads, contenders, options):
    """All runs, and what was skipped and why."""
    skipped, present, runs = {}, [], []
    for contender in contenders:
        if reason := contender.missing():
            skipped[contender.title] = reason
        else:
            present.append(contender)
    for workload in workloads:
        able = []
        for contender in present:
            reason = lacking(workload, contender, bench.descriptors)
            if reason and contender.fans_out:
                skipped[f"{contender.title} on {workload.name}"] = reason
            elif not reason:
                able.append(contender)
        runs += run_workload(bench, workload, able, options)
    return runs, skipped


def stop_on_signal(*_):
    raise KeyboardInterrupt


def fan_outs(bench, workloads, contenders, options):
    """Measures; returns the report and the runs for the file."""
    bench.upstream = bench.upstream or Upstream(bench.processes, UPSTREAM)
    runs, skipped = run_all(bench, workloads, contenders, options)
    titles = {contender.name: contender.title for contender in contenders}
    return render(runs, titles, skipped), [run.as_dict() for run in runs]


def measured_suite(intro, targets):
    """A suite of which each contender knows how it is measured (suite.py)."""
    def measure_suite(bench, workloads, contenders, options):
        bench.upstream = bench.upstream or Upstream(bench.processes, UPSTREAM)
        scale = suite.Scale(options.seconds, QUICK_PART if options.quick else 1, options.patience)
        text, start, foreign = intro(bench), time.monotonic(), foreign_cpu_seconds()
        runs, skipped = suite.run_all(bench, workloads, contenders, scale, options.rounds, BROKEN)
        foreign = (foreign_cpu_seconds() - foreign) / (time.monotonic() - start)
        titles = {contender.name: contender.title for contender in contenders}
        report = suite.render(text, runs, workloads, targets, titles, skipped)
        return f"{report}\n\nOther programs took {max(0, foreign):.2f} cores meanwhile.", runs
    return measure_suite


def tasks_intro(bench):
    return f"Tasks. The stores are on {tasks.disk.describe(bench.data)}. Medians."


def upstreams_intro(_):
    return "Endpoints and upstreams. Medians. heddle answers through nginx, Go and Node without one."


MEASURES = {
    "fan-out": fan_outs,
    "tasks": measured_suite(tasks_intro, tasks.rows.TARGETS),
    "upstreams": measured_suite(upstreams_intro, upstreams.rows.TARGETS),
}


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_on_signal)
    start = time.monotonic()
    reports, runs = [], []
    with (tempfile.TemporaryDirectory(prefix="heddle-bench-") as directory,
          tempfile.TemporaryDirectory(prefix="bench-", dir=options.data) as data,
          Processes(directory) as processes):
        Path(data).chmod(0o755)
        bench = Bench(Path(directory), Path(data).resolve(), processes, raise_descriptor_limit())
        for name, measure_suite in MEASURES.items():
            workloads, contenders = chosen(options, name)
            if workloads and contenders:
                report, of_suite = measure_suite(bench, workloads, contenders, options)
                reports.append(report)
                runs += of_suite
    print("\n\n".join(reports + [f"BROKEN: {what}" for what in bench.broken]))
    minutes = (time.monotonic() - start) / 60
    print(f"\n{os.cpu_count()} cores, {options.rounds} rounds, {minutes:.1f} minutes.")
    if options.out:
        options.out.write_text(json.dumps(runs, indent=1) + "\n")
    return 1 if bench.broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except BenchError as error:
        sys.exit(f"bench: {error}")
