"""Soft (KL-regularised) dynamic programming: value iteration, policy iteration and the coherent reward, in log space.

A policy pi maximises E sum_t gamma^t (r - temperature log(pi(a|s) / p(a|s))) for a prior p. Its fixed point is
(Watson et al. 2023, Section 2; Ziebart 2010):

    Q = r + gamma P V,    V(s) = T log sum_a p(a|s) exp(Q(s, a) / T),    log pi = log p + (Q - V) / T

At temperature T = 0 the maximum replaces the soft maximum, over the actions that the prior allows. Every tensor may
carry leading axes of independent processes.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.tabular import TabularMDP


class Solution(NamedTuple):
    """`log_policy` and `action_value` (..., S, A), `value` (..., S) of the regularised problem."""

    log_policy: Float[Tensor, "*all S A"]
    action_value: Float[Tensor, "*all S A"]
    value: Float[Tensor, "*all S"]


def uniform_log_prior(mdp: TabularMDP) -> Float[Tensor, "S A"]:
    """log 1/A for every state and action, (S, A)."""
    like = mdp.transition
    return like.new_full((mdp.states, mdp.actions), 1 / mdp.actions).log()


def next_value(mdp: TabularMDP, value: Float[Tensor, "*batch S"]) -> Float[Tensor, "*all S A"]:
    """E[V(s') | s, a] = sum_s' P(s'|s, a) V(s'), (..., S) -> (..., S, A)."""
    if mdp.transition.ndim == 3:  # one process for all: a single matrix product
        return (value @ mdp.transition.flatten(0, 1).mT).unflatten(-1, (mdp.states, mdp.actions))
    return torch.einsum("...sat,...t->...sa", mdp.transition, value)


def soft_maximum(
    action_value: Float[Tensor, "*batch S A"], log_prior: Float[Tensor, "*#batch S A"], temperature: float
) -> tuple[Float[Tensor, "*batch S"], Float[Tensor, "*batch S A"]]:
    """V and log pi for action values Q; at temperature 0 the maximum, and ties share as the prior has them.

    Returns:
        V (..., S) and log pi (..., S, A).
    """
    value = _maximum(action_value, log_prior, temperature)
    if temperature == 0:
        allowed = log_prior.where(action_value == value[..., None], -torch.inf)
        return value, allowed.log_softmax(-1)
    return value, log_prior + (action_value - value[..., None]) / temperature


def _maximum(action_value: Tensor, log_prior: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return action_value.masked_fill(log_prior == -torch.inf, -torch.inf).amax(-1)
    return temperature * (action_value / temperature + log_prior).logsumexp(-1)


def soft_value_iteration(
    mdp: TabularMDP,
    reward: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    temperature: float,
    discount: float,
    iterations: int = 1000,
    start: Float[Tensor, "*batch S"] | None = None,
) -> Solution:
    """Repeat Q = r + gamma P V, V = soft max Q; the error shrinks by gamma per iteration.

    Args:
        reward: r (..., S, A).
        log_prior: log p(a|s), (..., S, A).
        temperature: T >= 0 in units of reward per nat; 0 is plain value iteration.
        discount: gamma in [0, 1).
        start: the first V, zero if not given.

    Returns:
        Q, and the V and log pi that belong to it.

    Raises:
        ValueError: a temperature below 0, a discount outside [0, 1), no iteration, a prior that is no law, or a reward
            of a wrong shape or not finite.
    """
    _check(log_prior, temperature, discount, iterations)
    _check_reward(mdp, reward)
    value = reward.new_zeros(reward.shape[:-1]) if start is None else start
    action_value = reward
    for _ in range(iterations):
        action_value = reward + discount * next_value(mdp, value)
        value = _maximum(action_value, log_prior, temperature)
    _, log_policy = soft_maximum(action_value, log_prior, temperature)
    return Solution(log_policy, action_value, value)


def soft_policy_value(
    mdp: TabularMDP,
    reward: Float[Tensor, "*batch S A"],
    log_policy: Float[Tensor, "*#batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    temperature: float,
    discount: float,
) -> Float[Tensor, "*all S"]:
    """The regularised value of a policy by a linear solve: (I - gamma P_pi) V = E_pi[r - T log(pi / p)], (..., S).

    Raises:
        ValueError: a temperature below 0, a discount outside [0, 1), a prior or policy that is no law, or a reward of a
            wrong shape or not finite.
    """
    _check(log_prior, temperature, discount, 1)
    _check_reward(mdp, reward)
    _check_law("policy", log_policy)
    return _policy_value(mdp, reward, log_policy, log_prior, temperature, discount)


def _policy_value(
    mdp: TabularMDP, reward: Tensor, log_policy: Tensor, log_prior: Tensor, temperature: float, discount: float
) -> Tensor:
    policy = log_policy.exp()
    bonus = torch.where(policy > 0, log_policy - log_prior, 0.0)  # 0 log 0 = 0
    gain = (policy * (reward - temperature * bonus)).sum(-1)
    flow = torch.einsum("...sa,...sat->...st", policy, mdp.transition)
    identity = torch.eye(mdp.states, dtype=flow.dtype, device=flow.device)
    return torch.linalg.solve(identity - discount * flow, gain[..., None]).squeeze(-1)


def soft_policy_iteration(
    mdp: TabularMDP,
    reward: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    temperature: float,
    discount: float,
    iterations: int = 50,
) -> Solution:
    """Evaluate the policy exactly, then take the soft maximum of its Q; starts from the prior.

    Arguments, result and errors as in `soft_value_iteration`; converges quadratically near the fixed point.
    """
    _check(log_prior, temperature, discount, iterations)
    _check_reward(mdp, reward)
    log_policy = log_prior.expand(reward.shape)
    action_value, value = reward, reward.new_zeros(reward.shape[:-1])
    for _ in range(iterations):
        value = _policy_value(mdp, reward, log_policy, log_prior, temperature, discount)
        action_value = reward + discount * next_value(mdp, value)
        value, log_policy = soft_maximum(action_value, log_prior, temperature)
    return Solution(log_policy, action_value, value)


def coherent_reward(
    log_policy: Float[Tensor, "*batch S A"], log_prior: Float[Tensor, "*#batch S A"], temperature: float
) -> Float[Tensor, "*batch S A"]:
    """r = alpha (log q - log p), the reward that q is soft-optimal for (Watson et al. 2023, Section 3).

    Raises:
        ValueError: the policy or the prior has an action of probability zero, where the reward is not finite.
    """
    if not bool(log_policy.isfinite().all() and log_prior.isfinite().all()):
        raise ValueError("policy and prior must give every action a positive probability")
    return temperature * (log_policy - log_prior)


def shaped_reward(
    mdp: TabularMDP, reward: Float[Tensor, "*batch S A"], potential: Float[Tensor, "*#batch S"], discount: float
) -> Float[Tensor, "*all S A"]:
    """r(s, a) + gamma E[Psi(s')] - Psi(s), which has the same optimal policies (Ng et al. 1999), (..., S, A)."""
    return reward + discount * next_value(mdp, potential) - potential[..., None]


def _check(log_prior: Tensor, temperature: float, discount: float, iterations: int) -> None:
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: must be finite and not negative")
    if not 0 <= discount < 1:
        raise ValueError(f"discount={discount}: must be at least 0 and below 1")
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: must be at least 1")
    _check_law("prior", log_prior)


def _check_law(name: str, log_law: Tensor) -> None:
    if not bool((log_law.logsumexp(-1).abs() < 1e-9).all()):
        raise ValueError(f"{name}: the probabilities of the actions must sum to 1 in every state")


def _check_reward(mdp: TabularMDP, reward: Tensor) -> None:
    needed = (mdp.states, mdp.actions)
    if reward.ndim < 2 or tuple(reward.shape[-2:]) != needed:
        raise ValueError(f"reward {tuple(reward.shape)}: must be (..., S, A) with S, A = {needed}")
    if not bool(reward.isfinite().all()):
        raise ValueError("reward: must be finite")
