"""How fast our MaxEnt inverse RL is beside imitation's `mce_irl`: same processes, same moment gap, all in one run.

    python benchmarks/maxent_irl.py --repetitions 3      # or with --sizes 100x5x50 400x5x50

State rewards that are linear in 20 features, a known process, one thread on one core. Everyone starts at 0 and stops
at a moment gap of 1e-3; the gap of what is returned is computed again, by plain numpy. A repetition times every
contestant once before the next begins. The peer has Adam at its default rate and at larger ones. Its gap counts the
state after the last action, too, which leaves the expert's reward its optimum. Times over states, actions and horizon
are drawn beside the CSV.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _peers import environments, maxent_problem
from _peers.worker import Worker
from langevin import PEERS, ROOT, Options, show, spread, worded, write

from experiments.harness import style

# Everyone is called again until these seconds are full, and the shortest call counts; the first calls warm up.
MEASURE, PATIENCE = 1.0, 3600.0
OURS = "ours, L-BFGS"
CONTESTANTS = {
    OURS: ("maxent_ours", "L-BFGS"),
    "ours, online gradient": ("maxent_ours", "online gradient"),
    "imitation, Adam .01": ("maxent_imitation", "Adam 0.01"),
    "imitation, Adam .05": ("maxent_imitation", "Adam 0.05"),
    "imitation, Adam .2": ("maxent_imitation", "Adam 0.2"),
}
BAR = 10.0
BASE = (100, 5, 50)  # states, actions, horizon; each is varied alone
VARIED = {"states": (50, 100, 200, 400), "actions": (2, 5, 20), "horizon": (10, 50, 200)}


def start(name: str, data: Path) -> Worker:
    """The worker of that name.

    Raises:
        RuntimeError: it cannot be installed or started; one line.
    """
    PEERS.mkdir(parents=True, exist_ok=True)
    ours = name == "maxent_ours"
    python = sys.executable if ours else environments.make("imitation", PEERS)
    core = max(os.sched_getaffinity(0))
    return Worker(name, python, data, core, PEERS / f"{name}.log", ROOT if ours else None)


def measure(size: str, repetitions: int, data: Path) -> pd.DataFrame:
    """One line per contestant for one size."""
    maxent_problem.write(data, *map(int, size.split("x")))
    problem = maxent_problem.read(data)
    workers = {name: start(name, data) for name in dict.fromkeys(worker for worker, _ in CONTESTANTS.values())}
    seconds: dict[str, list[float]] = {label: [] for label in CONTESTANTS}
    gaps: dict[str, float] = {}
    try:
        for repetition in range(repetitions + 1):
            for label, (worker, run) in CONTESTANTS.items():
                print(f"{size}, repetition {repetition} (0: warm-up): {label}", file=sys.stderr)
                answer = workers[worker].run(run, MEASURE if repetition else 1e-9, PATIENCE)
                seconds[label] += [answer["seconds"]] if repetition else []
                gaps[label] = maxent_problem.gap(problem, np.array(answer["values"]))
    finally:
        for worker in workers.values():
            worker.close()
    lines = [_line(size, label, workers[CONTESTANTS[label][0]], seconds, gaps[label]) for label in CONTESTANTS]
    columns = ["median_seconds", "low_seconds", "high_seconds", "ratio_to_ours", "ratio_low", "ratio_high"]
    return pd.DataFrame(lines)[["workload", "form", "contestant", "version", *columns, "repetitions", "note"]]


def _line(size: str, label: str, worker: Worker, seconds: dict[str, list[float]], gap: float) -> dict[str, str | float]:
    line: dict[str, str | float] = {"workload": "MaxEnt IRL", "form": size, "contestant": label}
    ratios = [one / ours for one, ours in zip(seconds[label], seconds[OURS], strict=True)]
    line |= {"version": worker.version} | spread("seconds", seconds[label]) | spread("ratio", ratios)
    reached = "" if gap <= 1.1 * maxent_problem.TARGET else ", target missed"
    return line | {"repetitions": len(ratios), "note": f"{worker.engine}; moment gap {gap:.1e}{reached}"}


def sizes() -> list[str]:
    """All sizes of the drawing, each once."""
    found = [
        tuple(value if place == number else one for number, one in enumerate(BASE))
        for place, values in enumerate(VARIED.values())
        for value in values
    ]
    return ["x".join(map(str, size)) for size in sorted(set(found))]


def draw(table: pd.DataFrame, path: Path) -> None:
    """Seconds over each size with the others at `BASE`: medians, bars from the least to the greatest."""
    figure, axes = style.panels(1, 3, height=2.6)
    cut = pd.DataFrame([list(map(int, size.split("x"))) for size in table.form], columns=list(VARIED))
    colours = (style.BLUE, style.SKY, style.GREY, style.ORANGE, style.VERMILION)
    for axis, name in zip(axes, VARIED, strict=True):
        others = {other: value for other, value in zip(VARIED, BASE, strict=True) if other != name}
        rows = table[(cut[list(others)] == list(others.values())).all(axis=1).to_numpy()]
        for (label, mine), colour in zip(rows.groupby("contestant", sort=False), colours, strict=True):
            mine = mine.assign(size=cut.loc[mine.index, name]).sort_values("size")
            bars = [mine.median_seconds - mine.low_seconds, mine.high_seconds - mine.median_seconds]
            axis.errorbar(mine["size"], mine.median_seconds, bars, fmt="o-", color=colour, label=label, markersize=3)
        axis.set(xscale="log", yscale="log", xlabel=name)
        axis.set_title(", ".join(f"{other} {value}" for other, value in others.items()))
        axis.set_xticks(VARIED[name], [str(value) for value in VARIED[name]])
        axis.xaxis.minorticks_off()
    axes[0].set_ylabel(f"seconds to a moment gap\nof {maxent_problem.TARGET:g}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    path.write_bytes(style.rendered(figure)["figure.png"])


def options() -> argparse.Namespace:
    """The command line, checked before anything is measured."""
    parser = Options(description="Time our MaxEnt inverse RL beside imitation's.")
    parser.add_argument("--repetitions", type=int, default=3, help="how often everyone is timed, at least 1")
    parser.add_argument("--sizes", nargs="+", default=sizes(), help="states x actions x horizon")
    default = ROOT / "results" / "benchmarks" / "maxent_irl.csv"
    parser.add_argument("--output", type=Path, default=default, help="the CSV file")
    chosen = parser.parse_args()
    for size in chosen.sizes:
        parts = size.split("x")
        if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
            parser.error(f"--sizes {size}: must be states x actions x horizon, as 100x5x50")
    if chosen.repetitions < 1:
        parser.error(f"--repetitions={chosen.repetitions}: must be at least 1")
    return chosen


def main() -> None:
    """Measure, write and show."""
    chosen = options()
    with tempfile.TemporaryDirectory() as folder:
        tables = [measure(size, chosen.repetitions, Path(folder) / f"{size}.npz") for size in chosen.sizes]
    table = pd.concat(tables, ignore_index=True)
    write(table, chosen.output)
    if set(chosen.sizes) >= set(sizes()):
        draw(table, chosen.output.with_suffix(".png"))
    print(show(table))
    for size, rows in table[table.contestant.str.startswith("imitation")].groupby("form"):
        best = rows.iloc[int(np.argmin(rows.median_seconds))]
        span = best[["ratio_to_ours", "ratio_low", "ratio_high"]].to_numpy(float)
        verdict = "reached" if span[0] >= BAR else "missed"
        print(f"{size}: the fastest of the peer takes {worded(span, 1)} times ours, aim {BAR:g}: {verdict}")


if __name__ == "__main__":
    main()
