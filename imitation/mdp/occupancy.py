"""How often a policy visits each state: discounted by a linear solve, finite horizons by recursion."""

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.tabular import TabularMDP, check_probabilities


def state_transition(mdp: TabularMDP, policy: Float[Tensor, "*batch S A"]) -> Float[Tensor, "*all S S"]:
    """P_pi(s'|s) = sum_a pi(a|s) P(s'|s, a), shape (..., S, S').

    Raises:
        ValueError: `policy` (..., S, A) is no law over actions.
    """
    check_probabilities("policy", policy)
    return torch.einsum("...sa,...sat->...st", policy, mdp.transition)


def discounted_occupancy(
    mdp: TabularMDP, policy: Float[Tensor, "*batch S A"], discount: float
) -> Float[Tensor, "*all S"]:
    """d(s) = (1 - gamma) sum_t gamma^t Pr(s_t = s), which sums to one.

    Solves (I - gamma P_pi^T) d = (1 - gamma) mu.

    Args:
        policy: (..., S, A).
        discount: gamma in [0, 1).

    Returns:
        (..., S).

    Raises:
        ValueError: the discount is outside [0, 1), or the policy is no law.
    """
    if not 0 <= discount < 1:
        raise ValueError(f"discount={discount}: must be at least 0 and below 1")
    flow = state_transition(mdp, policy).mT
    identity = torch.eye(mdp.states, dtype=flow.dtype, device=flow.device)
    start = mdp.initial.expand(flow.shape[:-1])
    return torch.linalg.solve(identity - discount * flow, (1 - discount) * start)


def horizon_occupancy(
    mdp: TabularMDP, policy: Float[Tensor, "*batch S A"], horizon: int
) -> Float[Tensor, "{horizon} *all S"]:
    """Pr(s_h = s) for h = 1..H, each summing to one; their mean is the undiscounted visitation law.

    Args:
        policy: (..., S, A), the same at every step, or (H, ..., S, A), one per step, when it has one axis more
            than the process.
        horizon: H >= 1.

    Returns:
        (H, ..., S).

    Raises:
        ValueError: the horizon is below 1, a policy per step has another length, or the policy is no law.
    """
    per_step = policy.ndim == mdp.transition.ndim
    if horizon < 1 or (per_step and len(policy) != horizon):
        raise ValueError(f"horizon={horizon}: must be at least 1 and the number of policies, if there is one per step")
    flows = state_transition(mdp, policy) if per_step else state_transition(mdp, policy)[None].expand(
        horizon, *[-1] * (policy.ndim)
    )  # fmt: skip
    visits = [mdp.initial.expand(flows.shape[1:-1])]
    for flow in flows[:-1]:
        visits.append(torch.einsum("...s,...st->...t", visits[-1], flow))
    return torch.stack(visits)


def state_action_occupancy(
    visits: Float[Tensor, "*batch S"], policy: Float[Tensor, "*batch S A"]
) -> Float[Tensor, "*batch S A"]:
    """d(s, a) = d(s) pi(a|s), (..., S) and (..., S, A) -> (..., S, A)."""
    return visits[..., None] * policy
