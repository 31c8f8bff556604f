"""Gap, Fig. 2 and Section III, asked here: does the order of the samplers of negatives rest on how the models act?

The small runs of `particle_mas` and `particle_samplers` act from 16 starts of Langevin, Florence et al. 2021 from 512,
and with 30 iterations in place of 10 the order of some of their variants turns round. So every model trained there by
InfoNCE is trained here once, and acts in turn from few starts and from many, by few iterations and by many. The frame
is that of `_particle` with the column `starts`; `decides` is 1 where both starts and iterations are the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gap import _particle, particle_mas, particle_samplers
from experiments.gap._particle import MARGIN, Trained
from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, above, equivalent, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.implicit import Objective
from imitation.ebm.negatives import Proposal
from imitation.population import Generators

SHARD_AXES = ("seeds",)
DIMENSIONS = 2
REFERENCE = particle_mas.REFERENCE  # the same training as particle_samplers.REFERENCE
MARGINAL = [name for name in particle_mas.VARIANTS if name != REFERENCE]
SMALL, LARGE = particle_samplers.SMALL, particle_samplers.LARGE
LONG = [particle_samplers.LONG, particle_samplers.STEADY]
VARIANTS = [REFERENCE, *MARGINAL, SMALL, LARGE, *LONG]


@dataclass
class Config(Trained):
    """starts: of inference, the first number decides; each replaces `inference_samples`. The rest as in the two others.

    marginal_hidden: of the marginal model. anchor: weight of MaxEnt's L2 norm. steady_step: lambda of the long chain of
    steady step.
    """

    seeds: list[int] = seed_list()
    marginal_hidden: list[int] = bounded(1, 4096)
    anchor: float = bounded(0, 1000)
    steady_step: float = bounded(1e-9, 100)
    starts: list[int] = bounded(1, 100_000, unique=True)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_particle`, with the starts and the variant in columns of their own."""
    parts = []
    for number, name in enumerate(VARIANTS):
        done = partial(_particle.progress, context, number, len(VARIANTS))
        parts.append(context.piece(name, partial(_measured, cfg, name, context, done)))
    return pd.concat(parts, ignore_index=True)


