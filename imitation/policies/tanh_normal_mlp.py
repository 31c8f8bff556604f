"""A tanh-Normal policy on a plain perceptron: what HetStat is compared with (the MLP policy of CSIL's published code).

Nothing ties its deviation to the prior away from the data.
"""

from collections.abc import Sequence
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.nn.elu import EluNetwork
from imitation.nn.initial import filled, orthogonal
from imitation.population import Generators

LOWEST_LOG = -5.0  # of the deviation's logarithm, which moves between this and 0
FLOOR = sqrt(1e-5)  # added to the deviation


class TanhNormalMLP(nn.Module):
    """P independent policies, linear heads for the mean and for the deviation on one perceptron.

    Args:
        observation_dim: Dx.
        action_dim: Da.
        random: one generator per member.
        hidden: widths of the perceptron, ELU after each.
        dtype: of the parameters.

    Raises:
        ValueError: a size that is not positive, or no hidden layer.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        random: Generators,
        hidden: Sequence[int] = (256, 256),
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if min(observation_dim, action_dim, *hidden, len(hidden)) < 1:
            raise ValueError(f"{observation_dim=}, {action_dim=}, {hidden=}: sizes must be positive")
        self.observation_dim, self.action_dim = observation_dim, action_dim
        self.perceptron = EluNetwork([observation_dim, *hidden], random, dtype)
        self.mean_weights = orthogonal(hidden[-1], action_dim, random, dtype)
        self.deviation_weights = orthogonal(hidden[-1], action_dim, random, dtype)
        self.mean_bias, self.deviation_bias = (filled(0.0, random, dtype, 1, action_dim) for _ in range(2))

    def forward(
        self, observation: Float[Tensor, "P B Dx"], faithful: bool = False
    ) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B Da"]]:
        """Mean and deviation before tanh, (P, B, Da) each, at observations (P, B, Dx); as `HetStat.forward`."""
        features = self.perceptron(observation)
        mean = torch.baddbmm(self.mean_bias, features, self.mean_weights)
        raw = torch.baddbmm(self.deviation_bias, features.detach() if faithful else features, self.deviation_weights)
        return mean, FLOOR + (LOWEST_LOG * (1 - raw.tanh()) / 2).exp()
