"""Actions of least energy: the policy of an energy model, by Langevin descent or without derivatives.

Both take many uniform starts, improve them, and return the one of least energy (Florence et al. 2021, B.1 and B.3;
Ta et al. 2022, Appendix D).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import Actions, check_samples, uniform_actions
from imitation.policies.scaling import Scaling
from imitation.population import RandomSource, normal_like, uniform_like

Minimiser = Callable[[MLPEnergy, Tensor, RandomSource], Tensor]  # observations (P, B, Dx) -> actions (P, B, Dy)
ROWS = 8192  # samples whose energies are in memory at a time


@dataclass(frozen=True)
class LangevinMinimiser:
    """Langevin from `samples` uniform starts, then the sample of least energy.

    Args:
        samples: starts per observation.
        bounds: where they start.
        kernel: which Langevin; with little noise it is gradient descent.
        step_sizes: one per iteration.
        precision: of the sampler's arithmetic; energies are compared in float32.

    Raises:
        ValueError: no samples or an empty box.
    """

    samples: int
    bounds: tuple[float, float]
    kernel: Langevin
    step_sizes: Sequence[float]
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_samples(self.samples, self.bounds)

    def __call__(
        self, energy: MLPEnergy, observation: Float[Tensor, "P B Dx"], random: RandomSource
    ) -> Float[Tensor, "P B Dy"]:
        """The action of least energy found, (P, B, Dy)."""
        rows = observation.new_empty(*observation.shape[:2], energy.action_dim)
        start = uniform_actions(rows, self.samples, self.bounds, random)
        gradient = energy.action_gradient(observation, self.precision)
        found = self.kernel.sample(gradient, start, self.step_sizes, random)[0]
        return _chosen(found, _energies(energy, observation, found).argmin(-1))


@dataclass(frozen=True)
class DerivativeFree:
    """Resample by exp(-E), add noise, repeat with less noise; then the sample of most weight.

    Args:
        samples: 16384 in Florence et al. 2021, table in B.1; memory grows with it.
        bounds: where samples start and stay.
        iterations: 3 there, the last without noise, so that 2 here are as many as its code's.
        deviation: of the first noise, .33 there.
        shrink: factor on the deviation after each iteration, .5 there.

    Raises:
        ValueError: no samples, an empty box, no iteration, or a deviation or factor that is not positive.
    """

    samples: int
    bounds: tuple[float, float]
    iterations: int = 3
    deviation: float = 0.33
    shrink: float = 0.5

    def __post_init__(self) -> None:
        check_samples(self.samples, self.bounds)
        if self.iterations < 1 or not (self.deviation > 0 and self.shrink > 0):
            raise ValueError(f"{self.iterations=}, {self.deviation=}, {self.shrink=}: must be positive")

    def __call__(
        self, energy: MLPEnergy, observation: Float[Tensor, "P B Dx"], random: RandomSource
    ) -> Float[Tensor, "P B Dy"]:
        """The action of least energy found, (P, B, Dy)."""
        rows = observation.new_empty(*observation.shape[:2], energy.action_dim)
        actions = uniform_actions(rows, self.samples, self.bounds, random)
        deviation = self.deviation
        for _ in range(self.iterations):
            actions = _resampled(actions, _energies(energy, observation, actions), random)
            actions = (actions + deviation * normal_like(actions, random)).clamp(*self.bounds)
            deviation *= self.shrink
        return _chosen(actions, _energies(energy, observation, actions).argmin(-1))


class ImplicitPolicy:
    """Acts by least energy.

    Args:
        energy: P models.
        minimiser: how the least energy is sought.
        observations, actions: the scalings under which the models were trained.
        random: one generator per member.
    """

    def __init__(
        self,
        energy: MLPEnergy,
        minimiser: Minimiser,
        observations: Scaling,
        actions: Scaling,
        random: RandomSource,
    ) -> None:
        self.energy, self.minimiser, self.random = energy, minimiser, random
        self._observations, self._actions = observations, actions

    @torch.no_grad()
    def act(self, observation: Float[Tensor, "P E Dx"]) -> Float[Tensor, "P E Dy"]:
        """Actions (P, E, Dy) for observations (P, E, Dx), both in the environment's units and the type given."""
        scaled = self._observations.scaled(observation).float()
        found = self.minimiser(self.energy, scaled, self.random).clamp(-1, 1)
        return self._actions.unscaled(found.to(observation))


@torch.no_grad()
def _energies(energy: MLPEnergy, observation: Tensor, actions: Actions) -> Tensor:
    size = max(1, ROWS // actions.shape[2])
    blocks = zip(observation.split(size, 1), actions.split(size, 1), strict=True)
    return torch.cat([energy(x, y) for x, y in blocks], 1)


def _chosen(actions: Actions, index: Tensor) -> Tensor:
    return actions.take_along_dim(index[..., None, None], 2)[:, :, 0]


def _resampled(actions: Actions, energies: Tensor, random: RandomSource) -> Actions:
    """As many draws with probability softmax(-E): the inverse of the cumulative weights at uniform numbers."""
    cumulative = torch.softmax(-energies.double(), -1).cumsum(-1)
    level = uniform_like(cumulative, random) * cumulative[..., -1:]
    index = torch.searchsorted(cumulative, level).clamp(max=actions.shape[2] - 1)
    return actions.take_along_dim(index[..., None], 2)
