"""What imitation learns from: rows of the demonstrations beside as many of the replay, the demonstrated ones first.

In these rows the reward says where a row is from: 1 where it was demonstrated, 0 where not. The environment's own
reward, which the replay holds, is never shown to an imitation learner.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from imitation.control.replay import Replay, Transitions
from imitation.control.sac import SoftActorCritic
from imitation.control.training import Plan, Training
from imitation.demonstrations import Demonstrations
from imitation.demonstrations.transitions import Transitions as Demonstrated
from imitation.envs.control import Environments
from imitation.population import Generators, integers, rows_at

Note = Callable[[Transitions], Float[Tensor, "P B Dn"]]


class Noted(Transitions):
    """Transitions with a note on each row, (P, B, Dn): what a learner wrote when it first saw them."""

    note: Float[Tensor, "P B Dn"]

    @classmethod
    def of(cls, rows: Transitions, note: Float[Tensor, "P B Dn"]) -> "Noted":
        """These rows with their notes."""
        noted = cls(*rows)
        noted.note = note
        return noted


def halves(value: Float[Tensor, "P B *rest"]) -> tuple[Float[Tensor, "P R *rest"], Float[Tensor, "P R *rest"]]:
    """The demonstrated half of a batch's rows, and the half from the replay."""
    demonstrated, replayed = value.chunk(2, 1)
    return demonstrated, replayed


def joined(demonstrated: Transitions, replayed: Transitions) -> Transitions:
    """Both, one after the other, with rewards 1 and 0; with notes where both have them."""
    pairs = [torch.cat(pair, 1) for pair in zip(demonstrated, replayed, strict=True)]
    rewards = torch.cat([torch.ones_like(demonstrated.reward), torch.zeros_like(replayed.reward)], 1)
    rows = Transitions(*pairs)._replace(reward=rewards)
    if isinstance(demonstrated, Noted) and isinstance(replayed, Noted):
        return Noted.of(rows, torch.cat([demonstrated.note, replayed.note], 1))
    return rows


# ---- demonstrations ----


class Steps(NamedTuple):
    """T demonstrated steps of one member, actions in [-1, 1].

    The action that followed is not a number where it is not known: after the last step of an episode, and in data of
    which only some steps were kept.
    """

    observation: Float[np.ndarray, "T Do"]
    action: Float[np.ndarray, "T Da"]
    following: Float[np.ndarray, "T Do"]
    terminated: Float[np.ndarray, " T"]
    following_action: Float[np.ndarray, "T Da"]


def whole(demonstrations: Demonstrations) -> Steps:
    """All steps. Pairs of actions never cross from one episode to the next."""
    parts = []
    for episode in demonstrations.episodes:
        action = _scaled(episode.actions, demonstrations)
        unknown = np.full_like(action[:1], np.nan)
        before, after = episode.observations[:-1], episode.observations[1:]
        parts.append((before, action, after, episode.terminations.astype(float), np.concatenate([action[1:], unknown])))
    return Steps(*map(np.concatenate, zip(*parts, strict=True)))


def some(kept: Demonstrated, demonstrations: Demonstrations) -> Steps:
    """The kept steps of `demonstrations`, as `subsample` gives them."""
    action = _scaled(kept.actions, demonstrations)
    unknown = np.full_like(action, np.nan)
    return Steps(kept.observations, action, kept.following, kept.terminated.astype(float), unknown)


def _scaled(action: np.ndarray, demonstrations: Demonstrations) -> np.ndarray:
    low, high = demonstrations.low, demonstrations.high
    return ((2 * action - high - low) / (high - low)).clip(-1, 1)


class DemonstrationRows:
    """Each of P members' own demonstrations, of different lengths if need be.

    Args:
        members: P times steps.
        device: where they are kept.

    Attributes:
        rows: (P, T, ...), T that of the longest; what is beyond a member's own is zero and never drawn.
        following_action: (P, T, Da).
        counts: P numbers of rows.

    Raises:
        ValueError: no member, a member without steps, members of different widths, arrays of different lengths or
            widths, numbers that are not finite, actions outside [-1, 1], or `terminated` that is neither 0 nor 1.
    """

    def __init__(self, members: Sequence[Steps], device: torch.device | str = "cpu") -> None:
        for number, one in enumerate(members):
            _check(one, number)
        self.counts = [len(one.terminated) for one in members]
        widths = {(one.observation.shape[1], one.action.shape[1]) for one in members}
        if not members or min(self.counts) < 1 or len(widths) > 1:
            raise ValueError(f"demonstrations of {self.counts} steps, widths {widths}: a step each, and equal widths")
        parts = [_padded([getattr(one, name) for one in members], device) for name in Steps._fields]
        observation, action, following, terminated, self.following_action = parts
        self.rows = Transitions(observation, action, torch.ones_like(terminated), following, terminated)

    @classmethod
    def joined(cls, every: Sequence["DemonstrationRows"]) -> "DemonstrationRows":
        """The members of all, one after the other; the longest of each must have the same number of rows."""
        together = copy(every[0])
        together.counts = [count for one in every for count in one.counts]
        together.rows = Transitions(*map(torch.cat, zip(*(one.rows for one in every), strict=True)))
        together.following_action = torch.cat([one.following_action for one in every])
        return together

    def with_actions(self, action: Float[Tensor, "P T Da"]) -> "DemonstrationRows":
        """Other actions in the same places; which action followed is no longer known."""
        changed = copy(self)
        changed.rows = Transitions(*self.rows)._replace(action=action)
        changed.following_action = torch.full_like(self.following_action, torch.nan)
        return changed

    def with_observations(
        self, observation: Float[Tensor, "P T D"], following: Float[Tensor, "P T D"]
    ) -> "DemonstrationRows":
        """The same rows as they are seen otherwise."""
        changed = copy(self)
        changed.rows = Transitions(*self.rows)._replace(observation=observation, following=following)
        return changed

    def annotate(self, note: Note) -> None:
        """Write a note on every row."""
        self.rows = Noted.of(self.rows, note(self.rows))

    def places(self, batch: int, random: Generators) -> Int[Tensor, "P B"]:
        """Places (P, B) of rows, uniform with replacement, by each member's generator."""
        return integers(random, self.counts, batch)

    def at(self, places: Int[Tensor, "P B"]) -> Transitions:
        """The rows at places (P, B)."""
        rows = Transitions(*(rows_at(value, places) for value in self.rows))
        return Noted.of(rows, rows_at(self.rows.note, places)) if isinstance(self.rows, Noted) else rows


