"""Maximum causal entropy on a finite horizon: games of moments, the soft best response, and the dual's curvature.

Lecture 18, Section 18.6, in the reading where the signs agree: min over lambda, max over pi of

    H(pi) + lambda . (mu(pi) - mu_E),    H(pi) = E sum_h -log pi(a_h|s_h),    mu(pi) = E sum_h f(s_h, a_h).

For a fixed lambda the reward is r = lambda . f, and backward from V_{H+1} = 0

    Q_h = r + P V_{h+1},    V_h = logsumexp_a Q_h,    log pi_h = Q_h - V_h.

The dual g(lambda) = E V_1 - lambda . mu_E is convex and its gradient is mu(pi) - mu_E. The lecture itself minimises a
cost; both conventions are written out here, and are one another's mirror: lambda as a reward is minus lambda as a cost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.horizon import check_steps, moments, occupancies, repeated, value_iteration
from imitation.mdp.soft import next_value
from imitation.mdp.tabular import TabularMDP


@dataclass(frozen=True)
class MomentGame:
    """An expert's moments to be matched in a process, batched: instances (..., R) may share one process (..., 1).

    Args:
        mdp: transition (..., S, A, S).
        features: f(s, a), (..., S, A, K), the same at every step.
        expert: mu_E = E sum_h f(s_h, a_h) under the expert, (..., K).
        horizon: H >= 1, the number of actions that count.

    Raises:
        ValueError: a horizon that is no whole number or below 1, features or moments of a wrong shape or dtype, leading
            axes that do not broadcast, or a number that is not finite.
    """

    mdp: TabularMDP
    features: Float[Tensor, "..."]
    expert: Float[Tensor, "..."]
    horizon: int

    def __post_init__(self) -> None:
        shape, wanted = tuple(self.features.shape), (self.mdp.states, self.mdp.actions)
        if not isinstance(self.horizon, int) or self.horizon < 1:
            raise ValueError(f"horizon={self.horizon}: must be a whole number, at least 1")
        if len(shape) < 3 or shape[-3:-1] != wanted or not shape[-1]:
            raise ValueError(f"features {shape}: must be (..., S, A, K) with S, A = {wanted} and K at least 1")
        if self.expert.ndim < 1 or self.expert.shape[-1] != shape[-1]:
            raise ValueError(f"expert {tuple(self.expert.shape)}: must be (..., K) with K = {shape[-1]}")
        axes = [tuple(part) for part in (self.mdp.transition.shape[:-3], shape[:-3], self.expert.shape[:-1])]
        try:
            torch.broadcast_shapes(*axes)
        except RuntimeError:
            raise ValueError(f"leading axes of process, features and expert, {axes}: must broadcast") from None
        if {self.features.dtype, self.expert.dtype} != {self.mdp.transition.dtype}:
            raise ValueError(f"features and expert moments must be {self.mdp.transition.dtype}, as the process is")
        if not bool(self.features.isfinite().all() and self.expert.isfinite().all()):
            raise ValueError("features and expert moments must be finite")

    def reward(self, multipliers: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch S A"]:
        """lambda . f, (..., K) -> (..., S, A)."""
        return (self.features @ multipliers[..., None, :, None]).squeeze(-1)

    def moments(self, log_policy: Float[Tensor, "H *batch S A"]) -> Float[Tensor, "*batch K"]:
        """mu(pi), (H, ..., S, A) -> (..., K)."""
        return self.moments_of(occupancies(self.mdp, log_policy.exp()))

    def moments_of(self, visits: Float[Tensor, "H *batch S A"]) -> Float[Tensor, "*batch K"]:
        """The moments of the visits of every step, (H, ..., S, A) -> (..., K)."""
        return moments(visits, self.features.expand(*visits.shape[1:-2], *self.features.shape[-3:]))


class SoftPlan(NamedTuple):
    """`log_policy` (H, ..., S, A) and `value`, E V_1 with its sign convention, (...)."""

    log_policy: Float[Tensor, "H *batch S A"]
    value: Float[Tensor, "*batch"]


def soft_best_response(mdp: TabularMDP, reward: Float[Tensor, "*batch S A"], horizon: int) -> SoftPlan:
    """The policy that maximises E sum_h r + H(pi), and that maximum: (18.13)-(18.14) with rewards.

    Raises:
        ValueError: a horizon below 1, or a reward that is not finite or of a wrong shape.
    """
    plan = value_iteration(mdp, repeated(reward, horizon), 1.0)
    return SoftPlan(plan.log_policy, (mdp.initial * plan.value[0]).sum(-1))


def soft_best_response_to_cost(mdp: TabularMDP, cost: Float[Tensor, "*batch S A"], horizon: int) -> SoftPlan:
    """The policy that minimises E sum_h cost - H(pi), and that minimum: (18.13)-(18.14) corrected, pi ~ exp(-m).

    Written out in its own signs, not as the negative of `soft_best_response`.

    Raises:
        ValueError: a horizon below 1, or a cost that is not finite or of a wrong shape.
    """
    check_steps(mdp, "cost", repeated(cost, horizon))
    value, steps = cost.new_zeros(cost.shape[:-1]), []
    for m_now in repeated(cost, horizon):
        m = m_now + next_value(mdp, value)  # (18.12)
        value = -(-m).logsumexp(-1)
        steps.append((-m).log_softmax(-1))
    return SoftPlan(torch.stack(steps[::-1]), (mdp.initial * value).sum(-1))


class Convention(NamedTuple):
    """How lambda . f is read: who responds to it, and whether lambda then ascends (+1) or descends (-1)."""

    respond: Callable[[TabularMDP, Tensor, int], SoftPlan]
    direction: int


REWARD = Convention(soft_best_response, -1)  # min over lambda, max over pi
COST = Convention(soft_best_response_to_cost, +1)  # max over lambda, min over pi: (18.4) with +log pi


def curvature(game: MomentGame, log_policy: Float[Tensor, "H *batch S A"]) -> Float[Tensor, "*batch K K"]:
    """The dual's Hessian at the policy of some lambda: sum_h E Cov_a of the expected features that still follow.

    Its null space holds the directions in which lambda is not identified: no policy can tell them apart.
    """
    visits = occupancies(game.mdp, log_policy.exp())
    later = torch.zeros_like(game.features[..., 0, :])  # (..., S, K)
    hessian = game.features.new_zeros(())
    for policy, weight in zip(log_policy.exp().flip(0), visits.flip(0), strict=True):
        to_come = game.features + torch.einsum("...sat,...tk->...sak", game.mdp.transition, later)
        later = (policy[..., None, :] @ to_come).squeeze(-2)
        centred = to_come - later[..., None, :]
        hessian = hessian + torch.einsum("...sa,...sak,...sal->...kl", weight, centred, centred)
    return hessian
