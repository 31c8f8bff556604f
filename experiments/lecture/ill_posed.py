"""Lecture, below (18.1): without the learner's value in the game a constant reward is optimal.

Without J(pi, f) the game max_pi min_f -J(pi_E, f) does not depend on pi. Among rewards in [-1, 1] the minimum is -H and
the constant 1 attains it, a reward under which every policy is optimal. With J(pi, f) a constant reward is worth 0, and
the worst reward is worth minus the l1 distance of the two laws of states and actions, summed over steps. Leaving the
constants out of R (rewards whose mean is 0) does not help: the payoff still does not depend on the policy.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import linprog
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.mdp.horizon import occupancies, policy_value, repeated, value_iteration
from imitation.mdp.processes import random_processes
from imitation.mdp.tabular import TabularMDP

SHARD_AXES = ("seeds",)
TOLERANCE = 1e-9
DIFFERENT = 1e-3  # per step: what a policy other than the expert must lose with J(pi) in the game
CONSTANT, BOX, CENTRED = "the constant 1", "[-1, 1]", "[-1, 1], mean 0"


@dataclass
class Config:
    """seeds: of the random processes; shares: of the expert in learners that else act by a law drawn per state."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 50)
    actions: int = bounded(2, 20)
    horizon: int = bounded(1, 1000)
    shares: list[float] = bounded(0, 1)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, learner and set of rewards: the game's payoff with and without J(pi), in units of reward.

    `without` is min_f -J(pi_E, f), `with_learner` min_f J(pi, f) - J(pi_E, f), both by linear programming; `distance`
    the l1 distance of the occupancies, `gap` the expert's lead under the true reward. For the constant reward `regret`
    is max_pi' J(pi', f) - J(pi, f).
    """
    frames = []
    for number, seed in enumerate(cfg.seeds):
        frames.append(_one(cfg, context.rng(seed)).assign(seed=seed))
        context.progress(number + 1, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True).assign(horizon=cfg.horizon)


def _one(cfg: Config, rng: np.random.Generator) -> pd.DataFrame:
    drawn = random_processes(1, cfg.states, cfg.actions, rng)
    mdp = TabularMDP(drawn.transition[0], drawn.initial[0])
    true = repeated(torch.from_numpy(rng.uniform(-1, 1, (cfg.states, cfg.actions))), cfg.horizon)
    expert = value_iteration(mdp, true).log_policy.exp()
    other = repeated(torch.from_numpy(rng.dirichlet(np.ones(cfg.actions), cfg.states)), cfg.horizon)
    home = occupancies(mdp, expert)
    rows = []
    for share in cfg.shares:
        learner = share * expert + (1 - share) * other
        away = occupancies(mdp, learner)
        apart = {"distance": float((home - away).abs().sum()), "gap": float(((home - away) * true).sum())}
        fixed = {"share": share, "regret": _regret(mdp, learner)} | apart
        for rewards in (CONSTANT, BOX, CENTRED):
            payoff = {
                "without": worst(game_slope(away, home, with_learner=False), rewards),
                "with_learner": worst(game_slope(away, home, with_learner=True), rewards),
                "constant": float(-home.sum()),  # what the constant 1 pays without J(pi)
            }
            rows.append(fixed | {"rewards": rewards} | payoff)
    return pd.DataFrame(rows)


def game_slope(learner: Tensor, expert: Tensor, with_learner: bool) -> Tensor:
    """The payoff's slope in f_h(s, a) from both occupancies (H, S, A): J(pi, f) - J(pi_E, f), or without J(pi, f).

    The learner is an argument of both games, so that a payoff which depended on it where it must not would show.
    """
    return learner - expert if with_learner else -expert


def worst(slope: Tensor, rewards: str) -> float:
    """min over f_h(s, a) in the set of sum_h slope_h f_h, by linear programming."""
    cost = slope.flatten().numpy()
    if rewards == CONSTANT:
        return float(cost.sum())
    constraint = {"A_eq": np.ones((1, cost.size)), "b_eq": [0.0]} if rewards == CENTRED else {}
    return float(linprog(cost, bounds=(-1, 1), method="highs", **constraint).fun)


def _regret(mdp: TabularMDP, learner: Tensor) -> float:
    """What the best policy has over the learner under the constant reward 1."""
    one = torch.ones_like(learner)
    best, own = value_iteration(mdp, one).value[0], policy_value(mdp, one, learner)[0]
    return float((mdp.initial * (best - own)).sum())


def decide(frame: pd.DataFrame) -> Verdict:
    """Without J(pi): one payoff for all policies, attained by a constant. With it: zero for the expert's law alone."""
    horizon = float(frame.horizon.iloc[0])
    box = frame[frame.rewards == BOX]
    spread = float(frame.groupby(["seed", "rewards"]).without.agg(np.ptp).max(skipna=False))
    attained = float((box.without - box.constant).abs().max(skipna=False))
    regret = float(frame.regret.abs().max(skipna=False))
    others = box[box.share < 1]
    nearest = float(-others.with_learner.max(skipna=False) / horizon) if len(others) else float("nan")
    identity = float((box.with_learner + box.distance).abs().max(skipna=False))
    flat = float(frame[frame.rewards == CONSTANT].with_learner.abs().max(skipna=False))
    lost = float(box.gap.max(skipna=False) / horizon)
    exact = np.max([spread, attained, regret, identity, flat]) <= TOLERANCE * horizon  # NaN stays NaN
    note = (
        "What a policy can lose that solves the game without J(pi), of rewards in [-1, 1]: all policies solve it, "
        f"their payoffs differ by {spread:.1g}. The constant 1 attains the minimum, -{horizon:g}; under it no policy "
        f"has a regret above {regret:.1g}. Sets without constants are no better. With J(pi) the constant is worth "
        f"{flat:.1g}, and every policy but the expert at most {-nearest:.2g} per step, minus the l1 distance of the "
        "occupancies. Which loss to report was chosen after a first look."
    )
    return holds(bool(exact and nearest > DIFFERENT and lost > DIFFERENT), lost, note)


CLAIMS = [
    Claim(
        id="lecture.ill-posed",
        source="Lecture 18",
        location="Section 18.4, below (18.1)",
        statement="Without the learner's value in the game a constant reward is optimal.",
        measures="largest true loss per step of a policy that is optimal without J(pi)",
        decide=decide,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """Payoffs per step against the expert's share in the learner, one line per process: (a) without, (b) with J(pi)."""
    drawing, axes = style.panels(1, 2, height=2.4)
    axes[1].sharey(axes[0])
    looks = {BOX: (style.VERMILION, "-"), CENTRED: (style.BLUE, "--"), CONSTANT: (style.BLACK, ":")}
    titles = {"without": r"without $J(\pi, f)$: $-J(\pi_E, f)$", "with_learner": r"with it: $J(\pi, f) - J(\pi_E, f)$"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for rewards, (colour, dash) in looks.items():
            for number, (_, group) in enumerate(frame[frame.rewards == rewards].groupby("seed")):
                name = f"$f$ in {rewards}" if rewards != CONSTANT else f"$f$: {rewards}"
                label = name if not number else None
                axis.plot(group.share, group[column] / group.horizon, dash, color=colour, linewidth=0.8, label=label)
        axis.set(
            xlabel="expert's share in the learner's policy",
            ylabel=r"$\min_f$ of the payoff per step (reward)",
            title=title,
        )
    axes[1].legend(loc="lower right")
    return drawing
