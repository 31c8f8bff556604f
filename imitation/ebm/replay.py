"""A joint energy model p(x, y) ~ exp(-E(x, y)), trained on long chains that live on in a replay buffer.

Du and Mordatch 2019 keep the ends of their chains and go on from them at a later step, all but a few that start anew:
short runs add up to long ones. A buffer holds samples of one density, so the model is of pairs (x, y) and not of
actions given an observation (Ta et al. 2022, Section IV); to act, E(x, y) is minimised over y at the x that is seen.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.ebm import losses
from imitation.ebm.implicit import Learner, Loss, Objective
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import Actions, Proposal, check_samples
from imitation.nn.optimiser import Schedule
from imitation.population import Generators, RandomSource, device_of, uniform_like


def of_pairs(energy: MLPEnergy) -> MLPEnergy:
    """The same energies with the same weights, as a function of the pair (x, y) laid side by side.

    Its observations have no coordinates and its actions are pairs (P, B, M, Dx + Dy), so that its `action_gradient`
    is the gradient in x and in y. What trains the one trains the other.
    """
    pairs = copy.copy(energy)  # shallow: the parameters are shared
    pairs.observation_dim, pairs.action_dim = 0, energy.observation_dim + energy.action_dim
    return pairs


def anchored(weight: float) -> Loss:
    """The MCMC loss (4) and `weight` times E+^2 + mean E_m^2, which holds energies near zero (Du and Mordatch 2019).

    It limits how far apart energies come: at best they are 1 / weight apart.
    """

    def loss(positive: Tensor, negatives: Tensor) -> Tensor:
        return losses.mcmc(positive, negatives) + weight * (positive.square() + negatives.square().mean(-1))

    return loss


class ReplayBuffer(Proposal):
    """Draws rows from the buffer or, rarely, fresh uniform points; moves them by Langevin; and puts them back.

    Args:
        dimensions: D, of a point; Dx + Dy for pairs.
        random: one generator per member, draws the first rows, uniform as the fresh ones.
        rows: N, how many points are kept. A batch of B takes B M of them, each at most once.
        samples: M, for each row of the batch.
        bounds: of uniform points.
        kernel: which Langevin.
        step_sizes: one per iteration. A schedule that starts large would undo at each step what a chain has found.
        fresh: probability of a fresh point, 5 % in Du and Mordatch 2019.
        precision: of the sampler's arithmetic, float32 if not given.

    Raises:
        ValueError: no coordinates, no samples, an empty box, or a probability outside [0, 1]; when drawing, a buffer
            smaller than B M.
    """

    def __init__(
        self,
        dimensions: int,
        random: Generators,
        rows: int,
        samples: int,
        bounds: tuple[float, float],
        kernel: Langevin,
        step_sizes: Sequence[float],
        fresh: float = 0.05,
        precision: torch.dtype | None = None,
    ) -> None:
        check_samples(samples, bounds)
        if min(dimensions, rows) < 1 or not 0 <= fresh <= 1:
            raise ValueError(f"{dimensions=}, {rows=}, {fresh=}: sizes must be positive, a probability in [0, 1]")
        empty = torch.empty(len(random), rows, dimensions, device=device_of(random))
        self.rows = uniform_like(empty, random, *bounds)
        self.samples, self.bounds, self.fresh = samples, bounds, fresh
        self.kernel, self.step_sizes, self.precision = kernel, list(step_sizes), precision

    def draw(self, energy, observation, positive, random: RandomSource) -> Actions:
        """Go on with B M chains and return where they are, (P, B, M, D)."""
        index, start = self.take(positive.shape[1] * self.samples, random)
        start = start.view(*positive.shape[:2], self.samples, -1)
        found = self.kernel.sample(energy.action_gradient(observation, self.precision), start, self.step_sizes, random)
        self.rows.scatter_(1, index.expand(-1, -1, self.rows.shape[-1]), found[0].flatten(1, 2))
        return found[0]

    def take(self, count: int, random: RandomSource) -> tuple[Tensor, Float[Tensor, "P {count} D"]]:
        """Places (P, count, 1) of different rows, and where their chains go on or begin (P, count, D)."""
        if count > self.rows.shape[1]:
            raise ValueError(f"a buffer of {self.rows.shape[1]} rows is too small for {count} chains at a time")
        index = uniform_like(self.rows[..., :1], random).topk(count, 1).indices
        kept = self.rows.take_along_dim(index, 1)
        renewed = uniform_like(kept[..., :1], random) < self.fresh
        return index, torch.where(renewed, uniform_like(kept, random, *self.bounds), kept)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows.copy_(state["rows"])


class JointLearner(Learner):
    """Trains E(x, y) by the anchored MCMC loss on pairs: to the learner a pair is one action, without an observation.

    Args:
        energy: P models of actions under observations, for inference as any other; trained as `of_pairs(energy)`.
        observations: scaled observations (P, T, Dx), float32, in [-1, 1] as the actions are.
        actions: scaled actions (P, T, Dy).
        buffer: of pairs.
        random, schedule, batch: as for `Learner`.
        anchor: weight of the energies' squares, see `anchored`.

    Attributes:
        conditional: `energy`, while `self.energy` is that of pairs.

    Raises:
        ValueError: as `Learner`, and for observations outside [-1, 1], where chains cannot go, or a negative anchor.
    """

    def __init__(
        self,
        energy: MLPEnergy,
        observations: Float[Tensor, "P T Dx"],
        actions: Float[Tensor, "P T Dy"],
        buffer: ReplayBuffer,
        random: Generators,
        schedule: Schedule,
        batch: int = 512,
        anchor: float = 1.0,
    ) -> None:
        largest = float(observations.abs().max())
        if largest > 1 + 1e-5 or not anchor >= 0:
            raise ValueError(f"{anchor=}, largest observation {largest:g}: must not be negative, and scaled to [-1, 1]")
        pairs = torch.cat([observations, actions], -1)
        objective = Objective(anchored(anchor))
        super().__init__(of_pairs(energy), pairs[..., :0], pairs, buffer, random, schedule, batch, objective)
        self.conditional = energy
