"""A multilayer-perceptron energy E(x, y) for a population, and its gradient in y written out by hand.

Samplers need only dE/dy. That gradient needs no graph, the observation's share of the first layer stays the same
along a chain, and members and rows taken in blocks keep the activations in the cache.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.ebm.langevin import Gradient
from imitation.nn.products import heaviside_, layer, linear, packed, pass_, relu_
from imitation.population import RandomSource, device_of, normal_like

ROWS = 2048  # samples handled at a time: their activations stay in the cache, and there are few calls


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
        self.observation_dim, self.action_dim = observation_dim, action_dim
        widths = [observation_dim + action_dim, *hidden, 1]
        device = device_of(random)
        start = [torch.empty(members, rows, out, device=device) for a, out in pairwise(widths) for rows in (a, 1)]
        values = [nn.Parameter(normal_like(empty, random) * std) for empty in start]
        self.weights, self.biases = nn.ParameterList(values[::2]), nn.ParameterList(values[1::2])

    def forward(
        self, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B M Dy"]
    ) -> Float[Tensor, "P B M"]:
        """Energies (P, B, M) of actions (P, B, M, Dy) under observations (P, B, Dx)."""
        members, rows, samples, _ = action.shape
        value = action.reshape(members, rows * samples, -1)
        offsets = [self._observation_share(observation, self.weights[0]), *list(self.biases)[1:]]
        weights = [self.weights[0][:, self.observation_dim :], *list(self.weights)[1:]]
        for number, (weight, offset) in enumerate(zip(weights, offsets, strict=True), start=1):
            value = layer(value, weight, offset, relu=number < len(weights))
        return value.reshape(members, rows, samples)

    def action_gradient(self, observation: Float[Tensor, "P B Dx"], precision: torch.dtype | None = None) -> Gradient:
        """The function y -> dE/dy at fixed observations, without a graph.

        Args:
            observation: (P, B, Dx).
            precision: of the arithmetic, that of the weights if not given. In bfloat16 gradients are off by 5 % of
                their length (root mean square), and come up to twice as fast where the processor has such products;
                elsewhere they come at the pace of float32.

        Returns:
            A function from actions (P, B, M, Dy) to gradients of the same shape. It keeps the weights of the time it
            was made. Where an observation, an action or a weight is not finite, the gradient is NaN.

        Raises:
            ValueError: by that function, if the actions are not for P members and B observations.
        """
        precision = precision or self.weights[0].dtype
        share = self._observation_share(observation, self.weights[0]).detach().to(precision)
        biases = [bias.detach().to(precision, copy=True) for bias in list(self.biases)[1:-1]]
        last = self.weights[-1].detach().mT
        layers = [
            self.weights[0].detach()[:, self.observation_dim :],
            *(one.detach() for one in list(self.weights)[1:-1]),
        ]
        forwards = [packed(weight.mT.to(precision), ROWS) for weight in layers]
        # The slope of the last layer, one number per unit, is folded into the layer before it.
        backwards = [packed(weight.to(precision), ROWS) for weight in [*layers[:-1], layers[-1] * last]]

        def block(some: slice, share: Tensor, action: Tensor) -> Tensor:
            """The gradient for some members' rows: their share of the first layer, and their actions."""
            members, rows, samples, _ = action.shape
            first = linear(action.reshape(members, rows * samples, -1).to(precision), forwards[0][some])
            first.view(members, rows, samples, -1).add_(share[:, :, None])
            active = [relu_(first)]
            for weight, bias in zip(forwards[1:], biases, strict=True):
                active.append(linear(active[-1], weight[some], bias[some], relu=True))
            slope = linear(heaviside_(active.pop()), backwards[-1][some])
            for weight, value in zip(reversed(backwards[:-1]), reversed(active), strict=True):
                slope = linear(pass_(slope, value), weight[some])
            return slope.reshape(action.shape)

        return self._by_blocks(share, block)

    def _by_blocks(self, share: Float[Tensor, "P B W"], block: Callable[[slice, Tensor, Tensor], Tensor]) -> Gradient:
        """dE/dy block by block of members and rows.

        `block` maps which members they are, the rows' share of the first layer, and their actions, to dE/dy.

        ReLU and its slope make numbers of what is none, and the energy might look flat: zero, or NaN, is added.
        """
        weight_sums = torch.stack([one.detach().sum((1, 2)) for one in self.parameters()]).sum(0)
        taint = 0 * (share.sum(-1) + weight_sums[:, None])

        @torch.no_grad()
        def gradient(action: Tensor) -> Tensor:
            """dE/dy of actions (P, B, M, Dy)."""
            if action.shape[:2] != share.shape[:2]:
                raise ValueError(f"actions {tuple(action.shape)} do not fit observations of {tuple(share.shape[:2])}")
            result = taint[:, :, None, None] + 0 * action
            samples = max(1, action.shape[2])
            size = min(max(1, ROWS // samples), max(1, share.shape[1]))
            # A graphics processor wants few large calls, and has another cache.
            together = len(share) if share.is_cuda else max(1, ROWS // (size * samples))
            for member in range(0, len(share), together):
                some = slice(member, member + together)
                for first in range(0, share.shape[1], size):
                    rows = slice(first, first + size)
                    result[some, rows] += block(some, share[some, rows], action[some, rows])
            return result

        return gradient

    def differentiable_action_gradient(
        self, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B M Dy"]
    ) -> Float[Tensor, "P B M Dy"]:
        """dE/dy with a graph to the weights, for a penalty on it: (P, B, M, Dy).

        Between the kinks of the ReLUs dE/dy is a product of the weights and of zeros and ones, which carry no
        gradient: no second differentiation is needed.
        """
        members, rows, samples, _ = action.shape
        layers = [self.weights[0][:, self.observation_dim :], *list(self.weights)[1:-1]]
        offsets = [self._observation_share(observation, self.weights[0]), *list(self.biases)[1:-1]]
        with torch.no_grad():
            value, passes = action.reshape(members, rows * samples, -1), []
            for weight, offset in zip(layers, offsets, strict=True):
                value = layer(value, weight, offset, relu=True)
                passes.append(value.sign())
        slope = self.weights[-1].mT * passes.pop()
        for weight in reversed(layers[1:]):
            slope = layer(slope, weight.mT) * passes.pop()
        return layer(slope, layers[0].mT).view(action.shape)

    def _observation_share(self, observation: Tensor, first: Tensor) -> Tensor:
        """What the observation adds to the first layer, (P, B, W), by that layer's weights (P, Dx + Dy, W)."""
        return torch.baddbmm(self.biases[0], observation, first[:, : self.observation_dim])
