"""The penalised MaxEnt dual by Newton's method, for many small games at once."""

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.maxent import REWARD, MomentGame, curvature

SUFFICIENT = 1e-4  # share of the decrease that the slope promises (Armijo)
HALVINGS = 40


def newton_maxent(
    game: MomentGame, penalty: Float[Tensor, "*#batch 1"] | float, iterations: int = 60, tolerance: float = 1e-9
) -> Float[Tensor, "*batch K"]:
    """argmin of E V_1(lambda) - lambda . mu_E + penalty |lambda|^2 / 2 in every instance, (..., K).

    The exact Hessian with halved steps; the penalty makes the optimum unique wherever the moments lie. Ends when every
    component of every gradient is within `tolerance`, or after `iterations`.

    Raises:
        ValueError: a penalty or tolerance that is not positive, or no iteration.
    """
    penalty = torch.as_tensor(penalty, dtype=game.expert.dtype)
    if iterations < 1 or tolerance <= 0 or not bool((penalty > 0).all()):
        raise ValueError(f"{iterations=}, {tolerance=}: both, and the penalty, must be positive")
    multipliers = torch.zeros_like(game.expert)
    identity = torch.eye(multipliers.shape[-1], dtype=multipliers.dtype)
    for _ in range(iterations):
        log_policy = REWARD.respond(game.mdp, game.reward(multipliers), game.horizon).log_policy
        gradient = game.moments(log_policy) - game.expert + penalty * multipliers
        if bool((gradient.abs() <= tolerance).all()):
            break
        hessian = curvature(game, log_policy) + penalty[..., None] * identity
        direction = -torch.linalg.solve(hessian, gradient[..., None]).squeeze(-1)
        multipliers = multipliers + _length(game, penalty, multipliers, gradient, direction) * direction
    return multipliers


def _length(game: MomentGame, penalty: Tensor, point: Tensor, gradient: Tensor, direction: Tensor) -> Tensor:
    """1, 1/2, 1/4, ... until the dual falls enough, (..., 1); 1 where the fall is lost in rounding."""
    before = _value(game, penalty, point)
    promised = SUFFICIENT * (gradient * direction).sum(-1, keepdim=True)
    length = torch.ones_like(before)
    for _ in range(HALVINGS):
        short = _value(game, penalty, point + length * direction) > before + length * promised + 1e-14 * before.abs()
        if not bool(short.any()):
            break
        length = torch.where(short, length / 2, length)
    return length


def _value(game: MomentGame, penalty: Tensor, multipliers: Tensor) -> Tensor:
    plan = REWARD.respond(game.mdp, game.reward(multipliers), game.horizon)
    linear = (multipliers * (penalty / 2 * multipliers - game.expert)).sum(-1)
    return (plan.value + linear)[..., None]
