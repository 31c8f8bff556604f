"""Generative adversarial imitation learning with known dynamics (Ho and Ermon 2016)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.inverse.demonstrations import frequencies
from imitation.mdp.iterated_occupancy import Occupancy
from imitation.mdp.occupancy import discounted_occupancy
from imitation.mdp.soft import Solution, soft_value_iteration
from imitation.mdp.tabular import TabularMDP

FLOOR = 1e-6  # inside every logarithm: it bounds rewards and losses


def gail(
    mdp: TabularMDP,
    counts: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    discount: float,
    occupancy: Occupancy = discounted_occupancy,
    loss: Literal["logistic", "reversed"] = "logistic",
    start: Float[Tensor, "*batch S A"] | None = None,
    temperature: float = 1e-3,
    rate: float = 1.0,
    rounds: int = 100,
    discriminator_steps: int = 200,
    inner_iterations: int = 100,
) -> Solution:
    """Alternate a soft-optimal policy for the reward log c with gradient steps on the discriminator c = sigmoid(w).

    With d_E and d the demonstrated and the policy's frequencies, the discriminator descends

        logistic:   -d_E log c - d log(1 - c),   whose minimum is c = d_E / (d_E + d);
        reversed:    d_E log(1 - c) + d log c,   which pulls c the same way, but has its maximum at
                     c = d / (d_E + d), so that c runs to 0 or 1. The authors' public notebook for Watson et al. 2023
                     does so.

    Args:
        start: the first w, (..., S, A); zero if not given, so that c = 1/2 everywhere.
        occupancy: how the policy's frequencies are computed.

    Returns:
        The policy for the reward of the last round, before its discriminator steps.

    Raises:
        ValueError: an unknown loss, or counts that `frequencies` refuses.
    """
    if loss not in ("logistic", "reversed"):
        raise ValueError(f"loss={loss!r}: allowed are 'logistic' and 'reversed'")
    expert = frequencies(counts)
    weights = torch.zeros_like(counts) if start is None else start
    solution = None
    for _ in range(rounds):
        reward = (FLOOR + weights.sigmoid()).log()
        solution = soft_value_iteration(mdp, reward, log_prior, temperature, discount, inner_iterations)
        policy = solution.log_policy.exp()
        visits = occupancy(mdp, policy, discount)[..., None] * policy
        for _ in range(discriminator_steps):
            share = weights.sigmoid()
            up, down = (share, 1 - share) if loss == "logistic" else (1 - share, share)
            slope = expert / (FLOOR + up) - visits / (FLOOR + down)
            weights = weights + rate * slope * share * (1 - share)
    assert solution is not None
    return solution
