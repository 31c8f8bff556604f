"""Gap, Appendix A (gap.maxent-derivation*): the entropy-regularised loss, its gradient, and where it leads.

The appendix derives the gradient of -E[log p + H(p)] and names a loss that has it: (4) and half the variance of the
negatives' energies. On a grid of actions every integral is a sum, so the derivation, its estimate from M negatives
and the density that minimises the loss can be checked without sampling error.

That density is known. For demonstrations of density q, -E_q[log p] - H(p) is least where p (1 + log p + H(p)) = q,
that is p = q / W(q e^(1 + H)) with Lambert's W, and p = e^-(1 + H) where q = 0: at least 1/e of the uniform density.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.special import lambertw
from torch import Tensor

from experiments.gap import _gridded as gridded
from experiments.gap._gridded import Problem
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm import losses
from imitation.ebm.mlp import MLPEnergy

SHARD_AXES = ("seeds",)

TOLERANCE = 1e-10  # rounding of sums over some hundred nodes, relative
DIFFERENCE_TOLERANCE = 1e-6  # of central differences, relative to the gradient's length
DIFFERENCE_STEP = 1e-7
FALL = 1e-12  # an entropy may fall by that much from rounding
FLATNESS = 1e-3  # nats below the uniform density's entropy


@dataclass
class Config:
    """observations, points, hidden, std: of each seed's problem; negatives: M of the sampled gradient.

    enumerated, coarse: M and points per axis where every choice of M negatives is summed; steps: of the descent on
    the variance; cells: of an action space in which one action is demonstrated.
    """

    seeds: list[int] = seed_list()
    observations: int = bounded(2, 1000)
    points: int = bounded(2, 200)
    hidden: list[int] = bounded(1, 1000)
    std: float = bounded(1e-3, 2)
    negatives: list[int] = bounded(2, 100_000)
    enumerated: list[int] = bounded(1, 5)
    coarse: int = bounded(2, 4)
    steps: int = bounded(1, 100_000)
    cells: list[int] = bounded(2, 10**9)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per metric, variant and count (M, a step or a number of cells) and seed.

    metric "error" compares gradients; "added", "extra" and "shift" are about the loss's extra terms, "finite" about
    the mean of the entropy's estimated gradient; "entropy" and "flattening" follow the descent on the variance,
    "optimum" checks the closed form, and "one action" has its mass on the only action that was demonstrated.
    """
    frames = []
    for seed in cfg.seeds:
        frames.append(context.piece(f"seed {seed}", lambda seed=seed: _seed(cfg, seed, context)))
        context.progress(len(frames), len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


Row = tuple[str, str, int, float]


def _seed(cfg: Config, seed: int, context: Context) -> pd.DataFrame:
    random = context.generators([seed]).members[0]
    one = gridded.problem(random, cfg.observations, cfg.points, cfg.hidden, cfg.std)
    rows = [*_derivation(cfg, one, random), *_enumeration(cfg, one), *_flattening(one, cfg.steps), *_optimum(one)]
    rows += [("one action", "mass", cells, mass_of_one(cells)) for cells in cfg.cells]
    return pd.DataFrame(rows, columns=["metric", "variant", "count", "value"]).assign(seed=seed)


def _objective(one: Problem) -> Tensor:
    """-(log p(y_i | x_i) + H(p(. | x_i))), averaged over the observations; both by quadrature."""
    energies, log_weights = one.at_nodes(), one.grid.log_weights
    likelihood = gridded.log_likelihood(one.of_positive(), energies, log_weights)
    return -(likelihood + gridded.entropy(energies, log_weights)).mean()


def printed_gradient(of_positive: Tensor, slopes: Tensor, energies: Tensor, masses: Tensor) -> Tensor:
    """The appendix's last gradient, with masses 1/M, and the one before it, with those of p: (parameters,).

    Args:
        of_positive: dE/dtheta of the positives, (B, parameters).
        slopes, energies, masses: dE/dtheta (B, M, parameters), E and their shares (B, M).
    """

    def mean(value: Tensor) -> Tensor:
        return torch.einsum("bm,bm...->b...", masses, value)

    weighted = mean(energies[..., None] * slopes)
    return (of_positive - mean(slopes) + weighted - mean(energies)[:, None] * mean(slopes)).mean(0)


def _slopes(one: Problem, action: Tensor) -> Tensor:
    """dE/dtheta of each action (B, M, D) under its observation: (B, M, parameters)."""
    flat = action.reshape(-1, 1, 1, action.shape[-1])
    observation = one.observation[0, :, None].expand(-1, action.shape[1], -1).reshape(len(flat), 1, -1)

    def energies(networks: MLPEnergy) -> Tensor:
        return networks(observation, flat)[:, 0, 0]

    return gridded.gradients_apart(one.network, len(flat), energies).unflatten(0, action.shape[:2])


def _derivation(cfg: Config, one: Problem, random: torch.Generator) -> list[Row]:
    """The printed gradient against autograd on the same negatives, and in the limit against the exact objective."""
    positive, energies = one.of_positive(), one.at_nodes()
    nodes = one.grid.nodes.expand(cfg.observations, -1, -1)
    of_positive, slopes = _slopes(one, one.positive[0])[:, 0], _slopes(one, nodes)
    masses = gridded.log_masses(energies, one.grid.log_weights).exp().detach()
    truth = gridded.gradient(_objective(one), one.network)
    derived = printed_gradient(of_positive, slopes, energies.detach(), masses)
    direction, slope = gridded.finite_difference(lambda: _objective(one), one.network, random, DIFFERENCE_STEP)
    missed = abs(float(derived @ direction) - slope) / float(truth.norm())
    rows: list[Row] = [
        ("error", "exact expectation", 0, gridded.relative_error(derived, truth)),
        ("error", "finite difference", 0, missed),
    ]
    for count in cfg.negatives:
        chosen = gridded.drawn(random, masses, count)  # (B, M)
        of_negatives = energies.gather(1, chosen)
        at_negatives = torch.stack([slope[index] for slope, index in zip(slopes, chosen, strict=True)])
        shares = torch.full_like(of_negatives, 1 / count).detach()
        by_hand = printed_gradient(of_positive, at_negatives, of_negatives.detach(), shares)
        loss = losses.entropy_regularised(positive, of_negatives)
        automatic = gridded.gradient(loss.mean(), one.network)
        rows.append(("error", "negatives", count, gridded.relative_error(automatic, by_hand)))
        rows += _extra_terms(positive.detach(), of_negatives.detach())
    return rows


def _extra_terms(positive: Tensor, negatives: Tensor) -> list[Row]:
    """What the loss adds to (4) beside the variance of each observation's negatives, and the same around one mean.

    "added" is its sum over the variances' sum, "extra" how far it is from half the variances, relative to them, and
    "shift" how much it changes, relative to itself, if each observation's energies move by a constant of their own.
    """

    def per_observation(negatives: Tensor) -> Tensor:
        return losses.entropy_regularised(positive, negatives) - losses.mcmc(positive, negatives)

    def around_one_mean(negatives: Tensor) -> Tensor:
        return 0.5 * (negatives - negatives.mean()).square().mean(-1)

    count, variance = negatives.shape[1], torch.from_numpy(negatives.numpy().var(1))
    offsets = torch.arange(len(negatives), dtype=torch.float64)[:, None]
    rows: list[Row] = []
    for name, terms in (("per observation", per_observation), ("around one mean", around_one_mean)):
        added, moved = terms(negatives), terms(negatives + offsets)
        rows.append(("added", name, count, float(added.sum() / variance.sum())))
        rows.append(("extra", name, count, float((added - variance / 2).norm() / variance.norm())))
        rows.append(("shift", name, count, gridded.relative_error(moved, added)))
    return rows


def _enumeration(cfg: Config, one: Problem) -> list[Row]:
    """The mean, over every choice of M nodes of a coarse grid, of the extra terms' gradient against that of -H.

    "ratio" is its component along the truth, "residual" what is left when (M - 1)/M of the truth is taken off.
    """
    one = one._replace(grid=gridded.grid(cfg.coarse))
    positive, energies, log_weights = one.of_positive(), one.at_nodes(), one.grid.log_weights
    logs = gridded.log_masses(energies, log_weights).detach()
    truth = gridded.gradient(-gridded.entropy(energies, log_weights).mean(), one.network)
    rows = []
    for count in cfg.enumerated:
        choices = torch.cartesian_prod(*[torch.arange(len(log_weights))] * count).reshape(-1, count)
        of_choices = energies[:, choices]  # (B, G^M, M)
        each = positive[:, None].expand(-1, len(choices))
        extra = losses.entropy_regularised(each, of_choices) - losses.mcmc(each, of_choices)
        mean = (logs[:, choices].sum(-1).exp() * extra).sum(-1).mean()
        found = gridded.gradient(mean, one.network)
        residual = float((found - (count - 1) / count * truth).norm() / truth.norm())
        rows.append(("finite", "ratio", count, float(found @ truth / truth.square().sum())))
        rows.append(("finite", "residual", count, residual))
    return rows


def _variance(energies: Tensor, log_weights: Tensor) -> Tensor:
    """Half the variance of the energy over p, whose masses are held fixed: (B,)."""
    masses = gridded.log_masses(energies, log_weights).exp().detach()
    mean = (masses * energies).sum(-1)
    return 0.5 * ((masses * energies.square()).sum(-1) - mean.square())


def _flattening(one: Problem, steps: int) -> list[Row]:
    """Descent on half the variance alone, the energy free at every node; the seed's network gives the start.

    The step is the reciprocal of the largest density, which keeps the largest relative change below 1.
    """
    log_weights, log_volume = one.grid.log_weights, one.grid.log_volume
    energies, path = one.at_nodes().detach(), []
    shown = {0, steps, *np.geomspace(1, steps, 40).astype(int).tolist()}
    for _ in range(steps):
        energies.requires_grad_()
        path.append(gridded.entropy(energies, log_weights).detach() - log_volume)
        slope = torch.autograd.grad(_variance(energies, log_weights).sum(), energies)[0] / log_weights.exp()
        densities = (gridded.log_masses(energies, log_weights) - log_weights).exp()
        energies = (energies - slope / densities.amax(-1, keepdim=True)).detach()
    path.append(gridded.entropy(energies, log_weights) - log_volume)
    missing = torch.stack(path)  # (steps + 1, B)
    rises = float(missing.diff(dim=0).min())
    ends = [("flattening", "smallest rise", steps, rises), ("flattening", "gap", steps, float(missing[-1].min()))]
    return [*ends, *(("entropy", "variance alone", step, float(missing[step].mean())) for step in sorted(shown))]


def optimum(demonstrated: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The density that minimises -E_q[log p] - H(p): q / W(q e^c), or e^-c where q = 0, with c = 1 + H(p).

    Args:
        demonstrated: densities q at the nodes, (G,).
        weights: of the nodes, (G,).
    """

    def density(constant: float) -> np.ndarray:
        exponential = lambertw(demonstrated * math.exp(constant)).real
        return math.exp(-constant) * np.exp(exponential)  # q / W(q e^c) = e^(W - c), also at q = 0

    highest = 1 + math.log(weights.sum())  # H is at most the uniform density's
    lowest = highest - 1
    while weights @ density(lowest) < 1:
        lowest -= 1
    constant = brentq(lambda constant: weights @ density(constant) - 1, lowest, highest, xtol=1e-14)
    return density(float(constant))  # type: ignore[arg-type]


def _optimum(one: Problem) -> list[Row]:
    """The closed form at densities q of random networks that demonstrate nothing in half of the action space.

    "slope" is the largest derivative of the objective in an energy (of the density in one node) there, beside that
    at q itself, flattened to twice the temperature; "floor" the smallest density over e^-(1 + H), "share" over the
    uniform density; "gain" the entropy above that of q.
    """
    weights, rows = one.grid.log_weights.exp(), []
    densities = gridded.log_masses(one.at_nodes(), one.grid.log_weights).exp().detach() / weights
    for density in densities:
        seen = density * (density >= density.median())
        seen = seen / (weights @ seen)
        best = torch.from_numpy(optimum(seen.numpy(), weights.numpy()))
        entropy = -float(weights @ (best * best.log()))
        rest = -float(weights @ torch.special.xlogy(seen, seen))
        rows.append(("slope", float(_slope(best, seen, one).abs().max())))
        rows.append(("slope at T = 2", float(_slope((seen + 1e-9).sqrt(), seen, one).abs().max())))
        rows.append(("floor", float(best.min() * math.exp(1 + entropy))))
        rows.append(("share", float(best.min() * weights.sum())))
        rows.append(("gain", entropy - rest))
    worst = {"floor": min, "share": min, "gain": min, "slope at T = 2": min, "slope": max}
    return [
        ("optimum", name, 0, choose(value for label, value in rows if label == name)) for name, choose in worst.items()
    ]


def _slope(density: Tensor, demonstrated: Tensor, one: Problem) -> Tensor:
    """The derivative of -E_q[log p] - H(p) in the energy of each node, over its weight: (G,)."""
    log_weights = one.grid.log_weights
    energies = (-density.log()).requires_grad_()
    logs = gridded.log_masses(energies, log_weights) - log_weights
    objective = -(log_weights.exp() * demonstrated * logs).sum() - gridded.entropy(energies, log_weights)
    return torch.autograd.grad(objective, energies)[0] / log_weights.exp()


def mass_of_one(cells: int) -> float:
    """The optimum's mass on the only demonstrated of so many equal cells."""
    demonstrated = np.zeros(2)
    demonstrated[0] = 1.0
    return float(optimum(demonstrated, np.array([1.0, cells - 1.0]))[0])


def select(frame: pd.DataFrame, metric: str, variant: str) -> pd.DataFrame:
    """The rows of one metric and variant, in the frame's order."""
    return frame[(frame.metric == metric) & (frame.variant == variant)]


def _values(frame: pd.DataFrame, metric: str, variant: str) -> pd.Series:
    return select(frame, metric, variant).value


def _within(values: pd.Series, limit: float) -> bool:
    """Whether there are values and all are of that size at most; NaN is not."""
    return len(values) > 0 and bool((values.abs() <= limit).all())


SLIPS = (
    "Slips that change nothing: log Z carries y_i for x_i; the summary's bracket closes before the two last terms, "
    "which belong under the sum."
)


def decide_derivation(frame: pd.DataFrame) -> Verdict:
    """On negatives held fixed autograd gives the printed formula; with all of p it is the exact objective's gradient.

    That objective is differentiated through the quadrature, by autograd and by finite differences.
    """
    parts = {name: _values(frame, "error", name) for name in ("negatives", "exact expectation", "finite difference")}
    worst = float(pd.concat([parts["negatives"], parts["exact expectation"]]).max(skipna=False))
    note = (
        f"On the same negatives; with the exact expectation against autograd through the quadrature "
        f"{parts['exact expectation'].max():.0e}, against finite differences {parts['finite difference'].max():.0e}. "
        f"{SLIPS}"
    )
    exact = all(_within(parts[name], TOLERANCE) for name in ("negatives", "exact expectation"))
    return holds(exact and _within(parts["finite difference"], DIFFERENCE_TOLERANCE), worst, note)


def decide_variance(frame: pd.DataFrame) -> Verdict:
    """The extra terms are half the variance around each observation's mean, and not around a mean of all."""
    right, wrong = (_values(frame, "extra", name) for name in ("per observation", "around one mean"))
    still, moved = (_values(frame, "shift", name) for name in ("per observation", "around one mean"))
    note = (
        "They equal half the variance, each observation's around its own mean. Around one mean of the batch they are "
        f"wrong by {wrong.median():.1f} variances (median) and change by a factor of {1 + moved.median():.0f} with a "
        "constant per observation, which changes no density."
    )
    holds_alone = _within(right, TOLERANCE) and _within(still, TOLERANCE)
    fails = bool((wrong > 1e-3).all() and (moved > 1e-3).all())
    added = _values(frame, "added", "per observation").mean(skipna=False)
    return holds(holds_alone and fails, float(added)).as_corrected(note)


def decide_finite(frame: pd.DataFrame) -> Verdict:
    """The mean over all choices of M negatives is (M - 1)/M of the entropy's gradient, for every M."""
    residual, ratio = _values(frame, "finite", "residual"), select(frame, "finite", "ratio")
    groups = ratio.groupby("count").value
    few = int(ratio["count"][ratio["count"] > 1].min())
    shares = ", ".join(f"{share:.3f} at M = {count}" for count, share in groups.mean().items())
    note = (
        f"On average over all choices of M negatives the entropy's part is (M - 1)/M of what it estimates: {shares}. "
        "Dividing the variance by M - 1 repairs it."
    )
    biased = bool((ratio.value < 1 - TOLERANCE).all())
    return holds(_within(residual, TOLERANCE) and biased, float(groups.mean()[few])).as_corrected(note)


def decide_uniform(frame: pd.DataFrame) -> Verdict:
    """No step lowers the entropy in any run, and it ends at the uniform density's, the logarithm of the volume."""
    rises, gaps = (_values(frame, "flattening", name) for name in ("smallest rise", "gap"))
    starts = select(frame, "entropy", "variance alone")
    start = starts[starts["count"] == 0].value.mean()
    note = (
        f"The variance alone, exact expectation, energies free at every node: no step lowers the entropy, which rises "
        f"from {-start:.2f} nats below log volume (mean) to {abs(gaps.min()):.0e} below it."
    )
    rising = len(rises) > 0 and bool((rises >= -FALL).all())
    moves = bool((starts[starts["count"] == 0].value < -10 * FLATNESS).all())
    return holds(rising and _within(gaps, FLATNESS) and moves, float(gaps.min(skipna=False)), note)


def decide_optimum(frame: pd.DataFrame) -> Verdict:
    """The closed form is stationary (the objective is convex in p), flatter than q, and at least 1/e of uniform."""
    slope, other, floor, share, gain = (
        _values(frame, "optimum", name) for name in ("slope", "slope at T = 2", "floor", "share", "gain")
    )
    masses = select(frame, "one action", "mass").groupby("count").value.mean()
    few, many = masses.index.min(), masses.index.max()
    odds = masses * np.log(masses * (masses.index - 1) / (1 - masses))
    note = (
        f"Measured where nothing was demonstrated. The NLL alone has p = q; the entropy of p is higher by "
        f"{gain.min():.2f} nats or more. If one of {few:g} cells was demonstrated it keeps {masses[few]:.2f} of the "
        f"mass, of {many:g} {masses[many]:.2f}: as cells shrink the density becomes uniform, and only its mode tells."
    )
    stationary = _within(slope, TOLERANCE) and bool((other > 1e-3).all())
    bounded_below = _within(floor - 1, TOLERANCE) and bool((share >= 1 / math.e).all())
    exact = stationary and bounded_below and bool((gain > 0).all()) and _within(odds - 1, 1e-8)
    return holds(exact, float(share.min(skipna=False)), note)


CLAIMS = [
    Claim(
        id="gap.maxent-derivation",
        source="Ta et al. 2022",
        location="Appendix A",
        statement="L_entropy has the gradient derived for -E[log p + H(p)].",
        measures="relative error of the gradient, worst run",
        decide=decide_derivation,
    ),
    Claim(
        id="gap.maxent-derivation.variance",
        source="Ta et al. 2022",
        location="Appendix A, last paragraph",
        statement="The two terms added to (4) equal the variance of the negatives' energies.",
        measures="added terms over the variance",
        decide=decide_variance,
        printed=1.0,
    ),
    Claim(
        id="gap.maxent-derivation.finite-samples",
        source="Ta et al. 2022",
        location="Appendix A, Monte Carlo approximation",
        statement="With M negatives from p the printed formula approximates the gradient.",
        measures="mean share of the entropy's gradient, smallest M above 1",
        decide=decide_finite,
    ),
    Claim(
        id="gap.maxent-derivation.uniform",
        source="Ta et al. 2022",
        location="Appendix A, last paragraph",
        statement="Minimising the variance of the energies brings the density close to the uniform one.",
        measures="entropy above log volume at the end (nats), worst run",
        decide=decide_uniform,
    ),
    Claim(
        id="gap.maxent-derivation.optimum",
        source="Ta et al. 2022",
        location="Appendix A; found here",
        statement="(Found here) Its optimum is q / W(q e^(1 + H)): no action is less likely than 1/e of uniform.",
        measures="smallest density over the uniform one, worst run",
        decide=decide_optimum,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) the entropy's gradient from M negatives; (b) descent on the variance; (c) one demonstrated action."""
    drawing, axes = style.panels(1, 3, height=2.5)
    _draw_finite(axes[0], select(frame, "finite", "ratio"))
    _draw_flattening(axes[1], select(frame, "entropy", "variance alone"))
    _draw_one_action(axes[2], select(frame, "one action", "mass"))
    return drawing


def _draw_finite(axis, rows: pd.DataFrame) -> None:
    groups = rows.groupby("count").value
    counts = np.linspace(1, 2.5 * rows["count"].max(), 100)
    axis.plot(counts, 1 - 1 / counts, color=style.BLACK, linewidth=0.8, label="$(M-1)/M$")
    axis.plot(list(groups.groups), groups.mean(), "o", color=style.BLUE, label="mean over all choices")
    axis.axhline(1, color=style.GREY, linewidth=0.8, linestyle="--", label="without bias")
    axis.set(xlabel="negatives $M$", ylabel=r"gradient estimated / $-\nabla H$", ylim=(-0.05, 1.15))
    axis.set_title("the entropy's gradient\nas printed")
    axis.legend(loc="lower right")


def _draw_flattening(axis, rows: pd.DataFrame) -> None:
    for number, (_, one) in enumerate(rows.groupby("seed")):
        label = "one seed" if number == 0 else None
        axis.plot(one["count"] + 1, one.value, color=style.SKY, linewidth=0.6, label=label)
    mean = rows.groupby("count").value.mean()
    axis.plot(mean.index + 1, mean, color=style.BLUE, label="mean over seeds")
    axis.axhline(0, color=style.GREY, linewidth=0.8, linestyle="--", label="uniform")
    axis.set(xscale="log", xlabel="step + 1", ylabel=r"$H(p)\,-$ log volume (nats)")
    axis.set_title("descent on the variance\nalone")
    axis.legend(loc="lower right")


def _draw_one_action(axis, rows: pd.DataFrame) -> None:
    masses = rows.groupby("count").value.mean()
    axis.plot(masses.index, np.ones(len(masses)), "--", color=style.BLACK, label="NLL alone")
    axis.plot(masses.index, masses, "o-", color=style.VERMILION, label="with the entropy")
    axis.plot(masses.index, 1 / masses.index, ":", color=style.GREY, label="uniform")
    axis.set(xscale="log", xlabel="cells of the action space", ylabel="mass on the demonstrated", ylim=(0, 1.08))
    axis.set_title("optimum, one cell\ndemonstrated")
    axis.legend(loc="center right")
