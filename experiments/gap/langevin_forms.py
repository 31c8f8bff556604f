"""Gap, Appendix B (gap.three-forms): the three published Langevin updates are one, and IBC's is another.

Each formula is written as the paper prints it; all see the same starts and the same noise.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gap._energies import ENERGIES
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.langevin import Gradient, Langevin, State, gradient_of
from imitation.population import normal_like

SHARD_AXES = ("seeds",)

TOLERANCE = 1e-12  # rounding of a few hundred float64 steps, relative to the extent of the path
DISTINCT = 1e-2  # a path that is another one, at every step size of the grid


@dataclass
class Config:
    """energies: names in `_energies`; step_sizes: lambda = eps^2 = 2 tau; shown_*: the path that is drawn."""

    seeds: list[int] = seed_list()
    energies: list[str] = bounded(choices=tuple(ENERGIES))
    step_sizes: list[float] = bounded(1e-6, 0.5)
    iterations: int = bounded(1, 100_000)
    shown_seed: int = bounded(0)
    shown_energy: str = bounded(choices=tuple(ENERGIES))
    shown_step_size: float = bounded(1e-6, 0.5)
    shown_iterations: int = bounded(1, 100_000)


def du_mordatch(position: Tensor, gradient: Gradient, step_size: Tensor, noise: Tensor) -> Tensor:
    """Appendix B, 1): y' = y - lambda/2 dE + psi, psi ~ N(0, lambda)."""
    return position - step_size / 2 * gradient(position) + torch.sqrt(step_size) * noise


def girolami_calderhead(position: Tensor, gradient: Gradient, step_size: Tensor, noise: Tensor) -> Tensor:
    """Appendix B, 2): y' = y - eps^2/2 dE + eps w, with eps^2 = lambda."""
    epsilon = torch.sqrt(step_size)
    return position - epsilon**2 / 2 * gradient(position) + epsilon * noise


def euler_maruyama(position: Tensor, gradient: Gradient, step_size: Tensor, noise: Tensor) -> Tensor:
    """Appendix B, 3), eq. (8): y' = y - tau dE + sqrt(2 tau) w, with 2 tau = lambda."""
    tau = step_size / 2
    return position - tau * gradient(position) + torch.sqrt(2 * tau) * noise


def _library(form: Literal["true", "ibc"]):
    def update(position: Tensor, gradient: Gradient, step_size: Tensor, noise: Tensor) -> Tensor:
        return Langevin(form).step(State(position), gradient, step_size, noise)[0].position

    return update


UPDATES = {
    "Du & Mordatch": du_mordatch,
    "Girolami & Calderhead": girolami_calderhead,
    "Euler-Maruyama": euler_maruyama,
    "imitation, true": _library("true"),
    "imitation, ibc": _library("ibc"),
}
REFERENCE, *OTHERS = UPDATES
COLUMNS = ["kind", "seed", "energy", "step_size", "form", "difference", "iteration", "x", "y"]


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Per seed, energy, step size and form the largest difference from Du & Mordatch's path; one path as an example."""
    frames = []
    for done, energy in enumerate(cfg.energies):
        paths = _paths(cfg, energy, context)
        frames.append(_differences(cfg, paths).assign(kind="difference", energy=energy))
        if energy == cfg.shown_energy and cfg.shown_seed in cfg.seeds and cfg.shown_step_size in cfg.step_sizes:
            frames.append(_example(cfg, paths))
        context.progress(done + 1, len(cfg.energies))
    return pd.concat(frames, ignore_index=True).reindex(columns=COLUMNS)


def _paths(cfg: Config, energy: str, context: Context) -> dict[str, np.ndarray]:
    """Paths (iterations + 1, P, L, 2) of every form, one chain per seed and step size, all from the same noise."""
    random = context.generators(cfg.seeds)
    gradient = gradient_of(ENERGIES[energy])
    sizes = torch.tensor(cfg.step_sizes, dtype=torch.float64)[:, None]
    shape = torch.empty(len(cfg.seeds), len(cfg.step_sizes), 2, dtype=torch.float64)
    start = 2 * normal_like(shape, random)
    noises = [normal_like(shape, random) for _ in range(cfg.iterations)]
    paths = {}
    for form, update in UPDATES.items():
        path = [start]
        for noise in noises:
            path.append(update(path[-1], gradient, sizes, noise))
        paths[form] = torch.stack(path).numpy()
    return paths


def _differences(cfg: Config, paths: dict[str, np.ndarray]) -> pd.DataFrame:
    """max |y - y_reference| / max |y_reference| over time and coordinates."""
    reference = paths[REFERENCE]
    extent = np.abs(reference).max((0, 3))
    index = pd.MultiIndex.from_product([cfg.seeds, cfg.step_sizes], names=["seed", "step_size"])
    tables = [
        pd.DataFrame({"difference": (np.abs(paths[form] - reference).max((0, 3)) / extent).ravel()}, index)
        .reset_index()
        .assign(form=form)
        for form in OTHERS
    ]
    return pd.concat(tables, ignore_index=True)


