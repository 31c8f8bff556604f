"""Random processes with features in [0, 1] and an expert, batched over seeds: where the lecture's games are played."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from experiments.harness.context import Context
from imitation.mdp.games import convex_maxent
from imitation.mdp.horizon import causal_entropy
from imitation.mdp.maxent import MomentGame, soft_best_response
from imitation.mdp.tabular import TabularMDP

# Of the Dirichlet laws of the next state: an action leads to a few states, so that what is done now matters later.
CONCENTRATION = 0.2


class RandomGames(NamedTuple):
    """`game` with a leading axis over seeds, the expert's log policy (H, P, S, A), and the multipliers behind it.

    `multipliers` (P, K) are zero where the expert is any policy and not the soft best response to a reward.
    """

    game: MomentGame
    log_policy: Tensor
    multipliers: Tensor

    @property
    def entropy(self) -> Tensor:
        """The expert's causal entropy in nats, (P,)."""
        return causal_entropy(self.game.mdp, self.log_policy.exp())


def random_games(
    context: Context,
    seeds: Sequence[int],
    states: int,
    actions: int,
    features: int,
    horizon: int,
    scale: float,
    redundant: bool = False,
) -> RandomGames:
    """One process per seed: uniform features, multipliers from N(0, scale^2), and the best response to them.

    Args:
        scale: of the multipliers; at 0 the expert is a random policy of its own at every step instead.
        redundant: two features more that no policy can tell apart from the others: a constant, and f_1 - f_2.
    """
    members = [_member(context.rng(seed, horizon), states, actions, features, horizon, scale) for seed in seeds]
    mdps, given, chosen, policies = zip(*members, strict=True)
    mdp = TabularMDP(*(torch.cat([getattr(one, name) for one in mdps]) for name in ("transition", "initial")))
    table, multipliers = torch.stack(given), torch.stack(chosen)
    if redundant:
        table = torch.cat([table, torch.ones_like(table[..., :1]), table[..., :1] - table[..., 1:2]], -1)
        multipliers = torch.cat([multipliers, torch.zeros_like(multipliers[:, :2])], -1)
    blank = MomentGame(mdp, table, torch.zeros_like(multipliers), horizon)
    expert = soft_best_response(mdp, blank.reward(multipliers), horizon).log_policy
    log_policy = expert if scale > 0 else torch.stack(policies, 1).log()
    game = MomentGame(mdp, table, blank.moments(log_policy), horizon)
    return RandomGames(game, log_policy, multipliers)


class LargestEntropy(NamedTuple):
    """`multipliers` (P, K), their best response `log_policy` (H, P, S, A), and its causal `entropy` in nats, (P,)."""

    multipliers: Tensor
    log_policy: Tensor
    entropy: Tensor


def largest_entropy(game: MomentGame) -> LargestEntropy:
    """The most causal entropy that the expert's moments allow, by L-BFGS on the dual and strong duality."""
    multipliers = torch.stack([convex_maxent(member(game, index)) for index in range(len(game.expert))])
    best = soft_best_response(game.mdp, game.reward(multipliers), game.horizon)
    return LargestEntropy(multipliers, best.log_policy, best.value - (multipliers * game.expert).sum(-1))


def _member(
    rng: np.random.Generator, states: int, actions: int, features: int, horizon: int, scale: float
) -> tuple[TabularMDP, Tensor, Tensor, Tensor]:
    mdp = TabularMDP(
        torch.from_numpy(rng.dirichlet(np.full(states, CONCENTRATION), size=(1, states, actions))),
        torch.from_numpy(rng.dirichlet(np.ones(states), size=1)),
    )
    table = torch.from_numpy(rng.uniform(size=(states, actions, features)))
    multipliers = torch.from_numpy(scale * rng.normal(size=features))
    policy = torch.from_numpy(rng.dirichlet(np.ones(actions), size=(horizon, states)))
    return mdp, table, multipliers, policy


def member(game: MomentGame, index: int) -> MomentGame:
    """One of the batch, without its leading axis."""
    mdp = TabularMDP(game.mdp.transition[index], game.mdp.initial[index])
    return MomentGame(mdp, game.features[index], game.expert[index], game.horizon)
