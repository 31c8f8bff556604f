"""Proximal point imitation learning with known dynamics (Viano et al. 2022)."""

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.inverse.demonstrations import frequencies
from imitation.mdp.iterated_occupancy import Occupancy
from imitation.mdp.occupancy import discounted_occupancy
from imitation.mdp.soft import Solution, next_value
from imitation.mdp.tabular import TabularMDP

BELLMAN_SCALE = 1e-2  # of the Bellman error in the weights of the logistic loss
FLOOR = 1e-6  # added to the last policy's probabilities


def proximal_point(
    mdp: TabularMDP,
    counts: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    discount: float,
    occupancy: Occupancy = discounted_occupancy,
    temperature: float = 1e-3,
    rate: float = 0.01,
    rounds: int = 25,
    steps: int = 250,
) -> Solution:
    """Gradient ascent in Q and r on a logistic Bellman objective, with the last policy as the proximal point.

    With d the last policy's occupancy, b = r + gamma P V - Q and w = softmax_a(b / 100), held fixed, the objective is

        E_expert[r] - sum d w b - (1 - gamma) E_initial[V],   V = -T log sum_a pi(a|s) exp(-Q / T).

    After each step r is divided by its squared norm. These are the settings and signs of the authors' public notebook
    for Watson et al. 2023; Viano et al. write Q as a cost there, so their policy weighs actions by exp(-Q / T), and
    the notebook's by exp(Q / T).

    Raises:
        ValueError: counts that `frequencies` refuses.
    """
    expert = frequencies(counts)
    action_value, reward = torch.zeros_like(counts), torch.zeros_like(counts)
    log_policy = torch.broadcast_to(log_prior, counts.shape)
    value = counts.new_zeros(counts.shape[:-1])
    for _ in range(rounds):
        policy = log_policy.exp()
        visits = occupancy(mdp, policy, discount)[..., None] * policy
        anchor = (policy + FLOOR).log()
        for _ in range(steps):
            logits = anchor - action_value / temperature
            value = -temperature * logits.logsumexp(-1)
            bellman = reward + discount * next_value(mdp, value) - action_value
            weight = visits * (BELLMAN_SCALE * bellman).softmax(-1)
            slope = -discount * torch.einsum("...sa,...sat->...t", weight, mdp.transition)
            slope = slope - (1 - discount) * mdp.initial
            action_value = action_value + rate * (weight + slope[..., None] * logits.softmax(-1))
            reward = reward + rate * (expert - weight)
            reward = reward / reward.square().sum((-2, -1), keepdim=True)
        log_policy = (action_value / temperature + log_prior).log_softmax(-1)
    return Solution(log_policy, action_value, value)
