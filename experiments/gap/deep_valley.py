"""Gap, Section V (gap.deep-valley*): does a small noise scale make deep valleys, and are these mutual information?

The paper's chain: small sigma in IBC's Langevin form -> negatives very close to the positives -> deep valleys ->
low H(y|x) -> high I(x; y) = H(y) - H(y|x). Here energies are trained on densities that are known, so that every link
is measured, beside the truth and beside uniform negatives. With negatives from q(y|x) InfoNCE's optimum is
exp(-E) ~ p(y|x) / q(y|x): uniform ones lead to p, near ones cancel it. And the data's information is fixed: a model
that claims more than there is would only be farther from the data.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor

from experiments.gap._particle import flushed_denormals
from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, above, below, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.langevin import Langevin
from imitation.ebm.losses import infonce
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.schedules import polynomial
from imitation.population import Generators, normal_like, uniform_like

SHARD_AXES = ("seeds",)

RANGE = 1.1  # actions lie in [-1, 1]; samples start in, and stay within, 5 % more at each end
NOISE = 0.1  # standard deviation of y around its centre
CLIP = 0.5  # per iteration: 25 % of the action space [-1, 1]
ITERATIONS = 10
# With weights of .05 the small network would spend the whole short training on leaving the origin.
STARTING_STD = 0.2
NODES_X, NODES_Y, TESTED = 81, 441, 512
DENSITIES = ("one mode", "two modes")


@dataclass
class Config:
    """sigmas: noise scales of IBC's form; negatives: M; batch: observations per step; hidden: widths; steps: Adam's."""

    seeds: list[int] = seed_list()
    sigmas: list[float] = bounded(1e-4, 10)
    negatives: int = bounded(1, 1000)
    batch: int = bounded(1, 10_000)
    hidden: list[int] = bounded(1, 10_000)
    steps: int = bounded(1, 1_000_000)
    learning_rate: float = bounded(1e-6, 1)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, density, sampler ("langevin" or "uniform", without sigma) and sigma, at the end of training.

    `distance` is the mean of |negative - positive|, `near` its share within the noise's standard deviation. In nats:
    `entropy` and `information`, the model's H(y|x) and I(x; y) under the data's x; `divergence`, KL from the data;
    `estimate`, log(M+1) - L; `true_entropy` and `true_information`, the data's. `own_distance` is the
    mean distance of two independent actions of the data for one observation. `error` is the mean distance of the
    lowest energy to the nearest mode.
    """
    frames = []
    for density in DENSITIES:
        for sampler, sigmas in (("langevin", cfg.sigmas), ("uniform", [math.nan])):
            train = partial(_train, cfg, density, sampler, sigmas, context)
            frames.append(context.piece(f"{density} {sampler}", train).assign(density=density, sampler=sampler))
            context.progress(len(frames), 2 * len(DENSITIES))
    return pd.concat(frames, ignore_index=True)


def centre(x: Tensor, density: str) -> Tensor:
    """Where y lies: at the centre, or, with two modes, at plus or minus the centre."""
    return 0.5 * torch.sin(3 * x) if density == "one mode" else 0.4 + 0.2 * torch.sin(3 * x)


def log_density(x: Tensor, y: Tensor, density: str) -> Tensor:
    """log p(y|x) of the data; its mass beyond the range is below 1e-7."""
    middle = centre(x, density)

    def around(place: Tensor) -> Tensor:
        return -((y - place) / NOISE).square() / 2 - math.log(NOISE * math.sqrt(2 * math.pi))

    return around(middle) if density == "one mode" else torch.logaddexp(around(middle), around(-middle)) - math.log(2)


def _data(density: str, like: Tensor, random: Generators) -> tuple[Tensor, Tensor]:
    """Fresh observations and positives, both (P, B, 1)."""
    x, sign = uniform_like(like, random, -1.0, 1.0), uniform_like(like, random, -1.0, 1.0).sign()
    middle = centre(x, density) * (1 if density == "one mode" else sign)
    return x, middle + NOISE * normal_like(like, random)


Negatives = Callable[[MLPEnergy, Tensor, Tensor, Generators], Tensor]


