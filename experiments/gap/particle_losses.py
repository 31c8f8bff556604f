"""Gap, Sections III and IV, asked here: what the MCMC loss and the entropy regulariser need in order to learn.

The MCMC loss (4) has no lower bound, and what it and the entropy-regularised loss teach has narrow minima. So both are
trained with and without the L2 norm on positive energies that Appendix D has for another model, and every model acts
from as many starts as Florence et al. 2021 have, and from the few of the other small runs on this task. The frame is
that of `_particle` with the column `starts` instead of `iterations`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gap import _particle
from experiments.gap._particle import LEARNT, MARGIN, Trained
from experiments.harness import stats, style
from experiments.harness.claim import REPRODUCED, Claim, Verdict, above, below, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm import losses
from imitation.ebm.implicit import Loss, Objective

SHARD_AXES = ("seeds",)
DIMENSIONS = 2


class Variant(NamedTuple):
    """loss. form: of Langevin. noise_scale: of IBC's form. anchored: with an L2 norm on positive energies."""

    loss: Loss = losses.infonce
    form: str = "ibc"
    noise_scale: float = 0.1
    anchored: bool = False


REFERENCE, SMALL = "InfoNCE", "InfoNCE, noise 0.01"
MCMC, MCMC_ALONE = "MCMC loss, L2", "MCMC loss"
MAXENT, MAXENT_ALONE = "correct, MaxEnt, L2", "correct, MaxEnt"
VARIANTS = {
    REFERENCE: Variant(),
    SMALL: Variant(noise_scale=0.01),
    MCMC: Variant(losses.mcmc, anchored=True),
    MCMC_ALONE: Variant(losses.mcmc),
    MAXENT: Variant(losses.entropy_regularised, "true", anchored=True),
    MAXENT_ALONE: Variant(losses.entropy_regularised, "true"),
}


