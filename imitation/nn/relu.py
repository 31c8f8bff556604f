"""A population's perceptron with ReLU, started as torch's."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.population import Generators, uniform_like


class ReluNetwork(nn.Module):
    """P independent multilayer perceptrons with ReLU between the layers.

    Weights have the shape (P, in, out), biases (P, 1, out); both start uniform on +-1/sqrt(in), as torch's `Linear`,
    drawn layer by layer, weight before bias.

    Args:
        widths: of the inputs, of the hidden layers if any, and of the outputs.
        random: one generator per member.
        like: gives the type and the device.
    """

    def __init__(self, widths: Sequence[int], random: Generators, like: Float[Tensor, "..."]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for width, out in pairwise(widths):
            for kind, rows in ((self.weights, width), (self.biases, 1)):
                start = like.new_empty(len(random), rows, out)
                kind.append(nn.Parameter(uniform_like(start, random, -(width**-0.5), width**-0.5)))

    def forward(self, value: Float[Tensor, "P B Dx"]) -> Float[Tensor, "P B Do"]:
        """Inputs (P, B, Dx) -> outputs (P, B, Do)."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = torch.baddbmm(bias, value.relu() if layer else value, weight)
        return value
