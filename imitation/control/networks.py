"""Networks of the soft actor-critic core, each a population: P actors, and P times K critics."""

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.nn.initial import orthogonal
from imitation.nn.products import layer
from imitation.population import Generators, RandomSource, device_of, normal_like, uniform_like

NORM_FLOOR = 1e-5  # added to the variance in a layer norm
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
        like = torch.empty(0, device=device_of(random))
        for width, out in pairwise(widths):
            for kind, rows in ((self.weights, width), (self.biases, 1)):
                start = like.new_empty(len(random), copies, rows, out)
                kind.append(nn.Parameter(uniform_like(start, random, -(width**-0.5), width**-0.5).flatten(0, 1)))

    def forward(self, value: Float[Tensor, "PK B Di"], frozen: bool = False) -> Float[Tensor, "PK B Do"]:
        """Inputs (P K, B, Di) -> outputs (P K, B, Do); frozen: gradients reach the inputs only."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            weight, bias = (weight.detach(), bias.detach()) if frozen else (weight, bias)
            value = layer(value, weight, bias, relu=number < last)
        return value

    def with_slope(self, value: Float[Tensor, "PK B Di"]) -> tuple[Float[Tensor, "PK B 1"], Float[Tensor, "PK B Di"]]:
        """The output, of which there is one, and its slope in the inputs; both with a graph for one backward pass.

        The slope is written out: autograd would have to go twice through the layers.
        """
        active, last = [], len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = layer(value, weight, bias, relu=number < last)
            active.append(value.detach() > 0)
        slope = self.weights[-1].mT.expand(-1, value.shape[1], -1)
        for weight, positive in zip(reversed(self.weights[:-1]), reversed(active[:-1]), strict=True):
            slope = layer(slope * positive, weight.mT)
        return value, slope


class SmoothPerceptron(nn.Module):
    """P times K perceptrons of one output: linear, layer norm, tanh, then linear with ELU, then linear.

    Acme's `LayerNormMLP`, the critic of CSIL's published code. Weights start orthogonal, biases at zero. Its slope in
    the inputs is continuous, so that a penalty on it can be learnt; a ReLU network's is piecewise constant.

    Args:
        widths: of the inputs, of at least one hidden layer, and 1.
        random: one generator per member.
        copies: K networks per member.
    """

    def __init__(self, widths: Sequence[int], random: Generators, copies: int = 1) -> None:
        super().__init__()
        dtype, device = torch.get_default_dtype(), device_of(random)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for width, out in pairwise(widths):
            drawn = torch.stack([orthogonal(width, out, random, dtype).detach() for _ in range(copies)], 1)
            self.weights.append(nn.Parameter(drawn.flatten(0, 1)))
            self.biases.append(nn.Parameter(torch.zeros(len(random) * copies, 1, out, device=device)))
        self.gain = nn.Parameter(torch.ones(len(random) * copies, 1, widths[1], device=device))
        self.offset = nn.Parameter(torch.zeros_like(self.gain))

    def forward(self, value: Float[Tensor, "PK B Di"], frozen: bool = False) -> Float[Tensor, "PK B 1"]:
        """Inputs (P K, B, Di) -> outputs (P K, B, 1); frozen: gradients reach the inputs only."""
        return self._run(value, frozen)[0]

    def with_slope(
        self, value: Float[Tensor, "PK B Di"], rows: int | None = None
    ) -> tuple[Float[Tensor, "PK B 1"], Float[Tensor, "PK R Di"]]:
        """The output, and the slope in the inputs of the first R rows (all if None), with a graph for one pass back."""
        output, normed, scale, hidden = self._run(value)
        normed, scale, hidden = normed[:, :rows], scale[:, :rows], [one[:, :rows] for one in hidden]
        slope = self.weights[-1].mT
        for weight, one in zip(reversed(self.weights[1:-1]), reversed(hidden[1:]), strict=True):
            slope = slope * (one.clamp(max=0) + 1)  # ELU's slope from its value
            slope = layer(slope, weight.mT)
        slope = slope * ((1 - hidden[0].square()) * self.gain)
        # Through the norm (x - mean x) / scale: what would shift or stretch all units alike has no effect.
        slope = slope - slope.mean(-1, keepdim=True) - normed * (slope * normed).mean(-1, keepdim=True)
        return output, torch.bmm(slope / scale, self.weights[0].mT)

    def _run(self, value: Tensor, frozen: bool = False) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Output, and what its slope is made of: the normed units, their scale, the values of the hidden layers."""
        weights, biases, gain, offset = list(self.weights), list(self.biases), self.gain, self.offset
        if frozen:
            weights, biases = ([one.detach() for one in some] for some in (weights, biases))
            gain, offset = gain.detach(), offset.detach()
        value = layer(value, weights[0], biases[0])
        centred = value - value.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + NORM_FLOOR).sqrt()
        normed = centred / scale
        hidden = [torch.addcmul(offset, normed, gain).tanh()]
        for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
            hidden.append(nn.functional.elu(layer(hidden[-1], weight, bias)))
        return layer(hidden[-1], weights[-1], biases[-1]), normed, scale, hidden


class Critics(nn.Module):
    """K state-action values for each of P members."""

    def __init__(
        self, observation_dim: int, action_dim: int, random: Generators, hidden: Sequence[int], copies: int = 2
    ) -> None:
        super().__init__()
        self.copies = copies
        self.network = self.make_network([observation_dim + action_dim, *hidden, 1], random)

    def make_network(self, widths: Sequence[int], random: Generators) -> nn.Module:
        """The network of all K values of all members."""
        return Perceptron(widths, random, self.copies)

    def forward(
        self, observation: Float[Tensor, "P B Do"], action: Float[Tensor, "P B Da"], frozen: bool = False
    ) -> Float[Tensor, "P K B"]:
        """Q(s, a) (P, K, B); frozen: gradients reach the action only."""
        pairs = torch.cat([observation, action], -1)
        if self.copies > 1:
            pairs = pairs.repeat_interleave(self.copies, 0)
        return self.network(pairs, frozen)[..., 0].unflatten(0, (-1, self.copies))


class SmoothCritics(Critics):
    """K state-action values for each of P members, on `SmoothPerceptron`."""

    network: SmoothPerceptron

    def make_network(self, widths: Sequence[int], random: Generators) -> SmoothPerceptron:
        """The network of all K values of all members."""
        return SmoothPerceptron(widths, random, self.copies)

    def with_slope(
        self, observation: Float[Tensor, "P B Do"], action: Float[Tensor, "P B Da"], rows: int
    ) -> tuple[Float[Tensor, "P K B"], Float[Tensor, "P K R Da"]]:
        """Q(s, a), and dQ/da of the first R rows; with a graph for one backward pass."""
        pairs = torch.cat([observation, action], -1)
        pairs = pairs.repeat_interleave(self.copies, 0) if self.copies > 1 else pairs
        values, slope = self.network.with_slope(pairs, rows)
        shape = (-1, self.copies)
        return values[..., 0].unflatten(0, shape), slope[..., -action.shape[-1] :].unflatten(0, shape)


class Policy(nn.Module):
    """P policies with actions in [-1, 1]."""

    def sample(
        self, observation: Float[Tensor, "P B Do"], random: RandomSource
    ) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B"]]:
        """Actions (P, B, Da) with their log-density (P, B), both differentiable in the parameters."""
        raise NotImplementedError

    def mode(self, observation: Float[Tensor, "P B Do"]) -> Float[Tensor, "P B Da"]:
        """The action that evaluation takes, (P, B, Da)."""
        raise NotImplementedError


class Actor(Policy):
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
