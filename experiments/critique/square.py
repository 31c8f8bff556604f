"""Where the square in EDM's official code stops the model of the states (edm.benchmarks.square).

The code adds to the loss not only rho, the mean log-sum-exp of the samples less that of the data, but its square too.
rho + rho^2 is least at -1/2, while a model that has learnt the density has rho near 0. Without the square and with
exact samples it would come to 0; this sampler's are not, and rho runs away in most trainings. This was seen in the run
of `critique/benchmarks`; the seeds here are others.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.critique import _edm
from experiments.critique._edm import COLOURS, EDM, PRINTED, SETTINGS, STALLED, by_task, short_name, tick_down, told
from experiments.harness import style
from experiments.harness.claim import NOT_RUN, Claim, Verdict, below, equivalent, jointly, weakest

SHARD_AXES, Config, inputs, run = _edm.SHARD_AXES, _edm.Config, _edm.inputs, _edm.run
CLOSE = 0.05  # of rho: so near to -1/2 counts as there


def ends(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """Mean rho of each training since the evaluation before the last: a line per seed, a column per task and number."""
    rows = frame[(frame.metric == "rho") & (frame["method"] == method) & (frame["update"] == frame["update"].max())]
    return rows.pivot(index="seed", columns=["task", "demonstrations"], values="value")


def decide(frame: pd.DataFrame) -> Verdict:
    """In every task the official objective ends at rho = -1/2, and without the square less than half do.

    A training whose rho is not finite counts as one that ended elsewhere: with the square at 0, without it at -inf.
    """
    if absent := [method for method in (EDM, PRINTED) if method not in set(frame["method"])]:
        return Verdict(NOT_RUN, note=f"{' and '.join(absent)}: not run at this scale.")
    official, printed = (ends(frame, method).replace(np.inf, np.nan) for method in (EDM, PRINTED))
    lost = [int((~np.isfinite(one)).sum().sum()) for one in (official, printed)]
    official, printed = official.replace(-np.inf, np.nan).fillna(0.0), printed.fillna(-np.inf)
    levels, shares = by_task(official), by_task(((printed - STALLED).abs() <= CLOSE).astype(float))
    there = weakest([equivalent(one, STALLED, CLOSE) for one in levels.values()], STALLED)
    elsewhere = weakest([below(one, 0.5) for one in shares.values()])
    # A few trainings that run away would make any mean.
    middle = ", ".join(f"{task} {np.median(printed[[task]]):.2g}" for task in shares)
    note = (
        f"Mean rho in the last part of training: {told(levels)}. Without the square, medians over "
        f"trainings: {middle}; share of trainings that end at -1/2: {told(shares)}. "
        f"Not finite: {lost[0]} with the square, {lost[1]} without. {SETTINGS}"
    )
    return jointly([there, elsewhere], note)


CLAIMS = [
    Claim(
        id="edm.benchmarks.square",
        source="Jarrett et al. 2020",
        location="official code",
        statement="(Found here) The square stops the state model at rho = -1/2, where rho + rho^2 is least, not at 0.",
        measures="mean rho at the end, in the task where it is farthest from -1/2",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="overnight",
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """rho of every training in the course of it, by task, with the square and without."""
    tasks = list(dict.fromkeys(frame.task))
    drawing, axes = style.panels(1, len(tasks), height=2.3)
    for axis, task in zip(axes, tasks, strict=True):
        for method in (EDM, PRINTED):
            _draw(axis, frame[(frame.task == task) & (frame["method"] == method) & (frame.metric == "rho")], method)
        axis.axhline(STALLED, color=style.GREY, linewidth=0.8, linestyle=":")
        axis.axhline(0, color=style.GREY, linewidth=0.8)
        axis.set_yscale("symlog", linthresh=1)
        axis.set(title=short_name(task), xlabel="update (mean since the last)", ylabel="rho (nats)")
        tick_down(axis)
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return drawing


def _draw(axis: Axes, rows: pd.DataFrame, method: str) -> None:
    """Each training thin, the median thick."""
    if rows.empty:
        return
    table = rows.pivot(index="update", columns=["demonstrations", "seed"], values="value")
    axis.plot(table.index, table.to_numpy(), color=COLOURS[method], linewidth=0.4, alpha=0.5)
    axis.plot(table.index, table.median(axis=1), color=COLOURS[method], linewidth=2, label=f"{method} (thick: median)")
