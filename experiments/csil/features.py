"""CSIL's sensitivity to the width of HetStat's features (csil.features), 256 as published.

The policy's variance is a quadratic form of its features, so that at the published sizes their width is most of what an
update costs, and the studies here take narrower ones. Each width has clones, coherent reward and policies of its own,
from the same demonstrations and seeds. Of CSIL's gain over the strongest clone, both of the published width, a narrower
one must keep more than half: a fixed margin could be wider than the gain. The last evaluation decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _scores, _study
from experiments.csil._study import Study, Task, Unrivalled
from experiments.harness import style
from experiments.harness.claim import INCONCLUSIVE, REPRODUCED, Claim, Verdict, weakest
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentSoftImitation
from imitation.policies import HetStat

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
KEPT = 0.5  # share of the gain at the published width that a narrower one must keep
CSIL, BC = "CSIL, {} features", "BC, {} features"


@dataclass
class Config(Unrivalled):
    """widths: of HetStat's features, all even; `features`, the widest, is what the others are compared with."""

    widths: list[int] = bounded(2, 4096, unique=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width % 2 for width in self.widths) or self.features != max(self.widths) or len(self.widths) < 2:
            rule = f"must be two or more even numbers, the largest features={self.features}"
            raise BadInputError(f"widths={self.widths}: {rule}")

    def at(self, width: int) -> Study:
        """The study with features of this width."""
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(Study)}
        values["features"] = width
        return Study(**values)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`, the clones' and CSIL's with their `width`."""
    parts, total = [], len(cfg.env) * len(cfg.widths)
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        parts.append(task.references())
        for place, width in enumerate(cfg.widths):
            sized = replace(task, cfg=cfg.at(width))
            clones, rows = _study.cloned(sized, BC.format(width), context, cfg.cloning)
            done = _study.share_of(context, number * len(cfg.widths) + place, total)
            train = partial(_trained, sized, clones[cfg.start], context, done)
            parts += [rows.assign(width=width), context.piece(f"{name} {width}", train).assign(width=width)]
    return pd.concat(parts, ignore_index=True)


def _trained(task: Task, clone: HetStat, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    learner = CoherentSoftImitation(clone, task.generators(2), task.cfg.coherent())
    return _study.train(task, CSIL.format(task.cfg.features), learner, context, done)


# ---- decision ----


def widths(frame: pd.DataFrame) -> list[int]:
    """All that were measured, the widest last: the published one."""
    return sorted({int(width) for width in frame.width.dropna()})


def levels(frame: pd.DataFrame) -> dict[int, tuple[pd.DataFrame, pd.DataFrame]]:
    """Last scores of CSIL and of the strongest clone at each width, laid out as `_scores.final`."""
    rows = _scores.scores(frame)
    return {
        width: (_scores.final(rows, CSIL.format(width)), _scores.strongest(rows, BC.format(width)))
        for width in widths(frame)
    }


def margins(frame: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """By how much CSIL's scores at each narrower width are above the clone's and the kept share of the gain on it."""
    found = levels(frame)
    own, clone = found[max(found)]
    return {width: one - (clone + KEPT * (own - clone)) for width, (one, _) in found.items() if width != max(found)}


def decide(frame: pd.DataFrame) -> Verdict:
    """Every narrower width keeps its share of the gain, on average and clearly less in no condition."""
    found = levels(frame)
    told = [
        f"{width} features {_scores.told(own)} (strongest clone {_scores.told(clone)})"
        for width, (own, clone) in found.items()
    ]
    own, clone = found[max(found)]
    gain = _scores.lead(own, clone)
    less = [f"{width} {_scores.told(one - own)}" for width, (one, _) in found.items() if width != max(found)]
    note = (
        f"Mean scores: {', '.join(told)}; gain {_scores.told(own - clone)}. Less that at {max(found)}: "
        f"{', '.join(less)}. {_scores.scope(frame)}"
    )
    verdict = weakest([_scores.lead(table, 0 * table, note) for table in margins(frame).values()], expected=np.inf)
    if gain.verdict != REPRODUCED:
        return verdict._replace(verdict=INCONCLUSIVE, note=f"No clear gain to keep at width {max(found)}. {note}")
    return verdict


CLAIMS = [
    Claim(
        id="csil.features",
        source="Watson et al. 2023",
        location="Appendix; asked here",
        statement="(Asked here) With narrower features than 256 CSIL keeps over half of its gain on clones at 256.",
        measures="score less the clone's and half of the gain, smallest over widths",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]


# ---- figure ----


def figure(frame: pd.DataFrame) -> Figure:
    """Last scores by width in each environment, CSIL's and its clones'; margins above the share that is to be kept."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(1, len(environments) + 1, height=2.6)
    every = levels(frame)
    for axis, name in zip(axes, environments, strict=False):
        own, clones = zip(*((one[[name]], clone[[name]]) for one, clone in every.values()), strict=True)
        _draw_levels(axis, widths(frame), own, style.BLUE, "CSIL")
        _draw_levels(axis, widths(frame), clones, style.BLACK, "strongest clone", shift=0.15)
        axis.set(title=name)
    axes[0].set_ylabel("last score, mean, 95 %\n(0 random, 1 expert)")
    axes[0].margins(y=0.25)  # room for the legend
    axes[0].legend()
    found = margins(frame)
    _draw_levels(axes[-1], list(found), list(found.values()), style.PURPLE, "")
    axes[-1].axhline(0, color=style.GREY, linewidth=0.7)
    axes[-1].set_ylabel("score, mean, 95 %")
    axes[-1].set_title(f"score less clone's and {KEPT:g} of\nthe gain, both at width {widths(frame)[-1]}")
    for axis in axes:
        axis.set_xlabel("width of the features")
    return drawing


def _draw_levels(
    axis: Axes, names: Sequence[int], tables: Sequence[pd.DataFrame], colour: str, label: str, shift: float = 0
) -> None:
    """Means over seeds with their intervals, each seed a dot."""
    center, low, high = np.array([_scores.average(table) for table in tables]).T
    places, bars = np.arange(len(names)) + shift, np.nan_to_num([center - low, high - center])
    axis.errorbar(places, center, bars, fmt="o-", markersize=4, color=colour, label=label)
    for place, table in zip(places, tables, strict=True):
        members = table.mean(axis=1)
        axis.plot(np.full(len(members), place - 0.08), members, ".", color=colour, markersize=3, alpha=0.5)
    axis.set_xticks(range(len(names)), list(map(str, names)))
