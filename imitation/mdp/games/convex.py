"""The MaxEnt dual as a convex programme, by scipy's L-BFGS: an independent check of the online gradient."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from imitation.mdp.maxent import REWARD, MomentGame

ACCEPTED = 1e-6  # of the last gradient: rounding in the dual's values may end the search before `tolerance` is reached


def convex_maxent(
    game: MomentGame, penalty: float = 0.0, tolerance: float = 1e-10, iterations: int = 500
) -> Float[Tensor, "K"]:
    """argmin of E V_1(lambda) - lambda . mu_E + penalty |lambda|^2 / 2 for one process without leading axes.

    Args:
        tolerance: of the largest component of the gradient, the moment gap.

    Raises:
        ValueError: the game has leading axes, the penalty is negative, a tolerance or number that is not positive, or a
            last gradient beyond 1e-6 and `tolerance`, as where no policy has the moments and multipliers cost nothing.
    """
    if game.mdp.transition.ndim != 3 or game.expert.ndim != 1:
        raise ValueError(f"expert {tuple(game.expert.shape)}: the convex solver takes one process at a time")
    if penalty < 0 or tolerance <= 0 or iterations < 1:
        raise ValueError(f"{penalty=}, {tolerance=}, {iterations=}: must be at least 0, positive, at least 1")

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        """The dual and its gradient at lambda (K,)."""
        multipliers = torch.from_numpy(point)
        plan = REWARD.respond(game.mdp, game.reward(multipliers), game.horizon)
        gap = game.moments(plan.log_policy) - game.expert
        value = plan.value - multipliers @ game.expert + penalty / 2 * multipliers @ multipliers
        return float(value), (gap + penalty * multipliers).numpy()

    limits = {"gtol": tolerance, "ftol": 0.0, "maxiter": iterations, "maxcor": 20}
    start = np.zeros(len(game.expert))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=limits).x
    # Not scipy's `success`: it also says no where rounding stops a search that has long arrived.
    left = float(np.abs(objective(found)[1]).max())
    accepted = max(ACCEPTED, tolerance)
    if not left <= accepted:
        raise ValueError(
            f"the dual's gradient ends at {left:.1g}, not within {accepted:g}: are the moments any policy's?"
        )
    return torch.from_numpy(found)
