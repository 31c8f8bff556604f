"""EDM's official sampler on a unit Gaussian: does it sample p(s)? Claims edm.sgld-temperature and its two parts.

The official code of Jarrett et al. 2020 moves a state by s' = s - alpha grad E(s) + sigma w, with w standard normal.
That is Langevin's update at temperature T = sigma^2 / (2 alpha): it samples exp(-E / T). On E = s^2 / 2 the state is
an autoregression, so every variance below has a closed form, while p(s) itself has variance 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, below, equivalent, jointly, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.harness.stats import Interval, mean_interval
from imitation.ebm.sgld import (
    OFFICIAL_ALPHA,
    OFFICIAL_REINITIALISED,
    OFFICIAL_SIGMA,
    OFFICIAL_STEPS,
    buffer_variance,
    correct_noise,
    kernel,
    stationary_variance,
)
from imitation.population import Generators, uniform_like

OFFICIAL, CORRECT = "official", "correct noise"
MARGIN = 0.05  # relative, for "equal"
FAR = 0.5  # a variance below this is not the target's 1 under any reading
SHARD_AXES = ("seeds",)


@dataclass
class Config:
    """What is run; lengths are numbers of updates of the state.

    alpha, sigma: the official step and noise; alphas, sigmas: the grid on which the closed form is checked.
    chains: independent ones per setting and seed; burn_in: updates before the first draw; draws: positions used of
    each chain; spacing: updates from one to the next.
    buffer: states kept between the policy's updates; visits: how often each is picked up; steps: updates per visit;
    reinitialised: probability that a visit starts afresh from U(-1, 1).
    bins: of the densities.
    """

    alpha: float = bounded(1e-4, 1)
    sigma: float = bounded(1e-6, 10)
    alphas: list[float] = bounded(1e-4, 1)
    sigmas: list[float] = bounded(1e-6, 10)
    chains: int = bounded(1, 1_000_000)
    burn_in: int = bounded(1, 1_000_000)
    draws: int = bounded(1, 1_000_000)
    spacing: int = bounded(1, 1_000_000)
    buffer: int = bounded(1, 1_000_000)
    visits: int = bounded(2, 10_000)
    steps: int = bounded(1, 10_000)
    reinitialised: float = bounded(0, 1)
    bins: int = bounded(2, 200)
    seeds: list[int] = seed_list()


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Mean squares of long chains and of the buffer's states beside their closed forms, and densities, per seed."""
    streams = context.generators(cfg.seeds)
    chain_updates = cfg.burn_in + cfg.draws * cfg.spacing
    updates = chain_updates + cfg.visits * cfg.steps
    frames = [
        _chains(cfg, streams, context.device, lambda done: context.progress(done, updates)),
        _buffers(cfg, streams, context.device, lambda done: context.progress(chain_updates + done, updates)),
    ]
    return pd.concat(frames, ignore_index=True)


Settings = list[tuple[str, float, float]]  # (name, alpha, sigma)


def _two_settings(cfg: Config) -> Settings:
    return [(OFFICIAL, cfg.alpha, cfg.sigma), (CORRECT, cfg.alpha, correct_noise(cfg.alpha))]


def _chains(cfg: Config, streams: Generators, device: torch.device, progress: Callable[[int], None]) -> pd.DataFrame:
    """Long chains under both settings and on the grid; all that matters is drawn after the burn-in."""
    grid = [("grid", alpha, sigma) for alpha in cfg.alphas for sigma in cfg.sigmas]
    settings = _two_settings(cfg) + grid
    advance, state = _prepare(settings, cfg.chains, streams, device)
    state = advance(state, cfg.burn_in)
    squares, drawn = torch.zeros_like(state), []
    for draw in range(1, cfg.draws + 1):
        state = advance(state, cfg.spacing)
        squares += state**2
        drawn.append(state[:, :2])
        progress(cfg.burn_in + draw * cfg.spacing)
    closed = [stationary_variance(alpha, sigma) for _, alpha, sigma in settings]
    variances = _variances("stationary", settings, cfg, squares / cfg.draws, closed)
    return pd.concat([variances, _densities("stationary", settings[:2], cfg, drawn)], ignore_index=True)


