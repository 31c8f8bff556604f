"""Inverse soft Q-learning with the chi-square regulariser and known dynamics (Garg et al. 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.inverse.demonstrations import frequencies
from imitation.mdp.soft import Solution, next_value, soft_maximum
from imitation.mdp.tabular import TabularMDP


def iq_learn(
    mdp: TabularMDP,
    counts: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    discount: float,
    through_value: bool = True,
    temperature: float = 1e-3,
    rate: float = 0.01,
    iterations: int = 1000,
) -> Solution:
    """Gradient ascent in Q on E_expert[r - r^2/4] - (1 - gamma) E_initial[V] with r = Q - gamma P V.

    V is the soft maximum of Q.

    Args:
        through_value: whether V counts as a function of Q (Garg et al. 2021) or as a constant. If a constant, as in
            the authors' public notebook for Watson et al. 2023, Q moves at demonstrated actions alone and stays zero
            elsewhere, so that the policy is a clone.

    Raises:
        ValueError: counts that `frequencies` refuses.
    """
    expert = frequencies(counts)
    action_value = torch.zeros_like(counts)
    value, log_policy = soft_maximum(action_value, log_prior, temperature)
    for _ in range(iterations):
        reward = action_value - discount * next_value(mdp, value)
        gradient = expert * (1 - reward / 2)
        if through_value:
            # dV(s)/dQ(s, a) = pi(a|s); the expert's flow into s and the first states carry it.
            slope = -discount * torch.einsum("...sa,...sat->...t", gradient, mdp.transition)
            slope = slope - (1 - discount) * mdp.initial
            gradient = gradient + slope[..., None] * log_policy.exp()
        action_value = action_value + rate * gradient
        value, log_policy = soft_maximum(action_value, log_prior, temperature)
    return Solution(log_policy, action_value, value)
