"""Gap, Fig. 1 (gap.fig1.*): do the two Langevin forms find the mean and the variance of a Gaussian?

The notebook behind the figure runs one long chain, or many short ones whose last positions are kept. Both forms see
the same starts and the same noise. One rule decides all claims: how far off is each form's estimate (`accuracy`), and
does that tell the forms apart (`contrast`)?
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from scipy.stats import binom
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED, Claim, Verdict, above, equivalent
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm import diagnostics, schedules
from imitation.ebm.langevin import Langevin
from imitation.population import Generators, uniform_like

SHARD_AXES = ("seeds",)
ONE, MANY = "one chain", "across chains"
FORMS = ("ibc", "true")
MOMENTS = ["coordinate", "draws", "mean", "variance", "ess", "z", "z_variance", "true_mean", "true_variance"]
COLUMNS = ["kind", "seed", "protocol", "form", *MOMENTS, "x", "y"]

# "Accurately": |relative error| in the larger coordinate, averaged over seeds, is at most this. What it can be is set
# by the number of independent draws N: the standard deviation of the mean is s / (m sqrt(N)), with s / m = 1/2 in the
# wider coordinate, and that of the variance sqrt(2 / N).
# One chain: N is about 15 to 50 (median 23), so that even exact draws are off by .5 / sqrt(15) = 13 % and
# sqrt(2 / 23) = 30 %; half as much again is allowed. Such margins find no small bias: there z must find none either.
# Across chains: N = 1000 gives 1.6 % and 4.5 %, and 50 steps from the start leave a bias of 2.4 % and 4.8 %.
ACCURATE = {("mean", ONE): 0.20, ("variance", ONE): 0.45, ("mean", MANY): 0.05, ("variance", MANY): 0.10}
# The contrast is reversed, not just absent, where IBC's error is less than the true form's by this factor.
REVERSED = 2.0
# Rejected at 5 %; the share of rejections exceeds chance beyond the 99 % quantile of that many independent tests.
REJECTED, LEVEL, CHANCE = 1.96, 0.05, 0.99


@dataclass
class Config:
    """mean, std: the target's, per coordinate; steps: lambda first and last; shown_seed: whose draws are drawn."""

    seeds: list[int] = seed_list()
    shown_seed: int = bounded(0)
    mean: list[float] = bounded(-10, 10, min_items=2)
    std: list[float] = bounded(1e-3, 10, min_items=2)
    steps: list[float] = bounded(1e-9, 1, min_items=2)
    single_iterations: int = bounded(8, 1_000_000)
    single_kept: int = bounded(8, 100_000)
    chains: int = bounded(8, 1_000_000)
    chain_iterations: int = bounded(1, 100_000)
    shown_every: int = bounded(1, 1000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, protocol, form and coordinate (kind "moment"), and the shown seed's draws (kind "draw")."""
    frames = []
    for done, form in enumerate(FORMS):
        random = context.generators(cfg.seeds)
        for protocol, draw in ((ONE, _one_chain), (MANY, _many_chains)):
            draws = draw(cfg, Langevin(form), random)
            frames += [_moments(cfg, draws).assign(kind="moment", protocol=protocol, form=form)]
            if protocol == ONE and cfg.shown_seed in cfg.seeds:
                shown = draws[cfg.seeds.index(cfg.shown_seed), :: cfg.shown_every]
                columns = {"kind": "draw", "protocol": ONE, "form": form, "seed": cfg.shown_seed}
                frames.append(pd.DataFrame(columns | {"x": shown[:, 0], "y": shown[:, 1]}))
        context.progress(done + 1, len(FORMS))
    return pd.concat(frames, ignore_index=True).reindex(columns=COLUMNS)


def _one_chain(cfg: Config, kernel: Langevin, random: Generators) -> np.ndarray:
    """One chain per seed, its last `single_kept` positions: (P, kept, 2)."""
    start = uniform_like(torch.empty(len(cfg.seeds), 2, dtype=torch.float64), random)
    sizes = schedules.notebook(cfg.steps[0], cfg.steps[1], cfg.single_iterations)
    return kernel.sample(_gradient(cfg), start, sizes, random, keep=cfg.single_kept).transpose(0, 1).numpy()


def _many_chains(cfg: Config, kernel: Langevin, random: Generators) -> np.ndarray:
    """Many chains per seed, the last position of each: (P, chains, 2)."""
    start = uniform_like(torch.empty(len(cfg.seeds), cfg.chains, 2, dtype=torch.float64), random)
    sizes = schedules.notebook(cfg.steps[0], cfg.steps[1], cfg.chain_iterations)
    return kernel.sample(_gradient(cfg), start, sizes, random)[0].numpy()


def _gradient(cfg: Config):
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (cfg.mean, cfg.std))

    def gradient(position: Tensor) -> Tensor:
        return (position - mean) / std.square()

    return gradient


