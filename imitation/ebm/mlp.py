"""A multilayer-perceptron energy E(x, y) for a population, and its gradient in y written out by hand.

Samplers need only dE/dy. That gradient needs no graph, the observation's share of the first layer stays the same
along a chain, and rows taken in blocks keep the activations in the cache.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.ebm.langevin import Gradient
from imitation.population import RandomSource, normal_like


class MLPEnergy(nn.Module):
    """P independent energies: linear layers with ReLU between them and one output.

    Weights have the shape (P, in, out), biases (P, 1, out); all start from N(0, std), as in Ta et al. 2022,
    Appendix D.

    Args:
        observation_dim: Dx, may be 0 for an energy of y alone.
        action_dim: Dy.
        random: the generator, or one per member of the population.
        hidden: widths of the hidden layers, at least one.
        members: P.
        std: standard deviation of the starting weights and biases.

    Raises:
        ValueError: a width or dimension that is not positive.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        random: RandomSource,
        hidden: Sequence[int] = (256, 256),
        members: int = 1,
        std: float = 0.05,
    ) -> None:
        super().__init__()
        if observation_dim < 0 or min(action_dim, members, *hidden) < 1 or not hidden:
            raise ValueError(f"{observation_dim=}, {action_dim=}, {hidden=}, {members=}: sizes must be positive")
        self.observation_dim = observation_dim
        widths = [observation_dim + action_dim, *hidden, 1]
        start = [torch.empty(members, rows, out) for a, out in pairwise(widths) for rows in (a, 1)]
        values = [nn.Parameter(normal_like(empty, random) * std) for empty in start]
        self.weights, self.biases = nn.ParameterList(values[::2]), nn.ParameterList(values[1::2])

    def forward(
        self, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B M Dy"]
    ) -> Float[Tensor, "P B M"]:
        """Energies (P, B, M) of actions (P, B, M, Dy) under observations (P, B, Dx)."""
        members, rows, samples, _ = action.shape
        first = self._observation_share(observation)[:, :, None] + self._action_share(action)
        value = first.reshape(members, rows * samples, -1)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            value = torch.baddbmm(bias, value.relu(), weight)
        return value.reshape(members, rows, samples)

    def action_gradient(self, observation: Float[Tensor, "P B Dx"], block: int = 256) -> Gradient:
        """The function y -> dE/dy at fixed observations, without a graph.

        Args:
            observation: (P, B, Dx).
            block: observations handled at a time; the result does not depend on it but for rounding.

        Returns:
            A function from actions (P, B, M, Dy) to gradients of the same shape.
        """
        share = self._observation_share(observation).detach()

        @torch.no_grad()
        def gradient(action: Tensor) -> Tensor:
            result = torch.empty_like(action)
            for rows in torch.arange(share.shape[1]).split(block):
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                result[:, part] = self._block_gradient(share[:, part], action[:, part])
            return result

        return gradient

    def _observation_share(self, observation: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[0], observation, self.weights[0][:, : self.observation_dim])

    def _action_share(self, action: Tensor) -> Tensor:
        return torch.einsum("pbmd,pdh->pbmh", action, self.weights[0][:, self.observation_dim :])

    def _block_gradient(self, share: Tensor, action: Tensor) -> Tensor:
        members, rows, samples, _ = action.shape
        first = self._action_share(action).add_(share[:, :, None])
        active = [first.reshape(members, rows * samples, -1).relu_()]
        for weight, bias in zip(self.weights[1:-1], self.biases[1:-1], strict=True):
            active.append(torch.baddbmm(bias, active[-1], weight).relu_())
        # Backwards, as the ReLU lets it through: the slope passes where the activation is above zero.
        through = torch.ops.aten.threshold_backward
        slope = through(self.weights[-1].mT.expand_as(active[-1]), active[-1], 0)
        for weight, value in zip(reversed(self.weights[1:-1]), reversed(active[:-1]), strict=True):
            slope = through(torch.bmm(slope, weight.mT), value, 0)
        return torch.bmm(slope, self.weights[0][:, self.observation_dim :].mT).reshape(action.shape)
