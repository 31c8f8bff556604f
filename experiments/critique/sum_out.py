"""Critique, Section 2: is p(s) computable "by simply summing or integrating out actions"? Claims critique.sum-out*.

    p(s) = sum_a e^{f(s)[a]} / Z,   Z = sum over s, or the integral, of sum_a e^{f(s)[a]}

Summing out the actions gives the numerator. Z still runs over all states, and so does the second half of

    grad log p(s) = grad logsumexp_a f(s)[a] - E_{p(s')}[ grad logsumexp_a f(s')[a] ].

Three parts: finitely many states, where everything is exact; what quadrature for Z costs in 1 to 4 dimensions; and
in two dimensions the gradient through quadrature against the one that EDM's sampler estimates.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.critique._confined_network import Network, log_integral, weight_gradient
from experiments.harness import style
from experiments.harness.claim import REPRODUCED, Claim, Verdict, above, below, holds, jointly
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.harness.stats import Interval, bootstrap_interval, mean_interval
from imitation.ebm.joint import log_state_density
from imitation.ebm.langevin import Langevin, gradient_of
from imitation.population import uniform_like

CORRECT, OFFICIAL = "correct noise", "official"
TOLERANCE = 1e-6  # relative error of Z that counts as computed
GROWTH = 5  # evaluations must grow at least so many times with each dimension to be called exponential
MARGIN = 0.1  # relative error of a gradient: an interval below it is "the same", one above it "biased"


@dataclass
class Config:
    """What is built and run.

    states: sizes of the finite state spaces; actions: in all parts; models: random logits per size.
    hidden, model_seed: the network f: R^D -> R^actions, fixed for all seeds; demonstrations: the data's states.
    dimensions: where Z is measured; nodes: grid sizes per dimension; half_width: the grid covers [-h, h]^D;
    reference_nodes, reference_half_width: the grid whose Z counts as true; map_nodes: of the picture of log p.
    alpha, sigma: the sampler's step and the official noise; updates, chains: of the sampler, per setting and seed;
    start: chains start from U(-start, start)^2; shown: samples kept for the picture.
    """

    states: list[int] = bounded(1, 10_000)
    actions: int = bounded(1, 1000)
    models: int = bounded(1, 10_000)
    hidden: int = bounded(1, 1000)
    model_seed: int = bounded(0)
    demonstrations: int = bounded(1, 1_000_000)
    dimensions: list[int] = bounded(1, 6)
    nodes: list[int] = bounded(2, 200)
    half_width: float = bounded(0.1, 20)
    reference_nodes: int = bounded(2, 400)
    reference_half_width: float = bounded(0.1, 20)
    map_nodes: int = bounded(2, 200)
    alpha: float = bounded(1e-5, 1)
    sigma: float = bounded(0, 10)
    updates: int = bounded(1, 1_000_000)
    chains: int = bounded(1, 1_000_000)
    start: float = bounded(0.1, 20)
    shown: int = bounded(1, 10_000)
    seeds: list[int] = seed_list()


def network(cfg: Config, dimension: int, context: Context) -> Network:
    """The fixed network; in fewer dimensions it is the same one with the other coordinates at 0."""
    rng = context.rng(cfg.model_seed)
    shapes = ((cfg.hidden, cfg.actions), (cfg.hidden,), (cfg.actions,), (dimension, cfg.hidden))
    return Network(*(torch.tensor(rng.standard_normal(shape), device=context.device) for shape in shapes))


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """The three parts and a map of log p(s); one row per measurement, `size` being states or nodes per dimension."""
    frames = [_finite(cfg, context), _grids(cfg, context), _map(cfg, context), *_gradients(cfg, context)]
    return pd.concat(frames, ignore_index=True)


COLUMNS = ["quantity", "setting", "seed", "index", "dimension", "size", "s1", "s2", "value", "quadrature", "summed"]


def _rows(quantity: str, setting: str = "", **columns) -> pd.DataFrame:
    frame = pd.DataFrame({"quantity": quantity, "setting": setting} | columns)
    return frame.reindex(columns=COLUMNS).astype(dict.fromkeys(COLUMNS[2:], np.float64))


def joint(logits: Tensor) -> Tensor:
    """p(s, a) of the whole model, normalised over states and actions together: (..., S, A)."""
    return logits.flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:])


def _finite(cfg: Config, context: Context) -> pd.DataFrame:
    """Largest |sum_a p(s, a) - softmax_s logsumexp_a f| on random logits, one row per model."""
    frames = []
    for states in cfg.states:
        draws = context.rng(cfg.model_seed, states).normal(0, 3, (cfg.models, states, cfg.actions))
        logits = torch.tensor(draws, device=context.device)
        error = (joint(logits).sum(-1) - log_state_density(logits).exp()).abs().amax(-1)
        frames.append(_rows("finite", index=range(cfg.models), size=states, value=error.cpu().numpy()))
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def _grids(cfg: Config, context: Context) -> pd.DataFrame:
    """Relative error of Z, one row per dimension and grid size."""
    frames = []
    for dimension in cfg.dimensions:
        net = network(cfg, dimension, context)
        truth = log_integral(net, cfg.reference_nodes, cfg.reference_half_width)
        errors = [float(torch.expm1(log_integral(net, n, cfg.half_width) - truth).abs()) for n in cfg.nodes]
        frames.append(_rows("grid", dimension=dimension, size=cfg.nodes, value=errors))
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def _map(cfg: Config, context: Context) -> pd.DataFrame:
    """log p(s) on [-4, 4]^2."""
    net = network(cfg, 2, context)
    axis = torch.linspace(-4, 4, cfg.map_nodes, dtype=torch.float64, device=context.device)
    states = torch.cartesian_prod(axis, axis)
    density = net.log_summed(states) - log_integral(net, max(cfg.nodes), cfg.half_width)
    s1, s2 = states.T.cpu().numpy()
    return _rows("log density", s1=s1, s2=s2, value=density.cpu().numpy().round(4))  # only drawn, never decided on


def _gradients(cfg: Config, context: Context) -> list[pd.DataFrame]:
    """The gradient of the demonstrations' mean log p(s), weight by weight, three ways, and some of the samples.

    quadrature: through log Z on the finest grid; summed: without Z, the actions summed out alone; value: the
    sampler's, the same with E_{p(s)}[grad logsumexp f] as the mean over one seed's chains.
    """
    net = Network(*(weight.requires_grad_() for weight in network(cfg, 2, context)))
    draws = context.rng(cfg.model_seed, 0).normal((1.0, -0.5), 0.5, (cfg.demonstrations, 2))
    summed = weight_gradient(net.log_summed(torch.tensor(draws, device=context.device)).mean(), net)
    quadrature = summed - weight_gradient(log_integral(net, max(cfg.nodes), cfg.half_width), net)
    samples = _sample(cfg, Network(*(weight.detach() for weight in net)), context)
    known = {"quadrature": quadrature.cpu().numpy(), "summed": summed.cpu().numpy(), "index": range(len(summed))}
    frames = []
    for i, setting in enumerate((CORRECT, OFFICIAL)):
        for member, seed in enumerate(cfg.seeds):
            negative = weight_gradient(net.log_summed(samples[member, i]).mean(), net)
            frames.append(_rows("gradient", setting, seed=seed, value=(summed - negative).cpu().numpy(), **known))
        s1, s2 = samples[0, i, : cfg.shown].T.cpu().numpy().round(4)  # only drawn
        frames.append(_rows("sample", setting, seed=cfg.seeds[0], s1=s1, s2=s2))
    return frames


def _sample(cfg: Config, net: Network, context: Context) -> Tensor:
    """Last positions of chains with the correct and with the official noise, (P, 2, chain, 2).

    The official update s' = s - alpha grad E + sigma w has lambda = 2 alpha, noise scale sigma / sqrt(2 alpha).
    """
    streams, step = context.generators(cfg.seeds), 2 * cfg.alpha
    like = torch.empty((len(streams), 2, cfg.chains, 2), dtype=torch.float64, device=context.device)
    state = uniform_like(like, streams, -cfg.start, cfg.start)
    scales = torch.tensor([1.0, cfg.sigma / step**0.5], dtype=torch.float64, device=context.device)
    langevin = Langevin("true", noise_scale=scales[:, None, None])
    gradient = gradient_of(lambda states: -net.log_summed(states))
    for done in range(0, cfg.updates, 50):
        steps = min(50, cfg.updates - done)
        state = langevin.sample(gradient, state, [step] * steps, streams)[-1]
        context.progress(done + steps, cfg.updates)
    return state


def evaluations(frame: pd.DataFrame) -> dict[int, int]:
    """Evaluations that Z needs, by dimension: of the smallest grid that is within the tolerance, as all finer are.

    A dimension in which the finest grid is not within it is left out.
    """
    needed = {}
    rows = frame[frame.quantity == "grid"].sort_values("size", ascending=False)
    for dimension in sorted(rows.dimension.astype(int).unique().tolist()):
        grids = rows[rows.dimension == dimension]
        fine = grids["size"][(grids.value <= TOLERANCE).cummin()].astype(int)
        if len(fine):
            needed[dimension] = int(fine.min()) ** dimension
    return needed


def gradient_error(frame: pd.DataFrame, setting: str) -> Interval:
    """|mean over seeds of the sampler's gradient - quadrature's| / |quadrature's|, with its bootstrap interval.

    The resampling's own noise only lengthens the difference, so the interval errs on the side of disagreement.
    """
    rows = frame[(frame.quantity == "gradient") & (frame.setting == setting)]
    estimates = rows.pivot(index="seed", columns="index", values="value").to_numpy()  # keeps a diverged seed's NaN
    truth = rows.groupby("index").quadrature.first().to_numpy()
    return bootstrap_interval(
        estimates, lambda sets: np.linalg.norm(sets.mean(1) - truth, axis=-1) / np.linalg.norm(truth)
    )


def decide_sum_out(frame: pd.DataFrame) -> Verdict:
    """Exact for finitely many states; for continuous ones Z is reached in every dimension, at a cost that explodes."""
    error = float(frame[frame.quantity == "finite"].value.max(skipna=False))
    if not error <= 1e-12:
        return holds(False, error, f"Over finitely many states the sum misses p(s) by {error:.0e}.")
    wanted, needed = frame[frame.quantity == "grid"].dimension.unique(), evaluations(frame)
    growths = [needed[d + 1] / needed[d] for d in needed if d + 1 in needed] or [0.0]
    reached = f"Z within {TOLERANCE:.0e} in {len(needed)} of {len(wanted)} dimensions"
    if len(needed) == len(wanted) > 1 and max(growths) < GROWTH:
        note = f"As printed: {reached}, each at no more than {max(growths):.1f} times the cost of the one before."
        return holds(True, max(growths), note)
    if len(needed) < len(wanted) or min(growths) < GROWTH:
        return holds(False, min(growths), f"{reached}; each multiplies its cost by at least {min(growths):.1f}.")
    costs = ", ".join(f"{count:,} in {dimension}-D" for dimension, count in sorted(needed.items()))
    note = (
        "Exact, but only up to Z, which runs over all states: the trapezoidal rule on a full grid needs so many "
        f"evaluations for a relative error of {TOLERANCE:.0e}: {costs}."
    )
    return holds(True, needed[max(needed)]).as_corrected(note)


def decide_gradient(frame: pd.DataFrame) -> Verdict:
    """Correct Langevin samples give quadrature's gradient; the official noise and the sum alone do not."""
    correct, official = gradient_error(frame, CORRECT), gradient_error(frame, OFFICIAL)
    rows = frame[(frame.quantity == "gradient") & (frame.setting == CORRECT)]
    rows = rows[rows.seed == rows.seed.min()]
    alone = float(np.linalg.norm(rows.summed - rows.quadrature) / np.linalg.norm(rows.quadrature))
    accurate = below(correct, MARGIN)
    if below(official, MARGIN).verdict == accurate.verdict == REPRODUCED and alone > MARGIN:
        return accurate.as_corrected(
            f"The sum alone, without Z, is off by {alone:.0%}; for Z samples serve, with EDM's official noise too."
        )
    checks = [accurate, above(official, MARGIN), holds(alone > MARGIN, alone)]
    note = (
        f"The sum alone, without Z, gives a gradient that is off by {alone:.0%}. Z needs quadrature over S or samples: "
        f"Langevin's with the correct noise are off by {correct[0]:.1%}, with EDM's official by {official[0]:.0%}."
    )
    return jointly(checks, note).as_corrected(note)


