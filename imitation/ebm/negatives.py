"""Where the negatives of a conditional energy model come from: uniform draws, short chains, or one long chain.

A proposal maps observations (P, B, Dx) to M actions for each, (P, B, M, Dy), in units where actions lie in [-1, 1].
No gradient flows through them. The marginal action sampler and the joint model's buffer, which learn, have files of
their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.population import RandomSource, uniform_like

Actions = Float[Tensor, "P B M Dy"]


class Proposal:
    """A source of negatives; those that learn keep their state in `state_dict`."""

    def draw(
        self, energy: MLPEnergy, observation: Float[Tensor, "P B Dx"], positive: Float[Tensor, "P B Dy"],
        random: RandomSource,
    ) -> Actions:  # fmt: skip
        """Draw M negatives for each observation.

        Args:
            energy: the model under training.
            observation: (P, B, Dx).
            positive: the demonstrated actions (P, B, Dy).
            random: one generator per member.
        """
        raise NotImplementedError

    def learn(self, positive: Float[Tensor, "P B Dy"], negatives: Actions) -> None:
        """Learn from a step's positives and from what was drawn for them, if this proposal learns."""

    def state_dict(self) -> dict[str, Any]:
        """What a later step depends on, nothing for a proposal that does not learn."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""


def uniform_actions(
    positive: Float[Tensor, "P B Dy"], samples: int, bounds: tuple[float, float], random: RandomSource
) -> Actions:
    """`samples` uniform actions in the box for each row of `positive`: (P, B, Dy) -> (P, B, M, Dy)."""
    members, rows, dimensions = positive.shape
    return uniform_like(positive.new_empty(members, rows, samples, dimensions), random, *bounds)


def check_samples(samples: int, bounds: tuple[float, float]) -> None:
    """Raise ValueError unless there are negatives to draw, and a box to draw them from."""
    if samples < 1 or not bounds[0] < bounds[1]:
        raise ValueError(f"samples={samples}, bounds={bounds}: need at least one sample and a box that is not empty")


@dataclass(frozen=True)
class Uniform(Proposal):
    """Uniform negatives in a box: training of the derivative-free optimiser (Florence et al. 2021, B.1).

    Args:
        samples: M.
        bounds: lowest and highest value of a coordinate.

    Raises:
        ValueError: no samples or an empty box.
    """

    samples: int
    bounds: tuple[float, float]

    def __post_init__(self) -> None:
        check_samples(self.samples, self.bounds)

    def draw(self, energy, observation, positive, random) -> Actions:
        return uniform_actions(positive, self.samples, self.bounds, random)


@dataclass(frozen=True)
class ShortChains(Proposal):
    """The last positions of M independent chains, each from a fresh uniform start (Florence et al. 2021, B.3).

    Args:
        samples: M.
        bounds: where chains start.
        kernel: which Langevin.
        step_sizes: one per iteration.
        precision: of the sampler's arithmetic, float32 if not given.

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

    def draw(self, energy, observation, positive, random) -> Actions:
        start = uniform_actions(positive, self.samples, self.bounds, random)
        gradient = energy.action_gradient(observation, self.precision)
        return self.kernel.sample(gradient, start, self.step_sizes, random)[0]


@dataclass(frozen=True)
class LongChain(Proposal):
    """The last M positions of one chain per observation; what comes before them is burn-in.

    "Throwing away initial samples during the burn-in stage, and collecting M samples at the end" (Ta et al. 2022,
    Section III). With M times the iterations of `ShortChains` it evaluates as many gradients.

    Args and raises: as `ShortChains`, and ValueError for fewer step sizes than samples.
    """

    samples: int
    bounds: tuple[float, float]
    kernel: Langevin
    step_sizes: Sequence[float]
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_samples(self.samples, self.bounds)
        if len(self.step_sizes) < self.samples:
            raise ValueError(f"{len(self.step_sizes)} iterations: fewer than the samples to keep, {self.samples}")

    def draw(self, energy, observation, positive, random) -> Actions:
        start = uniform_actions(positive, 1, self.bounds, random)
        gradient = energy.action_gradient(observation, self.precision)
        kept = self.kernel.sample(gradient, start, self.step_sizes, random, keep=self.samples)  # (M, P, B, 1, Dy)
        return kept[:, :, :, 0].permute(1, 2, 0, 3).contiguous()
