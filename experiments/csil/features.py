"""CSIL's sensitivity to the width of HetStat's features (csil.features), 256 as published.

The policy's deviation is a quadratic form of its features, so that their width is most of what an update costs, and
the studies here take narrower ones. Each width has clones, coherent reward and policies of its own, from the same
demonstrations and seeds. Scores are those of the last evaluation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _scores, _study
from experiments.csil._study import Study, Task
from experiments.harness import stats, style
from experiments.harness.claim import INCONCLUSIVE, REPRODUCED, Claim, Verdict, equivalent, weakest
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentSoftImitation
from imitation.policies import HetStat

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
MARGIN = 0.1  # of the score, within which two widths count as equal
CSIL, BC = "CSIL, {} features", "BC, {} features"


@dataclass
class Config(Study):
    """widths: of HetStat's features, all even; `features` among them is what the others are compared with."""

    widths: list[int] = bounded(2, 4096, unique=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width % 2 for width in self.widths) or self.features not in self.widths or len(self.widths) < 2:
            rule = f"must be two or more even numbers, features={self.features} among them"
            raise BadInputError(f"widths={self.widths}: {rule}")


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`, the clones' and CSIL's with their `width`."""
    parts, total = [], len(cfg.env) * len(cfg.widths)
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        parts.append(task.references())
        for place, width in enumerate(cfg.widths):
            sized = replace(task, cfg=replace(cfg, features=width))
            clones, rows = _study.cloned(sized, BC.format(width), context, cfg.cloning)
            done = partial(_progress, context, number * len(cfg.widths) + place, total)
            train = partial(_trained, sized, clones[cfg.start], context, done)
            parts += [rows.assign(width=width), context.piece(f"{name} {width}", train).assign(width=width)]
    return pd.concat(parts, ignore_index=True)


def _progress(context: Context, before: int, total: int, share: float) -> None:
    context.progress(before + share, total)


def _trained(task: Task, clone: HetStat, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    learner = CoherentSoftImitation(clone, task.generators(2), task.cfg.coherent())
    return _study.train(task, CSIL.format(task.cfg.features), learner, context, done)


# ---- decision ----


def widths(frame: pd.DataFrame) -> list[int]:
    """All that were measured, the widest last: the published one."""
    return sorted({int(width) for width in frame.width.dropna()})


def differences(frame: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Last scores at each width less those at the widest, laid out as `_scores.final`."""
    rows = _scores.scores(frame)
    *narrower, widest = widths(frame)
    published = _scores.final(rows, CSIL.format(widest))
    return {width: _scores.final(rows, CSIL.format(width)) - published for width in narrower}


def decide(frame: pd.DataFrame, margin: float = MARGIN) -> Verdict:
    """At every width the mean score is that at the widest, within the margin, and clearly beyond it in no condition."""
    rows, found = _scores.scores(frame), differences(frame)
    levels = ", ".join(
        f"{width} {_scores.average(_scores.final(rows, CSIL.format(width)))[0]:.2f} "
        f"(strongest clone {_scores.average(_scores.strongest(rows, BC.format(width)))[0]:.2f})"
        for width in widths(frame)
    )
    told = ", ".join(f"{width} {_told(_scores.average(table))}" for width, table in found.items())
    note = f"Mean scores by width: {levels}. Less that at {widths(frame)[-1]}: {told}. {_scores.scope(frame)}"
    verdict = weakest([equivalent(_scores.average(table), 0.0, margin, note) for table in found.values()])
    beyond = [f"{width} in {name}" for width, table in found.items() for name in table if _beyond(table[name], margin)]
    if verdict.verdict == REPRODUCED and beyond:
        return verdict._replace(verdict=INCONCLUSIVE, note=f"{note} Yet clearly apart: {', '.join(beyond)}.")
    return verdict


def _beyond(differences: pd.Series, margin: float) -> bool:
    _, low, high = stats.mean_interval(differences)
    return low > margin or high < -margin


def _told(interval: stats.Interval) -> str:
    center, low, high = interval
    return f"{center:.2f} [{low:.2f}, {high:.2f}]"


CLAIMS = [
    Claim(
        id="csil.features",
        source="Watson et al. 2023",
        location="Appendix; asked here",
        statement="(Asked here) Narrower features than HetStat's published 256 leave CSIL's score as it is.",
        measures="score less that at the published width, farthest from 0",
        decide=decide,
        smallest_scale="overnight",
    )
]


# ---- figure ----


def figure(frame: pd.DataFrame) -> Figure:
    """Last scores by width in each environment, CSIL's and its clones'; differences to the published width."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(1, len(environments) + 1, height=2.6)
    rows, places = _scores.scores(frame), np.arange(len(widths(frame)))
    for axis, name in zip(axes, environments, strict=False):
        mine = rows[rows.env == name]
        own = [_scores.final(mine, CSIL.format(width)) for width in widths(frame)]
        clones = [_scores.strongest(mine, BC.format(width)) for width in widths(frame)]
        _draw_levels(axis, places, own, style.BLUE, "CSIL")
        _draw_levels(axis, places + 0.15, clones, style.BLACK, "strongest clone")
        axis.set(xlabel="width of the features", title=name)
    axes[0].set_ylabel("last score, mean, 95 %\n(0 random, 1 expert)")
    axes[0].legend()
    _draw_levels(axes[-1], places[:-1], list(differences(frame).values()), style.PURPLE, "")
    axes[-1].axhspan(-MARGIN, MARGIN, color=style.GREY, alpha=0.2, linewidth=0)
    axes[-1].set(xlabel="width of the features", ylabel="score difference, 95 %")
    axes[-1].set_title(f"less width {widths(frame)[-1]}, all tasks\n(band: within {MARGIN})")
    for axis in axes:
        axis.set_xticks(places[: len(places) - (axis is axes[-1])], widths(frame)[: len(places) - (axis is axes[-1])])
    return drawing


def _draw_levels(axis: Axes, places: np.ndarray, tables: list[pd.DataFrame], colour: str, label: str) -> None:
    """Means over seeds with their intervals, each seed a dot."""
    center, low, high = np.array([_scores.average(table) for table in tables]).T
    bars = np.nan_to_num([center - low, high - center])
    axis.errorbar(places, center, bars, fmt="o-", markersize=4, color=colour, label=label)
    for place, table in zip(places, tables, strict=True):
        members = table.mean(axis=1)
        axis.plot(np.full(len(members), place - 0.08), members, ".", color=colour, markersize=3, alpha=0.5)
