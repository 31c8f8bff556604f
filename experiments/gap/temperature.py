"""Gap, found here (gap.temperature*): IBC's form is true Langevin at temperature lambda sigma^2.

y' = y - lambda/2 dE + lambda sigma w is the true update with its noise scaled by sqrt(lambda) sigma, whose stationary
law is exp(-E / (lambda sigma^2)) as lambda falls to 0. For E = y^2 / (2 s^2) it is known at every lambda < 4 s^2.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.integrate import quad
from torch import Tensor

from experiments.gap._energies import double_well, quadratic
from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, equivalent, holds, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.langevin import Langevin, State, gradient_of
from imitation.population import normal_like

SHARD_AXES = ("seeds",)

PATH_TOLERANCE = 1e-12  # rounding of a few hundred float64 steps, relative to the extent of the path
STD_MARGIN = 0.02  # of the closed form, which is exact at every step size: only sampling noise remains
# The double well's law is exp(-E/T) only as lambda falls to 0. At lambda = .05 the wells (curvature 1) are wider by
# lambda/8 = .6 %; twice that for the second moment, and as much again for sampling noise.
MOMENT_MARGIN = 0.03

EDGES = np.linspace(-5, 5, 41)


@dataclass
class Config:
    """step_sizes, sigmas: the grid on the unit Gaussian; chains, burn_in, kept: of every cell.

    well_step_size, temperatures: the double well's, where sigma = sqrt(temperature / step size).
    """

    seeds: list[int] = seed_list()
    step_sizes: list[float] = bounded(1e-3, 3.9)
    sigmas: list[float] = bounded(1e-6, 100)
    chains: int = bounded(2, 100_000)
    burn_in: int = bounded(0, 100_000)
    kept: int = bounded(1, 100_000)
    path_iterations: int = bounded(1, 10_000)
    well_step_size: float = bounded(1e-4, 1)
    temperatures: list[float] = bounded(1e-2, 100)


ENERGIES = {"quadratic": quadratic, "double well": double_well}
Cell = tuple[Tensor, Tensor]  # lambda and sigma, both (cells, 1)
Expected = float | Tensor | np.ndarray  # one number, or one per cell


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed and condition: `value` is what was measured, `expected` the closed form or quadrature.

    part "path" holds the largest relative difference between the two paths, "std" the unit Gaussian's standard
    deviation, "second moment" and "histogram" (mean density from `low` to `high`) the double well's.
    """
    grid = torch.cartesian_prod(*(torch.tensor(axis, dtype=torch.float64) for axis in (cfg.step_sizes, cfg.sigmas)))
    cells = grid[:, :1], grid[:, 1:]
    frames = [_path_differences(cfg, cells, name, context) for name in ENERGIES]
    frames.append(_gaussian(cfg, cells, context))
    context.progress(1, 2)
    frames.append(_double_well(cfg, context))
    context.progress(2, 2)
    return pd.concat(frames, ignore_index=True)


def _path_differences(cfg: Config, cells: Cell, name: str, context: Context) -> pd.DataFrame:
    """IBC's path against the true form's at noise scale sqrt(lambda) sigma: same start, same noise."""
    sizes, sigmas = cells
    paths = []
    for kernel in (Langevin("ibc", sigmas), Langevin("true", sizes.sqrt() * sigmas)):
        random = context.generators(cfg.seeds)
        start = normal_like(torch.empty(len(cfg.seeds), len(sizes), 2, dtype=torch.float64), random)
        steps = [sizes] * cfg.path_iterations
        paths.append(kernel.sample(gradient_of(ENERGIES[name]), start, steps, random, keep=cfg.path_iterations))
    relative = (paths[0] - paths[1]).abs().amax((0, 3)) / paths[0].abs().amax((0, 3))
    return _rows(cfg, cells, relative, "path", name)


def _gaussian(cfg: Config, cells: Cell, context: Context) -> pd.DataFrame:
    """Standard deviation over chains and the kept iterations, started at the mode so that spread must be built up."""
    sizes, sigmas = cells
    kernel, random = Langevin("ibc", sigmas), context.generators(cfg.seeds)
    state = State(torch.zeros(len(cfg.seeds), len(sizes), cfg.chains, dtype=torch.float64))  # chains of one dimension
    total, squares = torch.zeros_like(state.position), torch.zeros_like(state.position)
    for iteration in range(cfg.burn_in + cfg.kept):
        state, _ = kernel.step(state, lambda y: y, sizes, normal_like(state.position, random))
        if iteration >= cfg.burn_in:
            total += state.position
            squares += state.position.square()
        context.progress(iteration, 2 * (cfg.burn_in + cfg.kept))
    mean = total.mean(-1) / cfg.kept
    std = (squares.mean(-1) / cfg.kept - mean.square()).sqrt()
    closed = sizes.sqrt() * sigmas / (1 - sizes / 4).sqrt()
    return _rows(cfg, cells, std, "std", "quadratic", closed)


