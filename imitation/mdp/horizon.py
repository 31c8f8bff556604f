"""Finite horizons: hard and soft value iteration, the value of policies, and the laws of every step, in float64.

Steps h = 1..H are the leading axis of everything that depends on time: rewards and policies (H, ..., S, A), values
(H + 1, ..., S) with V_{H+1} = 0, so that the last action counts. What stays the same over time is passed through
`repeated`. Further leading axes, of the process, of rewards and of policies, are independent problems and broadcast.

One pass solves many horizons: with a reward that stays the same the last k steps are the solution of horizon k
(`Plan.shorter`), and with a policy that stays the same the first k steps are its law over horizon k (`returns`).
Policies are kept as logarithms, and values are what a log-sum-exp gives: no horizon under- or overflows. Visits are
sums of products of probabilities, without cancellation, so that plain float64 has them to a relative error of about H
times its own, and what it rounds to zero, below 1e-308, adds nothing to any expectation; where the logarithm of so
small a probability is itself wanted there is `log_occupancies`.

Soft dynamic programming (Lecture 18, eqs. (18.5)-(18.14) in their corrected form; Ziebart 2010):

    Q_h = r_h + P V_{h+1},    V_h = T log sum_a exp(Q_h / T),    log pi_h = (Q_h - V_h) / T
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.soft import next_value, soft_maximum
from imitation.mdp.tabular import TabularMDP, check_probabilities


class Plan(NamedTuple):
    """`log_policy` and `action_value` (H, ..., S, A) of steps 1..H, `value` (H + 1, ..., S) with zeros at the end."""

    log_policy: Float[Tensor, "H *all S A"]
    action_value: Float[Tensor, "H *all S A"]
    value: Float[Tensor, "_ *all S"]

    def shorter(self, horizon: int) -> "Plan":
        """The solution of a shorter horizon, if the reward is the same at every step.

        Raises:
            ValueError: a horizon below 1 or above this one.
        """
        if not 1 <= horizon <= len(self.log_policy):
            raise ValueError(f"horizon={horizon}: must be between 1 and {len(self.log_policy)}")
        return Plan(self.log_policy[-horizon:], self.action_value[-horizon:], self.value[-horizon - 1 :])


def repeated(values: Float[Tensor, "*batch S A"], horizon: int) -> Float[Tensor, "{horizon} *batch S A"]:
    """The same reward or policy at every step, (..., S, A) -> (H, ..., S, A), without copying.

    Raises:
        ValueError: a horizon below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon={horizon}: must be at least 1")
    return values.expand(horizon, *values.shape)


def value_iteration(mdp: TabularMDP, reward: Float[Tensor, "H *batch S A"], temperature: float = 0.0) -> Plan:
    """The policy that maximises E sum_h (r_h - T log pi_h(a|s)).

    Args:
        reward: r_h(s, a), (H, ..., S, A).
        temperature: T >= 0 in units of reward per nat; at 0 the actions that share the maximum share the policy.

    Raises:
        ValueError: a negative temperature, or a reward that is not finite or of a wrong shape.
    """
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature={temperature}: must be finite and not negative")
    check_steps(mdp, "reward", reward)
    free = reward.new_zeros(mdp.states, mdp.actions)  # entropy, not the divergence from a prior
    value = reward.new_zeros((*_batch(mdp, reward), mdp.states))
    values, steps = [value], []
    for gain in reward.flip(0):
        action_value = gain + next_value(mdp, value)
        value, log_policy = soft_maximum(action_value, free, temperature)
        values.append(value)
        steps.append((log_policy, action_value))
    log_policies, action_values = (torch.stack(parts).flip(0) for parts in zip(*steps, strict=True))
    return Plan(log_policies, action_values, torch.stack(values).flip(0))


def policy_value(
    mdp: TabularMDP, reward: Float[Tensor, "H *batch S A"], policy: Float[Tensor, "_ *others S A"]
) -> Float[Tensor, "H+1 *all S"]:
    """V_h(s) = E sum_{k >= h} r_k from state s at step h, (H + 1, ..., S), backwards in time.

    Raises:
        ValueError: a reward or policy of a wrong shape, a reward that is not finite, or a policy that is no law.
    """
    _check_both(mdp, reward, policy)
    value = reward.new_zeros((*_batch(mdp, reward, policy), mdp.states))
    values = [value]
    for gain, law in zip(reward.flip(0), policy.flip(0), strict=True):
        value = (law * (gain + next_value(mdp, value))).sum(-1)
        values.append(value)
    return torch.stack(values).flip(0)


def occupancies(mdp: TabularMDP, policy: Float[Tensor, "H *batch S A"]) -> Float[Tensor, "H *all S A"]:
    """d_h(s, a) = Pr(s_h = s, a_h = a), forwards in time: each step sums to one, all of them to H.

    Raises:
        ValueError: a policy of a wrong shape, or one that is no law.
    """
    _check_policy(mdp, policy)
    law = mdp.initial.expand(*_batch(mdp, policy), mdp.states)
    steps = []
    for choice in policy:
        steps.append(law[..., None] * choice)
        law = _pushed(mdp, steps[-1])
    return torch.stack(steps)


