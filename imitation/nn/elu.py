"""A population's perceptron with ELU, started orthogonal."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.nn.initial import filled, orthogonal
from imitation.nn.products import layer
from imitation.population import Generators


class EluNetwork(nn.Module):
    """P independent perceptrons with an ELU after every layer, the last included.

    Weights have the shape (P, in, out) and start orthogonal, biases (P, 1, out) at zero, as in the published code of
    CSIL.

    Args:
        widths: of the inputs and of every layer.
        random: one generator per member.
        dtype: of the weights.
    """

    def __init__(self, widths: Sequence[int], random: Generators, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        shapes = list(pairwise(widths))
        self.weights = nn.ParameterList([orthogonal(rows, out, random, dtype) for rows, out in shapes])
        self.biases = nn.ParameterList([filled(0.0, random, dtype, 1, out) for _, out in shapes])

    def forward(self, value: Float[Tensor, "P B Dx"]) -> Float[Tensor, "P B Do"]:
        """Inputs (P, B, Dx) -> outputs (P, B, Do)."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            value = nn.functional.elu(layer(value, weight, bias))
        return value