def _example(cfg: Config, paths: dict[str, np.ndarray]) -> pd.DataFrame:
    member, size = cfg.seeds.index(cfg.shown_seed), cfg.step_sizes.index(cfg.shown_step_size)
    common = {"kind": "path", "seed": cfg.shown_seed, "energy": cfg.shown_energy, "step_size": cfg.shown_step_size}
    shown = {form: path[: cfg.shown_iterations + 1, member, size] for form, path in paths.items()}
    tables = [
        pd.DataFrame(common | {"form": form, "iteration": range(len(path)), "x": path[:, 0], "y": path[:, 1]})
        for form, path in shown.items()
    ]
    return pd.concat(tables, ignore_index=True)


def decide_three_forms(frame: pd.DataFrame) -> Verdict:
    """All forms but IBC's follow one path to rounding, for every seed, energy and step size; IBC's leaves it."""
    rows = frame[frame.kind == "difference"]
    same, ibc = rows[rows.form != "imitation, ibc"], rows[rows.form == "imitation, ibc"]
    worst, nearest = same.difference.max(skipna=False), ibc.difference.min(skipna=False)
    note = (
        f"Largest difference over {rows.energy.nunique()} energies, {rows.step_size.nunique()} step sizes and "
        f"{rows.seed.nunique()} seeds, relative to the path's extent: {worst:.0e}. "
        f"IBC's path differs by {nearest:.2f} or more."
    )
    complete = set(same.form) == set(OTHERS[:-1]) and len(ibc) > 0
    return holds(bool(complete and worst <= TOLERANCE and nearest > DISTINCT), float(worst), note)


CLAIMS = [
    Claim(
        id="gap.three-forms",
        source="Ta et al. 2022",
        location="Appendix B, 1) to 3)",
        statement="The three published forms are equivalent with lambda = eps^2 = 2 tau; IBC's is not among them.",
        measures="largest relative difference",
        decide=decide_three_forms,
    )
]


LOOKS = {
    "Du & Mordatch": (style.BLUE, "-", 4.0, r"Du & Mordatch ($\lambda$)"),
    "Girolami & Calderhead": (style.ORANGE, "-", 2.2, r"Girolami & Calderhead ($\varepsilon$)"),
    "Euler-Maruyama": (style.BLACK, "-", 1.2, r"Euler-Maruyama ($\tau$)"),
    "imitation, true": (style.SKY, ":", 1.0, "this library, true form"),
    "imitation, ibc": (style.VERMILION, "-", 1.2, r"IBC's: $\lambda$ for $\sqrt{\lambda}$"),
}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) one path of each form over the energy; (b) its first coordinate; (c) differences against the step size."""
    drawing, axes = style.panels(1, 3, height=2.6)
    paths = frame[frame.kind == "path"]
    if len(paths):
        _draw_plane(axes[0], paths)
        _draw_time(axes[1], paths)
        handles, labels = axes[1].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=5, columnspacing=1.2, handlelength=1.6)
    _draw_differences(axes[2], frame[frame.kind == "difference"])
    return drawing


def _draw_plane(axis, paths: pd.DataFrame) -> None:
    spans = [np.linspace(paths[name].min() - 0.7, paths[name].max() + 0.7, 120) for name in ("x", "y")]
    grid = torch.tensor(np.stack(np.meshgrid(*spans), -1))
    height = ENERGIES[paths.energy.iloc[0]](grid).numpy()
    levels = height.min() + np.array([0.3, 1, 2, 4, 8, 16])
    axis.contour(*spans, height, levels=levels, colors=style.GREY, linewidths=0.5, alpha=0.7)
    for form, rows in paths.groupby("form", sort=False):
        colour, line, width, _ = LOOKS[str(form)]
        axis.plot(rows.x, rows.y, line, color=colour, linewidth=width)
    axis.set(xlabel="$y_1$", ylabel="$y_2$")
    axis.set_title(rf"{paths.energy.iloc[0]}, $\lambda$ = {paths.step_size.iloc[0]:g}")


def _draw_time(axis, paths: pd.DataFrame) -> None:
    for form, rows in paths.groupby("form", sort=False):
        colour, line, width, label = LOOKS[str(form)]
        axis.plot(rows.iteration, rows.x, line, color=colour, linewidth=width, label=label)
    axis.set(xlabel="iteration", ylabel="$y_1$")
    axis.set_title("the same noise")


def _draw_differences(axis, rows: pd.DataFrame) -> None:
    floor = math.ulp(1.0) / 2**4  # where the axis ends: paths equal to the last bit are drawn on it
    for form, group in rows.groupby("form", sort=False):
        colour = LOOKS[str(form)][0]
        worst = group.groupby("step_size").difference.max().clip(lower=floor)
        marker = {"Girolami & Calderhead": "o", "Euler-Maruyama": "s", "imitation, true": "x"}.get(str(form), "D")
        axis.plot(worst.index, worst, marker=marker, color=colour, linewidth=1)
    axis.axhline(TOLERANCE, color=style.GREY, linewidth=0.7, linestyle="--")
    axis.set(xscale="log", yscale="log", xlabel=r"step size $\lambda$", ylabel="largest relative difference")
    axis.text(
        1, TOLERANCE * 2, "tolerance", transform=axis.get_yaxis_transform(), ha="right", color=style.GREY, fontsize=7
    )
    axis.set_title("from Du & Mordatch's path")
