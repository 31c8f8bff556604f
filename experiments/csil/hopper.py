"""CSIL, Fig. 3, Hopper with one demonstration (csil.one-demonstration.hopper): does one suffice where cloning fails?

Returns are normalised as in `csil/mujoco`, the last evaluation decides, and the strongest clone is the rival.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.csil import _scores, _study, mujoco
from experiments.csil._study import Study
from experiments.harness import stats, style
from experiments.harness.claim import Claim
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError
from imitation.control.csil import CoherentSoftImitation

SHARD_AXES = ("seeds",)
inputs = _study.inputs
CSIL, BC = "CSIL", "BC"


@dataclass
class Config(Study):
    """One environment with one number of demonstrations, as in `_study`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.env) != 1 or len(self.demonstrations.counts) != 1:
            given = f"env={self.env}, demonstrations.counts={self.demonstrations.counts}"
            raise BadInputError(f"{given}: must be one of each")


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`; "expert" and "random" are what returns are normalised by, "BC" the clones by their steps."""
    task = _study.task(cfg, cfg.env[0], context.device)
    clones, rows = _study.cloned(task, BC, context, cfg.cloning)
    learner = CoherentSoftImitation(clones[cfg.start], task.generators(2), cfg.coherent())
    curves = _study.train(task, CSIL, learner, context, lambda share: context.progress(share, 1))
    return pd.concat([task.references(), rows, curves], ignore_index=True)


CLAIMS = [
    Claim(
        id="csil.one-demonstration.hopper",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3",
        statement="On Hopper one demonstration suffices for CSIL where behavioural cloning fails.",
        measures="CSIL's score",
        decide=mujoco.decide_one_demonstration,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) scores over the training, (b) what would show a collapse."""
    drawing, axes = style.panels(1, 2, height=2.6)
    _draw_scores(axes[0], frame)
    mujoco.draw_collapse(axes[1], frame)
    return drawing


def _draw_scores(axis: Axes, frame: pd.DataFrame) -> None:
    rows = _scores.scores(frame)
    table = rows[rows.method == CSIL].pivot(index="steps", columns="seed", values="score")
    axis.plot(table.index, table.to_numpy(), color=style.BLUE, linewidth=0.5, alpha=0.4)
    middle = [stats.bootstrap_interval(seeds, stats.interquartile_mean) for seeds in table.to_numpy()]
    center, low, high = np.array(middle).T
    axis.plot(table.index, center, color=style.BLUE, linewidth=2, label="CSIL (IQM, 95 %; seeds thin)")
    axis.fill_between(table.index.to_numpy(), low, high, color=style.BLUE, alpha=0.2, linewidth=0)
    clone = _scores.level(_scores.strongest(rows, BC))[0]
    axis.axhline(clone, color=style.BLACK, linestyle="--", linewidth=1, label="strongest clone (BC)")
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="environment steps", ylabel=f"score, {frame.env.iloc[0]}\n0 random, 1 expert", ylim=(-0.4, 1.1))
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.legend(loc="lower right")