@dataclass
class Config(Trained):
    """anchor: weight of the L2 norm on positive energies. starts: of inference; the first number decides.

    `inference_samples` is replaced by each of the starts, and of `inference_iterations` there is one.
    """

    seeds: list[int] = seed_list()
    anchor: float = bounded(0, 1000)
    starts: list[int] = bounded(1, 100_000, unique=True)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_particle`, with the variant in a column of its own."""
    parts = []
    for number, name in enumerate(VARIANTS):
        done = partial(_particle.progress, context, number, len(VARIANTS))
        parts.append(context.piece(name, partial(_measured, cfg, name, context, done)))
    return pd.concat(parts, ignore_index=True)


def _measured(cfg: Config, name: str, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    variant = VARIANTS[name]
    data = _particle.task(cfg, DIMENSIONS, cfg.seeds, context.device)
    objective = Objective(variant.loss, anchor=cfg.anchor if variant.anchored else 0.0, penalty=cfg.penalty)
    chains = cfg.short_chains(variant.form, variant.noise_scale)
    one = _particle.learner(cfg, data, lambda _: chains, context.generators(cfg.seeds), objective)
    iterations = cfg.inference_iterations[0]
    minimisers = {number: replace(cfg, inference_samples=number).minimiser(iterations) for number in cfg.starts}
    validation = _particle.Validation(one, data, minimisers, cfg.seeds, cfg.episodes)
    frame = _particle.train(one, cfg, cfg.seeds, context, name, validation, done)
    return frame.rename(columns={"iterations": "starts"}).assign(variant=name)


def decide_mcmc(frame: pd.DataFrame) -> Verdict:
    """The MCMC loss with the L2 norm has learnt the task, and its improvement's interval lies below the margin."""
    return _no_better(frame, MCMC, REFERENCE, MCMC_ALONE)


def decide_maxent(frame: pd.DataFrame) -> Verdict:
    """Reasonable, more success than half; and not better than IBC's smallest noise: improvement below the margin."""
    return _no_better(frame, MAXENT, SMALL, MAXENT_ALONE)


def decide_anchor(frame: pd.DataFrame) -> Verdict:
    """Both losses succeed more often with the L2 norm than without it."""
    pairs = ((MCMC, MCMC_ALONE), (MAXENT, MAXENT_ALONE))
    return weakest([above(_particle.difference(frame, *pair), 0.0, _told(frame)) for pair in pairs], expected=np.inf)


def decide_starts(frame: pd.DataFrame) -> Verdict:
    """The regularised model succeeds more often from the most starts than from the fewest."""
    rows = frame[frame.variant == MAXENT]
    most, fewest = (_particle.last(rows, "success", starts=number) for number in _ends(frame))
    return above(_particle.paired(most, fewest), 0.0, _told(frame))


def _ends(frame: pd.DataFrame) -> tuple[float, float]:
    return frame.starts.max(), frame.starts.min()


def _no_better(frame: pd.DataFrame, name: str, reference: str, alone: str) -> Verdict:
    note = _told(frame, name, reference, alone)
    better = below(_particle.difference(frame, name, reference), MARGIN, note)
    taught = above(stats.mean_interval(_particle.success(frame, variant=name)), LEARNT)
    if better.verdict == REPRODUCED and taught.verdict != REPRODUCED:
        better = better._replace(verdict=taught.verdict, note=f"Not clearly above {LEARNT}. {note}")
    return _particle.learnt(better, _particle.success(frame, variant=reference), reference)


def _told(frame: pd.DataFrame, *names: str) -> str:
    """Success at the end of these variants, or of all, by the number of starts; and how many diverged."""
    parts = []
    for name in names or VARIANTS:
        rows = frame[frame.variant == name]
        at = {
            number: _particle.last(rows, "success", starts=number).mean()
            for number in sorted(rows.starts.dropna().unique())
        }
        parts.append(f"{name} {', '.join(f'{value:.2f} from {number:.0f}' for number, value in at.items())}")
    diverged = int(frame[frame.metric == "diverged"].groupby(["variant", "seed"]).value.last().sum())
    return f"Success by starts of inference: {'; '.join(parts)}. Diverged: {diverged}."


def _claim(
    suffix: str,
    location: str,
    statement: str,
    measures: str,
    decide: Callable[[pd.DataFrame], Verdict],
    refuted_from: str,
) -> Claim:
    return Claim(
        id=f"gap.{suffix}",
        source="Ta et al. 2022",
        location=f"{location}; asked here",
        statement=f"(Asked here) {statement}",
        measures=f"difference in success, {measures}",
        decide=decide,
        smallest_scale="overnight",
        refuted_from=refuted_from,
    )


CLAIMS = [
    _claim(
        "mcmc-vs-infonce.anchored",
        "Section III, after eq. (4)",
        "With an L2 norm on positive energies the MCMC loss (4) learns, no significant improvement over InfoNCE.",
        "MCMC loss less InfoNCE",
        decide_mcmc,
        refuted_from="paper",
    ),
    _claim(
        "maxent-conditional.anchored",
        "Section IV",
        "Anchored so, true Langevin with the entropy regulariser is reasonable, not better than IBC's small noise.",
        "regularised less IBC's at noise .01",
        decide_maxent,
        refuted_from="paper",
    ),
    _claim(
        "losses.anchor",
        "Appendix D",
        "With that norm on positive energies both losses train better than without it.",
        "with less without, the lesser one",
        decide_anchor,
        refuted_from="overnight",
    ),
    _claim(
        "losses.starts",
        "Appendix D",
        "The entropy-regularised model acts better from 512 starts, as published, than from 16.",
        "most less fewest starts",
        decide_starts,
        refuted_from="overnight",
    ),
]
SHADES = (style.SKY, style.BLUE, style.ORANGE, style.BLACK, style.VERMILION, style.GREEN)
COLOURS = dict(zip(VARIANTS, SHADES, strict=True))


def figure(frame: pd.DataFrame) -> Figure:
    """(a) success against steps, (b) at the end, by starts, (c) the energies of positives and negatives."""
    drawing, axes = style.panels(1, 3, height=2.8)
    for name in VARIANTS:
        rows = frame[frame.variant == name]
        _draw_mean(axes[0], rows[(rows.metric == "success") & (rows.decides == 1)], name, "o-")
        table = rows[rows.metric.isin(["positive_energy", "negative_energy"])]
        gap = table.pivot_table(index=["step", "seed"], columns="metric", values="value")
        gap = (gap.negative_energy - gap.positive_energy).rename("value").reset_index()
        _draw_mean(axes[2], gap, name, "o-")
    most, fewest = _ends(frame)
    axes[0].set(ylim=(0, 1), xlabel="training step", ylabel="validation success")
    axes[0].set_title(f"{most:.0f} starts; mean over seeds,\n95 %; colours as in (b)")
    _draw_ends(axes[1], frame)
    axes[1].set_title(f"full: {most:.0f} starts, hollow:\n{fewest:.0f}; 95 % over seeds")
    axes[2].set(yscale="symlog", xlabel="training step", ylabel="mean energy, negatives less positives")
    axes[2].set_title("what the losses teach;\ncolours as in (b)")
    return drawing


def _draw_mean(axis: Axes, rows: pd.DataFrame, name: str, line: str) -> None:
    table = rows.pivot_table(index="step", columns="seed", values="value")
    center, low, high = np.array([stats.mean_interval(seeds) for seeds in table.to_numpy()]).T
    axis.plot(table.index, center, line, markersize=2.5, color=COLOURS[name])
    axis.fill_between(table.index.to_numpy(), low, high, color=COLOURS[name], alpha=0.2, linewidth=0)


def _draw_ends(axis: Axes, frame: pd.DataFrame) -> None:
    most, fewest = _ends(frame)
    for place, name in enumerate(VARIANTS):
        for starts, shift, fill in ((most, 0.0, COLOURS[name]), (fewest, 0.3, "none")):
            found = _particle.last(frame, "success", variant=name, starts=starts)
            center, low, high = stats.mean_interval(found)
            axis.errorbar(
                [center], [place + shift], xerr=[[center - low], [high - center]], color=COLOURS[name],
                fmt="D" if shift else "o", markersize=3 if shift else 4, markerfacecolor=fill,
            )  # fmt: skip
    axis.set(yticks=range(len(VARIANTS)), yticklabels=list(VARIANTS), ylim=(len(VARIANTS) - 0.4, -0.4), xlim=(0, 1))
    axis.set(xlabel="success at the last step")
