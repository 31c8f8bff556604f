"""Lecture, after (18.13): is the softmax of soft value iteration the one of Hedge and of natural policy gradient?

Three updates that are computed in three ways, on random matrix games against random opponents and on random processes
with a new random reward at every update:

    Hedge             weights times exp(step payoff), normalised, where the payoff is Q of the present policy
    natural gradient  softmax logits plus step F^+ grad J: automatic derivatives and the inverse of the Fisher matrix
    single step (18.9) the closed form of min over p of -H(p) + E_p[m] with m = -step sum of the payoffs so far

Plain policy gradient, J's slope without F^+, is beside them: it is not of the family.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture._random_games import member, random_games
from imitation.mdp.horizon import occupancies, policy_value, repeated
from imitation.mdp.maxent import soft_best_response_to_cost
from imitation.mdp.processes import self_loops
from imitation.mdp.soft import next_value
from imitation.mdp.tabular import TabularMDP

SHARD_AXES = ("seeds",)
TOLERANCE = 1e-10  # probabilities, over all updates
DIFFERENT = 1e-3  # by how much plain policy gradient must differ for the comparison to mean something
NATURAL, SOFT, PLAIN = "natural gradient", "single step (18.9)", "plain gradient"
GAMES = ("matrix game", "process")


@dataclass
class Config:
    """actions: sizes of the games; states, horizon: of the processes; step: of all updates; updates: how many."""

    seeds: list[int] = seed_list()
    actions: list[int] = bounded(2, 50)
    states: int = bounded(2, 50)
    horizon: int = bounded(1, 50)
    step: float = bounded(1e-3, 10)
    updates: int = bounded(1, 1000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, kind of game, number of actions, update and method: its largest difference from Hedge."""
    frames = []
    for seed in cfg.seeds:
        for actions in cfg.actions:
            process = member(random_games(context, [seed], cfg.states, actions, 1, cfg.horizon, 1.0).game, 0).mdp
            for kind, mdp, horizon in ((GAMES[0], self_loops(1, actions), 1), (GAMES[1], process, cfg.horizon)):
                rng = context.rng(seed, actions, horizon)
                rewards = torch.from_numpy(rng.uniform(-1, 1, size=(cfg.updates, mdp.states, actions)))
                rows = _differences(mdp, horizon, rewards, cfg.step)
                frames.append(pd.DataFrame(rows).assign(seed=seed, game=kind, actions=actions))
        context.progress(len(frames), len(cfg.seeds) * len(cfg.actions) * 2)
    return pd.concat(frames, ignore_index=True)


def _differences(mdp: TabularMDP, horizon: int, rewards: Tensor, step: float) -> list[dict[str, object]]:
    """Every method plays on with its own policy; a payoff is Q of the Hedge player's policy at that time."""
    shape = (horizon, mdp.states, mdp.actions)
    hedge = torch.full(shape, 1 / mdp.actions, dtype=torch.float64)
    logits, plain, sums = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))
    rows = []
    for update, reward in enumerate(rewards, start=1):
        payoff = _payoffs(mdp, hedge, reward)
        sums = sums + payoff
        weights = hedge * (step * payoff).exp()
        hedge = weights / weights.sum(-1, keepdim=True)
        logits = logits + step * natural_gradient(mdp, logits, reward)
        plain = plain + step * _slope(mdp, plain, reward)
        policies = {NATURAL: logits.softmax(-1), SOFT: _single_steps(-step * sums), PLAIN: plain.softmax(-1)}
        rows += [
            {"update": update, "method": method, "difference": float((policy - hedge).abs().max())}
            for method, policy in policies.items()
        ]
    return rows


def _payoffs(mdp: TabularMDP, policy: Tensor, reward: Tensor) -> Tensor:
    """Q of the policy, (H, S, A)."""
    return reward + next_value(mdp, policy_value(mdp, repeated(reward, len(policy)), policy)[1:])