def _check(steps: Steps, member: int) -> None:
    rows, shapes = len(steps.terminated), [value.shape for value in steps]
    observed, acted = (rows, *steps.observation.shape[1:]), (rows, *steps.action.shape[1:])
    if shapes != [observed, acted, observed, (rows,), acted] or len(observed) != 2 or len(acted) != 2:
        raise ValueError(f"member {member}: arrays of shapes {shapes} do not fit together")
    for name, value in zip(steps._fields[:-1], steps[:-1], strict=True):
        if not np.isfinite(value).all():
            raise ValueError(f"member {member}: {name} must be finite")
    for name in ("action", "following_action"):
        if (np.abs(getattr(steps, name)) > 1).any():  # a following action that is not known is NaN
            raise ValueError(f"member {member}: {name} must lie in [-1, 1]")
    if not np.isin(steps.terminated, (0, 1)).all():
        raise ValueError(f"member {member}: terminated must be 0 or 1")


def _padded(arrays: list[np.ndarray], device: torch.device | str) -> Tensor:
    dtype = torch.get_default_dtype()
    tensors = [torch.from_numpy(np.ascontiguousarray(one)).to(device, dtype) for one in arrays]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


# ---- replay and loop ----


class NotedReplay(Replay):
    """A replay that writes a note on each transition when it comes in.

    Args:
        note: new transitions (P, B, ...) -> notes (P, B, Dn), such as `CoherentSoftImitation.note`.
        width: Dn.
    """

    def __init__(
        self,
        members: int,
        observation_dim: int,
        action_dim: int,
        capacity: int,
        note: Note,
        width: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(members, observation_dim, action_dim, capacity, device)
        self.note, self.notes = note, torch.zeros(members, capacity, width, device=device)

    def add(self, new: Transitions) -> None:
        """Write transitions and their notes over the oldest ones."""
        first, count = self.added, new.reward.shape[1]
        super().add(new)
        places = torch.arange(first, first + count, device=self.notes.device) % self.capacity
        self.notes[:, places] = self.note(new)

    def at(self, places: Int[Tensor, "P B"]) -> Noted:
        """The transitions at places (P, B), with their notes."""
        return Noted.of(super().at(places), rows_at(self.notes, places))

    def state_dict(self) -> dict[str, Any]:
        """A copy of what is held."""
        return super().state_dict() | {"notes": self.notes[:, : len(self)].clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.notes[:, : len(self)] = state["notes"]


class ImitationTraining(Training):
    """The loop with `plan.batch` rows of the demonstrations before as many of the replay in every update.

    Args:
        learner: an imitation learner.
        environments, plan: as in `Training`.
        replay: a `NotedReplay` for a learner that takes notes; then the demonstrations are annotated too.
        demonstrations: of the same members; this training writes its notes on a copy.
    """

    def __init__(
        self,
        learner: SoftActorCritic,
        environments: Environments,
        replay: Replay,
        plan: Plan,
        demonstrations: DemonstrationRows,
    ) -> None:
        super().__init__(learner, environments, replay, plan)
        self.demonstrations = copy(demonstrations)
        self._annotate()

    def rows(self) -> Transitions:
        """What one update learns from."""
        random = self.learner.random
        demonstrated = self.demonstrations.at(self.demonstrations.places(self.plan.batch, random))
        return joined(demonstrated, self.replay.sample(self.plan.batch, random))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s; the demonstrations are noted anew, by the learner that was loaded."""
        super().load_state_dict(state)
        self._annotate()

    def _annotate(self) -> None:
        if isinstance(self.replay, NotedReplay):
            self.demonstrations.annotate(self.replay.note)