def _uniform(energy: MLPEnergy, x: Tensor, start: Tensor, random: Generators) -> Tensor:
    """The starts themselves."""
    return start


def _langevin(scales: Tensor) -> Negatives:
    """IBC's sampler with the paper's schedule and clipping, a noise scale per member: (P, 1, 1, 1)."""
    kernel, sizes = Langevin("ibc", scales, CLIP, (-RANGE, RANGE)), polynomial(1.0, 1e-3, ITERATIONS)

    def negatives(energy: MLPEnergy, x: Tensor, start: Tensor, random: Generators) -> Tensor:
        return kernel.sample(energy.action_gradient(x), start, sizes, random)[0]

    return negatives


def _train(cfg: Config, density: str, sampler: str, sigmas: list[float], context: Context) -> pd.DataFrame:
    """All seeds and sigmas as one population; a seed sees the same data, starts and noise under every sigma."""
    members = [(sigma, seed) for sigma in sigmas for seed in cfg.seeds]
    random = context.generators([seed for _, seed in members])
    energy = MLPEnergy(1, 1, random, cfg.hidden, len(members), STARTING_STD).to(context.device)
    like = energy.weights[0].new_empty(len(members), cfg.batch, 1)
    scales = like.new_tensor([sigma for sigma, _ in members])[:, None, None, None]
    negatives = _langevin(scales) if sampler == "langevin" else _uniform
    optimiser = torch.optim.Adam(energy.parameters(), cfg.learning_rate)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, cfg.steps)
    with flushed_denormals():
        for _ in range(cfg.steps):
            loss, _ = _loss(cfg, energy, negatives, density, like, random)
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            decay.step()
    with torch.no_grad():
        loss, distance = _loss(cfg, energy, negatives, density, like.new_empty(len(members), TESTED, 1), random)
    values = {"distance": distance.mean((1, 2)), "near": (distance < NOISE).double().mean((1, 2))}
    values |= {"estimate": math.log(cfg.negatives + 1) - loss} | _measures(energy, density)
    columns = {name: value.cpu().numpy() for name, value in values.items()}
    return pd.DataFrame(members, columns=["sigma", "seed"]).assign(**columns, **_truth(density))


def _loss(
    cfg: Config, energy: MLPEnergy, sampler: Negatives, density: str, like: Tensor, random: Generators
) -> tuple[Tensor, Tensor]:
    """InfoNCE (P,) on fresh data, and the distances of the negatives to their positives (P, B, M)."""
    x, y = _data(density, like, random)
    start = uniform_like(like.new_empty(*like.shape[:2], cfg.negatives, 1), random, -RANGE, RANGE)
    negatives = sampler(energy, x, start, random)
    energies = energy(x, torch.cat([y[:, :, None], negatives], 2))
    distance = (negatives - y[:, :, None]).abs()[..., 0]
    return infonce(energies[..., 0], energies[..., 1:]).mean(1), distance


@torch.no_grad()
def _measures(energy: MLPEnergy, density: str) -> dict[str, Tensor]:
    """The model's entropy, information, divergence and error per member, each (P,)."""
    x, y = (one.to(energy.weights[0].device) for one in _grid())
    members = energy.weights[0].shape[0]
    observation = x[None, :, None].expand(members, -1, -1).float()
    energies = energy(observation, y[None, None, :, None].expand(members, NODES_X, -1, -1).float()).double()
    log_model = torch.log_softmax(-energies, -1) - math.log(_spacing(y))
    best, middle = y[energies.argmin(-1)], centre(x, density)
    nearest = best - middle if density == "one mode" else best.abs() - middle
    return summaries(log_model, log_density(x[:, None], y, density)) | {"error": nearest.abs().mean(-1)}


def _truth(density: str) -> dict[str, float]:
    x, y = _grid()
    truth = log_density(x[:, None], y, density)
    exact = summaries(truth, truth)
    below_y = truth.exp().cumsum(-1) * _spacing(y)
    own = 2 * float((below_y * (1 - below_y)).sum(-1).mean()) * _spacing(y)  # E|y - y'| = 2 int F (1 - F)
    return {f"true_{name}": float(exact[name]) for name in ("entropy", "information")} | {"own_distance": own}


