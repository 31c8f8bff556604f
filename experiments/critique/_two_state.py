"""Example 3 of Swamy et al. 2021: two states, two actions, one parameter.

    logits f(s1) = (0, theta), f(s2) = (0, k theta); the expert has theta = 1 and visits s2 with probability d2.

Everything broadcasts over tensors theta, k and d2 and is float64.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize.elementwise import find_root
from torch import Tensor

from imitation.ebm.joint import Sign, log_state_density

EXPERT = 1.0
BRACKET = (-60.0, 60.0)  # where `root` looks for an optimum


def logits(theta: Tensor, k: Tensor) -> Tensor:
    """f[s, a], shape (..., 2, 2): eq. (10)."""
    theta, k = torch.broadcast_tensors(theta, k)
    zero = torch.zeros_like(theta)
    return torch.stack([torch.stack([zero, theta], -1), torch.stack([zero, k * theta], -1)], -2)


def weights(k: Tensor, d2: Tensor) -> Tensor:
    """The expert's joint law of (s, a), shape (..., 2, 2)."""
    k, d2 = torch.broadcast_tensors(k, d2)
    policy = logits(torch.full_like(k, EXPERT), k).softmax(-1)
    return torch.stack([1 - d2, d2], -1)[..., None] * policy


def cloning(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    """E_expert[log pi_theta(a|s)], behavioural cloning's objective, to be maximised; shape of the broadcast."""
    return (weights(k, d2) * logits(theta, k).log_softmax(-1)).sum((-1, -2))


def state_term(theta: Tensor, k: Tensor, d2: Tensor, sign: Sign = "f") -> Tensor:
    """E_expert[log p_theta(s)], what EDM adds to it: the second term of eq. (2)."""
    density = log_state_density(logits(theta, k), sign)
    return (1 - d2) * density[..., 0] + d2 * density[..., 1]


def joint(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    """The objective (2), negated: E_expert[log pi + log p], to be maximised."""
    return cloning(theta, k, d2) + state_term(theta, k, d2)


def slope(objective, theta: Tensor, *arguments) -> Tensor:
    """d objective / d theta by automatic differentiation, element by element."""
    theta = theta.detach().requires_grad_()
    return torch.autograd.grad(objective(theta, *arguments).sum(), theta)[0]


def joint_slope(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    """The closed form of d joint / d theta: what the expert's features average to, less what the model's do.

    (2) is the likelihood of a one-parameter exponential family with feature a1 on s1 and k a1 on s2, so it is
    concave in theta and its slope falls in theta.
    """
    expert = (1 - d2) * torch.sigmoid(torch.ones_like(k)) + d2 * k * torch.sigmoid(k)
    return expert - model_moment(theta, k)


def model_moment(theta: Tensor, k: Tensor) -> Tensor:
    """The model's mean feature, (e^t + k e^{kt}) / (2 + e^t + e^{kt})."""
    one, other = torch.exp(theta), torch.exp(k * theta)
    return (one + k * other) / (2 + one + other)


def consistent_visits(k: Tensor) -> Tensor:
    """The d_E(s2) at which the model's own marginal at the expert is right, so that EDM is consistent: any shape."""
    one, other = 1 + torch.exp(torch.full_like(k, EXPERT)), 1 + torch.exp(k)
    return other / (one + other)


def root(slope: Callable[[Tensor, Tensor, Tensor], Tensor], k: Tensor, d2: Tensor) -> np.ndarray:
    """Where a slope that falls in theta is zero; NaN where it has no root or is zero everywhere (not identified)."""

    def as_arrays(theta: np.ndarray, *arguments: np.ndarray) -> np.ndarray:
        return slope(*(torch.from_numpy(np.array(part)) for part in (theta, *arguments))).numpy()

    found = find_root(as_arrays, BRACKET, args=(k.numpy(), d2.numpy()))
    flat = (found.f_bracket[0] == 0) & (found.f_bracket[1] == 0)
    return np.where(found.success & ~flat, found.x, np.nan)
