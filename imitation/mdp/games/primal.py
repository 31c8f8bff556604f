"""The primal game: the policy takes natural policy gradient steps, the multipliers online gradient steps.

Lecture 18, Section 18.5, the column "Primal" (GAIL is its popular form). On tables the natural policy gradient is
Hedge in every state and step, pi <- pi exp(step Q) / Z (Kakade 2001; Agarwal et al. 2021). With an entropy bonus of
`temperature` it becomes pi <- pi^(1 - step temperature) exp(step Q) / Z, whose fixed point is the soft best response.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.horizon import occupancies
from imitation.mdp.maxent import MomentGame
from imitation.mdp.soft import next_value


class PrimalPath(NamedTuple):
    """`multipliers` and `moments` of every iteration (T, ..., K), last log policy and mean visits (H, ..., S, A).

    The policy of the mean visits has the iterates' mean moments: it is the average iterate. `log_policy` is the policy
    after the last update, one update on from the last moments; `kept` (C, H, ..., S, A) are the policies that were
    asked for, each with the moments of its own iteration.
    """

    multipliers: Float[Tensor, "T *batch K"]
    moments: Float[Tensor, "T *batch K"]
    log_policy: Float[Tensor, "H *batch S A"]
    mean_visits: Float[Tensor, "H *batch S A"]
    kept: Float[Tensor, "C H *batch S A"]


def primal_game(
    game: MomentGame,
    policy_step: Float[Tensor, "*#batch 1 1"] | float,
    reward_step: Float[Tensor, "*#batch 1"] | float,
    radius: float,
    iterations: int,
    temperature: float = 0.0,
    keep: Sequence[int] = (),
) -> PrimalPath:
    """max over pi, min over |lambda| <= radius of J(pi, lambda . f) - J(pi_E, lambda . f) [+ temperature H(pi)].

    Both players move at once, from the uniform policy and lambda = 0.

    Args:
        policy_step: of the natural gradient, one for all or (..., 1, 1); with an entropy bonus at most 1 / temperature.
        reward_step: of the projected gradient, (..., 1).
        radius: of the ball of multipliers; infinite for none.
        keep: the iterations, of 1..`iterations` and increasing, whose policies are returned.

    Raises:
        ValueError: a step or radius that is not positive, a temperature out of range, no iteration, or iterations to
            keep that do not increase or are not played.
    """
    policy_steps, reward_steps = (torch.as_tensor(one, dtype=game.expert.dtype) for one in (policy_step, reward_step))
    _check(policy_steps, reward_steps, radius, iterations, temperature)
    if sorted(set(keep) & set(range(1, iterations + 1))) != list(keep):
        raise ValueError(f"keep={list(keep)}: must increase and lie between 1 and {iterations}")
    multipliers = torch.zeros_like(game.expert)
    shape = (game.horizon, *game.reward(multipliers).shape)
    log_policy = game.expert.new_full(shape, 1 / shape[-1]).log()
    kept_policies, total = [], torch.zeros_like(log_policy)
    path = multipliers.new_empty((iterations, *multipliers.shape))  # at once: kept one by one they break the heap up
    answers = torch.empty_like(path)
    for number in range(iterations):
        if number + 1 in keep:
            kept_policies.append(log_policy)
        visits = occupancies(game.mdp, log_policy.exp())
        total += visits
        path[number], answers[number] = multipliers, game.moments_of(visits)
        action_value = _action_values(game, multipliers, log_policy, temperature)
        kept = (1 - policy_steps * temperature) * log_policy
        log_policy = (kept + policy_steps * action_value).log_softmax(-1)
        multipliers = _projected(multipliers - reward_steps * (answers[number] - game.expert), radius)
    kept_policies = torch.stack(kept_policies) if keep else log_policy.new_zeros((0, *log_policy.shape))
    return PrimalPath(path, answers, log_policy, total / iterations, kept_policies)


def _action_values(game: MomentGame, multipliers: Tensor, log_policy: Tensor, temperature: float) -> Tensor:
    """Q of the policy at every step, with the entropy of the steps that follow, (H, ..., S, A)."""
    reward, steps = game.reward(multipliers), []
    value = torch.zeros_like(reward[..., 0])
    for log_now in log_policy.flip(0):
        steps.append(reward + next_value(game.mdp, value))
        gain = steps[-1] - temperature * log_now if temperature else steps[-1]
        value = (log_now.exp() * gain).sum(-1)
    return torch.stack(steps[::-1])


def _projected(multipliers: Tensor, radius: float) -> Tensor:
    length = multipliers.norm(dim=-1, keepdim=True)
    return multipliers * (radius / length).clamp_max(1)  # an infinite radius leaves them as they are


def _check(policy_step: Tensor, reward_step: Tensor, radius: float, iterations: int, temperature: float) -> None:
    if radius <= 0 or iterations < 1 or not bool((reward_step > 0).all() and (policy_step > 0).all()):
        raise ValueError(f"{radius=}, {iterations=}: both, and all steps, must be positive")
    if temperature < 0 or bool((policy_step * temperature > 1).any()):
        raise ValueError(f"{temperature=}: must not be negative, and at most 1 over the policy step")
