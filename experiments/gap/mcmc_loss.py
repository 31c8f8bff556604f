"""Gap, eq. (4) (gap.mcmc-loss*): has the MCMC loss the gradient of the negative log-likelihood (1)?

On a grid of actions Z, the expectation over p and so both gradients are sums without sampling error. With the
expectation taken exactly, (4) has the likelihood's gradient; its value is another, NLL - H(p); and its sum as printed,
m = 0 to M over M, adds a bias. With samples the question is how the error falls with M: for independent draws from p,
and for what ten iterations of Langevin leave behind.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gap import _gridded as gridded
from experiments.gap._gridded import LIMIT, Problem
from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, above, below, equivalent, holds, jointly
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded, seed_list
from imitation.ebm import losses
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.schedules import polynomial
from imitation.population import uniform_like

SHARD_AXES = ("seeds",)

GRADIENT_TOLERANCE = 1e-10  # relative: rounding of sums over some hundred nodes
DIFFERENCE_TOLERANCE = 1e-6  # of central differences, relative to the gradient's length
DIFFERENCE_STEP = 1e-7
BIAS_MARGIN = 0.05  # length of the mean gradient's error over the gradient's length
SLOPE_MARGIN = 0.05  # of the exponent -1/2

# The paper's training: ten iterations, step size 1 to .001 (tau = lambda / 2 for the true form), a change of at most
# 25 % of the action space [-1, 1], sigma = .1 in IBC's form.
KERNELS = {
    "Langevin, true form": (Langevin("true", 1.0, 0.25 * 2, (-LIMIT, LIMIT)), 2.0),
    "Langevin, IBC's form": (Langevin("ibc", 0.1, 0.25 * 2, (-LIMIT, LIMIT)), 1.0),
}
INDEPENDENT, UNIFORM = "independent", "uniform"


@dataclass
class Config:
    """observations, points, hidden, std: of each seed's problem; terms: M of the printed sum; steps: of training.

    negatives: M of the sampled losses; samples: negatives per observation in all, in blocks of M; iterations: of
    Langevin.
    """

    seeds: list[int] = seed_list()
    observations: int = bounded(1, 1000)
    points: int = bounded(2, 200)
    hidden: list[int] = bounded(1, 1000)
    std: float = bounded(1e-3, 2)
    terms: list[int] = bounded(1, 100_000)
    steps: int = bounded(1, 10_000)
    learning_rate: float = bounded(1e-6, 1)
    negatives: list[int] = bounded(1, 100_000, min_items=2, unique=True)
    samples: int = bounded(2, 1_000_000)
    iterations: int = bounded(1, 10_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, variant and count (M, or the step of training); errors are relative to (1)'s gradient.

    metric "error" compares a loss's gradient with (1)'s, "closed form" with what the mathematics says it is, "constant"
    is its derivative in a constant added to the energy; "rms" and "squared bias" are those of sampled gradients;
    "value" follows training, where "identity" is the largest error of (4) = NLL - H.
    """
    if any(cfg.samples % (2 * count) for count in cfg.negatives):
        raise BadInputError(f"samples={cfg.samples}: must be a multiple of twice each of negatives, {cfg.negatives}")
    frames = []
    for seed in cfg.seeds:
        frames.append(context.piece(f"seed {seed}", lambda seed=seed: _seed(cfg, seed, context)))
        context.progress(len(frames), len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _seed(cfg: Config, seed: int, context: Context) -> pd.DataFrame:
    random = context.generators([seed]).members[0]
    one = gridded.problem(random, cfg.observations, cfg.points, cfg.hidden, cfg.std)
    rows = [*_exact(one, cfg.terms, random), *_sampled(cfg, one, random), *_training(cfg, one)]
    return pd.DataFrame(rows, columns=["metric", "variant", "count", "value"]).assign(seed=seed)


Row = tuple[str, str, int, float]


def _likelihood(one: Problem) -> Tensor:
    """(1), averaged over the observations; Z by quadrature."""
    return -gridded.log_likelihood(one.of_positive(), one.at_nodes(), one.grid.log_weights).mean()


def _expected(energies: Tensor, log_weights: Tensor) -> Tensor:
    """The expectation of the energy over p, whose weights are held fixed: where all samples are, in all proportions."""
    return (gridded.log_masses(energies, log_weights).exp().detach() * energies).sum(-1)


def _exact(one: Problem, terms: list[int], random: torch.Generator) -> list[Row]:
    positive, energies, log_weights = one.of_positive(), one.at_nodes(), one.grid.log_weights
    likelihood = gridded.gradient(_likelihood(one), one.network)
    expected = _expected(energies, log_weights)
    masses = gridded.log_masses(energies, log_weights).exp()
    slope_of_positive, slope_of_negative = (gridded.gradient(part.mean(), one.network) for part in (positive, expected))
    entropy = gridded.gradient(gridded.entropy(energies, log_weights).mean(), one.network)
    uniform = (log_weights.softmax(0) * energies).sum(-1)
    variants = [
        ("(4)", 0, positive - expected, likelihood),
        ("uniform", 0, positive - uniform, None),
        ("through the density", 0, positive - (masses * energies).sum(-1), likelihood - entropy),
    ]
    for count in terms:
        printed, shared = likelihood - slope_of_negative / count, likelihood - slope_of_positive / count
        variants.append(("printed", count, positive - (count + 1) / count * expected, printed))
        variants.append(("positive as m = 0", count, positive - (positive + count * expected) / count, shared))
    rows = []
    for name, count, loss, closed in variants:
        found = gridded.gradient(loss.mean(), one.network)
        rows.append(("error", name, count, gridded.relative_error(found, likelihood)))
        rows.append(("constant", name, count, float(found[-1])))  # the last parameter is the output's bias
        if closed is not None:
            rows.append(("closed form", name, count, gridded.relative_error(found, closed)))
    direction, slope = gridded.finite_difference(lambda: _likelihood(one), one.network, random, DIFFERENCE_STEP)
    missed = abs(float(likelihood @ direction) - slope) / float(likelihood.norm())
    return [*rows, ("closed form", "finite difference", 0, missed)]


def _sampled(cfg: Config, one: Problem, random: torch.Generator) -> list[Row]:
    truth = gridded.gradient(_likelihood(one), one.network)
    rows = []
    for name, negatives in _negatives(cfg, one, random).items():
        errors = [_gradients(one, negatives, count) - truth for count in cfg.negatives]  # (samples / M, parameters)
        for count, wrong in zip(cfg.negatives, errors, strict=True):
            rows.append(("rms", name, count, float(wrong.square().sum(-1).mean().sqrt() / truth.norm())))
        # Two halves err independently: unlike a squared length, their product has no share of the noise.
        first, second = (half.mean(0) for half in errors[-1].chunk(2))
        rows.append(("squared bias", name, 0, float(first @ second / truth.square().sum())))
    return rows


def _negatives(cfg: Config, one: Problem, random: torch.Generator) -> dict[str, Tensor]:
    """Four ways to draw negatives, each (B, samples, D)."""
    masses = gridded.log_masses(one.at_nodes(), one.grid.log_weights).exp().detach()
    start = torch.empty(1, cfg.observations, cfg.samples, gridded.ACTIONS, dtype=torch.float64)
    drawn = {
        INDEPENDENT: one.grid.nodes[gridded.drawn(random, masses, cfg.samples)],
        UNIFORM: uniform_like(start, random, -LIMIT, LIMIT)[0],
    }
    slope = one.network.action_gradient(one.observation)
    for name, (kernel, scale) in KERNELS.items():
        sizes = [scale * size for size in polynomial(1.0, 1e-3, cfg.iterations)]
        drawn[name] = kernel.sample(slope, uniform_like(start, random, -LIMIT, LIMIT), sizes, random)[0, 0]
    return drawn


def _gradients(one: Problem, negatives: Tensor, count: int) -> Tensor:
    """The gradient of (4), averaged over the observations, for each block of M negatives: (blocks, parameters)."""
    blocks = negatives.unflatten(1, (-1, count)).transpose(0, 1)  # (blocks, B, M, D)
    positive, observation = (part.expand(len(blocks), *part.shape[1:]) for part in (one.positive, one.observation))

    def loss(networks: MLPEnergy) -> Tensor:
        energies = networks(observation, torch.cat([positive, blocks], 2))
        return losses.mcmc(energies[..., 0], energies[..., 1:]).mean(-1)

    return gridded.gradients_apart(one.network, len(blocks), loss)


def _training(cfg: Config, one: Problem) -> list[Row]:
    """Adam on (4) with the exact expectation: the values of (1) and (4) beside each other."""
    optimiser = torch.optim.Adam(one.network.parameters(), lr=cfg.learning_rate)
    rows, wrong = [], []
    for step in range(cfg.steps):
        positive, energies, log_weights = one.of_positive(), one.at_nodes(), one.grid.log_weights
        loss = (positive - _expected(energies, log_weights)).mean()
        likelihood = -gridded.log_likelihood(positive, energies, log_weights).mean()
        entropy = gridded.entropy(energies, log_weights).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values = {"NLL": likelihood, "(4)": loss}
        rows += [("value", name, step, value.item()) for name, value in values.items()]
        wrong.append((loss - (likelihood - entropy)).abs().item())
    return [*rows, ("closed form", "identity", 0, float(np.max(wrong)))]


def select(frame: pd.DataFrame, metric: str, variant: str) -> pd.DataFrame:
    """The rows of one metric and variant, in the frame's order."""
    return frame[(frame.metric == metric) & (frame.variant == variant)]


def _worst(frame: pd.DataFrame, metric: str, variant: str) -> float:
    """The largest size of a value; NaN, from a run that diverged or is missing, stays."""
    return float(select(frame, metric, variant).value.abs().max(skipna=False))


def decide_gradient(frame: pd.DataFrame) -> Verdict:
    """With the exact expectation the two gradients are one in every run, and (1)'s is that of finite differences."""
    worst, missed = _worst(frame, "error", "(4)"), _worst(frame, "closed form", "finite difference")
    wrong = {name: select(frame, "error", name).value.median() for name in ("uniform", "through the density")}
    note = (
        f"With the expectation taken exactly; (1)'s gradient agrees with finite differences to {missed:.0e}. It takes "
        "samples of p through which no gradient flows: with uniform negatives the gradient is wrong by "
        f"{wrong['uniform']:.0%} (median), and through the density by {wrong['through the density']:.0%}, since "
        "it is then Appendix A's, of NLL - H."
    )
    return holds(worst <= GRADIENT_TOLERANCE and missed <= DIFFERENCE_TOLERANCE, worst, note)


def decide_printed(frame: pd.DataFrame) -> Verdict:
    """As printed the gradient is off by exactly E[dE]/M, or by dE+/M if m = 0 is the positive; with M terms by 0.

    A constant added to the energy changes no density: its derivative must be 0, and is -1/M as printed.
    """
    readings = ("printed", "positive as m = 0")
    right = max(_worst(frame, metric, "(4)") for metric in ("error", "constant")) <= GRADIENT_TOLERANCE
    as_computed = max(_worst(frame, "closed form", name) for name in readings) <= GRADIENT_TOLERANCE
    errors, constants = (
        pd.concat([select(frame, metric, name) for name in readings]) for metric in ("error", "constant")
    )
    drift = constants.value * constants["count"]
    printed = select(frame, "error", "printed")
    few = printed["count"].min()
    error, low, high = stats.mean_interval(printed[printed["count"] == few].value)
    note = (
        "The sum runs over M + 1 terms and is divided by M; from m = 1, as in Appendix A, it is right. As printed the "
        f"gradient misses by E[dE]/M, at M = {few} by {error:.2f} ({low:.2f} to {high:.2f}) of its length, and by "
        "dE+/M if m = 0 is the positive; a constant in the energy, which changes no density, grows without end."
    )
    misses = bool((errors.value > 1e3 * GRADIENT_TOLERANCE).all())
    drifts = bool(((drift + 1).abs() <= GRADIENT_TOLERANCE).all())
    return holds(right and as_computed and misses and drifts, float(drift.mean(skipna=False))).as_corrected(note)


def decide_value(frame: pd.DataFrame) -> Verdict:
    """(4) = NLL - H(p) at every step of every run, now above and now below the likelihood."""
    worst = _worst(frame, "closed form", "identity")
    values = frame[frame.metric == "value"].pivot(index=["seed", "count"], columns="variant", values="value")
    gap = values["(4)"] - values["NLL"]
    falls = values.groupby("seed").last() - values.groupby("seed").first()
    note = (
        f"It is NLL - H(p), here between {gap.min():+.2f} and {gap.max():+.2f} from the likelihood, neither an "
        f"estimate nor a bound: while training on it lowers the NLL by {-falls['NLL'].mean():.1f} nats, it changes by "
        f"{falls['(4)'].mean():+.1f}. With exact expectation it is Appendix A's objective."
    )
    return holds(worst <= GRADIENT_TOLERANCE and bool(gap.min() < 0 < gap.max()), worst, note)


def slopes(frame: pd.DataFrame, variant: str) -> pd.Series:
    """Per seed the exponent with which the root mean square error changes with M."""
    rows = select(frame, "rms", variant)
    logs = pd.DataFrame({"seed": rows.seed, "x": np.log(rows["count"]), "y": np.log(rows.value)})
    return logs.groupby("seed")[["x", "y"]].apply(lambda one: np.polyfit(one.x, one.y, 1)[0])


def _bias(frame: pd.DataFrame, variant: str, decide: Callable[..., Verdict]) -> Verdict:
    return decide(stats.mean_interval(select(frame, "squared bias", variant).value), BIAS_MARGIN**2)


def decide_samples(frame: pd.DataFrame) -> Verdict:
    """Independent draws of p: the error falls as M^-1/2, and what is left in the mean is below the margin."""
    slope = equivalent(stats.mean_interval(slopes(frame, INDEPENDENT)), -0.5, SLOPE_MARGIN)
    bias = _bias(frame, INDEPENDENT, below)
    note = (
        f"Squared bias over the squared gradient {bias.measured:.1e} ({bias.low:.1e} to {bias.high:.1e}), against a "
        f"margin of {BIAS_MARGIN**2:.1e}."
    )
    return jointly([slope, bias], note)


def decide_langevin(frame: pd.DataFrame) -> Verdict:
    """In both forms the mean gradient misses by more than the margin that independent draws stay below."""
    biases = {name: select(frame, "squared bias", name).value.mean(skipna=False) for name in (*KERNELS, UNIFORM)}
    sizes = {name: f"{np.sqrt(max(0.0, value)):.2f}" for name, value in biases.items()}
    note = (
        "Random networks, ten iterations from uniform starts: the mean gradient misses by "
        f"{' and '.join(f'{sizes[name]} ({name})' for name in KERNELS)} of the gradient's length, with uniform "
        f"negatives by {sizes[UNIFORM]}. More samples do not help."
    )
    least = min(KERNELS, key=lambda name: biases[name])
    checks = [_bias(frame, name, above) for name in (least, *KERNELS)]
    return jointly([*checks, _bias(frame, INDEPENDENT, below)], note)


CLAIMS = [
    Claim(
        id="gap.mcmc-loss",
        source="Ta et al. 2022",
        location="Section III, eq. (4)",
        statement="The loss (4) has the gradient of the negative log-likelihood (1).",
        measures="relative error of the gradient, exact expectation, worst run",
        decide=decide_gradient,
    ),
    Claim(
        id="gap.mcmc-loss.printed",
        source="Ta et al. 2022",
        location="Section III, eq. (4)",
        statement="The sum over negatives in (4) runs from m = 0 to M and is divided by M.",
        measures="M times the derivative in a constant added to the energy (right: 0)",
        decide=decide_printed,
        printed="1/M sum from m = 0 to M",
    ),
    Claim(
        id="gap.mcmc-loss.value",
        source="Ta et al. 2022",
        location="Section III, eq. (4); found here",
        statement="(Found here) The value of (4) is NLL - H(p): no estimate of the likelihood, nor a bound.",
        measures="largest error of the identity along training",
        decide=decide_value,
    ),
    Claim(
        id="gap.mcmc-loss.samples",
        source="Ta et al. 2022",
        location="Section III, eq. (4)",
        statement="With M samples of p, (4) approximates the likelihood's gradient: no bias, an error of M^-1/2.",
        measures="exponent of M, mean over seeds",
        decide=decide_samples,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.mcmc-loss.langevin",
        source="Ta et al. 2022",
        location="Section III, eq. (4), and Appendix D; found here",
        statement="(Found here) With ten Langevin iterations, as the paper trains, (4) has another gradient.",
        measures="squared bias over the squared gradient, form with less",
        decide=decide_langevin,
        smallest_scale="laptop",
    ),
]


LOOKS = {
    INDEPENDENT: (style.BLUE, "o", "independent, from $p$"),
    "Langevin, true form": (style.VERMILION, "s", "10 Langevin it., true"),
    "Langevin, IBC's form": (style.GREEN, "^", "10 Langevin it., IBC's"),
    UNIFORM: (style.GREY, "D", "uniform"),
}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) error of sampled gradients over M; (b) with the exact expectation; (c) values along training."""
    drawing, axes = style.panels(1, 3, height=2.6)
    _draw_sampled(axes[0], frame)
    _draw_exact(axes[1], frame)
    _draw_values(axes[2], frame)
    return drawing


def _draw_sampled(axis, frame: pd.DataFrame) -> None:
    for name, (colour, marker, label) in LOOKS.items():
        _points(axis, select(frame, "rms", name), colour, marker, label)
    rows = select(frame, "rms", INDEPENDENT)
    few = rows["count"].min()
    span = np.geomspace(few, rows["count"].max(), 2)
    axis.plot(span, rows[rows["count"] == few].value.mean() * (span / few) ** -0.5, "--", color=style.BLACK, lw=0.8)
    axis.annotate("$M^{-1/2}$", (span[-1], 0.55 * rows[rows["count"] == span[-1]].value.mean()), ha="right", fontsize=7)
    axis.set(xscale="log", yscale="log", xlabel="negatives $M$", ylabel="RMS error / length of gradient")
    axis.set_title("sampled gradient of (4)\nbars: 95 % over seeds")
    axis.legend(loc="lower left", handletextpad=0.2)
    low, high = axis.get_ylim()
    axis.set_ylim(low / 12, high)


def _draw_exact(axis, frame: pd.DataFrame) -> None:
    positive = select(frame, "error", "positive as m = 0")
    beside = positive.assign(count=1.4 * positive["count"])  # the two readings are nearly as wrong
    _points(axis, select(frame, "error", "printed"), style.PURPLE, "s", "as printed")
    _points(axis, beside, style.ORANGE, "^", "$m=0$ the positive")
    counts = select(frame, "error", "printed")["count"]
    lines = {
        "uniform": (style.GREY, "-", "uniform negatives"),
        "through the density": (style.BLACK, ":", "gradient through $p$"),
        "(4)": (style.BLUE, "-", "(4), $m$ from 1"),
    }
    for name, (colour, dash, label) in lines.items():
        level = max(float(select(frame, "error", name).value.mean()), 1e-17)
        axis.plot([counts.min(), counts.max()], [level, level], dash, color=colour, label=label)
    axis.set(xscale="log", yscale="log", xlabel="negatives $M$", ylabel="error / length of gradient")
    axis.set_title("exact expectation over $p$\nbars: 95 % over seeds")
    axis.legend(loc="center left", handletextpad=0.4)


def _draw_values(axis, frame: pd.DataFrame) -> None:
    looks = [("NLL", style.BLACK, "-", "NLL (1)"), ("(4)", style.BLUE, "--", r"(4) $=$ NLL $-\,H(p)$")]
    for name, colour, dash, label in looks:
        groups = select(frame, "value", name).groupby("count").value
        intervals = np.array([stats.mean_interval(group) for _, group in groups])
        steps = list(groups.groups)
        axis.plot(steps, intervals[:, 0], dash, color=colour, label=label)
        axis.fill_between(steps, intervals[:, 1], intervals[:, 2], color=colour, alpha=0.2, linewidth=0)
    axis.set(xlabel="step of training", ylabel="value (nats per observation)")
    axis.set_title("training on (4)\nbands: 95 % over seeds")
    axis.legend(loc="upper right")


def _points(axis, rows: pd.DataFrame, colour: str, marker: str, label: str) -> None:
    groups = rows.groupby("count").value
    center, low, high = np.array([stats.mean_interval(group) for _, group in groups]).T
    bars = [center - low, high - center]
    look = {"markersize": 3, "capsize": 1.5, "elinewidth": 0.7, "linewidth": 0.8}
    axis.errorbar(list(groups.groups), center, bars, fmt=marker + "-", color=colour, label=label, **look)
