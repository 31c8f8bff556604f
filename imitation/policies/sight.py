"""What a policy sees of pictures: a convolutional network for a population, and a policy of what it says."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from imitation.nn.products import layer
from imitation.policies.hetstat import HetStat
from imitation.population import Generators, device_of, uniform_like

KERNELS, STRIDES = (4, 3, 3), (2, 2, 1)


class Sight(nn.Module):
    """P convolutional networks, then a linear layer, a layer norm without weights and tanh.

    The end is much as in DrQ-v2 (Yarats et al. 2021). Three convolutions with ReLU, of kernels 4, 3, 3 and strides
    2, 2, 1. Weights (P, out, in, k, k) and biases (P, out) start uniform on +-1/sqrt(inputs of a unit) as torch's.

    Args:
        shape: F, H, W of the pictures.
        random: one generator per member.
        channels: of the three convolutions.
        width: Dz, of what it says.

    Raises:
        ValueError: a size that is not positive, other than three convolutions, or pictures too small for them.
    """

    def __init__(
        self, shape: tuple[int, int, int], random: Generators, channels: Sequence[int] = (16, 32, 32), width: int = 50
    ) -> None:
        super().__init__()
        sides = [_sides(side) for side in shape[1:]]
        if min(*shape, *channels, width, *sides) < 1 or len(channels) != len(KERNELS):
            raise ValueError(f"{shape=}, {channels=}, {width=}: must be positive, three channels, 16 pixels at least")
        self.shape, self.width = shape, width
        like = torch.empty(0, device=device_of(random))

        def start(inputs: int, *sizes: int) -> nn.Parameter:
            bound = inputs**-0.5
            return nn.Parameter(uniform_like(like.new_empty(len(random), *sizes), random, -bound, bound))

        layers = list(zip(pairwise([shape[0], *channels]), KERNELS, strict=True))
        self.kernels = nn.ParameterList([start(into * k * k, out, into, k, k) for (into, out), k in layers])
        self.biases = nn.ParameterList([start(into * k * k, out) for (into, out), k in layers])
        flat = channels[-1] * prod(sides)
        self.weight, self.bias = start(flat, flat, width), start(flat, 1, width)

    def forward(self, pictures: Real[Tensor, "P B Dx"]) -> Float[Tensor, "P B Dz"]:
        """What it says of pictures (P, B, F * H * W), 0 to 255: (P, B, Dz), in (-1, 1)."""
        shades = pictures.unflatten(-1, self.shape).to(self.weight) / 255 - 0.5
        # Member by member: torch's grouped convolution takes 1.4 times as long, products of patches 3.6 times.
        flat = torch.stack([self._seen(one, member) for member, one in enumerate(shades)])
        said = layer(flat, self.weight, self.bias)
        return nn.functional.layer_norm(said, said.shape[-1:]).tanh()

    def _seen(self, shades: Float[Tensor, "B F H W"], member: int) -> Float[Tensor, "B D"]:
        for kernel, bias, stride in zip(self.kernels, self.biases, STRIDES, strict=True):
            shades = nn.functional.conv2d(shades, kernel[member], bias[member], stride).relu()
        return shades.flatten(1)


def _sides(side: int) -> int:
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        side = (side - kernel) // stride + 1
    return side


class Sighted(nn.Module):
    """A policy of what `Sight` says: both are fitted together.

    Args:
        sight: of P members.
        policy: of z: `forward(z, faithful)`.
    """

    def __init__(self, sight: Sight, policy: HetStat) -> None:
        super().__init__()
        self.sight, self.policy, self.action_dim = sight, policy, policy.action_dim

    def forward(
        self, pictures: Real[Tensor, "P B Dx"], faithful: bool = False
    ) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B Da"]]:
        """Mean and deviation before tanh, (P, B, Da) each."""
        return self.policy(self.sight(pictures), faithful)

    def frozen(self) -> "Sighted":
        """A copy whose parameters have no gradients and stay as they are now."""
        return deepcopy(self).requires_grad_(False)
