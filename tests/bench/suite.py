"""Runs workloads of which each contender knows by itself how it is measured, and writes their tables."""

from dataclasses import dataclass
from statistics import median

from processes import Unavailable
from report import figure, table, target_rows

# Figures that are counts.
WHOLE = ("errors", "tasks", "waiting", "listeners", "requests")


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    how: str             # what the figures are
    once: bool = False   # one round: it takes long, or varies little
    asked: bool = False  # only when --only names it


@dataclass(frozen=True)
class Contender:
    """`missing(bench)` says what it lacks here, or nothing. A measure, by workload's name, takes
    (bench, scale) and returns figures by their names; all that it starts with bench.processes is stopped for
    it. A contender that has no measure for a workload does not take part in it: what it is, it cannot show
    there."""
    name: str
    title: str
    missing: object
    measures: dict
    may_fail: bool = True  # are errors a result to be shown, not a defect of ours?


@dataclass(frozen=True)
class Scale:
    """How much of the whole is measured."""
    seconds: int     # of a load
    part: float      # of the counts that the workloads name
    patience: float  # seconds that a rival has to have its interrupted tasks run again
    gap: float = 0.01  # seconds between tasks of an idle system

    def count(self, whole):
        return max(20, round(whole * self.part))


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
            if figures.get("errors") and not contender.may_fail:
                bench.broken.append(f"{workload.name}, {contender.title}: {figures['errors']} errors")
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


def figure_of(workload, name, contender="heddle"):
    """The value of a target: one figure of a contender."""
    return lambda cell: cell(workload, contender)[name]


def render(intro, runs, workloads, targets, titles, skipped):
    """All tables and remarks; `titles` by name of contender, `skipped` reasons by what was left out."""
    medians = medians_of(runs)

    def cell(workload, contender):
        if (workload, contender) not in medians:
            raise KeyError(f"{contender} on {workload}")
        return medians[workload, contender]

    parts = [intro]
    measured = {workload for workload, _ in medians}
    for workload in (workload for workload in workloads if workload.name in measured):
        parts += [f"**{workload.name}: {workload.what}.** {workload.how}",
                  workload_table(workload, medians, titles)]
    chosen = {workload.name for workload in workloads}
    wanted = [target for target in targets if target.workload in chosen]
    if wanted and "heddle" in titles:
        heads = ["workload", "measure", "to reach", "measured", "reached"]
        parts += ["What heddle is to reach:", table(heads, 2, target_rows(cell, wanted))]
    return "\n\n".join(parts + [f"Skipped: {what}: {reason}." for what, reason in skipped.items()])