def _double_well(cfg: Config, context: Context) -> pd.DataFrame:
    """Second moment and histogram at each temperature, from starts over both wells, against quadrature."""
    temperatures = torch.tensor(cfg.temperatures, dtype=torch.float64)[:, None]
    sizes = torch.full_like(temperatures, cfg.well_step_size)
    cells, random = (sizes, (temperatures / sizes).sqrt()), context.generators(cfg.seeds)
    start = 2 * normal_like(torch.empty(len(cfg.seeds), len(sizes), cfg.chains, dtype=torch.float64), random)
    gradient = gradient_of(lambda y: double_well(y[..., None]))
    draws = Langevin("ibc", cells[1]).sample(
        gradient, start, [sizes] * (cfg.burn_in + cfg.kept), random, keep=cfg.kept
    )  # (kept, P, T, chains)
    moment, law = draws.square().mean((0, 3)), _law(cfg.temperatures)
    frames = [_rows(cfg, cells, moment, "second moment", "double well", law["moment"])]
    for (low, high), density, expected in zip(pairwise(EDGES), _densities(draws), law["density"], strict=True):
        frames.append(_rows(cfg, cells, density, "histogram", "double well", expected).assign(low=low, high=high))
    return pd.concat(frames, ignore_index=True)


def _densities(draws: Tensor) -> Tensor:
    """Share of the draws (kept, P, T, chains) in each bin over its width: (bins, P, T)."""
    each = draws.permute(1, 2, 0, 3).flatten(2).numpy()  # (P, T, draws)
    limits = (EDGES[0], EDGES[-1])  # equal bins between two limits are counted much faster than bins by their edges
    counts = [[np.histogram(cell, len(EDGES) - 1, limits)[0] for cell in member] for member in each]
    return torch.tensor(np.array(counts) / (each.shape[-1] * np.diff(EDGES))).permute(2, 0, 1)


def _law(temperatures: list[float]) -> dict[str, np.ndarray]:
    """By quadrature of exp(-E/T): the second moment (T,) and the mean density of each bin (bins, T)."""

    def integral(temperature: float, power: int, low: float = -np.inf, high: float = np.inf) -> float:
        def integrand(y: float) -> float:
            return y**power * math.exp(-float(double_well(torch.tensor([y], dtype=torch.float64))) / temperature)

        return quad(integrand, low, high)[0]

    constant = np.array([integral(one, 0) for one in temperatures])
    moment = np.array([integral(one, 2) for one in temperatures]) / constant
    bins = [[integral(one, 0, low, high) / (high - low) for one in temperatures] for low, high in pairwise(EDGES)]
    return {"moment": moment, "density": np.array(bins) / constant}


def _rows(cfg: Config, cells: Cell, values: Tensor, part: str, energy: str, expected: Expected = 0.0) -> pd.DataFrame:
    """Values (P, cells) as rows, the conditions beside them."""
    count = len(cells[0])
    columns = {"step_size": cells[0], "sigma": cells[1], "expected": torch.as_tensor(expected).reshape(-1, 1)}
    conditions = {
        name: np.tile(column.expand(count, 1).flatten().numpy(), len(cfg.seeds)) for name, column in columns.items()
    }
    leading = {"part": part, "energy": energy, "seed": np.repeat(cfg.seeds, count)}
    return pd.DataFrame(leading | conditions | {"value": values.flatten().numpy()})


def decide_path(frame: pd.DataFrame) -> Verdict:
    """The two forms follow the same path to rounding in every cell."""
    rows = frame[frame.part == "path"]
    worst = rows.value.max(skipna=False)
    note = f"Largest relative difference over {len(rows)} paths on {rows.energy.nunique()} energies."
    return holds(bool(worst <= PATH_TOLERANCE), float(worst), note)


def _relative(frame: pd.DataFrame, part: str, margin: float) -> list[Verdict]:
    """Per cell: is the mean over seeds of value / expected - 1 within the margin?"""
    rows = frame[frame.part == part]
    error = rows.value / rows.expected - 1
    return [
        equivalent(stats.mean_interval(cell), 0.0, margin) for _, cell in error.groupby([rows.step_size, rows.sigma])
    ]


def decide_temperature(frame: pd.DataFrame) -> Verdict:
    """The standard deviation matches the closed form in every cell; so does the double well's second moment."""
    gaussian, well = _relative(frame, "std", STD_MARGIN), _relative(frame, "second moment", MOMENT_MARGIN)
    worst, second = weakest(gaussian), weakest(well)
    cells = frame[frame.part == "std"]
    wider = (cells.expected / (np.sqrt(cells.step_size) * cells.sigma) - 1).max()
    note = (
        f"Standard deviation against the closed form over {len(gaussian)} cells: worst {worst.measured:+.2%}; the step "
        f"itself widens it by up to {wider:.0%} (lambda = {cells.step_size.max():g}). "
        f"Double well's second moment against quadrature of exp(-E/T): worst {second.measured:+.2%}."
    )
    return weakest([worst, second])._replace(note=note)


