"""MaxEnt inverse RL as the dual game: the policy responds best, the multipliers take online gradient steps.

Lecture 18, Sections 18.5 and 18.6. With a quadratic penalty (footnote 1) the dual is g(lambda) + penalty |lambda|^2/2,
whose optimum leaves a moment gap mu(pi) - mu_E = -penalty lambda and exists even where no policy has the moments.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.maxent import REWARD, Convention, MomentGame, curvature


class DualPath(NamedTuple):
    """`multipliers` and `moments` of every iteration, both (T, ..., K): the moments answer these multipliers."""

    multipliers: Float[Tensor, "T *batch K"]
    moments: Float[Tensor, "T *batch K"]


def dual_maxent(
    game: MomentGame,
    step_size: Float[Tensor, "*#batch 1"] | float,
    iterations: int,
    penalty: Float[Tensor, "*#batch 1"] | float = 0.0,
    convention: Convention = REWARD,
) -> DualPath:
    """lambda <- lambda - step (mu(pi_lambda) - mu_E + penalty lambda) from 0, for lambda read as a reward.

    Args:
        step_size: constant over iterations, one for all or one per instance, (..., 1); below 2 over the largest
            eigenvalue of `curvature` plus the penalty the iteration converges.
        penalty: not negative.
        convention: REWARD, or COST with the opposite sign and direction.

    Raises:
        ValueError: a step that is not positive, a negative penalty, or no iteration.
    """
    steps, penalties = (torch.as_tensor(one, dtype=game.expert.dtype) for one in (step_size, penalty))
    if iterations < 1 or not bool((steps > 0).all()) or not bool((penalties >= 0).all()):
        raise ValueError(f"{iterations=}: must be at least 1; steps must be positive and penalties not negative")
    path, answers = [torch.zeros_like(game.expert)], []
    for _ in range(iterations):
        plan = convention.respond(game.mdp, game.reward(path[-1]), game.horizon)
        answers.append(game.moments(plan.log_policy))
        # As a cost lambda ascends, and the penalty is subtracted from what it maximises.
        gradient = convention.direction * (answers[-1] - game.expert) - penalties * path[-1]
        path.append(path[-1] + steps * gradient)
    return DualPath(torch.stack(path[:-1]), torch.stack(answers))


def smoothness_step(game: MomentGame, penalty: Float[Tensor, "*#batch 1"] | float = 0.0) -> Float[Tensor, "*batch 1"]:
    """One over (the dual's largest curvature at lambda = 0, plus the penalty), (..., 1).

    The uniform policy of lambda = 0 spreads its actions most, so that its curvature is about the largest. That is no
    bound: elsewhere the curvature may be larger, and up to twice as large the iteration still converges.
    """
    plan = REWARD.respond(game.mdp, game.reward(torch.zeros_like(game.expert)), game.horizon)
    largest = torch.linalg.eigvalsh(curvature(game, plan.log_policy))[..., -1:]
    return 1 / (largest + penalty)
