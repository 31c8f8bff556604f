"""CSIL from pixels: the policy learns to see, the rest looks through the eyes of the clone.

Rows are those of `pictured`: what the clone's network says of the pictures, and the pictures, packed. Prior and reward
are the clone's, which knows pictures through its network only. The critic sees through it as well, which saves the
passes through one of its own.
"""

import copy
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from imitation.control.csil import CoherentActor, CoherentSettings, CoherentSoftImitation
from imitation.control.networks import Policy, SmoothCritics
from imitation.control.pictured import unpacked
from imitation.policies.sight import Sighted
from imitation.population import Generators


class OfTold(nn.Module):
    """A policy of the first coordinates of what is observed: of what a sight says.

    Args:
        policy: of Dz coordinates, as `forward(z)`.
        width: Dz.
        observation_dim: of the whole observation.
        action_dim: Da.
    """

    def __init__(self, policy: nn.Module, width: int, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        self.policy, self.width = policy, width
        self.observation_dim, self.action_dim = observation_dim, action_dim

    def forward(self, observation: Float[Tensor, "P B D"]) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B Da"]]:
        """Mean and deviation before tanh, (P, B, Da) each."""
        return self.policy(observation[..., : self.width])


class OfPictures(nn.Module):
    """A policy of the pictures, the further coordinates of what is observed."""

    def __init__(self, sighted: Sighted) -> None:
        super().__init__()
        self.sighted = sighted

    def forward(self, observation: Float[Tensor, "P B D"]) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B Da"]]:
        """Mean and deviation before tanh, (P, B, Da) each."""
        return self.sighted(unpacked(observation[..., self.sighted.sight.width :]))


class CriticsOfTold(SmoothCritics):
    """Values of what a sight says, the first `width` coordinates of what is observed, and of actions."""

    def __init__(self, width: int, action_dim: int, random: Generators, hidden: Sequence[int], copies: int) -> None:
        super().__init__(width, action_dim, random, hidden, copies)
        self.width = width

    def forward(
        self, observation: Float[Tensor, "P B D"], action: Float[Tensor, "P B Da"], frozen: bool = False
    ) -> Float[Tensor, "P K B"]:
        """As `SmoothCritics`."""
        return super().forward(observation[..., : self.width], action, frozen)

    def with_slope(
        self, observation: Float[Tensor, "P B D"], action: Float[Tensor, "P B Da"], rows: int
    ) -> tuple[Float[Tensor, "P K B"], Float[Tensor, "P K R Da"]]:
        """As `SmoothCritics`."""
        return super().with_slope(observation[..., : self.width], action, rows)


class PixelCoherentImitation(CoherentSoftImitation):
    """P learners of CSIL from rows as `pictured.sighted` makes them with the clone's own sight.

    Args:
        cloned: sight and policy, fitted together. The actor starts from both.
        observation_dim: of the rows.
        random: one generator per member.
        settings: see `CoherentSettings`.
    """

    def __init__(self, cloned: Sighted, observation_dim: int, random: Generators, settings: CoherentSettings) -> None:
        self._start, width = cloned, cloned.sight.width
        super().__init__(OfTold(cloned.policy, width, observation_dim, cloned.action_dim), random, settings)

    def make_actor(self, observation_dim: int, action_dim: int) -> Policy:
        """A copy of the clone with its sight, which learns on."""
        return CoherentActor(OfPictures(copy.deepcopy(self._start).requires_grad_(True)))

    def make_critics(self, observation_dim: int, action_dim: int) -> SmoothCritics:
        """Of what the clone's sight says."""
        settings = self.settings
        return CriticsOfTold(self._start.sight.width, action_dim, self.random, settings.hidden, settings.copies)