CLAIMS = [
    Claim(
        id="critique.sum-out",
        source="Swamy et al. 2021",
        location="Section 2, after Example 1",
        statement="One can indeed compute p_theta(s) by simply summing or integrating out actions.",
        measures="evaluations for Z in the highest dimension",
        decide=decide_sum_out,
    ),
    Claim(
        id="critique.sum-out.gradient",
        source="Swamy et al. 2021",
        location="Section 2, after Example 1",
        statement="Backpropagating through log p_theta(s) is possible, contrary to Jarrett et al. 2020.",
        measures="relative error, correct Langevin",
        decide=decide_gradient,
        smallest_scale="laptop",
    ),
]


LOOKS = {
    CORRECT: (style.BLUE, "o", r"Langevin, correct noise $\sqrt{2\alpha}$"),
    OFFICIAL: (style.VERMILION, "s", r"Langevin, official EDM noise"),
}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) log p(s) and samples; (b) gradients, sampled against quadrature; (c) what Z costs."""
    drawing, axes = style.panels(1, 3, height=2.6)
    _draw_map(drawing, axes[0], frame)
    _draw_gradients(axes[1], frame[frame.quantity == "gradient"])
    _draw_costs(axes[2], evaluations(frame))
    handles = [axes[2].plot([], [], marker, color=colour, label=label)[0] for colour, marker, label in LOOKS.values()]
    drawing.legend(handles=handles, loc="outside lower center", ncols=2)
    return drawing


def _draw_map(drawing: Figure, axis, frame: pd.DataFrame) -> None:
    table = frame[frame.quantity == "log density"].pivot_table(index="s2", columns="s1", values="value")
    # The greys stop well before black, so that the samples stand out everywhere.
    image = axis.contourf(table.columns, table.index, table, np.arange(-12, 1, 1), cmap="Greys", vmax=6, extend="min")
    for setting, (colour, marker, _) in LOOKS.items():
        samples = frame[(frame.quantity == "sample") & (frame.setting == setting)]
        axis.plot(samples.s1, samples.s2, marker, color=colour, markersize=1.7, markeredgewidth=0)
    axis.set(xlabel="state $s_1$", ylabel="state $s_2$", xlim=(-4, 4), ylim=(-4, 4))
    axis.set_title("model and samples")
    drawing.colorbar(image, ax=axis, label=r"$\log p_\theta(s)$ (nats)")


def _draw_gradients(axis, rows: pd.DataFrame) -> None:
    for setting, (colour, marker, _) in LOOKS.items():
        weights = rows[rows.setting == setting].groupby("index")
        center, low, high = np.array([mean_interval(values) for _, values in weights.value]).T
        errors = np.nan_to_num([center - low, high - center])
        axis.errorbar(weights.quadrature.first(), center, errors, fmt=marker, color=colour, markersize=2.5,
                      linewidth=0.8)  # fmt: skip
    ends = [rows.quadrature.min(), rows.quadrature.max()]
    axis.plot(ends, ends, color=style.BLACK, linewidth=0.7, zorder=0)
    axis.set(xlabel="by quadrature (nats per unit)", ylabel="by samples, 95 % intervals")
    axis.set_title(r"gradient of mean $\log p_\theta(s)$")


def _draw_costs(axis, needed: dict[int, int]) -> None:
    axis.plot(list(needed), list(needed.values()), "o-", color=style.BLACK)
    for dimension, count in needed.items():
        power = f"${count ** (1 / dimension):.0f}^{dimension}$"
        axis.annotate(power, (dimension, count), (-5, 4), textcoords="offset points", ha="right", fontsize=7)
    axis.set(yscale="log", xlabel="dimension of the state", ylabel="evaluations for $Z$")
    axis.set(xticks=list(needed), xlim=(min(needed, default=1) - 0.7, max(needed, default=1) + 0.3))
    axis.set(ylim=(10, 5 * max(needed.values(), default=10)))
    axis.set_title("$Z$ to a relative error of $10^{-6}$")