def _slope(mdp: TabularMDP, logits: Tensor, reward: Tensor) -> Tensor:
    """dJ/dlogits by automatic differentiation, forwards in time."""
    free = logits.clone().requires_grad_()
    (occupancies(mdp, free.softmax(-1)) * reward).sum().backward()
    assert free.grad is not None
    return free.grad


def natural_gradient(mdp: TabularMDP, logits: Tensor, reward: Tensor) -> Tensor:
    """F^+ dJ/dlogits, where F = E[score score^T] has a block d_h(s) (diag pi - pi pi^T) per step and state.

    A constant in all logits of a state changes no policy: F and the slope vanish along it, so that adding the matrix of
    ones there makes F invertible and leaves the solution that is orthogonal to it, the pseudo-inverse's.
    """
    policy = logits.softmax(-1)
    reached = occupancies(mdp, policy).sum(-1)[..., None]
    scores = torch.diag_embed(policy) - policy[..., None] * policy[..., None, :]
    fisher = reached[..., None] * (scores + 1)
    return torch.linalg.solve(fisher, _slope(mdp, logits, reward)[..., None]).squeeze(-1)


def _single_steps(cost: Tensor) -> Tensor:
    """The closed form of (18.9) for every row of costs, (H, S, A)."""
    rows = cost.flatten(0, 1)
    return soft_best_response_to_cost(self_loops(*rows.shape), rows, 1).log_policy.exp()[0].reshape(cost.shape)


def decide(frame: pd.DataFrame) -> Verdict:
    """Natural gradient and the closed form stay with Hedge in every game; plain gradient does not."""
    family = frame[frame.method.isin([NATURAL, SOFT])]
    largest = float(family.difference.max(skipna=False))
    complete = set(frame.method) == {NATURAL, SOFT, PLAIN} and set(frame.game) == set(GAMES)
    if not complete:
        return holds(False, largest, "A method or a kind of game is not in the frame.")
    updates = family[family.method == NATURAL]
    apart = frame[(frame.method == PLAIN) & (frame["update"] == frame["update"].max())].difference
    note = (
        f"Largest difference of a probability over {len(updates)} updates, each by two methods; plain policy gradient, "
        f"without the inverse Fisher matrix, ends {apart.min():.2g} to {apart.max():.2g} away. The payoffs enter as "
        "rewards, exp(+step Q): as a cost m = -step Q the closed form is exp(-m)."
    )
    return holds(largest <= TOLERANCE and bool((apart > DIFFERENT).all()), largest, note)


CLAIMS = [
    Claim(
        id="lecture.softmax-family",
        source="Lecture 18",
        location="Section 18.6, after (18.13)",
        statement="The softmax is also that of Hedge (multiplicative weights) and of natural policy gradient.",
        measures="largest difference of a probability between the updates",
        decide=decide,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """Difference from Hedge along the updates: median over games, and the range of all."""
    drawing, axes = style.panels(1, 2, height=2.5, sharey=True)
    looks = {
        PLAIN: (style.VERMILION, "s:", "plain policy gradient"),
        NATURAL: (style.BLUE, "o-", "natural policy gradient"),
        SOFT: (style.GREEN, "^--", "closed form of (18.9)"),
    }
    for axis, game in zip(axes, GAMES, strict=True):
        for method, (colour, line, label) in looks.items():
            rows = frame[(frame.game == game) & (frame.method == method)]
            values = rows.assign(size=rows.difference.clip(lower=1e-17)).groupby("update")["size"]
            style.median_and_range(axis, values, line, color=colour, markersize=2.5, label=label)
        axis.axhline(TOLERANCE, color=style.GREY, linewidth=0.8)
        axis.set(yscale="log", xlabel="updates", title=game)
    axes[0].annotate("bar", (1, TOLERANCE), (0, 3), textcoords="offset points", fontsize=7, color=style.GREY)
    axes[0].set_ylabel("largest difference from Hedge\n(probability)")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawing
