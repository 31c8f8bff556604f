"""The lecture's recursion as it is printed: (18.13) with exp(+m), and (18.14) with the missing bracket closed.

As printed the policy is a softmax of the cost m, so that V = E_pi[log pi + m] = 2 E_pi[m] - logsumexp(m).
"""

import torch
from torch import Tensor

from imitation.mdp.maxent import Convention, SoftPlan
from imitation.mdp.soft import next_value
from imitation.mdp.tabular import TabularMDP


def printed_response(mdp: TabularMDP, cost: Tensor, horizon: int) -> SoftPlan:
    """The policy that (18.12)-(18.14) print for the cost lambda . f, (..., S, A), and the value that goes with it."""
    value, steps = cost.new_zeros(cost.shape[:-1]), []
    for _ in range(horizon):
        m = cost + next_value(mdp, value)  # (18.12)
        steps.append(m.log_softmax(-1))  # (18.13)
        value = (steps[-1].exp() * (steps[-1] + m)).sum(-1)  # (18.14)
    return SoftPlan(torch.stack(steps[::-1]), (mdp.initial * value).sum(-1))


# With the lecture's ascent in lambda the moments run away; with descent they match, but not with maximal entropy.
PRINTED_WITH_DESCENT = Convention(printed_response, -1)
