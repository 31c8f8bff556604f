"""Mixture density network (Bishop 1994): p(y | x) is a mixture of K Gaussians with diagonal covariances.

The other explicit baseline of Florence et al. 2021: it can hold several modes where least squares takes their mean.
"""

from dataclasses import dataclass
from math import log, pi
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.policies._fit import Learner


class Components(NamedTuple):
    """A mixture per row: log weights (P, B, K), means and log standard deviations (P, B, K, Dy), in scaled units."""

    log_weights: Float[Tensor, "P B K"]
    means: Float[Tensor, "P B K Dy"]
    log_sigmas: Float[Tensor, "P B K Dy"]

    def log_density(self, action: Float[Tensor, "P B Dy"]) -> Float[Tensor, "P B"]:
        """log p(action) (P, B) of actions (P, B, Dy), summed over the components in log space."""
        standardised = (action[:, :, None] - self.means) * (-self.log_sigmas).exp()
        of_coordinates = -0.5 * standardised.square() - self.log_sigmas - 0.5 * log(2 * pi)
        return (self.log_weights + of_coordinates.sum(-1)).logsumexp(-1)


@dataclass(frozen=True)
class Mixture(Learner):
    """Maximum likelihood of scaled actions; the other arguments, errors and `fit` are those of `Learner`.

    A policy acts by the mean of the component with the largest weight. The code of Florence et al. 2021 draws from
    the mixture instead; the implicit policies that it is compared with take their best action, and so does this one.
    The component whose mean has the highest density would be another choice, but in many dimensions that prefers the
    narrowest component however little it weighs.

    Args:
        components: K; 26 as in the configurations of Florence et al. 2021.
        sigma_floor: added to every standard deviation, in scaled units (the actions span [-1, 1]). Without it the
            likelihood of demonstrations without noise has no maximum.
    """

    components: int = 26
    sigma_floor: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.components < 1 or not self.sigma_floor > 0:
            raise ValueError(f"{self}: components and the floor of sigma must be positive")

    def width(self, action_dim: int) -> int:
        """K weights, and a mean and a standard deviation per component and coordinate."""
        return self.components * (1 + 2 * action_dim)

    def distribution(self, output: Float[Tensor, "P B Do"]) -> Components:
        """The mixtures that outputs (P, B, K (1 + 2 Dy)) stand for: sigma = floor + exp(output)."""
        logits, rest = output[..., : self.components], output[..., self.components :]
        means, log_spreads = rest.unflatten(-1, (2, self.components, -1)).unbind(2)
        log_floor = torch.full_like(log_spreads, log(self.sigma_floor))
        return Components(logits.log_softmax(-1), means, torch.logaddexp(log_spreads, log_floor))

    def loss(self, output: Float[Tensor, "P B Do"], action: Float[Tensor, "P B Dy"]) -> Float[Tensor, " P"]:
        """The mean negative log-likelihood (P,) per row, in nats."""
        return -self.distribution(output).log_density(action).mean(1)

    def action(self, output: Float[Tensor, "P E Do"]) -> Float[Tensor, "P E Dy"]:
        """The mean of the component with the largest weight, the first of equals."""
        mixture = self.distribution(output)
        heaviest = mixture.log_weights.argmax(-1)[:, :, None, None]
        return torch.take_along_dim(mixture.means, heaviest, 2).squeeze(2)
