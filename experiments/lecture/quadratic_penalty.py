"""Lecture, footnote 1: does a quadratic penalty on lambda keep it bounded where no policy has the moments?

The expert's moments are a vertex mu(pi_u) of what policies can reach, moved by `offset` along the outward direction u.
The vertex stays the nearest point, so that the distance to all policies is the offset exactly. At offset 0 the moments
are those of a deterministic policy, which no soft policy attains; a soft-optimal expert's are attained.

With penalty rho the optimum leaves the gap mu - mu_E = -rho lambda: at least the distance, so that |lambda| lies
between offset/rho and |mu(uniform) - mu_E|/rho. Without penalty |lambda_t| grows by step x offset in every iteration.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture._random_games import member, random_games
from experiments.lecture.dual import recorded
from imitation.mdp.games import DualPath, convex_maxent, dual_maxent, smoothness_step
from imitation.mdp.horizon import repeated, value_iteration
from imitation.mdp.maxent import MomentGame
from imitation.mdp.tabular import TabularMDP

SHARD_AXES = ("seeds",)
ATTAINED, VERTEX, OUTSIDE = "attained", "deterministic expert", "misspecified"
CASES = (ATTAINED, VERTEX, OUTSIDE)
GAP_TOLERANCE = 1e-8  # of gap = rho lambda
CONVEX_TOLERANCE = 1e-6  # relative, of lambda against L-BFGS's with the same penalty
GROWTH = 0.02  # relative, of |lambda_T| - |lambda_{T/2}| against step x offset x T/2


@dataclass
class Config:
    """offset: distance of the misspecified moments from all policies'; penalties: rho; iterations: of the gradient."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 100)
    actions: int = bounded(2, 20)
    horizon: int = bounded(1, 100)
    offset: float = bounded(0.01, 10)
    penalties: list[float] = bounded(1e-3, 100, unique=True)
    iterations: int = bounded(4, 100_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, case, penalty (0: none) and recorded iteration.

    `multipliers` |lambda|, `gap` |mu - mu_E|, `residual` |mu - mu_E + rho lambda|, `start` the gap of the uniform
    policy, `step` the step size, `distance` of mu_E to all policies' moments, `to_convex` |lambda - L-BFGS's|.
    """
    games = random_games(context, cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, 1.0)
    directions = torch.from_numpy(np.stack([context.rng(seed, 7).normal(size=2) for seed in cfg.seeds]))
    experts = {
        ATTAINED: games.game.expert,
        VERTEX: beyond_vertex(games.game, directions, 0.0),
        OUTSIDE: beyond_vertex(games.game, directions, cfg.offset),
    }
    runs = [(case, penalty) for case in CASES for penalty in (0.0, *cfg.penalties)]
    expert = torch.stack([experts[case] for case, _ in runs], 1)  # (P, R, K): all runs of a process at once
    penalties = torch.tensor([[penalty] for _, penalty in runs], dtype=torch.float64)
    path, step = _paths(games.game, expert, penalties, cfg.iterations)
    frames = []
    for index, (case, penalty) in enumerate(runs):
        convex = _convex(games.game, expert[:, index], penalty)
        table = _recorded(cfg, DualPath(*(part[:, :, index] for part in path)), expert[:, index], penalty, convex)
        distance = cfg.offset if case == OUTSIDE else 0.0
        frames.append(table.assign(case=case, penalty=penalty, distance=distance))
        frames[-1]["step"] = np.tile(step[:, index, 0].numpy(), len(table) // len(cfg.seeds))
        context.progress(index + 1, len(runs))
    return pd.concat(frames, ignore_index=True)


def beyond_vertex(game: MomentGame, directions: Tensor, offset: float) -> Tensor:
    """mu(pi_u) + offset u, (P, K), where pi_u is best for the reward u . f, |u| = 1."""
    unit = directions / directions.norm(dim=-1, keepdim=True)
    plan = value_iteration(game.mdp, repeated(game.reward(unit), game.horizon))
    return game.moments(plan.log_policy) + offset * unit


def _paths(game: MomentGame, expert: Tensor, penalties: Tensor, iterations: int) -> tuple[DualPath, Tensor]:
    """The dual's path for R experts in every process, and the step sizes (P, R, 1)."""
    shared = TabularMDP(game.mdp.transition[:, None], game.mdp.initial[:, None])
    all_runs = MomentGame(shared, game.features[:, None], expert, game.horizon)
    step = smoothness_step(all_runs, penalties)
    return dual_maxent(all_runs, step, iterations, penalties), step


def _convex(game: MomentGame, expert: Tensor, penalty: float) -> Tensor:
    """L-BFGS's multipliers (P, K), NaN without a penalty: there may be no optimum."""
    if not penalty:
        return torch.full_like(expert, torch.nan)
    one = MomentGame(game.mdp, game.features, expert, game.horizon)
    return torch.stack([convex_maxent(member(one, index), penalty) for index in range(len(expert))])


def _recorded(cfg: Config, path: DualPath, expert: Tensor, penalty: float, convex: Tensor) -> pd.DataFrame:
    gaps, frames = path.moments - expert, []
    for iteration in sorted({*recorded(cfg.iterations), cfg.iterations // 2}):
        now = path.multipliers[iteration - 1]
        columns = {
            "multipliers": now.norm(dim=-1),
            "gap": gaps[iteration - 1].norm(dim=-1),
            "residual": (gaps[iteration - 1] + penalty * now).norm(dim=-1),
            "start": gaps[0].norm(dim=-1),
            "to_convex": (now - convex).norm(dim=-1),
        }
        table = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
        frames.append(table.assign(seed=cfg.seeds, iteration=iteration))
    return pd.concat(frames, ignore_index=True)


def decide(frame: pd.DataFrame) -> Verdict:
    """Misspecified: without penalty lambda grows at the known rate, with it lambda converges within known bounds."""
    last = int(frame.iteration.max())
    rows = frame[frame.case == OUTSIDE]
    free = rows[rows.penalty == 0].pivot(index="seed", columns="iteration", values="multipliers")
    step = rows[(rows.penalty == 0) & (rows.iteration == last)].set_index("seed")
    rate = (free[last] - free[last // 2]) / (step.step * step.distance * (last - last // 2))
    grows = bool(((rate - 1).abs() <= GROWTH).all())
    kept = frame[(frame.penalty > 0) & (frame.iteration == last)]
    outside = kept[kept.case == OUTSIDE]
    settled = bool((kept.residual <= GAP_TOLERANCE).all())
    settled = settled and bool((kept.to_convex <= CONVEX_TOLERANCE * (1 + kept.multipliers)).all())
    slack = 1e-9 * outside.multipliers
    above = bool((outside.multipliers >= outside.distance / outside.penalty - slack).all())
    course = frame[(frame.penalty > 0) & (frame.case == OUTSIDE)]
    bounded = above and bool((course.multipliers <= course.start / course.penalty * (1 + 1e-9)).all())
    biased = kept[kept.case == ATTAINED].gap
    note = (
        f"Without it |lambda| reaches {free[last].mean():.0f} after {last} iterations and grows on, at "
        f"{rate.mean():.4f} of the known rate step x distance. With it |lambda| never exceeds start gap/rho, "
        f"ends above distance/rho, and equals L-BFGS's. The price: where the moments are attainable it leaves a gap of "
        f"{biased.min():.1g} to {biased.max():.2g}, rho |lambda|."
    )
    return holds(grows and settled and bounded and not outside.empty, float(outside.multipliers.max()), note)


CLAIMS = [
    Claim(
        id="lecture.quadratic-penalty",
        source="Lecture 18",
        location="Footnote 1",
        statement="Where no policy satisfies the constraints a quadratic penalty regularises (bounds) the multipliers.",
        measures="largest |lambda| with penalty",
        decide=decide,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) |lambda| without penalty, (b) with it where misspecified; (c) the gap that remains against the penalty."""
    drawing, axes = style.panels(1, 3, height=2.6)
    looks = {ATTAINED: (style.BLUE, "o-"), VERTEX: (style.GREEN, "^--"), OUTSIDE: (style.VERMILION, "s:")}
    last = frame.iteration.max()
    for case, (colour, line) in looks.items():
        rows = frame[frame.case == case]
        _draw(axes[0], rows[rows.penalty == 0], "iteration", "multipliers", colour, line, case)
        shown = rows[(rows.penalty > 0) & (rows.iteration == last)]
        _draw(axes[2], shown, "penalty", "gap", colour, line, case)
    outside = frame[frame.case == OUTSIDE]
    penalties = sorted(outside.penalty.unique())
    colours = (style.VERMILION, style.ORANGE, style.PURPLE, style.SKY, style.GREY)
    for penalty, colour in zip(penalties, colours, strict=False):
        rows = outside[outside.penalty == penalty]
        _draw(axes[1], rows, "iteration", "multipliers", colour, "s:" if not penalty else "-", rf"$\rho$ = {penalty:g}")
    axes[2].axhline(
        outside.distance.iloc[0], color=style.BLACK, linewidth=0.8, linestyle="--", label=r"distance of $\mu_E$"
    )
    axes[0].set(xlabel="iterations", ylabel=r"$|\lambda|$", title="no penalty")
    axes[1].set(xlabel="iterations", ylabel=r"$|\lambda|$", title="misspecified")
    axes[2].set(xlabel=r"penalty $\rho$", ylabel=r"moment gap $|\mu-\mu_E|$", title="what the penalty costs")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
    axes[1].legend(loc="upper left", fontsize=6)
    drawing.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=4, columnspacing=1)
    return drawing


def _draw(axis, rows: pd.DataFrame, along: str, value: str, colour: str, line: str, label: str) -> None:
    """Lambda starts at 0, which a log axis leaves out."""
    values = rows[rows[value] > 0].groupby(along)[value]
    style.median_and_range(axis, values, line, color=colour, markersize=3, label=label)
