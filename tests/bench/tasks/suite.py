"""Runs the task workloads and writes their tables."""

import os
import time
from statistics import median

from processes import Unavailable
from report import figure, table, target_rows
from tasks.rows import TARGETS

SYNCS = 200


def disk(directory):
    """What the stores are on: the file system, and what a sync costs there (median of ms)."""
    kind, longest = "unknown", -1
    with open("/proc/mounts", encoding="utf-8") as mounts:
        for line in mounts:
            device, point, name = line.split()[:3]
            if directory.is_relative_to(point) and len(point) >= longest:
                kind, longest = f"{name} ({device})", len(point)
    path, took = directory / "sync", []
    with open(path, "wb", buffering=0) as file:
        for _ in range(SYNCS):
            start = time.monotonic()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append(1000 * (time.monotonic() - start))
    path.unlink()
    return f"{kind}, one write of 4 KiB with fdatasync {figure(median(took))} ms"


def measure(bench, workload, contender, scale):
    others = len(bench.processes.running)
    try:
        return contender.measures[workload.name](bench, scale)
    finally:
        bench.processes.stop_all(but=others)


def run_workload(bench, workload, contenders, scale, rounds, broken_by, skipped):
    """All rounds of one workload, in which the contenders take turns; one that breaks is out of it."""
    runs, contenders = [], [each for each in contenders if workload.name in each.measures]
    for turn in range(1 if workload.once else rounds):
        for contender in contenders.copy():
            try:
                figures = measure(bench, workload, contender, scale)
            except Unavailable as reason:
                skipped[f"{contender.title} on {workload.name}"] = str(reason)
                contenders.remove(contender)
                continue
            except broken_by as error:
                bench.broken.append(f"{workload.name}, {contender.title}: {error}")
                contenders.remove(contender)
                bench.progress(f"{workload.name} {contender.name}: BROKEN: {error}")
                continue
            if figures.get("errors") and contender.name == "heddle":
                bench.broken.append(f"{workload.name}, heddle: {figures['errors']} errors")
            runs.append({"workload": workload.name, "contender": contender.name, "figures": figures})
            bench.progress(f"{workload.name} {contender.name} {turn + 1}: " + words(figures))
    return runs


def words(figures):
    return ", ".join(f"{name} {figure(value)}" for name, value in figures.items())


def run_all(bench, workloads, contenders, scale, rounds, broken_by):
    """All runs, and what was skipped and why."""
    skipped, present, runs = {}, [], []
    for contender in contenders:
        try:
            reason = contender.missing(bench)
        except Unavailable as words_of_it:
            reason = str(words_of_it)
        if reason:
            skipped[contender.title] = reason
        else:
            present.append(contender)
    for workload in workloads:
        runs += run_workload(bench, workload, present, scale, rounds, broken_by, skipped)
    return runs, skipped


def medians_of(runs):
    """By (workload, contender): the median of each figure; of errors, the worst."""
    cells = {}
    for run in runs:
        cells.setdefault((run["workload"], run["contender"]), []).append(run["figures"])
    return {cell: {name: middle(name, [figures[name] for figures in rounds]) for name in rounds[0]}
            for cell, rounds in cells.items()}


def middle(name, values):
    if None in values:
        return None
    return max(values) if name == "errors" else median(values)


def workload_table(workload, medians, titles):
    rows = {contender: figures for (name, contender), figures in medians.items() if name == workload.name}
    heads = list(dict.fromkeys(head for figures in rows.values() for head in figures))
    lines = [[titles[contender], *(cell_text(figures.get(head), head) for head in heads)]
             for contender, figures in rows.items()]
    return table(["contender", *heads], 1, lines)


def cell_text(value, head):
    return f"{value:,.0f}" if value is not None and head in WHOLE else figure(value)


WHOLE = ("errors", "tasks", "waiting", "listeners")


def render(runs, workloads, titles, skipped, where):
    medians = medians_of(runs)

    def cell(workload, contender):
        if (workload, contender) not in medians:
            raise KeyError(f"{contender} on {workload}")
        return medians[workload, contender]

    parts = [f"Tasks. The stores are on {where}. Medians."]
    measured = {workload for workload, _ in medians}
    for workload in (workload for workload in workloads if workload.name in measured):
        parts += [f"**{workload.name}: {workload.what}.** {workload.how}",
                  workload_table(workload, medians, titles)]
    chosen = {workload.name for workload in workloads}
    wanted = [target for target in TARGETS if target.workload in chosen]
    if wanted and "heddle" in titles:
        heads = ["workload", "measure", "to reach", "measured", "reached"]
        parts += ["What heddle is to reach:", table(heads, 2, target_rows(cell, wanted))]
    return "\n\n".join(parts + [f"Skipped: {what}: {reason}." for what, reason in skipped.items()])
