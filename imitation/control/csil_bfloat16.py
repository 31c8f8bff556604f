"""CSIL with matrix products in bfloat16: what it buys `benchmarks/csil.py` tells, what it costs `csil/economies`."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from imitation.control.csil import CoherentInfo, CoherentSettings, CoherentSoftImitation
from imitation.control.imitation_rows import DemonstrationRows
from imitation.control.networks import SmoothCritics
from imitation.control.replay import Transitions
from imitation.nn.precision import bfloat16
from imitation.population import Generators


class HalvedCritics(SmoothCritics):
    """Smooth critics that return float32 from products in bfloat16."""

    def with_slope(
        self, observation: Float[Tensor, "P B Do"], action: Float[Tensor, "P B Da"], rows: int
    ) -> tuple[Float[Tensor, "P K B"], Float[Tensor, "P K R Da"]]:
        """Q(s, a), and dQ/da of the first R rows; with a graph for one backward pass."""
        values, slope = super().with_slope(observation, action, rows)
        return values.float(), slope.float()


class HalvedImitation(CoherentSoftImitation):
    """P learners of CSIL whose networks run in bfloat16 on the processor where they learn; they act in float32.

    Parameters and optimisers stay in float32, and so do densities, targets and losses, which are computed from what the
    networks return.
    """

    def __init__(self, cloned: nn.Module, random: Generators, settings: CoherentSettings) -> None:
        super().__init__(cloned, random, settings)
        for network in (self.actor, self.rewarder, self.critics, self.targets):
            network.register_forward_hook(_as_float)

    def make_critics(self, observation_dim: int, action_dim: int) -> HalvedCritics:
        """As `CoherentSoftImitation`'s."""
        return HalvedCritics(observation_dim, action_dim, self.random, self.settings.hidden, self.settings.copies)

    def update(self, rows: Transitions) -> CoherentInfo:
        """One step of critics, reward and actor, then the targets follow."""
        with bfloat16():
            return super().update(rows)

    def pretrain(self, demonstrations: DemonstrationRows, batch: int = 256) -> Float[Tensor, "P steps"]:
        """Fit the critics to the demonstrations' own values, as `CoherentSoftImitation` does; the losses."""
        with bfloat16():
            return super().pretrain(demonstrations, batch)


def _as_float(_network: nn.Module, _given: Any, returned: Any) -> Any:
    """What a network returns, a tensor or a tuple of some, in float32."""
    return returned.float() if isinstance(returned, Tensor) else tuple(one.float() for one in returned)
