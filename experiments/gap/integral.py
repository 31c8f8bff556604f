"""Gap, Section III, eq. (2) (gap.integral*): which negatives make the sum over exp(-E) an integral?

With M negatives from q the sum has expectation M times the integral of q exp(-E). That is a constant times
Z = integral of exp(-E) for every E only if q is uniform: then it is M/V Z on a box of volume V, and log Z is off by a
constant without gradient. The positive's own term adds p(y_i) V/M of Z, which fades as M grows. Negatives from the
model, p = exp(-E)/Z, give M Z times the integral of p^2: the factor changes with the density's width, and its
gradient is there whatever M. Weights 1/(M q) repair it for any q, with finite variance where exp(-2E)/q has an
integral: on the line, for Gaussians, where q is wider than 1/sqrt(2) of the target.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from experiments.gap._truncated import NODES, Bumps, integral
from experiments.harness import stats, style
from experiments.harness.claim import REFUTED, Claim, Verdict, above, below, equivalent, holds, weakest
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded, seed_list
from imitation.ebm.langevin import Langevin, gradient_of
from imitation.ebm.schedules import polynomial

SHARD_AXES = ("seeds",)

CENTRES = {"one bump": (0.2,), "two bumps": (-0.4, 0.5)}
SIDE = 2.0  # of the box, so that V = 2^D
BROAD = Bumps((0.0,), 0.6)  # a proposal that knows nothing of the energy
NOISE_SCALE, CLIP, ITERATIONS = 0.1, 0.5, 10  # IBC's sampler as Ta et al. train with it, Appendix D
DIMENSION_WIDTH = 0.3
MEAN_MARGIN = 0.1  # of the expected value; a factor that is not constant differs by more than NOT_CONSTANT
NOT_CONSTANT = math.log(1.5)
VARIANCE_MARGIN = 0.25  # a variance is a noisier thing to measure
SLOPE_MARGIN = 0.1
EXACT = 1e-9
CHANGED = 1e-3  # an exact factor that changes by more than this is no constant


@dataclass
class Config:
    """widths: of the bumps; dimensions: of the box in the main part; negatives: M; draws: per seed and cell.

    terms: draws of single terms for their second moments; variance_dimensions: D for the growth of the variance;
    proposal_widths: of q over the target's, on the line.
    """

    seeds: list[int] = seed_list()
    widths: list[float] = bounded(0.05, 10, min_items=2, unique=True)
    dimensions: list[int] = bounded(1, 8)
    negatives: list[int] = bounded(1, 1_000_000)
    draws: int = bounded(4, 10_000_000)
    terms: int = bounded(64, 10_000_000)
    variance_dimensions: list[int] = bounded(1, 12)
    proposal_widths: list[float] = bounded(0.1, 10)


@dataclass(frozen=True)
class Scheme:
    """How negatives are drawn in each coordinate, with which density, and what each adds to the estimate of Z = 1."""

    draw: Callable[[tuple[int, ...], np.random.Generator], np.ndarray]
    density: Callable[[np.ndarray], np.ndarray]
    term: Callable[[np.ndarray], np.ndarray]

    def moment(self, power: int) -> float:
        """E[term^power] in one coordinate, by quadrature."""
        return integral(self.density(NODES) * self.term(NODES) ** power)


def schemes(energy: Bumps) -> dict[str, Scheme]:
    """The terms of (2) over their constant M/V, or with importance weights, and all over Z."""

    def uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, shape)

    def plain(y: np.ndarray) -> np.ndarray:
        return SIDE * energy.value(y) / energy.constant()

    def weighted(proposal: Bumps) -> Callable[[np.ndarray], np.ndarray]:
        return lambda y: energy.value(y) / energy.constant() / proposal.density(y)

    return {
        "uniform": Scheme(uniform, lambda y: np.full_like(y, 1 / SIDE), plain),
        "model": Scheme(energy.draw, energy.density, plain),
        "broad": Scheme(BROAD.draw, BROAD.density, plain),
        "model, weighted": Scheme(energy.draw, energy.density, weighted(energy)),
        "broad, weighted": Scheme(BROAD.draw, BROAD.density, weighted(BROAD)),
    }


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per part, seed, condition and M; every value is an estimate over Z, so that 1 is right.

    part "ratio": `mean` and `std` over batches of M negatives of the sum over M/V (or with importance weights), and
    `with_positive`, the mean with the positive's term, a draw of the model; `expected*` by quadrature (NaN for IBC's
    Langevin), `closed` the expectation by the error function where there is one. part "dimension": `mean` is the
    variance of one term under uniform negatives. part "tail": on the line, `mean` is the mean of M squared importance
    weights for a Gaussian q of `width` times the target's (geometric over batches of M), `expected` its limit.
    """
    most = cfg.draws // 2
    if max(cfg.negatives) > most:
        raise BadInputError(f"negatives={cfg.negatives}: at most half of draws={cfg.draws}, or there is no spread")
    frames = []
    for done, seed in enumerate(cfg.seeds, 1):
        frames.append(context.piece(f"seed {seed}", lambda seed=seed: _measure(cfg, seed, context)))
        context.progress(done, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _measure(cfg: Config, seed: int, context: Context) -> pd.DataFrame:
    rng, rows = context.rng(seed), []
    for name, centres in CENTRES.items():
        for dimension in cfg.dimensions:
            for width in cfg.widths:
                where = {"energy": name, "dimension": dimension, "width": width}
                rows += [where | row for row in _ratios(cfg, Bumps(centres, width), dimension, seed, rng, context)]
    rows += _dimensions(cfg, rng) + _tails(cfg, rng)
    return pd.DataFrame(rows).assign(seed=seed)


def _ratios(
    cfg: Config, energy: Bumps, dimension: int, seed: int, rng: np.random.Generator, context: Context
) -> list[dict]:
    """All schemes on one energy."""
    rows = []
    shape, every = (cfg.draws, dimension), schemes(energy)
    positives = every["model"].term(energy.draw((cfg.draws // min(cfg.negatives), dimension), rng)).prod(-1)
    overlap = SIDE * energy.overlap() / energy.constant() ** 2
    closed = {"uniform": 1.0, "model": overlap**dimension, "model, weighted": 1.0, "broad, weighted": 1.0}
    for name, scheme in every.items():
        terms = scheme.term(scheme.draw(shape, rng)).prod(-1)
        first, second = scheme.moment(1) ** dimension, scheme.moment(2) ** dimension
        known = {"expected": first, "closed": closed.get(name, math.nan), "variance": second - first**2}
        rows += _batches(cfg, name, terms, positives, known | {"positive": overlap**dimension})
    terms = every["uniform"].term(_langevin(energy, (cfg.draws // 4, dimension), seed, context)).prod(-1)
    unknown = dict.fromkeys(("expected", "closed", "variance"), math.nan)
    return rows + _batches(cfg, "IBC's Langevin", terms, positives, unknown | {"positive": overlap**dimension})


def _batches(cfg: Config, scheme: str, terms: np.ndarray, positives: np.ndarray, known: dict[str, float]) -> list[dict]:
    """Terms (draws,) in batches of M, for every M."""
    rows = []
    for count in cfg.negatives:
        batches = terms[: len(terms) // count * count].reshape(-1, count).mean(1)
        row = {"mean": batches.mean(), "std": batches.std(ddof=1) if len(batches) > 1 else math.nan}
        row |= {"expected": known["expected"], "closed": known["closed"]}
        row |= {"expected_std": math.sqrt(max(known["variance"], 0.0) / count)}
        row |= {"with_positive": terms.mean() + positives.mean() / count}
        row |= {"expected_with_positive": known["expected"] + known["positive"] / count}
        rows.append({"part": "ratio", "scheme": scheme, "negatives": count} | row)
    return rows


def _langevin(energy: Bumps, shape: tuple[int, int], seed: int, context: Context) -> np.ndarray:
    """Last positions of IBC's short chains from uniform starts."""
    centres = torch.tensor(energy.centres, dtype=torch.float64)

    def logarithm(y: torch.Tensor) -> torch.Tensor:
        return -(-((y[..., None] - centres) / energy.width).square() / 2).logsumexp(-1).sum(-1)

    random = context.generators([seed]).members[0]
    start = 2 * torch.rand(shape, generator=random, dtype=torch.float64) - 1
    kernel = Langevin("ibc", NOISE_SCALE, CLIP, (-1.0, 1.0))
    return kernel.sample(gradient_of(logarithm), start, polynomial(1.0, 1e-3, ITERATIONS), random)[0].numpy()


def _dimensions(cfg: Config, rng: np.random.Generator) -> list[dict]:
    """Variance of one uniform negative's term against D."""
    energy, rows = Bumps(CENTRES["one bump"], DIMENSION_WIDTH), []
    scheme = schemes(energy)["uniform"]
    for dimension in cfg.variance_dimensions:
        terms = scheme.term(scheme.draw((cfg.terms, dimension), rng)).prod(-1)
        values = {"mean": terms.var(ddof=1), "expected": scheme.moment(2) ** dimension - 1}
        values["closed"] = (SIDE * energy.overlap() / energy.constant() ** 2) ** dimension - 1
        rows.append({"part": "dimension", "dimension": dimension, "width": DIMENSION_WIDTH} | values)
    return rows


def _tails(cfg: Config, rng: np.random.Generator) -> list[dict]:
    """Mean of M squared weights N(y; 0, 1) / N(y; 0, r^2), y from the latter: the typical one over batches of M."""
    rows = []
    for ratio in cfg.proposal_widths:
        standard = rng.standard_normal(cfg.terms)  # y = r times this
        squares = (ratio * np.exp((1 - ratio**2) * standard**2 / 2)) ** 2
        for count in 2 ** np.arange(2, int(math.log2(cfg.terms)) - 3):
            batches = squares[: cfg.terms // count * count].reshape(-1, count).mean(1)
            value = {"mean": math.exp(np.log(batches).mean()), "expected": second_moment(ratio)}
            rows.append({"part": "tail", "width": ratio, "negatives": int(count)} | value)
    return rows


def second_moment(ratio: float) -> float:
    """E_q[(p/q)^2] of Gaussians on the line, q of `ratio` times p's width: infinite up to ratio = 1/sqrt(2)."""
    return ratio**2 / math.sqrt(2 * ratio**2 - 1) if 2 * ratio**2 > 1 else math.inf


def _ratio_rows(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    rows = frame[(frame.part == "ratio") & frame.scheme.isin(names)]
    return rows[rows.negatives == rows.negatives.max()]


def _relative(rows: pd.DataFrame, value: str, expected: str, margin: float) -> list[Verdict]:
    """Per condition: is the mean over seeds of value / expected - 1 within the margin?"""
    keys = [rows[key] for key in ("scheme", "energy", "dimension", "width", "negatives")]
    error = rows[value] / rows[expected] - 1
    return [equivalent(stats.mean_interval(cell), 0.0, margin) for _, cell in error.groupby(keys, dropna=False)]


def decide_only(frame: pd.DataFrame) -> Verdict:
    """Exact expectations: 1 at every width for uniform negatives; for the model's and another q they change."""
    uniform, model, broad = (_ratio_rows(frame, name) for name in ("uniform", "model", "broad"))
    right = (uniform.expected - uniform.closed).abs().max() < EXACT and (uniform.closed == 1).all()
    overlap = (model.expected / model.closed - 1).abs().max() < EXACT
    spreads = {name: _spread(rows) for name, rows in (("model", model), ("broad", broad))}
    note = (
        "Right up to the factor M/V, whose log has no gradient, and the positive's term. The factor of the sum is M "
        "times the integral of q exp(-E) / Z: the same for every energy if and only if q is uniform. Over the widths "
        f"it changes {spreads['model']:.3g} times or more for q = the model (M times the integral of p^2), "
        f"{spreads['broad']:.3g} times or more for a fixed Gaussian."
    )
    changing = all(spread > 1 + CHANGED for spread in spreads.values())
    return holds(bool(right and overlap) and changing, spreads["model"]).as_corrected(note)


def _spread(rows: pd.DataFrame) -> float:
    """Largest over smallest expectation across the widths, the least such over energies and dimensions."""
    groups = rows.groupby(["energy", "dimension"]).expected
    return float((groups.max() / groups.min()).min())


def decide_uniform(frame: pd.DataFrame) -> Verdict:
    """Measured over expected within the margin in every cell, without the positive's term and, at every M, with it."""
    rows = frame[(frame.part == "ratio") & (frame.scheme == "uniform")]
    mean = weakest(_relative(_ratio_rows(frame, "uniform"), "mean", "closed", MEAN_MARGIN))
    whole = weakest(_relative(rows, "with_positive", "expected_with_positive", MEAN_MARGIN))
    bias = rows.assign(bias=rows.with_positive - rows["mean"]).groupby(["dimension", "negatives"]).bias.max()
    low, high = bias.index[0], bias.index[-1]
    note = (
        f"The sum over negatives is M/V Z at every width (worst cell {mean.measured:+.1%}). The positive's term adds "
        f"V/M p(y_i) Z: up to {bias[low]:.2f} Z in {low[0]:g}-D at M = {low[1]:g}, {bias[high]:.2g} Z in {high[0]:g}-D "
        f"at M = {high[1]:g}."
    )
    return weakest([mean, whole]).as_corrected(note)


def decide_model(frame: pd.DataFrame) -> Verdict:
    """From the narrowest to the widest energy the factor changes by more than half, for both samplers, everywhere."""
    rows = _ratio_rows(frame, "model", "IBC's Langevin")
    ends = rows.pivot_table(index=["scheme", "energy", "dimension", "seed"], columns="width", values="mean", sort=True)
    change = np.log(ends[rows.width.min()] / ends[rows.width.max()])
    checks = [
        above(stats.mean_interval(cell), NOT_CONSTANT) for _, cell in change.groupby(["scheme", "energy", "dimension"])
    ]
    law = weakest(_relative(_ratio_rows(frame, "model"), "mean", "closed", MEAN_MARGIN))
    worst = weakest(checks, expected=100.0)
    factors = np.exp(change.groupby(["scheme", "dimension"]).mean())
    parts = ", ".join(f"{name} {dimension:g}-D: {value:.3g}" for (name, dimension), value in factors.items())
    note = (
        f"Factor at the narrowest over that at the widest energy, {parts}. For exact draws it is M times the integral "
        f"of p^2 (worst cell {law.measured:+.1%}), and more negatives do not help."
    )
    return worst._replace(verdict=weakest([law, worst]).verdict, note=note)


def decide_weights(frame: pd.DataFrame) -> Verdict:
    """Weighted means are 1 within the margin; the squared weights' mean settles or grows with M as their law says."""
    own, broad = _ratio_rows(frame, "model, weighted"), _ratio_rows(frame, "broad, weighted")
    constant = own["std"].abs().max() < EXACT and (own["mean"] - 1).abs().max() < EXACT
    unbiased = weakest(_relative(broad, "mean", "closed", MEAN_MARGIN))
    growth = _growth(frame[frame.part == "tail"])
    infinite = growth[growth.infinite]
    if infinite.empty or infinite.index.nunique() == growth.index.nunique():
        return holds(False, math.nan, "Proposals of one kind only.")
    finite = [
        below(stats.mean_interval(cell.slope), SLOPE_MARGIN) for _, cell in growth[~growth.infinite].groupby("width")
    ]
    growing = [above(stats.mean_interval(cell.slope), SLOPE_MARGIN) for _, cell in infinite.groupby("width")]
    widths = ", ".join(f"{width:g}: {cell.slope.mean():+.2f}" for width, cell in growth.groupby("width"))
    note = (
        "Weights 1/(M q) repair the mean for any q, but not the variance: on the line it is finite only for q wider "
        "than 1/sqrt(2) of the target. Exponent of M in the mean squared weight by q's relative width: "
        f"{widths}. With q = the model every term is Z itself: no variance, but the weights need Z."
    )
    worst = weakest([unbiased, *(check._replace(measured=0.0) for check in finite + growing)], 0.0)
    verdict = worst.verdict if constant else REFUTED
    return unbiased._replace(verdict=verdict, note=note).as_corrected(note)


def _growth(rows: pd.DataFrame) -> pd.DataFrame:
    """Per width and seed: the slope of log mean squared weight over log M."""

    def slope(cell: pd.DataFrame) -> float:
        late = cell[cell.negatives >= cell.negatives.max() / 64]  # after the first draws have found the bulk
        return float(np.polyfit(np.log(late.negatives), np.log(late["mean"]), 1)[0])

    groups = rows.groupby(["width", "seed"])
    slopes = pd.Series({key: slope(cell) for key, cell in groups}, name="slope")
    slopes.index = slopes.index.set_names(["width", "seed"])
    return slopes.reset_index("seed").assign(infinite=lambda table: 2 * table.index.to_numpy() ** 2 <= 1)


def decide_dimension(frame: pd.DataFrame) -> Verdict:
    """The variance is (V times the integral of p^2) - 1 with a power D in it, measured and exact, and grows with D."""
    rows = frame[frame.part == "dimension"]
    exact = (rows.expected / rows.closed - 1).abs().max() < EXACT
    checks = _relative(rows.assign(scheme="uniform", energy="", negatives=1), "mean", "closed", VARIANCE_MARGIN)
    table = rows.groupby("dimension").closed.first()
    if len(table) < 2:
        return holds(False, math.nan, "One dimension shows no growth.")
    factor = ((table.iloc[-1] + 1) / (table.iloc[0] + 1)) ** (1 / (table.index[-1] - table.index[0]))
    note = (
        f"One term's relative variance is a^D - 1, a = V_1 times the integral of p^2 = {factor:.2f} at width "
        f"{DIMENSION_WIDTH}: {table.iloc[0]:.2f} in {table.index[0]:g}-D, {table.iloc[-1]:.0f} in "
        f"{table.index[-1]:g}-D. For 10 % error that is M = {100 * table.iloc[0]:.0f} against "
        f"{100 * table.iloc[-1]:.0f}; measured within {max(abs(check.measured or 0.0) for check in checks):.0%}."
    )
    worst = weakest(checks)
    verdict = worst.verdict if exact and factor > 1 else REFUTED
    return Verdict(verdict, float(factor), float(factor), float(factor), note)


COMMON = {"source": "Ta et al. 2022", "location": "Section III, eq. (2)"}
CLAIMS = [
    Claim(
        id="gap.integral",
        statement="The sum (2) is a correct approximation of the integral only if the proposal q(y) is uniform.",
        measures="change of the sum's factor over the widths, negatives from the model, least",
        decide=decide_only,
        **COMMON,
    ),
    Claim(
        id="gap.integral.uniform",
        statement="With uniform negatives, as in DFO, (2) approximates Z = integral of exp(-E).",
        measures="sum over M/V Z, minus 1, worst cell",
        decide=decide_uniform,
        smallest_scale="laptop",
        **COMMON,
    ),
    Claim(
        id="gap.integral.model",
        statement="With Langevin samples of the current model the sum does not approximate Z: weights are missing.",
        measures="log of the change of the sum's factor over the widths, least",
        decide=decide_model,
        smallest_scale="laptop",
        **COMMON,
    ),
    Claim(
        id="gap.integral.weights",
        statement="With importance weights w = 1/q(y) the sum approximates the integral under a chosen proposal.",
        measures="weighted estimate over Z, minus 1, broad proposal, worst cell",
        decide=decide_weights,
        smallest_scale="laptop",
        **COMMON,
    ),
    Claim(
        id="gap.integral.dimension",
        statement="Uniform sampling does not scale well to action spaces of high dimension.",
        measures="growth of the second moment of one term per dimension, factor",
        decide=decide_dimension,
        smallest_scale="laptop",
        **COMMON,
    ),
]
LOOKS = {
    "uniform": (style.BLUE, "o", "uniform"),
    "model": (style.VERMILION, "s", "model $p$"),
    "IBC's Langevin": (style.ORANGE, "D", "IBC's Langevin"),
    "broad": (style.PURPLE, "^", "Gaussian"),
    "broad, weighted": (style.GREEN, "v", "Gaussian, weighted"),
}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) the factor over width, (b) spread over M, (c) variance over dimension, (d) mean squared weights over M."""
    drawing, axes = style.panels(2, 2, height=2.5)
    ratio = frame[(frame.part == "ratio") & (frame.energy == "one bump")]
    flat = ratio[ratio.dimension == ratio.dimension.min()]
    for scheme, (colour, marker, label) in LOOKS.items():
        rows = flat[(flat.scheme == scheme) & (flat.negatives == flat.negatives.max())]
        _line(axes[0], rows, "width", "mean", colour, marker, label)
        rows = flat[(flat.scheme == scheme) & (flat.width == flat.width.min())]
        _line(axes[1], rows, "negatives", "std", colour, marker, label)
    axes[0].set(xlabel="width of the energy's bump", ylabel=r"estimate / $Z$")
    axes[0].set_title(f"{int(flat.dimension.min())}-D, sums over $M/V$ or weighted")
    axes[1].set(xscale="log", yscale="log", xlabel="negatives $M$", ylabel=r"standard deviation / $Z$")
    axes[1].set_title(f"narrowest bump, width {flat.width.min():g}")
    rows = frame[frame.part == "dimension"]
    _line(axes[2], rows, "dimension", "mean", style.BLUE, "o", "measured")
    law = rows.groupby("dimension").closed.first()
    axes[2].plot(law.index, law, color=style.BLACK, linewidth=0.8, label="$a^D - 1$")
    axes[2].set(yscale="log", xlabel="dimension $D$", ylabel="variance of one term / $Z^2$", title="uniform negatives")
    tail = frame[frame.part == "tail"]
    for (width, rows), (colour, marker, _) in zip(tail.groupby("width"), LOOKS.values(), strict=False):
        _line(axes[3], rows, "negatives", "mean", colour, marker, f"{width:g}")
    axes[3].set(xscale="log", yscale="log", xlabel="draws", ylabel="mean of $(w/Z)^2$")
    axes[3].set_title("weights, by width of $q$ / target")
    for axis in axes:
        axis.legend(fontsize=6)
    return drawing


def _line(axis, rows: pd.DataFrame, by: str, value: str, colour: str, marker: str, label: str) -> None:
    """Means over seeds with their intervals."""
    intervals = np.array([stats.mean_interval(group[value]) for _, group in rows.groupby(by)])
    center, low, high = intervals.T
    bars = [center - low, high - center]
    axis.errorbar(np.sort(rows[by].unique()), center, bars, fmt=f"{marker}-", color=colour, markersize=3, label=label)
