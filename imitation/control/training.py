"""The loop around the core: act, remember, learn, evaluate, and go on after a kill."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from imitation.control.replay import Replay, Transitions
from imitation.control.sac import SoftActorCritic
from imitation.envs.control import Environments

Save = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Plan:
    """How long, and how often.

    Args:
        updates: of the learner in all; one follows each step of the environments.
        warmup: steps of the learner's first actions, without updates, before the first update.
        batch: rows per update.
        every: updates between two evaluations, with a checkpoint each.

    Raises:
        ValueError: a number that is not positive, or `updates` no multiple of `every`.
    """

    updates: int
    warmup: int = 1000
    batch: int = 256
    every: int = 10_000

    def __post_init__(self) -> None:
        if min(self.updates, self.warmup, self.batch, self.every) < 1 or self.updates % self.every:
            raise ValueError(f"{self}: all must be positive, and updates a multiple of every")


class Training:
    """A learner in its environments; `run` goes on from where `load_state_dict` put it.

    Every checkpoint begins new episodes, in a run that goes on as in one that was killed: those that were under way
    end there as at a time limit, so the environments have no state to keep.
    """

    def __init__(self, learner: SoftActorCritic, environments: Environments, replay: Replay, plan: Plan) -> None:
        self.learner, self.environments, self.replay, self.plan = learner, environments, replay, plan

    def run(self, evaluate: Callable[[int], bool | None], save: Save | None = None) -> None:
        """Train with `evaluate(updates)` and `save(state)` after each `every` updates.

        Ends with the plan, or after an evaluation that returns True.
        """
        if not self.replay.added:
            self._warm_up()
        while self.learner.updates < self.plan.updates:
            self.environments.reset()
            for _ in range(self.plan.every):
                self._interact(self.learner.explore(self.environments.observation))
                self.learner.update(self.rows())
            enough = evaluate(self.learner.updates)
            if save:
                save(self.state_dict())
            if enough:
                return

    def rows(self) -> Transitions:
        """What one update learns from."""
        return self.replay.sample(self.plan.batch, self.learner.random)

    def _warm_up(self) -> None:
        self.environments.reset()
        for _ in range(self.plan.warmup):
            self._interact(self.learner.first_actions(self.environments.observation))

    def _interact(self, actions: Float[Tensor, "P E Da"]) -> None:
        # A member whose weights are no numbers acts by zero: its neighbours go on, and its results say diverged.
        actions = actions.nan_to_num(nan=0.0)
        before = self.environments.observation
        step = self.environments.step(actions)
        self.replay.add(Transitions(before, actions, step.reward, step.following, step.terminated))

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on."""
        return {
            "learner": self.learner.state_dict(),
            "replay": self.replay.state_dict(),
            "rounds": self.environments.rounds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        self.learner.load_state_dict(state["learner"])
        self.replay.load_state_dict(state["replay"])
        self.environments.rounds = state["rounds"]


@torch.no_grad()
def evaluate(
    act: Callable[[Float[Tensor, "P E Do"]], Float[Tensor, "P E Da"]], environments: Environments
) -> np.ndarray:
    """Undiscounted returns (P, E) of one episode in each environment, side by side.

    An action that is no number is taken for 0, so that the others' episodes go on: the return of a diverged policy says
    nothing of it.

    Args:
        act: observations (P, E, Do) -> actions (P, E, Da) in [-1, 1], such as `learner.actor.mode`.
        environments: begun anew; all episodes must end, as those with a time limit do.
    """
    observation, total = environments.reset(), np.zeros(environments.shape)
    running = np.ones(environments.shape, dtype=bool)
    while running.any():
        step = environments.step(act(observation).nan_to_num(nan=0.0))
        observation = environments.observation
        total += np.where(running, step.reward.numpy(), 0)
        running &= ~step.finished.numpy()
    return total
