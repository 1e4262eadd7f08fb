"""The Markdown that a benchmark prints."""

from statistics import median

from runs import median_of
from workloads import SAME_COST, TARGETS, WORKLOADS


def table(heads, texts, rows):
    """A table whose first `texts` columns are words, the others figures."""
    lines = [heads, ["---"] * texts + ["---:"] * (len(heads) - texts), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value):
    """Three digits that count."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def both(total, program):
    """The total, and the program's own share where nginx stands in front of it."""
    return figure(total) if total == program else f"{figure(total)} ({figure(program)})"


def run_row(run, title):
    return [
        run.workload, title,
        figure(run.requests_per_s), figure(run.p50_ms), figure(run.p99_ms), str(run.errors),
        both(run.cpu_us_per_request, run.cpu_us_per_request_program),
        both(run.cpu_us_per_fetch, run.cpu_us_per_fetch_program),
        both(run.rss_mib, run.rss_mib_program),
        both(run.kib_per_fetch, run.kib_per_fetch_program),
    ]


RUN_HEADS = ["workload", "contender", "requests/s", "p50 ms", "p99 ms", "errors", "CPU us/request",
             "CPU us/fetch", "memory MiB", "KiB/fetch in flight"]


def target_rows(cell, targets=TARGETS):
    for target in targets:
        try:
            value = target.value(cell)
        except KeyError as missing:
            measured, reached = "-", f"not measured: {missing.args[0]}"
        else:
            measured, reached = figure(value), "yes" if target.met(value) else "no"
        yield [target.workload, target.what, target.bound, measured, reached]


def cost_rows(medians, titles):
    for name, title in titles.items():
        runs = [medians.get((workload, name)) for workload in SAME_COST]
        if all(runs):
            costs = [run.cpu_us_per_fetch for run in runs]
            yield [title, *map(figure, costs), figure(max(costs) / min(costs))]


def medians_of(runs):
    cells = {}
    for run in runs:
        cells.setdefault((run.workload, run.contender), []).append(run)
    return {cell: median_of(of_cell) for cell, of_cell in cells.items()}


def render(runs, titles, skipped):
    """All tables and remarks; `titles` by name of contender, `skipped` reasons by what was left out."""
    medians = medians_of(runs)

    def cell(workload, contender):
        if (workload, contender) not in medians:
            raise KeyError(f"{contender} on {workload}")
        return medians[workload, contender]

    clients = [f"{workload.clients:,} clients" for workload in WORKLOADS if workload.name in SAME_COST]
    parts = [
        table(RUN_HEADS, 2, [run_row(run, titles[run.contender]) for run in medians.values()]),
        "Medians. In brackets: heddle without the nginx in front of it.",
        "CPU us per fetch of 50 ms, which should not grow with what is in flight:",
        table(["contender", *clients, "dearest/cheapest"], 1, cost_rows(medians, titles)),
        "What heddle is to reach:",
        table(["workload", "measure", "to reach", "measured", "reached"], 2, target_rows(cell)),
    ]
    if runs:
        foreign = median(run.foreign_cores for run in runs)
        parts.append(f"Other programs took {foreign:.2f} cores meanwhile.")
    parts += [f"Skipped: {what}: {reason}." for what, reason in skipped.items()]
    return "\n\n".join(parts)