def _buffers(cfg: Config, streams: Generators, device: torch.device, progress: Callable[[int], None]) -> pd.DataFrame:
    """The buffer as the official code runs it; the first half of the visits only settles it.

    The states of a buffer never meet, so visiting all of them in turn has the law of the official random batches.
    """
    settings = _two_settings(cfg)
    advance, state = _prepare(settings, cfg.buffer, streams, device)
    squares, drawn = torch.zeros_like(state), []
    for visit in range(1, cfg.visits + 1):
        afresh = uniform_like(state, streams) < cfg.reinitialised
        state = advance(torch.where(afresh, uniform_like(state, streams, -1.0, 1.0), state), cfg.steps)
        if visit > cfg.visits // 2:
            squares += state**2
            drawn.append(state[:, :1])
        progress(visit * cfg.steps)
    closed = [buffer_variance(alpha, sigma, cfg.steps, cfg.reinitialised) for _, alpha, sigma in settings]
    variances = _variances("buffer", settings, cfg, squares / len(drawn), closed)
    return pd.concat([variances, _densities("buffer", settings[:1], cfg, drawn)], ignore_index=True)


def _prepare(
    settings: Settings, chains: int, streams: Generators, device: torch.device
) -> tuple[Callable[[Tensor, int], Tensor], Tensor]:
    """A function that makes so many updates, and where the chains start: U(-1, 1), shape (P, setting, chain)."""
    pairs = torch.tensor([setting[1:] for setting in settings], dtype=torch.float64, device=device)
    langevin, size = kernel(pairs[:, :1], pairs[:, 1:])
    empty = torch.empty((len(streams), len(settings), chains), dtype=torch.float64, device=device)

    def advance(state: Tensor, updates: int) -> Tensor:
        # E = s^2 / 2 entry by entry: its gradient is the state itself, and every entry is a chain of its own.
        return langevin.sample(lambda position: position, state, [size] * updates, streams)[-1]

    return advance, uniform_like(empty, streams, -1.0, 1.0)


