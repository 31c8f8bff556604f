"""Gap, Fig. 2 (gap.fig2*): negatives from a marginal action sampler against IBC's Langevin, on the particle task.

The conditional model is trained by InfoNCE in all four variants, and all four act by the same inference. They differ
in the negatives: IBC's form of Langevin on the model itself, or a second model of the actions alone, sampled by IBC's
form or the correct one, and trained with maximum entropy or without. A success rate at the last step decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gap import _particle, _pictures
from experiments.gap._particle import MARGIN, Trained
from experiments.gap._recipe import PRECISIONS
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, equivalent, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.implicit import Objective
from imitation.ebm.marginal import MarginalSampler
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import Proposal
from imitation.population import Generators

SHARD_AXES = ("seeds",)
# Name -> form of Langevin that draws the negatives, from the marginal model or not, with maximum entropy or not.
VARIANTS = {
    "Ibc": ("ibc", False, False),
    "Ibc, MAS": ("ibc", True, False),
    "Correct, MAS": ("true", True, False),
    "Correct, MAS+MaxEnt": ("true", True, True),
}
REFERENCE = "Ibc"
DIMENSIONS = 2
PICTURED = (0, 40)  # control steps of the episode whose energies are drawn: one before each goal
PATHS = 6  # episodes whose paths are drawn


@dataclass
class Config(Trained):
    """marginal_hidden: of the marginal model. anchor: weight of MaxEnt's L2 norm. grid: energies per side, drawn."""

    seeds: list[int] = seed_list()
    marginal_hidden: list[int] = bounded(1, 4096)
    anchor: float = bounded(0, 1000)
    grid: int = bounded(2, 500)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_particle`, and for the first seed those of `_pictures`, with the variant in a column of its own."""
    parts = []
    for number, variant in enumerate(VARIANTS):
        done = partial(_particle.progress, context, number, len(VARIANTS))
        parts.append(context.piece(variant, partial(_measured, cfg, variant, context, done)))
    return pd.concat(parts, ignore_index=True)


def _measured(cfg: Config, variant: str, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    data = _particle.task(cfg, DIMENSIONS, cfg.seeds, context.device)
    random, objective = context.generators(cfg.seeds), Objective(penalty=cfg.penalty)
    one = _particle.learner(cfg, data, partial(proposal, cfg, variant), random, objective)
    minimisers = {iterations: cfg.minimiser(iterations) for iterations in cfg.inference_iterations}
    validation = _particle.Validation(one, data, minimisers, cfg.seeds, cfg.episodes)
    curves = _particle.train(one, cfg, cfg.seeds, context, variant, validation, done)
    pictures = _pictures.landscapes(validation, cfg.seeds[0], PICTURED, cfg.grid)
    pictures += _pictures.paths(validation, cfg.inference_iterations[0], cfg.seeds[0], PATHS)
    return pd.concat([curves, pd.DataFrame(pictures)], ignore_index=True).assign(variant=variant)


def proposal(cfg: Config, variant: str, random: Generators) -> Proposal:
    """Where a variant's negatives come from."""
    form, marginal, maximum_entropy = VARIANTS[variant]
    if not marginal:
        return cfg.short_chains(form)
    energy = MLPEnergy(0, DIMENSIONS, random, cfg.marginal_hidden, members=len(random))
    chain = cfg.chain(form, cfg.iterations)
    entropy = maximum_entropy, cfg.anchor if maximum_entropy else 0.0, PRECISIONS[cfg.precision]
    return MarginalSampler(energy, cfg.learning_rates(), cfg.negatives, cfg.bounds, *chain, *entropy)


def decide_variant(frame: pd.DataFrame, variant: str) -> Verdict:
    """On par: the difference's interval lies within the margin."""
    differences = _particle.differences(frame, (variant,), REFERENCE)
    about = (
        f"{_particle.summary(frame, 'variant', (variant, REFERENCE))} '{variant}' less '{REFERENCE}': {differences}."
    )
    verdict = equivalent(_particle.difference(frame, variant, REFERENCE), 0.0, MARGIN, about)
    return _particle.learnt(verdict, _particle.success(frame, variant=REFERENCE), REFERENCE)


def decide_all(frame: pd.DataFrame) -> Verdict:
    """All three variants are on par: the check that speaks most against it."""
    return weakest([decide_variant(frame, variant) for variant in VARIANTS if variant != REFERENCE])


def _claim(suffix: str, variant: str) -> Claim:
    return Claim(
        id=f"gap.fig2.{suffix}",
        source="Ta et al. 2022",
        location="Fig. 2, Section V, Appendix D",
        statement=f"On the 2-D particle task, 300 episodes, '{variant}' is on par with '{REFERENCE}'.",
        measures="validation success less Ibc's",
        decide=partial(decide_variant, variant=variant),
        smallest_scale="laptop",
        refuted_from="paper",
    )


CLAIMS = [
    Claim(
        id="gap.fig2",
        source="Ta et al. 2022",
        location="Fig. 2, Section V, Appendix D",
        statement="Models trained with the marginal action sampler are on par with IBC's Langevin (2-D particle task).",
        measures="validation success less Ibc's, the variant farthest from it",
        decide=decide_all,
        smallest_scale="laptop",
        refuted_from="paper",
    ),
    _claim("ibc-mas", "Ibc, MAS"),
    _claim("correct-mas", "Correct, MAS"),
    _claim("correct-mas-maxent", "Correct, MAS+MaxEnt"),
]

COLOURS = dict(zip(VARIANTS, (style.SKY, style.ORANGE, style.GREEN, style.VERMILION), strict=True))
DASHES = dict(zip(VARIANTS, ("-", "-", "--", ":"), strict=True))  # the last three lie on each other


def figure(frame: pd.DataFrame) -> Figure:
    """Fig. 2's curves, one panel a variant; energies with negatives on them; paths; differences and distances."""
    names = list(VARIANTS)
    rows = [[f"{name} {row}" for name in names] for row in ("curve", "before goal 1", "before goal 2", "paths")]
    layout = [*rows, ["difference"] * 2 + ["distance"] * 2]
    drawing, axes = style.mosaic(layout, [1.9, 1.6, 1.6, 1.6, 2.1])
    for number, name in enumerate(names):
        mine = frame[frame.variant == name]
        _draw_curve(axes[f"{name} curve"], mine, name, number == 0)
        for time, goal in zip(PICTURED, ("before goal 1", "before goal 2"), strict=True):
            axis = axes[f"{name} {goal}"]
            _pictures.draw_landscape(axis, mine[mine["item"] == time], reach=_reach(mine, time))
        _pictures.draw_paths(axes[f"{name} paths"], mine)
    for goal in ("before goal 1", "before goal 2"):
        _head(axes[f"{names[0]} {goal}"], f"energy {goal} (dark: low), negatives (dots), the oracle's action (cross)")
    _head(axes[f"{names[0]} paths"], "paths to goal 1 (grey), then goal 2 (white); failures red")
    _draw_differences(axes["difference"], frame)
    _draw_distances(axes["distance"], frame)
    return drawing


def _head(axis: Axes, text: str) -> None:
    """Above a row of panels, from its first one on; the blank title keeps the room, which is not to widen the panel."""
    axis.set_title(" ")
    head = axis.annotate(text, (0, 1), (0, 4), "axes fraction", "offset points")
    head.set_in_layout(False)


def _reach(rows: pd.DataFrame, time: int) -> float:
    """Half of the square's energies lie below it: the valley shows whatever the model's scale."""
    return float(rows[(rows.metric == "landscape") & (rows["item"] == time)].value.median())


def _draw_curve(axis: Axes, rows: pd.DataFrame, name: str, first: bool) -> None:
    table = _pictures.draw_curve(axis, rows, COLOURS[name])
    axis.set(ylim=(0, 1), xlabel="training step", xlim=(0, table.index.max()))
    axis.set_title(name)
    if first:
        axis.set_ylabel("validation success\nthin: seeds, thick: IQM, 95 %")
    else:
        axis.set_yticklabels([])


def _draw_differences(axis: Axes, frame: pd.DataFrame) -> None:
    others = [name for name in VARIANTS if name != REFERENCE]
    for shift, iterations in enumerate(sorted(frame.iterations.dropna().unique())):
        center, low, high = np.array([_particle.difference(frame, name, REFERENCE, iterations) for name in others]).T
        places = np.arange(len(others)) + 0.25 * shift
        decides = bool((frame[frame.iterations == iterations].decides == 1).any())
        axis.errorbar(
            center, places, xerr=[center - low, high - center], fmt="o" if decides else "D", markersize=4,
            color=style.BLUE if decides else style.GREY, label=f"{iterations:.0f} inference iterations",
        )  # fmt: skip
    axis.axvspan(-MARGIN, MARGIN, color=style.GREEN, alpha=0.15, linewidth=0, label="on par")
    axis.axvline(0, color=style.GREY, linewidth=0.7)
    for place, name in enumerate(others):  # inside: labels of ticks would push the columns above apart
        axis.annotate(name, (0, place - 0.2), (4, 0), ("axes fraction", "data"), "offset points", fontsize=7)
    axis.set(yticks=[], ylim=(len(others) - 0.5, -0.6))
    axis.set(xlabel=f"success less that of {REFERENCE}, 95 % over seeds")
    axis.legend(loc="upper center", bbox_to_anchor=(0.4, 1.22), ncols=3, columnspacing=0.8, handletextpad=0.3)


def _draw_distances(axis: Axes, frame: pd.DataFrame) -> None:
    for name in VARIANTS:
        rows = frame[(frame.variant == name) & (frame.metric == "nearest")]
        table = rows.pivot_table(index="step", columns="seed", values="value")
        axis.plot(table.index, table.mean(axis=1), DASHES[name], color=COLOURS[name], label=name)
    axis.set(yscale="log", xlabel="training step", title="nearest negative to its positive (action in [-1, 1])")
    axis.set_yticks([0.05, 0.1, 0.2, 0.4])  # short labels keep the columns above together
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("")
    axis.legend(fontsize=6)
