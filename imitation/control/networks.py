"""Networks of the soft actor-critic core, each a population: P actors, and P times K critics."""

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.ebm._linear import layer
from imitation.population import Generators, RandomSource, normal_like, uniform_like

FEW = 16  # rows: oneDNN's layers cost more than they save on fewer, and on a single output
LOG_DEVIATION = (-20.0, 2.0)  # where the log of the actor's deviation is held, as in Haarnoja et al. 2018's code


class Perceptron(nn.Module):
    """P times K independent multilayer perceptrons with ReLU between the layers.

    Weights (P K, in, out) and biases (P K, 1, out) start uniform on +-1/sqrt(in), as torch's `Linear`.

    Args:
        widths: of the inputs, of the hidden layers, and of the outputs.
        random: one generator per member.
        copies: K networks per member.
    """

    def __init__(self, widths: Sequence[int], random: Generators, copies: int = 1) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        like = torch.empty(0, device=random.members[0].device)
        for width, out in pairwise(widths):
            for kind, rows in ((self.weights, width), (self.biases, 1)):
                start = like.new_empty(len(random), copies, rows, out)
                kind.append(nn.Parameter(uniform_like(start, random, -(width**-0.5), width**-0.5).flatten(0, 1)))

    def forward(self, value: Float[Tensor, "PK B Di"], frozen: bool = False) -> Float[Tensor, "PK B Do"]:
        """Inputs (P K, B, Di) -> outputs (P K, B, Do); frozen: gradients reach the inputs only."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight, bias = (weight.detach(), bias.detach()) if frozen else (weight, bias)
            if value.shape[1] < FEW or weight.shape[2] == 1:
                value = torch.baddbmm(bias, value, weight)
                value = value.relu() if number < last else value
            else:
                value = layer(value, weight, bias, relu=number < last)
        return value


class Critics(nn.Module):
    """K state-action values for each of P members."""

    def __init__(
        self, observation_dim: int, action_dim: int, random: Generators, hidden: Sequence[int], copies: int = 2
    ) -> None:
        super().__init__()
        self.copies = copies
        self.network = Perceptron([observation_dim + action_dim, *hidden, 1], random, copies)

    def forward(
        self, observation: Float[Tensor, "P B Do"], action: Float[Tensor, "P B Da"], frozen: bool = False
    ) -> Float[Tensor, "P K B"]:
        """Q(s, a) (P, K, B); frozen: gradients reach the action only."""
        pairs = torch.cat([observation, action], -1)
        if self.copies > 1:
            pairs = pairs.repeat_interleave(self.copies, 0)
        return self.network(pairs, frozen)[..., 0].unflatten(0, (-1, self.copies))


class Actor(nn.Module):
    """P Gaussian policies squashed by tanh onto [-1, 1]: Haarnoja et al. 2018, Appendix C."""

    def __init__(self, observation_dim: int, action_dim: int, random: Generators, hidden: Sequence[int]) -> None:
        super().__init__()
        self.network = Perceptron([observation_dim, *hidden, 2 * action_dim], random)

    def forward(self, observation: Float[Tensor, "P B Do"]) -> tuple[Tensor, Tensor]:
        """Mean and log deviation before the tanh, both (P, B, Da)."""
        mean, log_deviation = self.network(observation).chunk(2, -1)
        return mean, log_deviation.clamp(*LOG_DEVIATION)

    def sample(
        self, observation: Float[Tensor, "P B Do"], random: RandomSource
    ) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B"]]:
        """Actions (P, B, Da) with their log-density (P, B), both differentiable in the parameters."""
        mean, log_deviation = self(observation)
        noise = normal_like(mean, random)
        before = torch.addcmul(mean, noise, log_deviation.exp())
        # log tanh'(u) = 2 (log 2 - u - softplus(-2u)), which does not round to log 0 where tanh(u) rounds to 1.
        density = -0.5 * noise.square() - log_deviation + 2 * (before + nn.functional.softplus(-2 * before))
        return before.tanh(), density.sum(-1) - mean.shape[-1] * (0.5 * log(2 * torch.pi) + 2 * log(2))

    @torch.no_grad()
    def mode(self, observation: Float[Tensor, "P B Do"]) -> Float[Tensor, "P B Da"]:
        """The action that evaluation takes, tanh of the mean, (P, B, Da)."""
        return self(observation)[0].tanh()
