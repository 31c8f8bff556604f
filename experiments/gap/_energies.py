"""Small energies on which samplers can be checked, (..., D) -> (...): summed over D but for the banana's two.

The quadratic and the double well have curvatures between -3 and 1, so that descent with step size lambda/2 on the
gradient stays bounded up to lambda = 4.
"""

import math

import torch
from torch import Tensor

# Half the distance between the wells: a mixture of N(-2, 1) and N(2, 1) at temperature 1, a barrier of 1.3.
WELL = 2.0


def quadratic(position: Tensor) -> Tensor:
    """y^2 / 2: the standard normal."""
    return 0.5 * position.square().sum(-1)


def double_well(position: Tensor) -> Tensor:
    """y^2 / 2 - log cosh(2 y): at temperature 1 an equal mixture of N(-2, 1) and N(2, 1)."""
    scaled = WELL * position
    log_cosh = torch.logaddexp(scaled, -scaled) - math.log(2)
    return (0.5 * position.square() - log_cosh).sum(-1)


def banana(position: Tensor) -> Tensor:
    """y1^2 / 2 + (y2 - y1^2 / 2)^2 / 2: a bent ridge, neither Gaussian nor separable."""
    first, second = position.unbind(-1)
    return 0.5 * first.square() + 0.5 * (second - 0.5 * first.square()).square()


ENERGIES = {"quadratic": quadratic, "double well": double_well, "banana": banana}