def _moments(cfg: Config, draws: np.ndarray) -> pd.DataFrame:
    """Mean, variance, effective sample size and z scores of draws (P, N, 2).

    `z` is the mean's, `z_variance` that of the squared deviations from the true mean.
    """
    rows = [
        {"seed": seed, "coordinate": axis + 1, "draws": len(values),
         "mean": values.mean(), "variance": values.var(ddof=1),
         "ess": diagnostics.effective_sample_size(values[None]),
         "z": diagnostics.standard_error_z(values[None], cfg.mean[axis]),
         "z_variance": diagnostics.standard_error_z((values[None] - cfg.mean[axis]) ** 2, cfg.std[axis] ** 2),
         "true_mean": cfg.mean[axis], "true_variance": cfg.std[axis] ** 2}
        for seed, member in zip(cfg.seeds, draws, strict=True)
        for axis, values in enumerate(member.T)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def rows_of(frame: pd.DataFrame, protocol: str, form: str) -> pd.DataFrame:
    """The moments' rows: one per seed and coordinate."""
    return frame[(frame.kind == "moment") & (frame.protocol == protocol) & (frame.form == form)]


def errors(frame: pd.DataFrame, moment: str, protocol: str, form: str) -> pd.DataFrame:
    """Signed relative errors of "mean" or "variance": a row per seed, a column per coordinate."""
    rows = rows_of(frame, protocol, form)
    relative = (rows[moment] - rows[f"true_{moment}"]) / rows[f"true_{moment}"]
    return rows.assign(error=relative).pivot_table(index="seed", columns="coordinate", values="error", dropna=False)


def largest(frame: pd.DataFrame, moment: str, protocol: str, form: str) -> pd.Series:
    """The larger of the two coordinates' |relative errors|, per seed."""
    return errors(frame, moment, protocol, form).abs().max(axis=1, skipna=False)


def z_scores(frame: pd.DataFrame, moment: str, protocol: str, form: str) -> pd.Series:
    """One z score per seed and coordinate."""
    return rows_of(frame, protocol, form)["z" if moment == "mean" else "z_variance"]


def rejections(frame: pd.DataFrame, moment: str, protocol: str, form: str) -> float:
    """Share of seeds and coordinates whose z score rejects the true value; NaN rejects."""
    return float(1 - (z_scores(frame, moment, protocol, form).abs() <= REJECTED).mean())


def beyond_chance(frame: pd.DataFrame, moment: str, protocol: str, form: str) -> bool:
    """Whether z rejects more often than exact draws would have it."""
    tests = len(z_scores(frame, moment, protocol, form))
    return bool(rejections(frame, moment, protocol, form) * tests > binom.ppf(CHANCE, tests, LEVEL) + 0.5)


def accuracy(frame: pd.DataFrame, moment: str, protocol: str, form: str) -> Verdict:
    """Is the |relative error|, averaged over seeds, within the margin?"""
    interval = stats.mean_interval(largest(frame, moment, protocol, form))
    return equivalent(interval, 0.0, ACCURATE[moment, protocol])


def contrast(frame: pd.DataFrame, moment: str, protocol: str) -> Verdict:
    """The rule of all claims, with the true form's |relative error| as the measurement.

    refuted: the true form is outside the margin, or in one chain, where the margin is wide, z sees a bias of it, or
    IBC's form is at least `REVERSED` times as accurate.
    reproduced: the true form is accurate, IBC's is outside the margin, and z says that this is no sampling noise.
    corrected: the true form is accurate, and so is IBC's. Otherwise inconclusive.
    """
    true, ibc = (accuracy(frame, moment, protocol, form) for form in ("true", "ibc"))
    if true.verdict != REPRODUCED:
        return true
    if protocol == ONE and beyond_chance(frame, moment, protocol, "true"):
        return true._replace(verdict=REFUTED)
    if ibc.verdict == REFUTED:
        return true if beyond_chance(frame, moment, protocol, "ibc") else true._replace(verdict=INCONCLUSIVE)
    error, other = (largest(frame, moment, protocol, form) for form in ("true", "ibc"))
    turned = above(stats.mean_interval(error - REVERSED * other), 0.0).verdict
    if ibc.verdict == INCONCLUSIVE or turned == INCONCLUSIVE:
        return true._replace(verdict=INCONCLUSIVE)
    return true._replace(verdict=REFUTED if turned == REPRODUCED else CORRECTED)


def _describe(frame: pd.DataFrame, moment: str, protocol: str) -> str:
    """Both forms' errors and shares of rejections, as a clause of a note."""
    numbers = [
        f"{name} {largest(frame, moment, protocol, form).mean():.1%} off "
        f"(z rejects {rejections(frame, moment, protocol, form):.0%})"
        for form, name in (("true", "true form"), ("ibc", "IBC's"))
    ]
    draws = rows_of(frame, protocol, "true").draws.iloc[0]
    place = "In one chain" if protocol == ONE else "Across chains"
    return f"{place} ({draws:.0f} draws) {' and '.join(numbers)}."


def _bias(frame: pd.DataFrame, moment: str) -> str:
    """The true form's bias across chains, in the coordinate where it is larger."""
    signed = errors(frame, moment, MANY, "true").mean()
    scores = z_scores(frame, moment, MANY, "true").groupby(rows_of(frame, MANY, "true").coordinate).mean()
    worse = int(np.argmax(scores.abs()))
    return f"{signed.iloc[worse]:+.1%}, mean z {scores.iloc[worse]:+.1f}"


def decide_variance(frame: pd.DataFrame) -> Verdict:
    """The contrast must hold in both protocols; the weaker one's measurement, the first one's if they agree."""
    order = (REFUTED, INCONCLUSIVE, CORRECTED, REPRODUCED)
    weaker = min((contrast(frame, "variance", p) for p in (ONE, MANY)), key=lambda one: order.index(one.verdict))
    ess = rows_of(frame, ONE, "true").ess.median()
    note = (
        f"{_describe(frame, 'variance', ONE)} The true chain is worth {ess:.0f} draws (median), whose variance is "
        f"uncertain by {np.sqrt(2 / ess):.0%}; chance alone lets z reject up to {_most_by_chance(frame):.0%}. "
        f"{_describe(frame, 'variance', MANY)} There the start and the steps leave the true form a bias that z sees "
        f"({_bias(frame, 'variance')} in the worse coordinate)."
    )
    return weaker._replace(note=note)


def decide_mean_single_chain(frame: pd.DataFrame) -> Verdict:
    """The contrast of the means in one chain."""
    chance = not any(beyond_chance(frame, "mean", ONE, form) for form in FORMS)
    ess = rows_of(frame, ONE, "true").ess.median()
    note = (
        f"{_describe(frame, 'mean', ONE)} Chance alone lets z reject up to {_most_by_chance(frame):.0%}: these errors "
        f"{'are' if chance else 'are not'} what so few draws leave. The true chain is slow (worth {ess:.0f} draws, "
        "median), IBC's sits near the mode, which is the mean here."
    )
    return contrast(frame, "mean", ONE)._replace(note=note)


def _most_by_chance(frame: pd.DataFrame) -> float:
    tests = len(rows_of(frame, ONE, "true"))
    return float(binom.ppf(CHANCE, tests, LEVEL) / tests)


def decide_mean_across_chains(frame: pd.DataFrame) -> Verdict:
    """The contrast of the means across chains."""
    decision = contrast(frame, "mean", MANY)
    note = (
        f"{_describe(frame, 'mean', MANY)} Both keep a bias of the start that z sees (the true form's "
        f"{_bias(frame, 'mean')} in the worse coordinate)."
    )
    same = " Both are accurate: the mean does not tell the forms apart." if decision.verdict == CORRECTED else ""
    return decision._replace(note=note + same)


CLAIMS = [
    Claim(
        id="gap.fig1.variance",
        source="Ta et al. 2022",
        location="Section III, Fig. 1",
        statement="True Langevin approximates the Gaussian's variance accurately, IBC's form does not.",
        measures="true form's mean |relative error| of the variance, weaker protocol",
        decide=decide_variance,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.fig1.mean-single-chain",
        source="Ta et al. 2022",
        location="Section III, Fig. 1; one chain, as drawn",
        statement="In one chain true Langevin approximates the Gaussian's mean accurately, IBC's form does not.",
        measures="true form's mean |relative error| of the mean, one chain",
        decide=decide_mean_single_chain,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.fig1.mean-across-chains",
        source="Ta et al. 2022",
        location="Section III, Fig. 1; many short chains, as in the notebook",
        statement="Across chains true Langevin approximates the Gaussian's mean accurately, IBC's form does not.",
        measures="true form's mean |relative error| of the mean, across chains",
        decide=decide_mean_across_chains,
        smallest_scale="laptop",
    ),
]


LOOKS = {"ibc": (style.VERMILION, "IBC's (6)"), "true": (style.BLUE, "true (5)")}


def figure(frame: pd.DataFrame) -> Figure:
    """(a), (b) one chain's draws over the density; (c), (d) |relative errors| of mean and variance."""
    drawing, axes = style.panels(1, 4, height=2.5, gridspec_kw={"width_ratios": [1, 1, 1.15, 1.15]})
    axes[3].sharey(axes[2])
    for axis, form in zip(axes, FORMS, strict=False):
        _draw_draws(axis, frame, form)
    for axis, moment in ((axes[2], "mean"), (axes[3], "variance")):
        _draw_errors(axis, frame, moment)
    axes[2].set_ylabel("mean |relative error|, larger\ncoordinate; bars: 95 % over seeds")
    axes[2].legend(loc="lower right", handletextpad=0.2, borderaxespad=0)
    return drawing


def _draw_draws(axis, frame: pd.DataFrame, form: str) -> None:
    colour, label = LOOKS[form]
    target = frame[frame.kind == "moment"].groupby("coordinate")[["true_mean", "true_variance"]].first()
    std = np.sqrt(target.true_variance)
    for width in (1, 2, 3):
        size = 2 * width * std
        axis.add_patch(Ellipse(tuple(target.true_mean), *size, fill=False, color=style.GREY, linewidth=0.7))
        top = target.true_mean[2] + width * std[2]
        axis.text(target.true_mean[1], top, f"{width} sd", color=style.GREY, fontsize=6, ha="center", va="bottom")
    draws = frame[(frame.kind == "draw") & (frame.form == form)]
    axis.plot(draws.x, draws.y, ".", color=colour, markersize=2, alpha=0.5, markeredgewidth=0, rasterized=True)
    reach = 3.5 * std
    limits = list(zip(target.true_mean - reach, target.true_mean + reach, strict=True))
    axis.set(xlabel="$y_1$", ylabel="$y_2$", xlim=limits[0], ylim=limits[1])
    axis.set_title(label)


def _draw_errors(axis, frame: pd.DataFrame, moment: str) -> None:
    for place, protocol in enumerate((ONE, MANY)):
        label = None if place else "margin"
        axis.hlines(ACCURATE[moment, protocol], place - 0.4, place + 0.4, style.GREY, "--", label=label, linewidth=0.7)
        for form, shift in (("ibc", -0.15), ("true", 0.15)):
            values, (colour, label) = largest(frame, moment, protocol, form), LOOKS[form]
            center, low, high = stats.mean_interval(values)
            axis.plot(np.full(len(values), place + shift), values, ".", color=colour, markersize=2, alpha=0.35)
            bar = [[center - low], [high - center]]
            axis.errorbar(place + shift, center, bar, fmt="o", color=colour, label=None if place else label)
    axis.set(yscale="log", xlim=(-0.5, 1.5), xticks=[0, 1], xticklabels=["one\nchain", "across\nchains"])
    axis.set_title(moment)
