"""The discounted occupancy by iteration to a tolerance, as published studies compute it; the exact one is a solve."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.occupancy import state_transition
from imitation.mdp.tabular import TabularMDP

Occupancy = Callable[[TabularMDP, Tensor, float], Tensor]


def iterated_occupancy(
    mdp: TabularMDP,
    policy: Float[Tensor, "*batch S A"],
    discount: float,
    tolerance: float = 1e-4,
    iterations: int = 1000,
) -> Float[Tensor, "*all S"]:
    """Repeat d' = gamma P_pi^T d + (1 - gamma) mu from d = mu, (..., S).

    Each member stops once no state changes by `tolerance` or more; what is left out then is up to
    gamma/(1 - gamma) times as large. At tolerance 0 the result tends to `discounted_occupancy`.

    Raises:
        ValueError: a discount outside [0, 1), a negative tolerance, no iteration, or a policy that is no law.
    """
    if not 0 <= discount < 1 or tolerance < 0 or iterations < 1:
        raise ValueError(f"{discount=}, {tolerance=}, {iterations=}: must be in [0, 1), not negative, at least 1")
    flow = state_transition(mdp, policy)
    start = (1 - discount) * mdp.initial
    visits = mdp.initial.expand(flow.shape[:-1])
    running = torch.ones((*visits.shape[:-1], 1), dtype=torch.bool)
    for _ in range(iterations):
        after = discount * (visits[..., None, :] @ flow).squeeze(-2) + start
        change = (after - visits).abs().amax(-1, keepdim=True)
        visits = torch.where(running, after, visits)
        running = running & (change >= tolerance)
        if not bool(running.any()):
            break
    return visits