CLAIMS = [
    Claim(
        id="gap.temperature",
        source="Ta et al. 2022",
        location="eq. (6); found here",
        statement="(Found here) IBC's form samples exp(-E/T) at T = lambda sigma^2, up to the step's own error.",
        measures="relative error of std or second moment, worst cell",
        decide=decide_temperature,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.temperature.path",
        source="Ta et al. 2022",
        location="eqs. (5), (6); found here",
        statement="(Found here) IBC's form is the true form with its noise scaled by sqrt(lambda) sigma: one path.",
        measures="largest relative difference, worst cell",
        decide=decide_path,
    ),
]

MARKERS = "osD^v<>"
SIGMA_COLOURS = (style.ORANGE, style.GREEN, style.PURPLE, style.VERMILION, style.SKY, style.BLACK, style.GREY)
TEMPERATURE_COLOURS = (style.BLACK, style.SKY, style.GREY)


def figure(frame: pd.DataFrame) -> Figure:
    """(a) standard deviation on the unit Gaussian; (b) its relative error; (c) the double well against exp(-E/T)."""
    drawing, axes = style.panels(1, 3, height=2.5)
    rows = frame[frame.part == "std"]
    _draw_std(axes[0], rows)
    _draw_error(axes[1], rows.assign(value=100 * (rows.value / rows.expected - 1)))
    _draw_well(axes[2], frame[frame.part == "histogram"])
    return drawing


def _draw_std(axis, rows: pd.DataFrame) -> None:
    span = np.geomspace(rows.step_size.min(), rows.step_size.max(), 200)
    for colour, marker, (sigma, group) in zip(SIGMA_COLOURS, MARKERS, rows.groupby("sigma"), strict=False):
        closed = np.sqrt(span) * sigma / np.sqrt(1 - span / 4)
        axis.plot(span, closed, color=colour, linewidth=1)
        _points(axis, group, "step_size", colour, marker)
        axis.annotate(rf"$\sigma$ = {sigma:g}", (span[-1], closed[-1]), (5, -3), textcoords="offset points", fontsize=7)
    axis.plot(span, 1 / np.sqrt(1 - span / 4), "--", color=style.BLUE, linewidth=1)
    axis.text(span[0], 1.2, r"true form, $\sigma$ = 1", color=style.BLUE, fontsize=7)
    axis.set(
        xscale="log",
        yscale="log",
        xlim=(span[0] / 1.3, span[-1] * 8),
        xlabel=r"step size $\lambda$",
        ylabel="standard deviation of $y$",
    )
    axis.set_title("IBC's form, unit Gaussian\nlines: closed form")


def _draw_error(axis, rows: pd.DataFrame) -> None:
    sigmas = sorted(rows.sigma.unique())
    for place, (colour, marker, sigma) in enumerate(zip(SIGMA_COLOURS, MARKERS, sigmas, strict=False)):
        group = rows[rows.sigma == sigma]
        apart = group.step_size * 1.06 ** (place - (len(sigmas) - 1) / 2)  # side by side, so that bars can be seen
        label = rf"$\sigma$ = {sigma:g}"
        _points(axis, group.assign(step_size=apart), "step_size", colour, marker, label)
    for level, line in ((0, "-"), (100 * STD_MARGIN, "--"), (-100 * STD_MARGIN, "--")):
        axis.axhline(level, color=style.GREY, linewidth=0.7, linestyle=line)
    axis.set(xscale="log", xlabel=r"step size $\lambda$", ylabel="relative error (%)")
    axis.set_title("(a) against its closed form\nbars: 95 % over seeds")
    axis.legend(ncols=2, loc="lower center", columnspacing=1, handletextpad=0.2)
    axis.set_ylim(-100 * STD_MARGIN * 1.8, 100 * STD_MARGIN * 1.25)


def _draw_well(axis, rows: pd.DataFrame) -> None:
    rows = rows.assign(middle=(rows.low + rows.high) / 2, temperature=(rows.step_size * rows.sigma**2).round(9))
    groups = rows.groupby("temperature")
    for colour, marker, (temperature, group) in zip(TEMPERATURE_COLOURS, MARKERS, groups, strict=False):
        expected = group.groupby("middle").expected.first()
        axis.plot(expected.index, expected, color=colour, linewidth=1)
        _points(axis, group, "middle", colour, marker, f"{temperature:g}")
    axis.set(xlabel="$y$", ylabel="density", ylim=(0, 1.5 * rows.expected.max()))
    axis.set_title("double well; lines: $e^{-E/T}/Z$\nbars: 95 % over seeds")
    axis.legend(title=r"$T = \lambda \sigma^2$", ncols=3, loc="upper center", columnspacing=1, handletextpad=0.2)


def _points(axis, rows: pd.DataFrame, by: str, colour: str, marker: str, label: str | None = None) -> None:
    """Means over seeds with their intervals."""
    intervals = np.array([stats.mean_interval(group.value) for _, group in rows.groupby(by)])
    center, low, high = intervals.T
    places = np.sort(rows[by].unique())
    bars = [center - low, high - center]
    axis.errorbar(
        places, center, bars, fmt=marker, color=colour, markersize=2.5, capsize=1.5, elinewidth=0.7, label=label
    )