def _pushed(mdp: TabularMDP, joint: Tensor) -> Tensor:
    """The next state's law sum_{s,a} d(s, a) P(s'|s, a), (..., S, A) -> (..., S).

    Normalised: rows that miss one by their tolerance would else add up over a thousand steps.
    """
    if mdp.transition.ndim == 3:  # one process for all: a single matrix product
        law = joint.flatten(-2) @ mdp.transition.flatten(0, 1)
    else:
        law = torch.einsum("...sa,...sat->...t", joint, mdp.transition)
    return law / law.sum(-1, keepdim=True)


def log_occupancies(mdp: TabularMDP, log_policy: Float[Tensor, "H *batch S A"]) -> Float[Tensor, "H *all S A"]:
    """log d_h(s, a), minus infinity where it is impossible: exact also where the probability itself underflows.

    Raises:
        ValueError: a policy of a wrong shape, or one that is no law.
    """
    _check_policy(mdp, log_policy.exp())
    log_law = mdp.initial.log().expand(*_batch(mdp, log_policy), mdp.states)
    log_flow = mdp.transition.log()
    steps = []
    for choice in log_policy:
        steps.append(log_law[..., None] + choice)
        log_law = (steps[-1][..., None] + log_flow).flatten(-3, -2).logsumexp(-2).log_softmax(-1)
    return torch.stack(steps)


def returns(
    mdp: TabularMDP, reward: Float[Tensor, "H *batch S A"], policy: Float[Tensor, "_ *others S A"]
) -> Float[Tensor, "H *all"]:
    """E of the reward earned in the first k steps for k = 1..H, (H, ...): the last row is J(pi, r), (18.1).

    Raises:
        ValueError: as `policy_value`.
    """
    _check_both(mdp, reward, policy)
    earned = [(visits * gain).sum((-2, -1)) for visits, gain in zip(occupancies(mdp, policy), reward, strict=True)]
    return torch.stack(earned).cumsum(0)


def moments(visits: Float[Tensor, "H *batch S A"], features: Float[Tensor, "..."]) -> Float[Tensor, "*batch K"]:
    """J(pi, f_k) = sum_h E f_k(s_h, a_h) for K features, (..., K).

    Args:
        visits: d_h(s, a) as `occupancies` gives it.
        features: f_k(s, a), (S, A, K), or (..., S, A, K) with the leading axes of `visits` after H.

    Raises:
        ValueError: features of another shape, or not finite.
    """
    shape = (*visits.shape[-2:], features.shape[-1] if features.ndim else 0)
    leading = tuple(features.shape[:-3])
    fits = features.ndim >= 3 and features.shape[-3:] == shape and leading in ((), tuple(visits.shape[1:-2]))
    if not fits or not features.numel():
        needed = f"must be (S, A, K) with S, A = {tuple(visits.shape[-2:])} and at least one feature"
        raise ValueError(f"features {tuple(features.shape)}: {needed}")
    if not bool(features.isfinite().all()):
        raise ValueError("features: must be finite")
    return torch.einsum("...sa,...sak->...k", visits.sum(0), features)


def causal_entropy(mdp: TabularMDP, policy: Float[Tensor, "H *batch S A"]) -> Float[Tensor, "*all"]:
    """E sum_h -log pi_h(a_h|s_h) in nats, (...).

    Raises:
        ValueError: a policy of a wrong shape, or one that is no law.
    """
    visits, spread = occupancies(mdp, policy).sum(-1), torch.special.entr(policy).sum(-1)
    # Step by step: the visits may have the process's leading axes after H, which the policy's own lack.
    return torch.stack([here * nats for here, nats in zip(visits, spread, strict=True)]).sum((0, -1))


def _batch(mdp: TabularMDP, *steps: Tensor) -> tuple[int, ...]:
    """The leading axes that the process and what is given per step have together."""
    return tuple(torch.broadcast_shapes(mdp.transition.shape[:-3], *(one.shape[1:-2] for one in steps)))


def check_steps(mdp: TabularMDP, name: str, values: Float[Tensor, "..."]) -> None:
    """Refuse what is not given per step, state and action of the process.

    Raises:
        ValueError: not (H, ..., S, A) with H >= 1, another dtype than the process's, numbers that are not finite, or
            leading axes that do not broadcast with those of the process.
    """
    shape, needed = tuple(values.shape), (mdp.states, mdp.actions)
    if len(shape) < 3 or shape[-2:] != needed:
        raise ValueError(f"{name} {shape}: must be (H, ..., S, A) with S, A = {needed}")
    if not shape[0]:
        raise ValueError(f"{name} {shape}: the horizon H must be at least 1")
    if values.dtype != mdp.transition.dtype:
        raise ValueError(f"{name}: must be {mdp.transition.dtype} as the process is, not {values.dtype}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name}: must be finite")
    try:
        _batch(mdp, values)
    except RuntimeError:
        raise ValueError(f"{name} {shape}: axes do not fit those of {tuple(mdp.transition.shape)}") from None


def _check_policy(mdp: TabularMDP, policy: Tensor) -> None:
    check_steps(mdp, "policy", policy)
    check_probabilities("policy", policy.detach())


def _check_both(mdp: TabularMDP, reward: Tensor, policy: Tensor) -> None:
    check_steps(mdp, "reward", reward)
    _check_policy(mdp, policy)
    if len(reward) != len(policy):
        raise ValueError(f"reward has {len(reward)} steps, policy {len(policy)}: must be the same horizon")
    try:
        _batch(mdp, reward, policy)
    except RuntimeError:
        shapes = f"reward {tuple(reward.shape)}, policy {tuple(policy.shape)}"
        raise ValueError(f"{shapes}: leading axes must broadcast") from None
