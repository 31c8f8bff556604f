"""CSIL, Section 4 (csil.temperature.map): the policy's temperature beta below the reward's alpha, over a map of both.

All pairs of an environment are one population, from the same clones, demonstrations and streams. The claim is about
beta / alpha, so pairs are compared at the same alpha: the mean of those with beta below alpha, less that of the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _scores, _study
from experiments.csil._study import Study, Task
from experiments.csil.ablations import side_by_side
from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.policies import HetStat

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
BC = "BC"


@dataclass
class Config(Study):
    """alphas: the reward's temperature in units of the published one, 1 / |A|. ratios: of beta to alpha."""

    alphas: list[float] = bounded(1e-3, 1000, unique=True)
    ratios: list[float] = bounded(1e-4, 1000, unique=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not min(self.ratios) < 1 <= max(self.ratios):
            raise BadInputError(f"ratios={self.ratios}: must lie on both sides of 1")


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`, a pair's name in `method`, its alpha (in units of 1 / |A|) and ratio beside it."""
    parts = []
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        clones, rows = _study.cloned(task, BC, context, cfg.cloning)
        done = partial(_progress, context, number, len(cfg.env))
        measure = partial(_trained, task, clones[cfg.start], context, done)
        parts += [task.references(), rows, context.piece(name, measure)]
    return pd.concat(parts, ignore_index=True)


def _progress(context: Context, before: int, total: int, share: float) -> None:
    context.progress(before + share, total)


def _trained(task: Task, clone: HetStat, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    pairs = list(product(task.cfg.alphas, task.cfg.ratios))
    whole = task.beside(*[task] * (len(pairs) - 1))
    learner = CoherentSoftImitation(side_by_side([clone] * len(pairs)), whole.generators(2), settings(task, pairs))
    frame = _study.train(whole, "map", learner, context, done)
    # Rows come in the members' order, evaluation by evaluation and metric by metric.
    order = np.repeat(np.array(pairs), len(task.members), axis=0)
    alphas, ratios = np.tile(order, (len(frame) // len(order), 1)).T
    names = [f"alpha {alpha:g}, beta {ratio:g} alpha" for alpha, ratio in zip(alphas, ratios, strict=True)]
    return frame.assign(method=names, alpha=alphas, ratio=ratios)


def settings(task: Task, pairs: Sequence[tuple[float, float]]) -> CoherentSettings:
    """CSIL's of the pairs' members, in their order."""
    unit = 1 / task.sizes[1]
    alphas, betas = np.repeat([(alpha * unit, ratio * alpha * unit) for alpha, ratio in pairs], len(task.members), 0).T
    return task.cfg.coherent(alpha=alphas.tolist(), temperature=betas.tolist())


# ---- decision ----


def cells(frame: pd.DataFrame) -> dict[tuple[float, float], pd.DataFrame]:
    """Last scores of each (alpha, ratio)."""
    rows = _scores.scores(frame)
    pairs = rows[["method", "alpha", "ratio"]].dropna().drop_duplicates()
    return {(one.alpha, one.ratio): _scores.final(rows, one.method) for one in pairs.itertuples()}  # type: ignore[misc]


def sides(tables: dict[tuple[float, float], pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean scores over the pairs with beta below alpha, and over the others; every alpha has the same ratios."""
    below = [table for (_, ratio), table in tables.items() if ratio < 1]
    above = [table for (_, ratio), table in tables.items() if ratio >= 1]
    first, second = (sum(side[1:], side[0]) / len(side) for side in (below, above))
    return first, second


def decide(frame: pd.DataFrame) -> Verdict:
    """Scores with beta below alpha are above those without, on average and clearly below in no environment."""
    tables = cells(frame)
    gains = {alpha: _gain(tables, alpha) for alpha in sorted({alpha for alpha, _ in tables})}
    told = ", ".join(f"{m:.2f} [{low:.2f}, {high:.2f}] at alpha = {a:g}/|A|" for a, (m, low, high) in gains.items())
    top = max(tables, key=lambda pair: _scores.level(tables[pair])[0])
    best = f"The best pair is alpha = {top[0]:g}/|A|, beta = {top[1]:g} alpha ({_scores.level(tables[top])[0]:.2f})."
    clone = _scores.level(_scores.strongest(_scores.scores(frame), BC))[0]
    return _scores.lead(*sides(tables), f"Gain {told}. {best} Strongest clone {clone:.2f}. {_scores.scope(frame)}")


def _gain(tables: dict[tuple[float, float], pd.DataFrame], alpha: float) -> stats.Interval:
    first, second = sides({pair: table for pair, table in tables.items() if pair[0] == alpha})
    return _scores.average(first - second)


CLAIMS = [
    Claim(
        id="csil.temperature.map",
        source="Watson et al. 2023",
        location="Section 4",
        statement="Whatever the reward's temperature alpha, the policy's must be below it, beta < alpha.",
        measures="score at beta below alpha less that at beta not below it",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]


# ---- figure ----


def figure(frame: pd.DataFrame) -> Figure:
    """The map of last scores, one for each environment; the gain from beta below alpha, by alpha."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(1, len(environments) + 1, height=2.6)
    for axis, name in zip(axes, environments, strict=False):
        _draw_map(axis, frame[frame.env == name])
        axis.set_title(f"{name}: score (IQM)\nstrongest clone {_clone(frame, name):.2f}")
    _draw_gains(axes[-1], frame, environments)
    return drawing


def _clone(frame: pd.DataFrame, name: str) -> float:
    return _scores.level(_scores.strongest(_scores.scores(frame[frame.env == name]), BC))[0]


def _draw_map(axis: Axes, frame: pd.DataFrame) -> None:
    tables = cells(frame)
    alphas, ratios = sorted({alpha for alpha, _ in tables}), sorted({ratio for _, ratio in tables})
    levels = np.array([[_scores.level(tables[alpha, ratio])[0] for ratio in ratios] for alpha in alphas])
    axis.imshow(levels, cmap="cividis", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(levels):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
    axis.axvline(np.searchsorted(ratios, 1) - 0.5, color=style.VERMILION, linewidth=1.5)
    axis.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    axis.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.set(xlabel="beta / alpha", ylabel="alpha |A|")


def _draw_gains(axis: Axes, frame: pd.DataFrame, environments: Sequence[str]) -> None:
    colours = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.BLACK)
    for number, (name, colour) in enumerate(zip(environments, colours, strict=False)):
        tables = cells(frame[frame.env == name])
        alphas = sorted({alpha for alpha, _ in tables})
        center, low, high = np.array([_gain(tables, alpha) for alpha in alphas]).T
        places = np.arange(len(alphas)) + 0.12 * number
        axis.errorbar(
            places, center, yerr=[center - low, high - center], fmt="o", markersize=4, color=colour, label=name
        )
        axis.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.axhline(0, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="alpha |A|", ylabel="score, 95 % over seeds")
    axis.set_title("beta below alpha\nless beta not below")
    axis.legend()
