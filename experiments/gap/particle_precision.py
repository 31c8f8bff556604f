"""Gap, found here (gap.precision): does a sampler in bfloat16 train and act as well as one in single precision?

The same training twice, IBC's Langevin and InfoNCE as in Fig. 2, from the same weights on the same batches: the
sampler that draws the negatives and the one that acts compute gradients in the one precision or in the other. Weights,
losses and the chains' positions are in single precision in both.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gap import _particle, _pictures
from experiments.gap._particle import MARGIN, Trained
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, equivalent
from experiments.harness.context import Context
from experiments.harness.schema import seed_list
from imitation.ebm.implicit import Objective

SHARD_AXES = ("seeds",)
REFERENCE, HALF = "float32", "bfloat16"
DIMENSIONS = 2


@dataclass
class Config(Trained):
    """As the other trainings on the particle task; `precision` is replaced by each of the two."""

    seeds: list[int] = seed_list()


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_particle`, with the sampler's precision in the column `variant`."""
    parts = []
    for number, precision in enumerate((REFERENCE, HALF)):
        done = partial(_particle.progress, context, number, 2)
        measure = partial(_measured, replace(cfg, precision=precision), context, done)
        parts.append(context.piece(precision, measure))
    return pd.concat(parts, ignore_index=True)


def _measured(cfg: Config, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    data = _particle.task(cfg, DIMENSIONS, cfg.seeds, context.device)
    random, objective = context.generators(cfg.seeds), Objective(penalty=cfg.penalty)
    one = _particle.learner(cfg, data, lambda _: cfg.short_chains(), random, objective)
    minimisers = {iterations: cfg.minimiser(iterations) for iterations in cfg.inference_iterations}
    validation = _particle.Validation(one, data, minimisers, cfg.seeds, cfg.episodes)
    return _particle.train(one, cfg, cfg.seeds, context, cfg.precision, validation, done).assign(variant=cfg.precision)


def decide(frame: pd.DataFrame) -> Verdict:
    """On par: the difference's interval lies within the margin, and training in single precision has learnt."""
    about = _particle.summary(frame, "variant", (REFERENCE, HALF))
    verdict = equivalent(_particle.difference(frame, HALF, REFERENCE), 0.0, MARGIN, about)
    return _particle.learnt(verdict, _particle.success(frame, variant=REFERENCE), REFERENCE)


CLAIMS = [
    Claim(
        id="gap.precision",
        source="Ta et al. 2022",
        location="Fig. 2; found here",
        statement="(Found here) With the Langevin sampler in bfloat16 success is on par with single precision's.",
        measures="validation success less float32's",
        decide=decide,
        smallest_scale="overnight",
    )
]

COLOURS = {REFERENCE: style.BLACK, HALF: style.ORANGE}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) success against steps, (b) differences at the end, (c) the nearest negative's distance."""
    drawing, axes = style.panels(1, 3, height=2.5)
    for name in COLOURS:
        rows = frame[frame.variant == name]
        _pictures.draw_curve(axes[0], rows, COLOURS[name], name)
        table = rows[rows.metric == "nearest"].pivot_table(index="step", columns="seed", values="value")
        axes[2].plot(table.index, table.mean(axis=1, skipna=False), color=COLOURS[name], label=name)
    axes[0].set(ylim=(0, 1), xlabel="training step", ylabel="validation success")
    axes[0].set_title("thin: seeds, thick: IQM, 95 %")
    axes[0].legend(loc="lower right")
    _draw_differences(axes[1], frame)
    axes[2].set(yscale="log", xlabel="training step", ylabel="distance (action in [-1, 1])")
    axes[2].set_title("nearest negative\nto its positive")
    return drawing


def _draw_differences(axis: Axes, frame: pd.DataFrame) -> None:
    every = sorted(frame.iterations.dropna().unique())
    for place, iterations in enumerate(every):
        center, low, high = _particle.difference(frame, HALF, REFERENCE, iterations)
        decides = bool((frame[frame.iterations == iterations].decides == 1).any())
        axis.errorbar(
            [center], [place], xerr=[[center - low], [high - center]], fmt="o" if decides else "D", markersize=4,
            color=style.BLUE if decides else style.GREY,
        )  # fmt: skip
    axis.axvspan(-MARGIN, MARGIN, color=style.GREEN, alpha=0.15, linewidth=0)
    axis.axvline(0, color=style.GREY, linewidth=0.7)
    axis.set_yticks(range(len(every)), [f"{iterations:.0f} inference\niterations" for iterations in every])
    axis.set(ylim=(len(every) - 0.4, -0.6), xlabel="bfloat16 less float32, 95 % over seeds")
    axis.set_title("success at the last step\n(shaded: on par)")
