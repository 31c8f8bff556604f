"""CSIL, Section 4 (csil.temperature.map): must the policy's temperature beta be below the reward's alpha?

All pairs of an environment are one population, from the same clones, demonstrations and streams. Every alpha has the
same ratios beta / alpha. The mean over pairs with beta below alpha, less that over the others, decides. It cannot tell
a threshold at alpha from one elsewhere, nor the ratio from beta itself: contrasts that can are told beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _scores, _study, ablations
from experiments.csil._study import Task, Unrivalled
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
class Config(Unrivalled):
    """alphas: the reward's temperature in units of the published one, 1 / |A|. ratios: of beta to alpha."""

    alphas: list[float] = bounded(1e-3, 1000, unique=True)
    ratios: list[float] = bounded(1e-4, 1000, unique=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not min(self.ratios) < 1 <= max(self.ratios):
            raise BadInputError(f"ratios={self.ratios}: must lie on both sides of 1")


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`, a pair's name in `method`, its alpha (in units of 1 / |A|) and ratio beside it."""
    parts, pairs = [], list(product(cfg.alphas, cfg.ratios))
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        clones, rows = _study.cloned(task, BC, context, cfg.cloning)
        done = _study.share_of(context, number, len(cfg.env))
        measure = partial(_trained, task, clones[cfg.start], pairs, context, done)
        parts += [task.references(), rows, context.piece(name, measure)]
    return pd.concat(parts, ignore_index=True)


def _trained(
    task: Task,
    clone: HetStat,
    pairs: Sequence[tuple[float, float]],
    context: Context,
    done: Callable[[float], None],
) -> pd.DataFrame:
    whole = task.beside(*[task] * (len(pairs) - 1))
    learner = CoherentSoftImitation(
        ablations.side_by_side([clone] * len(pairs)), whole.generators(2), settings(task, pairs)
    )
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

Tables = dict[tuple[float, float], pd.DataFrame]  # last scores by (alpha, ratio)


def cells(frame: pd.DataFrame) -> Tables:
    """Last scores of each pair."""
    rows = _scores.scores(frame)
    pairs = rows[["method", "alpha", "ratio"]].dropna().drop_duplicates()
    return {(one.alpha, one.ratio): _scores.final(rows, one.method) for one in pairs.itertuples()}  # type: ignore[misc]


def decide(frame: pd.DataFrame) -> Verdict:
    """Scores with beta below alpha are above the others, on average and clearly below in no environment and number."""
    tables = cells(frame)
    return _scores.lead(*sides(tables), f"{_contrasts(tables)} {_levels(frame, tables)}")


def sides(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean scores over the pairs with beta below alpha, and over the others."""
    below = [table for (_, ratio), table in tables.items() if ratio < 1]
    others = [table for (_, ratio), table in tables.items() if ratio >= 1]
    return mean(below), mean(others)


def mean(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Of tables of the same seeds and conditions."""
    return sum(tables[1:], tables[0]) / len(tables)


def gain(tables: Tables, alpha: float) -> stats.Interval:
    """Mean score with beta below this alpha less that with beta not below it, and its interval over seeds."""
    below, others = sides({pair: table for pair, table in tables.items() if pair[0] == alpha})
    return _scores.average(below - others)


def threshold(tables: Tables) -> stats.Interval:
    """Mean score at the largest ratio below 1 less that at the smallest other: the step at beta = alpha itself."""
    ratios = {ratio for _, ratio in tables}
    pair = max(one for one in ratios if one < 1), min(one for one in ratios if one >= 1)
    last, first = (mean([table for (_, ratio), table in tables.items() if ratio == one]) for one in pair)
    return _scores.average(last - first)


def at_equal_beta(tables: Tables) -> stats.Interval | None:
    """Mean score with beta below alpha less that without, over pairs of pairs with beta equal to a tenth."""
    differences = [
        tables[one] - tables[other]
        for one, other in product(tables, tables)
        if one[1] < 1 <= other[1] and abs(one[0] * one[1] / (other[0] * other[1]) - 1) <= 0.11
    ]
    return _scores.average(mean(differences)) if differences else None


def _contrasts(tables: Tables) -> str:
    parts = [f"{_told(gain(tables, alpha))} at alpha = {alpha:g}/|A|" for alpha in sorted({one for one, _ in tables})]
    parts.append(f"{_told(threshold(tables))} from the ratios next to 1")
    if (equal := at_equal_beta(tables)) is not None:
        parts.append(f"{_told(equal)} at equal beta")
    return f"Gain {', '.join(parts)}."


def _told(interval: stats.Interval) -> str:
    center, low, high = interval
    return f"{center:.2f} [{low:.2f}, {high:.2f}]"


def _levels(frame: pd.DataFrame, tables: Tables) -> str:
    top = max(tables, key=lambda pair: _scores.level(tables[pair])[0])
    best = f"alpha = {top[0]:g}/|A|, beta = {top[1]:g} alpha has the best IQM of scores, {_level(tables[top]):.2f}"
    clone = _level(_scores.strongest(_scores.scores(frame), BC))
    return f"{best} (chosen by looking; strongest clone {clone:.2f}). {_scores.scope(frame)} {ablations.NO_THRESHOLD}"


def _level(table: pd.DataFrame) -> float:
    return _scores.level(table)[0]


CLAIMS = [
    Claim(
        id="csil.temperature.map",
        source="Watson et al. 2023",
        location="Section 4",
        statement="On average over the reward's temperature alpha, CSIL does better with beta < alpha than without.",
        measures="score at beta below alpha less that at beta not below it",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]


# ---- figure ----


def figure(frame: pd.DataFrame) -> Figure:
    """Last scores over the map, by environment, with beta = alpha as a line; the gain from beta below alpha."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(1, len(environments) + 1, height=2.6)
    tables, clones = cells(frame), _scores.strongest(_scores.scores(frame), BC)
    for number, (axis, name) in enumerate(zip(axes, environments, strict=False)):
        _draw_map(axis, {pair: table[[name]] for pair, table in tables.items()})
        axis.set_title(f"{name}: score (IQM)\nstrongest clone {_level(clones[[name]]):.2f}")
        _draw_gains(axes[-1], {pair: table[[name]] for pair, table in tables.items()}, name, number)
    axes[-1].axhline(0, color=style.GREY, linewidth=0.7)
    axes[-1].margins(y=0.3)  # room for the legend
    axes[-1].set(xlabel="alpha |A|", ylabel="score difference, 95 %")
    axes[-1].set_title("beta below alpha\nless beta not below")
    axes[-1].legend(loc="upper right")
    return drawing


def _draw_map(axis: Axes, tables: Tables) -> None:
    alphas, ratios = sorted({alpha for alpha, _ in tables}), sorted({ratio for _, ratio in tables})
    levels = np.array([[_level(tables[alpha, ratio]) for ratio in ratios] for alpha in alphas])
    axis.imshow(levels, cmap="cividis", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(levels):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
    boundary = np.searchsorted(ratios, 1) - 0.5
    axis.axvline(boundary, color=style.VERMILION, linewidth=1.5)
    axis.annotate("beta < alpha", (boundary, 1), (-3, -9), ("data", "axes fraction"), "offset points", fontsize=6,
                  color="white", ha="right")  # fmt: skip
    axis.set_xticks(range(len(ratios)), [f"{ratio:g}" for ratio in ratios])
    axis.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.set(xlabel="beta / alpha", ylabel="alpha |A|")


def _draw_gains(axis: Axes, tables: Tables, name: str, number: int) -> None:
    alphas = sorted({alpha for alpha, _ in tables})
    center, low, high = np.array([gain(tables, alpha) for alpha in alphas]).T
    places, colour = np.arange(len(alphas)) + 0.12 * number, COLOURS[number % len(COLOURS)]
    axis.errorbar(places, center, yerr=[center - low, high - center], fmt="o", markersize=4, color=colour, label=name)
    axis.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])


COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.BLACK)
