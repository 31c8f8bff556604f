"""The tanh-Normal distribution of actions in [-1, 1]^|A|: a = tanh(u), u ~ N(mean, deviation^2) per coordinate.

The change of variables log(1 - tanh^2 u) loses all digits, and atanh(a) leaves the numbers, as |a| goes to 1. As in the
published code of CSIL, the tails |a| >= .999 therefore carry their mass evenly: the density there is P(|u| beyond
atanh .999, on this side) / .001. So the density integrates to one, and is finite for every action.
"""

from math import atanh, log, pi

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from imitation.population import RandomSource, normal_like

THRESHOLD = 0.999  # where the tails begin
EDGE = atanh(THRESHOLD)  # the same before tanh
LOG_WIDTH = log(1 - THRESHOLD)
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


def log_prob(
    mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"], action: Float[Tensor, "*shape Da"]
) -> Float[Tensor, "*shape"]:
    """Log-density (...) of actions (..., Da) in nats; finite for every action, one beyond [-1, 1] counts as its limit.

    Args:
        mean: (..., Da), of the Normal before tanh.
        deviation: (..., Da), its standard deviation.
        action: (..., Da), in [-1, 1].
    """
    return log_prob_of_value(mean, deviation, action.clamp(-THRESHOLD, THRESHOLD).atanh())


def log_prob_of_value(
    mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"], value: Float[Tensor, "*shape Da"]
) -> Float[Tensor, "*shape"]:
    """Log-density (...) of the actions tanh(value), from the values (..., Da) before tanh; else as `log_prob`."""
    inside = value.clamp(-EDGE, EDGE)
    return _joined(mean, deviation, value, (inside - mean) / deviation)


def sample(
    mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"], random: RandomSource
) -> tuple[Float[Tensor, "*shape Da"], Float[Tensor, "*shape"]]:
    """Actions (..., Da), differentiable in mean and deviation, and their log-densities (...).

    With `Generators` the leading axis is the population axis.
    """
    action, value = draw(mean, deviation, normal_like(mean, random))
    return action, log_prob_of_value(mean, deviation, value)


def draw(
    mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"], noise: Float[Tensor, "*shape Da"]
) -> tuple[Float[Tensor, "*shape Da"], Float[Tensor, "*shape Da"]]:
    """The actions that standard normal noise (..., Da) stands for, and their values before tanh."""
    value = mean + deviation * noise
    return value.tanh(), value


def mode(mean: Float[Tensor, "*shape Da"]) -> Float[Tensor, "*shape Da"]:
    """The deterministic action tanh(mean), (..., Da): the median, which the published code calls the mode."""
    return mean.tanh()


def log_prob_of_mode(
    mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"]
) -> Float[Tensor, "*shape"]:
    """Log-density (...) of `mode`."""
    return log_prob_of_value(mean, deviation, mean)


def entropy(mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"]) -> Float[Tensor, "*shape"]:
    """Differential entropy (...) in nats, tails included as they are, by 64-point Gauss-Hermite quadrature.

    The entropy of the Normal plus E[log(1 - tanh^2 u)]; the quadrature is right to 1e-5 for deviations up to 1.
    """
    nodes = torch.from_numpy(NODES).to(mean)
    weights = torch.from_numpy(WEIGHTS / WEIGHTS.sum()).to(mean)
    slope = (_log_slope(mean[..., None] + deviation[..., None] * nodes) * weights).sum(-1)
    return (0.5 * log(2 * pi) + 0.5 + deviation.log() + slope).sum(-1)


def divergence_from_uniform(
    mean: Float[Tensor, "*shape Da"], deviation: Float[Tensor, "*shape Da"]
) -> Float[Tensor, "*shape"]:
    """KL(tanh-Normal || uniform on [-1, 1]^Da) (...) in nats, by the quadrature of `entropy`."""
    return mean.shape[-1] * log(2) - entropy(mean, deviation)


def _joined(mean: Tensor, deviation: Tensor, value: Tensor, standardised: Tensor) -> Tensor:
    inside = -0.5 * standardised.square() - deviation.log() - 0.5 * log(2 * pi) - _log_slope(value.clamp(-EDGE, EDGE))
    side = value.sign()
    tail = torch.special.log_ndtr((side * mean - EDGE) / deviation) - LOG_WIDTH
    return torch.where(value.abs() >= EDGE, tail, inside).sum(-1)


def _log_slope(value: Tensor) -> Tensor:
    """log(1 - tanh^2 u), without loss of digits for large |u|."""
    return 2 * (log(2) - value - softplus(-2 * value))
