"""Gap, Section V (gap.infonce-bound*): when is log(M+1) - L, L the InfoNCE loss (3), below the mutual information?

x and y are Gaussian with correlation rho in each of d coordinates: I(x; y) = -d/2 log(1 - rho^2) nats, and the critic
T = log p(y|x)/p(y) is known. For negatives y_m and the mean A of exp(T) over all M+1 candidates, the estimate is
E[T+] - E[log A] and E[T+] = I, so that it exceeds I exactly where E[log A] < 0. Independent draws of p(y) cannot do
that. Dependent ones can, although each of them is a draw of p(y): M copies of one negative make log A -> T- as M
grows, and the estimate tends to E[T+] - E[T-] = d rho^2 / (1 - rho^2), the sum of both Kullback-Leibler divergences
between p(x, y) and p(x) p(y). Negatives from q instead of p(y) add KL(p||q); negatives from p(y|x) leave nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import REPRODUCED, Claim, Verdict, above, below, holds, jointly, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.langevin import Langevin
from imitation.ebm.losses import infonce
from imitation.population import normal_like

SHARD_AXES = ("seeds",)
# One coordinate: the trapezoid rule in the three standard normals behind x, y and the negative.
NODES, REACH = 121, 7.0
# The step from 61 to 121 nodes changes the quadrature by less than this, in nats.
QUADRATURE_TOLERANCE = 2e-4
FAR = 100.0  # nats, beyond any excess: among equal verdicts the one nearest to the limit is shown
COPIES = [1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, math.inf]


@dataclass
class Config:
    """correlations: rho; pairs: positives per seed; negatives: M; scales: what multiplies the optimal critic.

    autocorrelations: of the chain of negatives, 1 for copies of one draw; widths: standard deviations of the proposals.
    """

    seeds: list[int] = seed_list()
    dimension: int = bounded(1, 100)
    correlations: list[float] = bounded(0.01, 0.99)
    negatives: list[int] = bounded(1, 100_000)
    pairs: int = bounded(2, 100_000)
    scales: list[float] = bounded(0.01, 100)
    autocorrelations: list[float] = bounded(0.01, 1)
    widths: list[float] = bounded(0.1, 10)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, scheme, its setting, rho, critic scale and M: the estimate log(M+1) - L in nats.

    `excess` is the estimate above the mutual information with known expectations in place of means over the draws
    (the positives' critic; see `_estimates`), which leaves its expectation and takes most of its noise. `limit` is
    what the estimate tends to with the optimal critic and infinitely many independent draws. Scheme "one coordinate"
    holds exact values for M copies of one negative, d = 1, without seeds (-1); `error` is the quadrature's.
    """
    frames = [_repeated(rho) for rho in cfg.correlations]
    for done, seed in enumerate(cfg.seeds, 1):
        frames.append(context.piece(f"seed {seed}", lambda seed=seed: _measure(cfg, seed, context)))
        context.progress(done, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _measure(cfg: Config, seed: int, context: Context) -> pd.DataFrame:
    """All schemes of one seed, on the same positives."""
    random = context.generators([seed]).members[0]
    x, noise = (normal_like(torch.empty(cfg.pairs, 1, cfg.dimension, dtype=torch.float64), random) for _ in range(2))
    settings = [("independent", 1.0), *(("chain", value) for value in cfg.autocorrelations)]
    settings += [*(("proposal", width) for width in cfg.widths), ("conditional", 1.0)]
    frames = []
    for scheme, setting in settings:
        draws = _chain(cfg, setting, random) if scheme == "chain" else setting * _independent(cfg, random)
        width = setting if scheme == "proposal" else 1.0
        for rho in cfg.correlations:
            spread = math.sqrt(1 - rho**2)
            positive = log_ratio(x, rho * x + spread * noise, rho, width)[:, 0]
            negatives = log_ratio(x, rho * x + spread * draws if scheme == "conditional" else draws, rho, width)
            frames.append(_estimates(cfg, scheme, positive, negatives, rho, width).assign(setting=setting))
    return pd.concat(frames, ignore_index=True).assign(seed=seed)


def _independent(cfg: Config, random: torch.Generator) -> Tensor:
    """Standard normal draws (N, M, D)."""
    return normal_like(torch.empty(cfg.pairs, max(cfg.negatives), cfg.dimension, dtype=torch.float64), random)


def _chain(cfg: Config, autocorrelation: float, random: torch.Generator) -> Tensor:
    """One chain (N, M, D) per positive, whose every state is a draw of p(y): Langevin's true form.

    On the standard normal's energy step size lambda = 2 (1 - a) gives autocorrelation a, and noise scaled by
    sqrt(1 - lambda/4) exactly the stationary law N(0, 1), in which the chain starts.
    """
    most, start = max(cfg.negatives), normal_like(torch.empty(cfg.pairs, cfg.dimension, dtype=torch.float64), random)
    if autocorrelation == 1 or most == 1:
        return start[:, None].expand(-1, most, -1)
    size = 2 * (1 - autocorrelation)
    kernel = Langevin("true", math.sqrt(1 - size / 4))
    path = kernel.sample(lambda y: y, start, [size] * (most - 1), random, keep=most - 1)
    return torch.cat([start[None], path]).movedim(0, 1)


def log_ratio(x: Tensor, y: Tensor, rho: float, width: float = 1.0) -> Tensor:
    """log p(y|x) / q(y), summed over D: the optimal critic for negatives from q = N(0, width^2)."""
    variance = 1 - rho**2
    each = (y / width).square() - (y - rho * x).square() / variance - math.log(variance / width**2)
    return each.sum(-1) / 2


def information(dimension: int, rho: float) -> float:
    """I(x; y) in nats."""
    return -dimension / 2 * math.log(1 - rho**2)


def divergence(dimension: int, width: float) -> float:
    """KL from N(0, 1) to N(0, width^2), in nats."""
    return dimension * (math.log(width) + (width**-2 - 1) / 2)


def _estimates(cfg: Config, scheme: str, positive: Tensor, negatives: Tensor, rho: float, width: float) -> pd.DataFrame:
    """Positives' optimal critic (N,) and negatives' (N, M) to the estimates of every M, and of its multiples.

    Multiples are for the schemes about which the claims say "any critic". With independent draws of p(y) and the
    optimal critic, exp(T) has mean 1 over the negatives: the draws' mean is replaced too, as log A is about A - 1.
    """
    known, rows = information(cfg.dimension, rho), []
    limit = known + divergence(cfg.dimension, width)
    for scale in cfg.scales if scheme in ("independent", "conditional") else [1.0]:
        score, others = scale * positive, scale * negatives
        for count in cfg.negatives:
            estimate = float(math.log(count + 1) - infonce(-score, -others[:, :count]).mean())
            excess = estimate - float(score.mean()) + scale * limit - known
            if scheme == "independent" and scale == 1:
                excess += float(torch.expm1(others[:, :count]).sum(1).mean()) / (count + 1)
            rows.append({"scale": scale, "negatives": count, "estimate": estimate, "excess": excess})
    return pd.DataFrame(rows).assign(scheme=scheme, correlation=rho, information=known, limit=limit, error=0.0)


def _repeated(rho: float) -> pd.DataFrame:
    """M copies of one negative in one coordinate, up to infinitely many, at all and at half the nodes."""
    fine, coarse = (_quadrature(rho, nodes) for nodes in (NODES, NODES // 2 + 1))
    known = information(1, rho)
    values = {"negatives": COPIES, "estimate": fine, "excess": fine - known, "error": np.abs(fine - coarse)}
    conditions = {"seed": -1, "scheme": "one coordinate", "setting": 1.0, "scale": 1.0, "correlation": rho}
    return pd.DataFrame(values).assign(**conditions, information=known, limit=rho**2 / (1 - rho**2))


def _quadrature(rho: float, nodes: int) -> np.ndarray:
    """E[log(M+1) - log(1 + M exp(T- - T+))], which tends to E[T+ - T-], for every M of COPIES."""
    places = torch.linspace(-REACH, REACH, nodes, dtype=torch.float64)
    weight = (-places.square() / 2).exp()
    x, noise, other = torch.meshgrid(places, places, places, indexing="ij")
    positive = log_ratio(x[..., None], (rho * x + math.sqrt(1 - rho**2) * noise)[..., None], rho)
    margin = positive - log_ratio(x[..., None], other[..., None], rho)
    weights = torch.einsum("i,j,k->ijk", *[weight / weight.sum()] * 3)
    zero = torch.zeros((), dtype=torch.float64)
    values = [math.log(M + 1) - torch.logaddexp(zero, math.log(M) - margin) for M in COPIES[:-1]]
    return np.array([float((weights * value).sum()) for value in [*values, margin]])


def effective_negatives(count: int, autocorrelation: float) -> float:
    """How many independent draws a chain of `count` steps is worth for the mean of y, in closed form."""
    lags = np.arange(1, count)
    return count / (1 + 2 * float(((1 - lags / count) * autocorrelation**lags).sum()))


def _cells(rows: pd.DataFrame, value: str, check: Callable[..., Verdict], limit: float = 0.0) -> list[Verdict]:
    """Per condition: the check of the interval over seeds against the limit."""
    groups = rows.groupby(["setting", "correlation", "scale", "negatives"])
    return [check(stats.mean_interval(cell[value]), limit) for _, cell in groups]


def _scheme(frame: pd.DataFrame, scheme: str, **conditions: float) -> pd.DataFrame:
    rows = frame[frame.scheme == scheme]
    for name, value in conditions.items():
        rows = rows[np.isclose(rows[name], value)]
    if rows.empty:
        raise LookupError(f"{scheme} with {conditions} is not in the frame")
    return rows


def _listed(values: pd.Series) -> str:
    return ", ".join(f"{value:g}" for value in np.sort(values.unique()))


def decide_independent(frame: pd.DataFrame) -> Verdict:
    """For every rho, M and critic the estimate is below the information; it tightens; none passes log(M+1)."""
    rows = _scheme(frame, "independent")
    best = rows[rows.scale == 1].set_index(["correlation", "seed"])
    fewest, most = (best[best.negatives == count].excess for count in (rows.negatives.min(), rows.negatives.max()))
    tighter = [above(stats.mean_interval(cell), 0.0) for _, cell in (most - fewest).groupby("correlation")]
    checks = _cells(rows, "excess", below)
    ceiling = holds(not (frame.estimate > np.log(frame.negatives + 1) + 1e-9).any(), 0.0)
    worst = weakest(checks, expected=-FAR)
    note = (
        f"Below it in all {len(checks)} cells (rho, M = {rows.negatives.min():g} to {rows.negatives.max():g}, optimal "
        f"critic and its multiples {_listed(rows.scale)}); the optimal critic's gap shrinks from "
        f"{-fewest.mean():.2f} to {-most.mean():.4f} nats. Nor can any estimate pass log(M+1)."
    )
    return jointly([worst, weakest(tighter), ceiling], note)


def decide_dependent(frame: pd.DataFrame) -> Verdict:
    """At the largest M the slowest chain and the copies exceed the information for every rho, optimal critic."""
    rows = _scheme(frame, "chain", scale=1)
    slow = np.sort(rows.setting.unique())[-2:]
    most = rows[rows.negatives == rows.negatives.max()]
    worst = weakest(_cells(most[most.setting.isin(slow)], "excess", above), expected=FAR)
    crossings = ", ".join(_crossing(rows[rows.setting == a], a) for a in sorted(rows.setting.unique()))
    note = (
        f"Every negative is a draw of p(y), the critic is the optimal one. M from which the whole interval is above, "
        f"largest over rho: {crossings}. With one negative there is nothing to depend on, and the bound holds."
    )
    return worst._replace(note=note)


def _crossing(rows: pd.DataFrame, autocorrelation: float) -> str:
    """The M from which on the excess's interval lies above 0 at every rho, with the chain's effective size."""
    first = 0
    for count in sorted(rows.negatives.unique(), reverse=True):
        checks = _cells(rows[rows.negatives == count], "excess", above)
        if any(check.verdict != REPRODUCED for check in checks):
            break
        first = int(count)
    if not first:
        return f"autocorrelation {autocorrelation:g}: none"
    size = effective_negatives(first, autocorrelation)
    return f"autocorrelation {autocorrelation:g}: M = {first} (worth {size:.1f} independent ones)"


def decide_repeated(frame: pd.DataFrame) -> Verdict:
    """By quadrature, d = 1: below the information for one negative, above it for 1024 copies, up to the limit."""
    rows = _scheme(frame, "one coordinate")
    first, last, limit = (rows[rows.negatives == count] for count in (1, 1024, math.inf))
    exact = rows.error.max() < QUADRATURE_TOLERANCE
    to_limit = (limit.estimate - limit.limit).abs().max() < QUADRATURE_TOLERANCE
    rising = bool((rows.groupby("correlation").estimate.diff().dropna() > 0).all())
    broken = bool((first.excess < -QUADRATURE_TOLERANCE).all() and (last.excess > QUADRATURE_TOLERANCE).all())
    crossed = rows[rows.excess > QUADRATURE_TOLERANCE].groupby("correlation").negatives.min()
    largest = last.iloc[int(last.correlation.argmax())]
    note = (
        f"Copies of one draw of p(y) pass the information at M = {crossed.min():g} to {crossed.max():g} and tend to "
        f"rho^2/(1-rho^2): at rho = {largest.correlation:g}, 1024 copies give {largest.estimate:.2f} nats, infinitely "
        f"many {largest.limit:.2f}, where the information is {largest.information:.2f}."
    )
    return holds(bool(exact and to_limit) and rising and broken, float(largest.excess), note)


def decide_proposal(frame: pd.DataFrame) -> Verdict:
    """At the largest M, with the critic that is optimal for q, every rho's estimate exceeds the information."""
    rows = _scheme(frame, "proposal", scale=1)
    most = rows[rows.negatives == rows.negatives.max()]
    checks = _cells(most, "excess", above)
    short = most.estimate - most.limit
    note = (
        f"What is bounded is I + KL(p||q): with independent draws of q the estimate exceeds I in all {len(checks)} "
        f"cells of q's width ({_listed(rows.setting)}) and rho at M = {most.negatives.max():g}, "
        f"and stays {-short.mean():.2f} nats below I + KL(p||q) on average."
    )
    return weakest(checks, expected=FAR)._replace(note=note)


def decide_conditional(frame: pd.DataFrame) -> Verdict:
    """The estimate is below zero in every cell: positive and negatives are exchangeable, none can be told."""
    rows = _scheme(frame, "conditional")
    checks = _cells(rows, "estimate", below)
    note = (
        "Given x, positive and negatives are exchangeable: no critic gets above 0, and the best is a constant, which "
        f"says nothing. Below 0 in all {len(checks)} cells."
    )
    return weakest(checks, expected=-FAR)._replace(note=note)


PROVISO = "in order for InfoNCE to be a proper bound, negatives have to be independently sampled from the marginal p(y)"
COMMON = {"source": "Ta et al. 2022", "location": "Section V, third paragraph"}
CLAIMS = [
    Claim(
        id="gap.infonce-bound",
        statement="With negatives drawn independently from p(y), log(M+1) - L is a lower bound of I(x; y).",
        measures="estimate minus information in nats, worst cell",
        decide=decide_independent,
        smallest_scale="laptop",
        **COMMON,
    ),
    Claim(
        id="gap.infonce-bound.dependent",
        statement=f"Independence is needed ({PROVISO}): negatives of one slow chain exceed I(x; y).",
        measures="estimate minus information in nats, least of all cells",
        decide=decide_dependent,
        smallest_scale="laptop",
        **COMMON,
    ),
    Claim(
        id="gap.infonce-bound.repeated",
        statement="Independence is needed: copies of one draw of p(y) exceed I(x; y) (exact, one coordinate).",
        measures="estimate minus information in nats, 1024 copies, largest rho",
        decide=decide_repeated,
        **COMMON,
    ),
    Claim(
        id="gap.infonce-bound.proposal",
        statement=f"The marginal is needed ({PROVISO}): independent negatives of another law exceed I(x; y).",
        measures="estimate minus information in nats, least of all cells",
        decide=decide_proposal,
        smallest_scale="laptop",
        **COMMON,
    ),
    Claim(
        id="gap.infonce-bound.conditional",
        statement="Correct samples of p(y|x) do not serve as negatives: they do not come from a noise distribution.",
        measures="estimate in nats, worst cell",
        decide=decide_conditional,
        smallest_scale="laptop",
        **COMMON,
    ),
]

COLOURS = (style.BLUE, style.GREEN, style.ORANGE, style.VERMILION, style.PURPLE)


def figure(frame: pd.DataFrame) -> Figure:
    """The optimal critic's estimate above the information: (a) independent, (b) chains, (c) other proposals."""
    drawing, axes = style.panels(1, 3, height=2.6)
    middle = np.sort(frame.correlation.unique())[frame.correlation.nunique() // 2]
    for colour, rho in zip(COLOURS, sorted(frame.correlation.unique()), strict=False):
        rows = _scheme(frame, "independent", correlation=rho, scale=1)
        _line(axes[0], rows.assign(excess=-rows.excess), colour, rf"$\rho$ = {rho:g}")
    axes[0].set(yscale="log", ylabel="information minus estimate (nats)", title="independent, from $p(y)$")
    for colour, (a, rows) in zip(COLOURS, _at(frame, "chain", middle), strict=False):
        _line(axes[1], rows, colour, "copies" if a == 1 else f"{a:g}")
    axes[1].set(ylabel="estimate minus information (nats)", title=f"chains, $\\rho$ = {middle:g}\nby autocorrelation")
    for colour, (width, rows) in zip(COLOURS, _at(frame, "proposal", middle), strict=False):
        _line(axes[2], rows, colour, rf"$q = N(0, {width:g}^2)$")
        axes[2].axhline((rows.limit - rows.information).iloc[0], color=colour, linestyle=":", linewidth=0.8)
    _line(axes[2], _scheme(frame, "conditional", correlation=middle, scale=1), style.BLACK, "$q = p(y|x)$")
    axes[2].set(title=f"other proposals, $\\rho$ = {middle:g}\ndotted: KL$(p||q)$")
    for axis in axes:
        axis.set(xscale="log", xlabel="negatives $M$")
        axis.legend(loc="best")
    for axis in axes[1:]:
        axis.axhline(0, color=style.GREY, linewidth=0.7)
    return drawing


def _at(frame: pd.DataFrame, scheme: str, rho: float):
    return _scheme(frame, scheme, correlation=rho, scale=1).groupby("setting")


def _line(axis, rows: pd.DataFrame, colour: str, label: str) -> None:
    """Mean excess over seeds with its interval against M."""
    intervals = np.array([stats.mean_interval(group.excess) for _, group in rows.groupby("negatives")])
    center, low, high = intervals.T
    places, bars = np.sort(rows.negatives.unique()), [center - low, high - center]
    axis.errorbar(places, center, bars, fmt="o-", color=colour, markersize=2.5, linewidth=1, label=label)