def summaries(log_model: Tensor, log_truth: Tensor) -> dict[str, Tensor]:
    """By the midpoint rule from log densities (..., X, Y) on the grid, for uniform x; each (...), in nats."""
    spacing = _spacing(_grid()[1])
    model, truth = log_model.exp(), log_truth.exp()
    conditional = -(torch.xlogy(model, model)).sum(-1).mean(-1) * spacing
    marginal = model.mean(-2)
    information = -torch.xlogy(marginal, marginal).sum(-1) * spacing - conditional
    divergence = (truth * (log_truth - log_model)).sum(-1).mean(-1) * spacing
    return {"entropy": conditional, "information": information, "divergence": divergence}


def _grid() -> tuple[Tensor, Tensor]:
    """Middles of equal cells of x in [-1, 1] and y in the samplers' range."""
    x, y = ((torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 - 1 for n in (NODES_X, NODES_Y))
    return x, y * RANGE


def _spacing(y: Tensor) -> float:
    return float(y[1] - y[0])


def _correlations(frame: pd.DataFrame, value: str, density: str) -> list[float]:
    """Spearman's rank correlation of the value with sigma, one per seed; NaN where a member diverged."""
    rows = frame[(frame.sampler == "langevin") & (frame.density == density)]
    return [_spearman(member.sigma.to_numpy(), member[value].to_numpy()) for _, member in rows.groupby("seed")]


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if not np.isfinite(second).all():
        return math.nan
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _means(frame: pd.DataFrame, value: str) -> str:
    """Means over seeds at the smallest and largest sigma and with uniform negatives, per density."""
    ends = (frame.sigma.min(), frame.sigma.max())
    parts = []
    for density in DENSITIES:
        rows = frame[frame.density == density]
        low, high = (rows[rows.sigma == sigma][value].mean() for sigma in ends)
        parts.append(f"{density} {low:.3f}, {high:.3f}, {rows[rows.sampler == 'uniform'][value].mean():.3f}")
    return f"(sigma = {ends[0]:g}, sigma = {ends[1]:g}, uniform negatives): {'; '.join(parts)}"


def _decide(frame: pd.DataFrame, value: str, rising: bool, note: str) -> Verdict:
    """Per density: is the mean over seeds of the rank correlation above 0 (or below)? The worse of both."""
    note = f"On two known densities of one action given one observation. {note}"
    check, far = (above, 2.0) if rising else (below, -2.0)
    found = [stats.mean_interval(_correlations(frame, value, density)) for density in DENSITIES]
    intervals = np.clip(found, -1, 1).tolist()  # Student's interval may reach beyond what a correlation can be
    return weakest([check(tuple(interval), 0.0) for interval in intervals], far)._replace(note=note)


def decide_distance(frame: pd.DataFrame) -> Verdict:
    """The distance rises with sigma."""
    note = (
        f"Mean distance {_means(frame, 'distance')}; two independent actions of the data "
        f"{_true(frame, 'own_distance')}. The negatives are near at every sigma: training moves the energy until they "
        f"lie as the positives do, and InfoNCE ends within {_chance(frame):.3f} nats of chance. The trainings on the "
        "particle task, gap/particle_samplers, are not counted here."
    )
    return _decide(frame, "distance", True, note)


def _chance(frame: pd.DataFrame) -> float:
    """The largest mean estimate log(M+1) - L by Langevin's negatives: how far InfoNCE is from telling nothing apart."""
    rows = frame[frame.sampler == "langevin"]
    return float(rows.groupby(["density", "sigma"]).estimate.mean().abs().max())


def decide_entropy(frame: pd.DataFrame) -> Verdict:
    """The model's conditional entropy rises with sigma."""
    note = (
        f"H(y|x) in nats {_means(frame, 'entropy')}; truth {_true(frame, 'true_entropy')}. "
        "The smaller sigma, the flatter the density: nearly noiseless descent gathers the negatives on the positives "
        "down the shallowest slope, and there InfoNCE's gradient vanishes. There are valleys, but shallow ones; the "
        f"lowest energy's distance to a mode: {_means(frame, 'error')}."
    )
    return _decide(frame, "entropy", True, note)


def decide_information(frame: pd.DataFrame) -> Verdict:
    """The model's mutual information falls with sigma."""
    note = (
        f"I(x; y) in nats {_means(frame, 'information')}; truth {_true(frame, 'true_information')}. "
        f"Nor does the estimate log(M+1) - L rise: {_means(frame, 'estimate')}."
    )
    return _decide(frame, "information", False, note)


def decide_divergence(frame: pd.DataFrame) -> Verdict:
    """The divergence of the data from the model rises with sigma."""
    note = (
        f"KL from the data in nats {_means(frame, 'divergence')}. The data's information is fixed; a density is better "
        "only if it is nearer to the data's, and uniform negatives, the farthest ones, bring it nearest."
    )
    return _decide(frame, "divergence", True, note)


def _true(frame: pd.DataFrame, value: str) -> str:
    """The data's value, per density."""
    return ", ".join(f"{frame[frame.density == density][value].iloc[0]:.3f}" for density in DENSITIES)


COMMON = {
    "source": "Ta et al. 2022",
    "location": "Section V, fifth paragraph",
    "measures": "rank correlation with sigma, worse density",
    "smallest_scale": "laptop",
    "refuted_from": "paper",
}
CLAIMS = [
    Claim(
        id="gap.deep-valley.distance",
        statement="Due to a small sigma, many generated negatives are very close to the positives: nearer than at a "
        "large one.",
        decide=decide_distance,
        **COMMON,
    ),
    Claim(
        id="gap.deep-valley.entropy",
        statement="A small sigma leads to deep valleys, conditional densities with very low entropy H(y|x).",
        decide=decide_entropy,
        **COMMON,
    ),
    Claim(
        id="gap.deep-valley.information",
        statement="The small noise scale actually helps in maximising the mutual information I(x; y).",
        decide=decide_information,
        **COMMON,
    ),
    Claim(
        id="gap.deep-valley.divergence",
        statement="So these valleys are favourable: the smaller sigma, the better the conditional density.",
        decide=decide_divergence,
        **COMMON,
    ),
]

PANELS = (
    ("distance", "mean distance of negatives", "own_distance"),
    ("entropy", "$H(y|x)$ of the model (nats)", "true_entropy"),
    ("information", "$I(x; y)$ of the model (nats)", "true_information"),
    ("divergence", "KL from the data (nats)", None),
)


def figure(frame: pd.DataFrame) -> Figure:
    """(a) distance, (b) entropy, (c) information, (d) divergence over sigma; dashed: uniform, dotted: data."""
    drawing, axes = style.panels(2, 2, height=2.3)
    for axis, (value, label, truth) in zip(axes, PANELS, strict=True):
        for density, colour in zip(DENSITIES, (style.BLUE, style.VERMILION), strict=True):
            rows = frame[frame.density == density]
            _draw(axis, rows[rows.sampler == "langevin"], value, colour, density)
            axis.axhline(rows[rows.sampler == "uniform"][value].mean(), color=colour, linestyle="--", linewidth=0.8)
            if truth:
                axis.axhline(rows[truth].iloc[0], color=colour, linestyle=":", linewidth=1.2)
        axis.set(xscale="log", xlabel=r"noise scale $\sigma$", ylabel=label)
    axes[-1].plot([], [], "--", color=style.GREY, label="uniform negatives")
    axes[-1].plot([], [], ":", color=style.GREY, label="the data")
    axes[-1].legend(loc="center left", bbox_to_anchor=(0, 0.33))
    return drawing


def _draw(axis, rows: pd.DataFrame, value: str, colour: str, label: str) -> None:
    """Means over seeds with their intervals."""
    intervals = np.array([stats.mean_interval(group[value]) for _, group in rows.groupby("sigma")])
    center, low, high = intervals.T
    bars = [center - low, high - center]
    axis.errorbar(np.sort(rows.sigma.unique()), center, bars, fmt="o-", color=colour, markersize=3, label=label)
