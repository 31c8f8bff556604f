"""Offline imitation: demonstrations beside data of other quality, and never a step of one's own.

Watson et al. 2023 clone both, half and half, for the policy to start from; reward and prior are that clone fitted on to
the demonstrations alone, as their code has it (a comment there calls the first clone the prior). From there on their
offline variant is CSIL with the data in the place of the replay.
"""

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.control.imitation_rows import DemonstrationRows, Steps, joined
from imitation.control.replay import Transitions
from imitation.control.training import Plan, Save
from imitation.envs.control import Environments
from imitation.population import Generators, rows_at, uniform_like

Act = Callable[[Float[Tensor, "P E Do"]], Float[Tensor, "P E Da"]]


# ---- data of graded quality ----


def noisy(act: Act, share: float, random: Generators) -> Act:
    """The policy with each action replaced by a uniform one in [-1, 1] with this probability.

    Brown et al. 2020 grade demonstrations so (D-REX), there of a clone.

    Args:
        act: observations (P, E, Do) -> actions (P, E, Da).
        share: the probability, in [0, 1].
        random: one generator per member.

    Raises:
        ValueError: a share that is no probability.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share}: must be in [0, 1]")

    def behave(observation: Float[Tensor, "P E Do"]) -> Float[Tensor, "P E Da"]:
        own = act(observation)
        drawn = uniform_like(own, random, -1.0, 1.0)
        return torch.where(uniform_like(own[..., :1], random) < share, drawn, own)

    return behave


def record(act: Act, environments: Environments, steps: int) -> DemonstrationRows:
    """What a policy does in so many steps of every copy, those of a member one after the other.

    Episodes that end begin anew; which action followed is not told, so that the rows serve as data, not for SARSA.
    """
    observation, parts = environments.reset(), []
    for _ in range(steps):
        action = act(observation)
        step = environments.step(action)
        parts.append((observation, action, step.following, step.terminated))
        observation = environments.observation
    # (P, E, steps, ...): each copy's rows stand together.
    columns = [torch.stack(column, 2).flatten(1, 2).double().cpu().numpy() for column in zip(*parts, strict=True)]
    unknown = np.full_like(columns[1], np.nan)
    return DemonstrationRows(list(map(Steps, *columns, unknown)))


def mixture(demonstrations: DemonstrationRows, data: DemonstrationRows) -> DemonstrationRows:
    """As many rows of both, whichever are fewer over and over: a minibatch is of both, half and half on average."""
    most = max(*demonstrations.counts, *data.counts)
    places = torch.arange(most, device=data.rows.reward.device)
    halves = [(one, torch.stack([places % count for count in one.counts])) for one in (demonstrations, data)]
    both = copy(data)
    both.rows = joined(*(one.at(chosen) for one, chosen in halves))
    both.following_action = torch.cat([rows_at(one.following_action, chosen) for one, chosen in halves], 1)
    both.counts = [2 * most] * len(data.counts)
    return both


# ---- learning from it ----


def coherent_learner(
    cloned: nn.Module, mixed: nn.Module, random: Generators, settings: CoherentSettings
) -> CoherentSoftImitation:
    """CSIL with the reward and the prior of one clone, whose policy starts from another of the same sizes.

    Args:
        cloned: fitted to the demonstrations.
        mixed: fitted to the `mixture`.
    """
    learner = CoherentSoftImitation(cloned, random, settings)
    learner.actor.policy.load_state_dict(mixed.state_dict())  # type: ignore[union-attr]
    return learner


class OfflineTraining:
    """The learner's updates from rows of the demonstrations before as many of the data; `plan.warmup` has no meaning.

    Args:
        learner: CSIL.
        demonstrations, data: of its members; this training writes its notes on copies.
        plan: as in `imitation.control.training`.
    """

    def __init__(
        self, learner: CoherentSoftImitation, demonstrations: DemonstrationRows, data: DemonstrationRows, plan: Plan
    ) -> None:
        self.learner, self.plan = learner, plan
        self.demonstrations, self.data = copy(demonstrations), copy(data)
        for rows in (self.demonstrations, self.data):
            rows.annotate(learner.note)

    def rows(self) -> Transitions:
        """What one update learns from."""
        batch, random = self.plan.batch, self.learner.random
        return joined(*(one.at(one.places(batch, random)) for one in (self.demonstrations, self.data)))

    def run(self, evaluate: Callable[[int], None], save: Save) -> None:
        """Train to the end with `evaluate(updates)` and `save(state)` after each `plan.every` updates."""
        while self.learner.updates < self.plan.updates:
            for _ in range(self.plan.every):
                self.learner.update(self.rows())
            evaluate(self.learner.updates)
            save(self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, but for demonstrations and data."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s of a learner with the same clone."""
        self.learner.load_state_dict(state)