def _measured(cfg: Config, name: str, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    data = _particle.task(cfg, DIMENSIONS, cfg.seeds, context.device)
    random, objective = context.generators(cfg.seeds), Objective(penalty=cfg.penalty)
    one = _particle.learner(cfg, data, partial(proposal, cfg, name), random, objective)
    first, *others = cfg.starts
    validations = [_particle.Validation(one, data, _acting(cfg, starts), cfg.seeds, cfg.episodes) for starts in others]
    trained = _particle.Validation(one, data, _acting(cfg, first), cfg.seeds, cfg.episodes)
    parts = [_particle.train(one, cfg, cfg.seeds, context, name, trained, done).assign(starts=first)]
    for starts, validation in zip(others, validations, strict=True):
        parts.append(pd.DataFrame(validation.rows(cfg.episodes, every=True)).assign(starts=starts, decides=0.0))
    return pd.concat(parts, ignore_index=True).assign(variant=name)


def _acting(cfg: Config, starts: int) -> _particle.Minimisers:
    few = replace(cfg, inference_samples=starts)
    return {iterations: few.minimiser(iterations) for iterations in cfg.inference_iterations}


def proposal(cfg: Any, name: str, random: Generators) -> Proposal:
    """Where a variant's negatives come from."""
    if name in particle_mas.VARIANTS:
        return particle_mas.proposal(cfg, name, random)
    return particle_samplers.proposal(cfg, particle_samplers.VARIANTS[name])


def _most(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the most starts and the most iterations, as the inference that decides."""
    rows = frame[(frame.starts == frame.starts.max()) & (frame.iterations == frame.iterations.max())]
    return rows.assign(decides=1)


def decide_marginal(frame: pd.DataFrame) -> Verdict:
    """All three variants with a marginal sampler are on par: the check that speaks most against it."""
    return _on_par(frame, frame)


def decide_iterations(frame: pd.DataFrame) -> Verdict:
    """The same by the most starts and the most iterations."""
    return _on_par(_most(frame), frame)


def _on_par(acting: pd.DataFrame, frame: pd.DataFrame) -> Verdict:
    note = _told(frame, [REFERENCE, *MARGINAL])
    checks = [equivalent(_particle.difference(acting, name, REFERENCE), 0.0, MARGIN, note) for name in MARGINAL]
    return _particle.learnt(weakest(checks), _particle.success(acting, variant=REFERENCE), REFERENCE)


def decide_chains(frame: pd.DataFrame) -> Verdict:
    """Short chains train better than either long chain of as many gradient evaluations."""
    return _ahead(frame, [(REFERENCE, name) for name in LONG])


def decide_noise_scale(frame: pd.DataFrame) -> Verdict:
    """Both small noise scales train better than 1."""
    return _ahead(frame, [(name, LARGE) for name in (SMALL, REFERENCE)])


def _ahead(frame: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> Verdict:
    """The first of each pair succeeds more often than the second."""
    note = _told(frame, list(dict.fromkeys(name for pair in pairs for name in pair)))
    checks = [above(_particle.difference(frame, *pair), 0.0, note) for pair in pairs]
    return _particle.learnt(weakest(checks, expected=np.inf), _particle.success(frame, variant=REFERENCE), REFERENCE)


def _inferences(frame: pd.DataFrame) -> list[tuple[float, float]]:
    """Each pair of starts and iterations that was measured, the fewest first."""
    found = frame[["starts", "iterations"]].dropna().drop_duplicates()
    return sorted(found.itertuples(index=False, name=None))


def _told(frame: pd.DataFrame, names: Sequence[str]) -> str:
    """Success at the end of these variants by each inference; and how many diverged."""
    parts = []
    for starts, iterations in _inferences(frame):
        found = [_particle.last(frame, "success", variant=name, starts=starts, iterations=iterations) for name in names]
        told = ", ".join(f"{name} {one.mean():.2f}" for name, one in zip(names, found, strict=True))
        parts.append(f"from {starts:.0f} starts by {iterations:.0f} iterations {told}")
    diverged = int(frame[frame.metric == "diverged"].groupby(["variant", "seed"]).value.last().sum())
    return f"Success {'; '.join(parts)}. Diverged: {diverged}."


def _claim(
    suffix: str, location: str, statement: str, measures: str, decide: Callable[[pd.DataFrame], Verdict]
) -> Claim:
    return Claim(
        id=f"gap.{suffix}",
        source="Ta et al. 2022",
        location=f"{location}; asked here",
        statement=f"(Asked here, of small trainings) {statement}",
        measures=f"difference in success, {measures}",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="overnight",
    )


CLAIMS = [
    _claim(
        "fig2.starts",
        "Fig. 2, Appendix D",
        "From 512 starts, Florence et al.'s number, models with a marginal action sampler act on par with IBC's.",
        "the variant farthest from IBC's",
        decide_marginal,
    ),
    _claim(
        "fig2.iterations",
        "Fig. 2, Appendix D",
        "From 512 starts by 30 iterations models with a marginal action sampler act on par with IBC's.",
        "the variant farthest from IBC's",
        decide_iterations,
    ),
    _claim(
        "chains.starts",
        "Section III, last paragraph but one",
        "Acting from 512 starts, many short chains have trained better than one long chain with burn-in.",
        "short less the better long chain",
        decide_chains,
    ),
    _claim(
        "noise-scale.starts",
        "Section III, last paragraph but one",
        "Acting from 512 starts, a small noise scale (.01 to .1) has trained better than 1.",
        "small less large noise",
        decide_noise_scale,
    ),
]
# By iterations, and by starts: full for the most.
COLOURS = (style.BLUE, style.ORANGE)


def figure(frame: pd.DataFrame) -> Figure:
    """(a) success at the end of every variant by every inference, (b) less that of IBC's by the same inference."""
    drawing, axes = style.panels(1, 2, height=3.4)
    for place, name in enumerate(VARIANTS):
        for shift, inference in enumerate(_inferences(frame)):
            found, reference = (_at(frame, one, inference) for one in (name, REFERENCE))
            _draw(axes[0], stats.mean_interval(found), place + 0.18 * shift, frame, inference)
            if name != REFERENCE:
                _draw(axes[1], _particle.paired(found, reference), place + 0.18 * shift, frame, inference)
    middle = np.arange(len(VARIANTS)) + 0.27
    axes[0].set(yticks=middle, yticklabels=VARIANTS, xlim=(0, 1), xlabel="success at the last step, 95 % over seeds")
    axes[1].set(yticks=middle, yticklabels=[], xlabel=f"success less that of {REFERENCE}, paired, 95 %")
    axes[1].axvspan(-MARGIN, MARGIN, color=style.GREEN, alpha=0.15, linewidth=0, label="on par")
    axes[1].axvline(0, color=style.GREY, linewidth=0.7)
    for axis in axes:
        axis.set(ylim=(len(VARIANTS) - 0.2, -0.3))
    handles, labels = axes[0].get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    drawing.legend(once.values(), once.keys(), loc="outside lower center", ncols=4)
    return drawing


def _at(frame: pd.DataFrame, name: str, inference: tuple[float, float]) -> pd.Series:
    starts, iterations = inference
    return _particle.last(frame, "success", variant=name, starts=starts, iterations=iterations)


def _draw(
    axis: Axes, interval: stats.Interval, place: float, frame: pd.DataFrame, inference: tuple[float, float]
) -> None:
    (center, low, high), (starts, iterations) = interval, inference
    colour = COLOURS[int(iterations == frame.iterations.max())]
    axis.errorbar(
        [center], [place], xerr=[[center - low], [high - center]], fmt="o", markersize=3.5, color=colour,
        markerfacecolor=colour if starts == frame.starts.max() else "white",
        label=f"{starts:.0f} starts, {iterations:.0f} iterations",
    )  # fmt: skip
