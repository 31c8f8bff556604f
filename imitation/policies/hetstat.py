"""HetStat: the heteroscedastic stationary policy of CSIL (Watson et al. 2023, Section 4), for a population.

A perceptron with a narrow last layer, wide periodic features phi on random directions of it, a mean linear in phi and
a variance quadratic in phi. Features of constant length would make the variance that of a stationary Gaussian process:
the same everywhere until data change it. The fit turns the variance down along the data's features only.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from math import log, pi, sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.nn.elu import EluNetwork
from imitation.nn.initial import filled
from imitation.nn.products import layer
from imitation.policies._tanh_normal import log_prob
from imitation.population import Generators, device_of, normal_like

LARGEST_VARIANCE = 0.75  # of the Normal before tanh, near that of the uniform prior's atanh (pi^2 / 12)
SMALLEST_SQUARE = 1e-5  # added under the root, so that the deviation has a floor
LOG_LENGTH = -5.0  # start of the scales' logarithms
BLOCK = 64  # width of the triangular product's blocks


def triangle_wave(value: Tensor) -> Tensor:
    """The triangle wave of period 2 pi and of slope +-pi / (2 sqrt 2): odd, rising at 0, mean square pi^4 / 96."""
    return pi / sqrt(8) * (pi / 2 - ((value + pi / 2).remainder(2 * pi) - pi).abs())


def sine_wave(value: Tensor) -> Tensor:
    """sin + cos = sqrt(2) sin(value + pi/4): its mean square is 1."""
    return sqrt(2) * (value + pi / 4).sin()


WAVES: dict[str, Callable[[Tensor], Tensor]] = {
    "triangle": triangle_wave,
    "sine": sine_wave,
    "relu": torch.relu,  # not periodic: what the others are compared with
}


def wave_features(inner: Float[Tensor, "P B H"], wave: str) -> Float[Tensor, "P B 2*H"]:
    """phi = [wave(v + pi/4), wave(v - pi/4)] / sqrt(2 H), (P, B, 2 H), of values v (P, B, H).

    With v = w x and Gaussian w, the sine's phi(x) phi(y) depends on x - y only, for every w, and |phi| = 1. The
    triangle's has harmonics n = 1, 3, 5, ... of weight 1 / n^4 that do so on average over w, and products of different
    harmonics n, m that do not: weight 1 / (n m)^2, falling as exp(-|n x +- m y|^2 / 2) away from the origin. So
    |phi|^2 is pi^4 / 128 = .76 where all v are 0, and on average pi^4 / 96 = 1.01 far away.
    """
    phases = torch.cat([inner + pi / 4, inner - pi / 4], -1)
    return WAVES[wave](phases) * phases.shape[-1] ** -0.5


class HetStat(nn.Module):
    """P independent policies; actions are tanh-Normal with the mean and deviation that `forward` gives.

    Values at the start are drawn per member: the perceptron's layers, then the features' directions. Member i of a
    population starts as the same policy would alone.

    Args:
        observation_dim: Dx.
        action_dim: Da.
        random: one generator per member.
        hidden: widths of the perceptron before its last layer.
        bottleneck: width of its last layer, 12 as published.
        features: F, even; 256 as published.
        wave: of the features, "triangle" as published, "sine", or "relu" (not periodic).
        dtype: of the parameters.

    Raises:
        ValueError: a size that is not positive, an odd number of features, or an unknown wave.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        random: Generators,
        hidden: Sequence[int] = (256, 256),
        bottleneck: int = 12,
        features: int = 256,
        wave: str = "triangle",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if min(observation_dim, action_dim, bottleneck, features, *hidden) < 1 or features % 2 or wave not in WAVES:
            sizes = f"{observation_dim=}, {action_dim=}, {hidden=}, {bottleneck=}, {features=}, {wave=}"
            raise ValueError(f"{sizes}: sizes must be positive, features even, wave one of {', '.join(WAVES)}")
        self.observation_dim, self.action_dim, self.wave = observation_dim, action_dim, wave
        self.perceptron = EluNetwork([observation_dim, *hidden, bottleneck], random, dtype)
        directions = filled(0.0, random, dtype, bottleneck, features // 2)
        self.directions = nn.Parameter(normal_like(directions.detach(), random))
        self.log_scales = filled(LOG_LENGTH, random, dtype, 1, bottleneck)
        self.mean_weights = filled(0.0, random, dtype, features, action_dim)
        self.factor = TriangularFactor(features, action_dim, random, dtype)

    def forward(
        self, observation: Float[Tensor, "P B Dx"], faithful: bool = False
    ) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B Da"]]:
        """Mean and deviation before tanh, (P, B, Da) each, at observations (P, B, Dx).

        Args:
            observation: (P, B, Dx).
            faithful: no gradient flows from the deviation into the features.
        """
        features = self.features(observation)
        return self.mean_of(features), self.deviation_of(features.detach() if faithful else features)

    def features(self, observation: Float[Tensor, "P B Dx"]) -> Float[Tensor, "P B F"]:
        """phi (P, B, F): `wave_features` of the perceptron's scaled outputs along the directions."""
        inner = torch.bmm(self.perceptron(observation) * self.log_scales.exp(), self.directions)
        return wave_features(inner, self.wave)

    def mean_of(self, features: Float[Tensor, "P B F"]) -> Float[Tensor, "P B Da"]:
        """The mean before tanh (P, B, Da), linear in the features (P, B, F); zero at the start."""
        return torch.bmm(features, self.mean_weights)

    def deviation_of(self, features: Float[Tensor, "P B F"]) -> Float[Tensor, "P B Da"]:
        """The deviation before tanh (P, B, Da), sqrt(.75) tanh sqrt(1e-5 + |L_d^T phi|^2)."""
        return sqrt(LARGEST_VARIANCE) * (SMALLEST_SQUARE + self.factor(features)).sqrt().tanh()

    def frozen(self) -> "HetStat":
        """A copy whose parameters have no gradients and stay as they are now."""
        return deepcopy(self).requires_grad_(False)


class TriangularFactor(nn.Module):
    """The quadratic forms |L_d^T phi|^2, one lower triangular L_d per action dimension; the identity at the start.

    The product with the zeros above the diagonal is not taken: block column c of all L_d together meets only the
    features from block c on. Raw diagonals are logarithms.

    Args:
        features: F.
        action_dim: Da.
        random: one generator per member.
        dtype: of the parameters.
    """

    strictly_lower: Tensor
    diagonal: Tensor

    def __init__(self, features: int, action_dim: int, random: Generators, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.action_dim = action_dim
        self.block = block = BLOCK if features % BLOCK == 0 else features
        columns = action_dim * block
        blocks = features // block
        self.corners = filled(0.0, random, dtype, blocks, block, columns)
        below = [features - block * (number + 1) for number in range(blocks - 1)]
        self.below = nn.ParameterList([filled(0.0, random, dtype, rows, columns) for rows in below])
        ones = torch.ones(block, block, dtype=dtype, device=device_of(random))
        self.register_buffer("strictly_lower", ones.tril(-1).repeat(1, action_dim), persistent=False)
        self.register_buffer("diagonal", torch.eye(block).to(ones).repeat(1, action_dim), persistent=False)

    def forward(self, features: Float[Tensor, "P B F"]) -> Float[Tensor, "P B Da"]:
        """|L_d^T phi|^2 (P, B, Da) of features phi (P, B, F)."""
        total = 0
        for number, corner in enumerate(self._corners().unbind(1)):
            column = torch.cat([corner, self.below[number]], 1) if number < len(self.below) else corner
            product = layer(features[..., self.block * number :], column)
            total = total + _SquaredNorm.apply(product.unflatten(-1, (self.action_dim, self.block)))
        assert isinstance(total, Tensor)
        return total

    def dense(self) -> Float[Tensor, "P Da F F"]:
        """The matrices L_d themselves, (P, Da, F, F)."""
        corners = self._corners()
        members, blocks, block, _ = corners.shape
        whole = corners.new_zeros(members, self.action_dim, blocks * block, blocks * block)
        for number in range(blocks):
            first, after = block * number, block * (number + 1)
            own = corners[:, number].unflatten(-1, (self.action_dim, block)).transpose(1, 2)
            whole[:, :, first:after, first:after] = own
            if number < len(self.below):
                below = self.below[number].unflatten(-1, (self.action_dim, block)).transpose(1, 2)
                whole[:, :, after:, first:after] = below
        return whole

    def _corners(self) -> Tensor:
        """The blocks on the diagonal with exp on it and zeros above, (P, blocks, block, Da block)."""
        # exp of the diagonal alone: elsewhere it could overflow, and infinity times zero is not a number.
        return self.corners * self.strictly_lower + (self.corners * self.diagonal).exp() * self.diagonal


class _SquaredNorm(torch.autograd.Function):
    """Sum of squares along the last axis; its gradient in one pass over the values, where autograd takes three."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.square().sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        return value * (2 * gradients[0])[..., None]


def coherent_reward(
    mean: Float[Tensor, "*shape Da"],
    deviation: Float[Tensor, "*shape Da"],
    action: Float[Tensor, "*shape Da"],
    alpha: float,
) -> Float[Tensor, "*shape"]:
    """r = alpha (log q(a|s) - log p(a)), p uniform on [-1, 1]^Da: alpha (log q + Da ln 2), (...).

    Args:
        mean: (..., Da), of the policy q before tanh.
        deviation: (..., Da).
        action: (..., Da).
        alpha: the reward's temperature, in nats' inverse unit; 1 / Da as published.
    """
    return alpha * (log_prob(mean, deviation, action) + action.shape[-1] * log(2))
