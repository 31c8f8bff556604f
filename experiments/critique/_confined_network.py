"""A small policy network on a continuous state, read as an energy model whose normaliser quadrature can compute."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from imitation.ebm.joint import log_unnormalised_density


class Network(NamedTuple):
    """f(s)[a] = (tanh(s W + b) V + c)[a] - |s|^2 / 2, with weights (D, H), (H,), (H, A), (A,).

    The last term is a shift g(s): the policy does not see it, and it makes p(s) integrable.
    """

    outer: Tensor
    inner_bias: Tensor
    outer_bias: Tensor
    inner: Tensor

    def logits(self, states: Tensor) -> Tensor:
        """f(s)[a]: (..., D) -> (..., A)."""
        scores = torch.tanh(states @ self.inner + self.inner_bias) @ self.outer + self.outer_bias
        return scores - 0.5 * states.square().sum(-1, keepdim=True)

    def log_summed(self, states: Tensor) -> Tensor:
        """log sum_a e^{f(s)[a]}, which is log p(s) + log Z: (..., D) -> (...)."""
        return log_unnormalised_density(self.logits(states))


def log_integral(net: Network, nodes: int, half_width: float) -> Tensor:
    """log Z by the trapezoidal rule on a tensor grid: nodes^D evaluations, differentiable in the weights."""
    dimension = len(net.inner)
    axis = torch.linspace(-half_width, half_width, nodes, dtype=net.inner.dtype, device=net.inner.device)
    log_weight = torch.full_like(axis, 2 * half_width / (nodes - 1)).log()
    log_weight[[0, -1]] -= np.log(2)
    rest, rest_weight = axis.new_zeros(1, 0), axis.new_zeros(1)
    for _ in range(dimension - 1):
        rest = torch.cat([axis.repeat_interleave(len(rest))[:, None], rest.repeat(nodes, 1)], 1)
        rest_weight = (log_weight[:, None] + rest_weight).flatten()
    slices = [  # one hyperplane after another keeps memory at nodes^(D-1)
        torch.logsumexp(net.log_summed(torch.cat([first.expand(len(rest), 1), rest], 1)) + weight + rest_weight, 0)
        for first, weight in zip(axis, log_weight, strict=True)
    ]
    return torch.logsumexp(torch.stack(slices), 0)


def weight_gradient(value: Tensor, net: Network) -> Tensor:
    """The gradient of a number in all weights, flat."""
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, list(net))])
