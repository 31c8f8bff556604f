"""Maximum entropy inverse reinforcement learning with one feature per state and action (Ziebart 2010)."""

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.inverse.demonstrations import frequencies
from imitation.mdp.iterated_occupancy import Occupancy
from imitation.mdp.occupancy import discounted_occupancy
from imitation.mdp.soft import Solution, soft_value_iteration
from imitation.mdp.tabular import TabularMDP


def maximum_entropy(
    mdp: TabularMDP,
    counts: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    discount: float,
    occupancy: Occupancy = discounted_occupancy,
    temperature: float = 1.0,
    rate: float = 1.0,
    steps: int = 500,
    inner_iterations: int = 100,
    tolerance: float = 1e-5,
) -> Solution:
    """Gradient ascent on the reward: rate times (demonstrated frequency - the policy's occupancy).

    A member stops once its mean squared violation changes by less than `tolerance`, relative, in one step.

    Args:
        rate: of the ascent; at the published 1 and 500 steps the frequencies do not match yet.
        occupancy: how the policy's occupancy is computed; it is discounted, the demonstrated frequencies are not.

    Raises:
        ValueError: counts that `frequencies` refuses.
    """
    shares = frequencies(counts)
    reward = torch.zeros_like(counts)
    running = torch.ones(counts.shape[:-2], dtype=torch.bool)
    before = torch.full(counts.shape[:-2], torch.inf, dtype=counts.dtype)
    solution = soft_value_iteration(mdp, reward, log_prior, temperature, discount, inner_iterations)
    for _ in range(steps - 1):
        policy = solution.log_policy.exp()
        error = shares - occupancy(mdp, policy, discount)[..., None] * policy
        violation = error.square().mean((-2, -1))
        running = running & ~((violation - before).abs() < tolerance * before)
        before = violation
        reward = reward + rate * error * running[..., None, None]
        solution = soft_value_iteration(mdp, reward, log_prior, temperature, discount, inner_iterations)
    return solution
