"""Training of a conditional energy model E(x, y) on demonstrations, and the policy that minimises it.

Florence et al. 2021 ("implicit behavioural cloning") and Ta et al. 2022. A population of P members is trained at
once, each on data of its own, with its own generator.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from imitation.ebm import losses
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import Proposal
from imitation.nn.diverged import diverged
from imitation.nn.optimiser import Adam, Schedule
from imitation.population import Generators, integers, random_states, restore, rows_at

Loss = Callable[[Tensor, Tensor], Tensor]  # energies (P, B) and (P, B, M) -> (P, B)


class Info(NamedTuple):
    """What a training step saw, one number per member, (P,).

    Attributes:
        loss: mean over the batch, before the step.
        positive_energy, negative_energy: mean energies.
        distance: mean Euclidean distance of a negative to its positive, in units where actions lie in [-1, 1].
        nearest: mean over the batch of the distance of the nearest negative.
    """

    loss: Float[Tensor, "P"]
    positive_energy: Float[Tensor, "P"]
    negative_energy: Float[Tensor, "P"]
    distance: Float[Tensor, "P"]
    nearest: Float[Tensor, "P"]


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Args:
        loss: one of `imitation.ebm.losses`, InfoNCE in both papers.
        anchor: weight of the mean square of the positives' energies.
        penalty: weight of the gradient penalty on the negatives (Florence et al. 2021, B.3.1).

    Raises:
        ValueError: a negative weight.
    """

    loss: Loss = losses.infonce
    anchor: float = 0.0
    penalty: float = 0.0

    def __post_init__(self) -> None:
        if not (self.anchor >= 0 and self.penalty >= 0):
            raise ValueError(f"anchor={self.anchor}, penalty={self.penalty}: must not be negative")


class Learner:
    """Trains a population of energy models.

    Args:
        energy: P models.
        observations: scaled observations (P, T, Dx), in the type of the weights, float32.
        actions: scaled actions (P, T, Dy), in [-1, 1].
        proposal: where negatives come from.
        random: one generator per member.
        schedule: the learning rate.
        batch: B, drawn with replacement.
        objective: the loss and its regularisers.

    Raises:
        ValueError: shapes or types that do not fit the models, no data, data that are not finite, or actions outside
            [-1, 1].
    """

    def __init__(
        self,
        energy: MLPEnergy,
        observations: Float[Tensor, "P T Dx"],
        actions: Float[Tensor, "P T Dy"],
        proposal: Proposal,
        random: Generators,
        schedule: Schedule,
        batch: int = 512,
        objective: Objective | None = None,
    ) -> None:
        _check(energy, observations, actions, len(random), batch)
        self.energy, self.proposal, self.random, self.batch = energy, proposal, random, batch
        self.objective = objective or Objective()
        self._observations, self._actions = observations, actions
        self._adam = Adam(energy.parameters(), schedule)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return self._adam.steps

    def step(self) -> Info:
        """One step: draw a batch, draw negatives, go down the loss."""
        observation, positive = self._draw()
        negatives = self.proposal.draw(self.energy, observation, positive, self.random)
        self.proposal.learn(positive, negatives)
        energies = self.energy(observation, torch.cat([positive[:, :, None], negatives], 2))
        ours, theirs = energies[..., 0], energies[..., 1:]
        loss = self.objective.loss(ours, theirs).mean(1)
        total = loss
        if self.objective.anchor:
            total = total + self.objective.anchor * ours.square().mean(1)
        if self.objective.penalty:
            slopes = self.energy.differentiable_action_gradient(observation, negatives)
            total = total + self.objective.penalty * losses.gradient_penalty(slopes).mean(1)
        self._adam.step(total.sum())
        away = (negatives - positive[:, :, None]).norm(dim=-1)
        measured = (loss, ours.mean(1), theirs.mean((1, 2)), away.mean((1, 2)), away.amin(2).mean(1))
        return Info(*(one.detach() for one in measured))

    @property
    def diverged(self) -> Bool[Tensor, "P"]:
        """Members whose weights are no longer finite: they stay so, and disturb no other."""
        return diverged(self.energy)

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next step depends on but for the data: training goes on as if never stopped."""
        state = {
            "energy": self.energy.state_dict(),
            "adam": self._adam.state_dict(),
            "proposal": self.proposal.state_dict(),
            "random": random_states(self.random),
        }
        return copy.deepcopy(state)  # torch's state_dict are the living tensors, which the next step changes

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.energy.load_state_dict(state["energy"])
        self._adam.load_state_dict(state["adam"])
        self.proposal.load_state_dict(state["proposal"])
        restore(self.random, state["random"])

    def _draw(self) -> tuple[Tensor, Tensor]:
        chosen = integers(self.random, self._observations.shape[1], self.batch)
        return rows_at(self._observations, chosen), rows_at(self._actions, chosen)


def _check(energy: MLPEnergy, observations: Tensor, actions: Tensor, generators: int, batch: int) -> None:
    """What does not fit would fail many calls later, or broadcast."""
    rows = observations.shape[1]
    found = (observations.shape, actions.shape, generators)
    models = len(energy.weights[0])
    wanted = (models, rows, energy.observation_dim), (models, rows, energy.action_dim), models
    if found != wanted or rows < 1 or batch < 1:
        shapes = f"{tuple(observations.shape)} observations, {tuple(actions.shape)} actions, {generators} generators"
        fit = f"{models} models of {energy.observation_dim} and {energy.action_dim} coordinates"
        raise ValueError(f"{shapes} and {batch=}: empty, or do not fit {fit}")
    if {observations.dtype, actions.dtype} != {energy.weights[0].dtype}:
        raise ValueError(f"{observations.dtype} and {actions.dtype} data for {energy.weights[0].dtype} models")
    if not bool(observations.isfinite().all() and actions.isfinite().all()):
        raise ValueError("demonstrations hold numbers that are not finite")
    if float(actions.abs().max()) > 1 + 1e-5:
        raise ValueError(f"scaled actions must lie in [-1, 1], the largest is {float(actions.abs().max()):g}")
