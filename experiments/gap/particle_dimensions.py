"""Gap, Section I: implicit and explicit policies as the particle's dimension grows.

Florence et al. 2021 report that implicit policies last where regression and nearest neighbour do not: at 95 % they have
implicit ones up to 16-D, regression up to 8-D, nearest neighbour in 1-D only. So the claim is decided where both fail
there, in 16-D and 32-D; below, where regression that has learnt enough keeps up, the same comparison is this suite's
question, and speaks of trainings as short as these. All methods see the same demonstrations and fresh episodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gap import _methods, _particle
from experiments.gap._methods import LANGEVIN, MIXTURE, MSE, NEAREST, Condition, Regression
from experiments.harness import stats, style
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REPRODUCED, Claim, Verdict, above, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list

SHARD_AXES = ("seeds",)
METHODS = (LANGEVIN, MSE, MIXTURE, NEAREST)
GROWN = (16, 32)  # where Florence et al. 2021 report that both kinds of rivals fail


@dataclass
class Config(Regression):
    """dimensions: N of the particle's space."""

    seeds: list[int] = seed_list()
    dimensions: list[int] = bounded(1, 32, unique=True)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_methods`."""
    return _methods.measured([Condition(cfg, method, n) for n in cfg.dimensions for method in METHODS], context)


def decide_dimensions(frame: pd.DataFrame, dimensions: Sequence[int] = GROWN) -> Verdict:
    """In each of these dimensions Langevin's success is above that of regression and of nearest neighbour.

    Of dimensions that were not run nothing is known, so that without one of them nothing is reproduced.
    """
    rows = frame[frame.dimension.isin(dimensions)]
    absent = _methods.absent(frame, dimensions)
    if rows.empty:
        return Verdict(NOT_RUN, note=absent)
    rivals = [(n, name) for n in sorted(rows.dimension.unique()) for name in (MSE, NEAREST)]
    differences = [
        _particle.paired(_methods.ours(rows, LANGEVIN, n), _methods.ours(rows, name, n)) for n, name in rivals
    ]
    note = f"{absent} {_methods.table(rows)}".strip()
    verdict = weakest([above(each, 0.0, note) for each in differences], expected=np.inf)
    return verdict._replace(verdict=INCONCLUSIVE) if absent and verdict.verdict == REPRODUCED else verdict


def _in(dimension: int, smallest_scale: str) -> Claim:
    asked = "" if dimension in GROWN else "(Asked here, where regression that is trained for longer may keep up) "
    return Claim(
        id=f"gap.dimensions.{dimension}-d",
        source="Ta et al. 2022",
        location="Section I, after Florence et al. 2021",
        statement=f"{asked}Implicit policies beat explicit regression and nearest neighbour in {dimension}-D.",
        measures="success less the better rival's",
        decide=partial(decide_dimensions, dimensions=(dimension,)),
        smallest_scale=smallest_scale,
        refuted_from="paper",
    )


CLAIMS = [
    Claim(
        id="gap.dimensions",
        source="Ta et al. 2022",
        location="Section I, after Florence et al. 2021",
        statement="Implicit policies beat explicit regression and nearest neighbour as the dimension grows.",
        measures="success less the better rival's, the smaller of 16-D and 32-D",
        decide=decide_dimensions,
        smallest_scale="overnight",
        refuted_from="paper",
    ),
    *(_in(n, "laptop") for n in (2, 4)),
    *(_in(n, "overnight") for n in (8, *GROWN)),
]
COLOURS = dict(zip(METHODS, (style.BLUE, style.VERMILION, style.PURPLE, style.GREY), strict=True))


def figure(frame: pd.DataFrame) -> Figure:
    """(a) success against the dimension, (b) success of the implicit policy over training."""
    drawing, axes = style.panels(1, 2, height=2.5)
    _draw_success(axes[0], frame)
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(METHODS))
    _draw_training(axes[1], frame)
    return drawing


def _draw_success(axis: Axes, rows: pd.DataFrame) -> None:
    for name in METHODS:
        mine = rows[(rows.method == name) & (rows.metric == "success")]
        places = sorted(mine.dimension.unique())
        center, low, high = np.array([stats.mean_interval(_particle.success(mine, dimension=n)) for n in places]).T
        reach = [center - low, high - center]
        axis.errorbar(places, center, reach, fmt="o-", markersize=3, color=COLOURS[name], label=name)
    axis.set(xscale="log", ylim=(-0.02, 1.02), xlabel="dimension N")
    axis.set_ylabel("success in fresh episodes\n(mean, 95 % over seeds)")
    axis.set_xticks(sorted(rows.dimension.unique()), [f"{n:g}" for n in sorted(rows.dimension.unique())], minor=False)
    axis.xaxis.minorticks_off()


def _draw_training(axis: Axes, frame: pd.DataFrame) -> None:
    mine = frame[(frame.method == LANGEVIN) & (frame.metric == "success") & (frame.decides == 1)]
    for (n, rows), dash in zip(mine.groupby("dimension"), cycle(style.DASHES), strict=False):
        table = rows.pivot_table(index="step", columns="seed", values="value")
        axis.plot(table.index, table.to_numpy(), color=COLOURS[LANGEVIN], linewidth=0.5, alpha=0.4)
        axis.plot(
            table.index, table.mean(axis=1), linestyle=dash, color=COLOURS[LANGEVIN], label=f"{LANGEVIN}, {n:g}-D"
        )
    axis.set(xlabel="training step", ylabel="success in fresh episodes\n(seeds thin, mean thick)", ylim=(-0.02, 1.02))
    axis.legend()