def _variances(sampler: str, settings: Settings, cfg: Config, squares: Tensor, closed: list[float]) -> pd.DataFrame:
    """Mean squares (the target's and the chains' mean is 0), one row per setting and seed."""
    means = squares.mean(-1).cpu().numpy()
    rows = [
        {"quantity": "variance", "sampler": sampler, "setting": name, "alpha": alpha, "sigma": sigma, "seed": seed,
         "low": np.nan, "high": np.nan, "value": means[member, i], "closed_form": closed[i]}
        for i, (name, alpha, sigma) in enumerate(settings) for member, seed in enumerate(cfg.seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _densities(sampler: str, settings: Settings, cfg: Config, drawn: list[Tensor]) -> pd.DataFrame:
    """Histograms of the draws as densities on (-4, 4), one row per setting, seed and bin from `low` to `high`."""
    states = torch.stack(drawn, 2).flatten(2).cpu().numpy()  # (P, setting, draw and chain)
    # Narrow bins in the middle and wide ones outside: standard deviations of .07 and of 1 share the axis.
    edges = (4 * np.sinh(np.linspace(-4, 4, cfg.bins + 1)) / np.sinh(4)).round(4)
    frames = []
    for i, (name, alpha, sigma) in enumerate(settings):
        labels = {"quantity": "density", "sampler": sampler, "setting": name, "alpha": alpha, "sigma": sigma}
        for member, seed in enumerate(cfg.seeds):
            density = np.histogram(states[member, i], edges)[0] / (states.shape[-1] * np.diff(edges))
            bins = {"seed": seed, "low": edges[:-1], "high": edges[1:], "value": density, "closed_form": np.nan}
            frames.append(pd.DataFrame(labels | bins))
    return pd.concat(frames, ignore_index=True)


def _interval(frame: pd.DataFrame, sampler: str, setting: str) -> Interval:
    rows = frame[(frame.quantity == "variance") & (frame.sampler == sampler) & (frame.setting == setting)]
    return mean_interval(rows.value)


def _is(interval: Interval, expected: float) -> Verdict:
    return equivalent(interval, expected, MARGIN * abs(expected))


def decide_stationary(frame: pd.DataFrame) -> Verdict:
    """The official chain settles at its closed form, far below 1, and the correct noise at the target's 1."""
    official, correct = _interval(frame, "stationary", OFFICIAL), _interval(frame, "stationary", CORRECT)
    expected = stationary_variance(OFFICIAL_ALPHA, OFFICIAL_SIGMA)
    note = (
        f"The official step .01 and noise .01 give variance {official[0]:.5f} (closed form {expected:.5f}, temperature "
        f"sigma^2/(2 alpha) = .005) where p(s) has 1; the noise sqrt(2 alpha) = .1414 gives {correct[0]:.3f}."
    )
    return jointly([_is(official, expected), below(official, FAR), _is(correct, 1.0)], note)


def decide_buffer(frame: pd.DataFrame) -> Verdict:
    """With the buffer's fresh starts the variance is the mixture's, still far below 1."""
    official, correct = _interval(frame, "buffer", OFFICIAL), _interval(frame, "buffer", CORRECT)
    expected, corrected = (
        buffer_variance(OFFICIAL_ALPHA, sigma, OFFICIAL_STEPS, OFFICIAL_REINITIALISED)
        for sigma in (OFFICIAL_SIGMA, correct_noise(OFFICIAL_ALPHA))
    )
    note = (
        f"The buffer's states have variance {official[0]:.4f} (closed form {expected:.4f}), not 1: fresh starts widen "
        f"it, not the noise. With the correct noise it is {correct[0]:.3f}: 20 steps do not forget a fresh start."
    )
    return jointly([_is(official, expected), below(official, FAR), _is(correct, corrected)], note)


def decide_temperature(frame: pd.DataFrame) -> Verdict:
    """Every cell of the grid agrees with the stated temperature and with the closed form, whatever the step."""
    rows = frame[(frame.quantity == "variance") & (frame.setting == "grid")]
    checks = []
    for _, cell in rows.groupby(["alpha", "sigma"]):
        alpha, sigma = cell.alpha.iloc[0], cell.sigma.iloc[0]
        temperature, exact = sigma**2 / (2 * alpha), stationary_variance(alpha, sigma)
        checks.append([_is(mean_interval(cell.value / expected), 1.0) for expected in (temperature, exact)])
    stated, closed = (weakest(column, expected=1.0) for column in zip(*checks, strict=True))
    note = (
        f"Measured variance over sigma^2/(2 alpha), the worst of {len(checks)} pairs (alpha, sigma); over the closed "
        f"form sigma^2/(1 - (1 - alpha)^2) at worst {closed.measured:.3f}."
    )
    return jointly([stated, closed], note)


CLAIMS = [
    Claim(
        id="edm.sgld-temperature",
        source="Jarrett et al. 2020, official code",
        location="SGLD settings; found here",
        statement="(Found here) The official sampler does not sample p(s): a unit Gaussian's variance is .005, not 1.",
        printed="noise .01",
        measures="variance, that of p(s) being 1",
        decide=decide_stationary,
        smallest_scale="laptop",
    ),
    Claim(
        id="edm.sgld-temperature.buffer",
        source="Jarrett et al. 2020, official code",
        location="SGLD buffer; found here",
        statement="(Found here) As run, 20 steps a visit, one start in 20 fresh, the official variance is .035.",
        printed="noise .01",
        measures="variance, that of p(s) being 1",
        decide=decide_buffer,
        smallest_scale="laptop",
    ),
    Claim(
        id="edm.sgld-temperature.formula",
        source="Jarrett et al. 2020, official code",
        location="SGLD update; found here",
        statement="(Found here) Step alpha and noise sigma sample at temperature sigma^2/(2 alpha), for small steps.",
        measures="variance over closed form, worst cell",
        decide=decide_temperature,
        smallest_scale="laptop",
    ),
]


LOOKS = {
    ("stationary", OFFICIAL): (style.VERMILION, "o", "official, long chains"),
    ("buffer", OFFICIAL): (style.ORANGE, "s", "official, as run (buffer)"),
    ("stationary", CORRECT): (style.BLUE, "D", r"correct noise $\sqrt{2\alpha}$, long chains"),
}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) variance against the noise; (b) the same over its closed form; (c) densities: target and samples."""
    drawing, axes = style.panels(1, 3, height=2.6)
    variances = frame[frame.quantity == "variance"]
    _draw_variances(axes[0], variances)
    _draw_ratios(axes[1], variances)
    _draw_densities(axes[2], frame[frame.quantity == "density"])
    handles = [axes[2].plot([], [], marker, color=colour, label=label)[0] for colour, marker, label in LOOKS.values()]
    target = axes[2].plot([], [], color=style.BLACK, label="target $p(s)$")
    grid = axes[2].plot([], [], ".", color=style.GREY, label=r"grid of $\alpha$, $\sigma$")
    drawing.legend(handles=target + handles + grid, loc="outside lower center", ncols=5, columnspacing=1.2)
    return drawing


def _points(rows: pd.DataFrame, value: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise levels, means over seeds, and the lengths of the intervals below and above them (0 for a single seed)."""
    intervals = {sigma: mean_interval(cell[value]) for sigma, cell in rows.groupby("sigma")}
    center, low, high = np.array(list(intervals.values())).T
    return np.array(list(intervals)), center, np.nan_to_num([center - low, high - center])


def _looks(rows: pd.DataFrame):
    """The three settings that have names, each with its colour and marker."""
    for (sampler, setting), (colour, marker, _) in LOOKS.items():
        yield rows[(rows.sampler == sampler) & (rows.setting == setting)], colour, marker


def _draw_variances(axis, rows: pd.DataFrame) -> None:
    grid = rows[rows.setting == "grid"]
    noise = np.geomspace(grid.sigma.min(), grid.sigma.max(), 50)
    for alpha in sorted(grid.alpha.unique()):
        curve = [stationary_variance(alpha, one) for one in noise]
        axis.plot(noise, curve, color=style.GREY, linewidth=1)
        axis.annotate(rf"$\alpha$={alpha:g}", (noise[-1], curve[-1]), (4, -2), textcoords="offset points", fontsize=6)
        sigma, center, error = _points(grid[grid.alpha == alpha], "value")
        axis.errorbar(sigma, center, error, fmt=".", color=style.GREY)
    for one, colour, marker in _looks(rows):
        sigma, center, error = _points(one, "value")
        axis.errorbar(sigma, center, error, fmt=marker, color=colour, zorder=3)
    axis.axhline(1, color=style.BLACK)
    axis.set(xscale="log", yscale="log", xlabel=r"noise $\sigma$ (units of $s$)", ylabel="variance of $s$")
    axis.set_title("lines: closed form")


def _draw_ratios(axis, rows: pd.DataFrame) -> None:
    rows = rows.assign(ratio=rows.value / rows.closed_form)
    grid = rows[rows.setting == "grid"]
    for place, (_, cells) in enumerate(grid.groupby("alpha")):
        sigma, center, error = _points(cells, "ratio")
        # Moved apart a little, so that the intervals of the different alphas do not cover each other.
        axis.errorbar(sigma * 1.1 ** (place + 1), center, error, fmt=".", color=style.GREY, linewidth=0.8)
    for one, colour, marker in _looks(rows):
        sigma, center, error = _points(one, "ratio")
        axis.errorbar(sigma * (0.85 if marker == "s" else 1), center, error, fmt=marker, color=colour, markersize=3)
    axis.axhspan(1 - MARGIN, 1 + MARGIN, color=style.GREY, alpha=0.15, linewidth=0)
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set(xscale="log", xlabel=r"noise $\sigma$ (units of $s$)", ylabel="variance / closed form")
    axis.set_title("95 % intervals, margin shaded")


def _draw_densities(axis, rows: pd.DataFrame) -> None:
    state = np.linspace(-3.5, 3.5, 200)
    axis.plot(state, np.exp(-(state**2) / 2) / np.sqrt(2 * np.pi), color=style.BLACK)
    for one, colour, _ in _looks(rows):
        bins = one.groupby(["low", "high"]).value.mean().reset_index()
        shown = bins.value.clip(lower=1e-9)  # empty bins lie below the axis
        axis.stairs(shown, [*bins.low, bins.high.iloc[-1]], baseline=None, color=colour, linewidth=1.2)
    axis.set(yscale="log", ylim=(1e-3, 12), xlim=(-3.5, 3.5), xlabel="state $s$", ylabel="density (per unit of $s$)")
    axis.set_title("what is sampled")
