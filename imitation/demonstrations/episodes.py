"""Episodes of an expert, laid out as in Minari, and the checks that every one passes before anything is learned."""

from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from textwrap import shorten
from typing import Any

import numpy as np
from gymnasium.envs.registration import parse_env_id
from gymnasium.error import Error as GymnasiumError

ARRAYS = ("observations", "actions", "rewards", "terminations", "truncations")
LONGEST_LINE = 500


class DemonstrationError(ValueError):
    """What is wrong with demonstrations, a line per fault.

    Attributes:
        faults: at least one; the first is the message.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = tuple(shorten(fault, LONGEST_LINE) for fault in faults)
        super().__init__(self.faults[0])


@dataclass(frozen=True, eq=False)
class Episode:
    """T steps; observation t is what action t was chosen for. Checked when it becomes one of `Demonstrations`.

    Attributes:
        observations: (T+1, Dx), floating point.
        actions: (T, Dy), floating point.
        rewards: (T,), floating point; None where nobody recorded them.
        terminations: (T,), boolean, the task ended there.
        truncations: (T,), boolean, time was up there.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray | None
    terminations: np.ndarray
    truncations: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Episodes from one environment.

    Attributes:
        environment: Gymnasium's id, such as "Hopper-v5".
        low: (Dy,), the smallest allowed action.
        high: (Dy,), the largest.
        episodes: at least one.
        environment_arguments: what `gymnasium.make` needs beside the id.
        expected_observation_dim: Dx where it is known beforehand; otherwise all must be as the first episode.

    Raises:
        DemonstrationError: a ValueError of one line per faulty episode, which names episode and step (both counted from
            0) and what is wrong: an array of another kind or shape, no step, a number that is not finite, an action
            out of bounds, an end before the last step, rewards in some episodes only.
    """

    environment: str
    low: np.ndarray
    high: np.ndarray
    episodes: Sequence[Episode]
    environment_arguments: Mapping[str, Any] = field(default_factory=dict)
    expected_observation_dim: InitVar[int | None] = None

    def __post_init__(self, expected_observation_dim: int | None) -> None:
        _check_environment(self.environment)
        check_bounds(self.low, self.high)
        object.__setattr__(self, "episodes", tuple(self.episodes))
        if not self.episodes:
            raise DemonstrationError("no episode: at least one is needed")
        if faults := self._faults(expected_observation_dim):
            raise DemonstrationError(*faults)

    def _faults(self, dim: int | None) -> list[str]:
        faults = []
        for number, episode in enumerate(self.episodes):
            try:
                _check_arrays(episode, dim, len(self.low))
                _check_values(episode, self.low, self.high)
                if (episode.rewards is None) != (self.episodes[0].rewards is None):
                    raise ValueError("rewards must be given in every episode or in none")
            except ValueError as error:
                faults.append(f"episode {number}: {error}")
            else:
                dim = episode.observations.shape[1]
        return faults

    def __len__(self) -> int:
        return len(self.episodes)

    @property
    def observation_dim(self) -> int:
        """Dx."""
        return self.episodes[0].observations.shape[1]

    @property
    def action_dim(self) -> int:
        """Dy."""
        return len(self.low)

    @property
    def steps(self) -> int:
        """In all episodes together."""
        return sum(map(len, self.episodes))

    @property
    def returns(self) -> np.ndarray:
        """(N,), float64, the sum of rewards of each episode.

        Raises:
            ValueError: nobody recorded the rewards.
        """
        rewards = [episode.rewards for episode in self.episodes if episode.rewards is not None]
        if not rewards:
            raise DemonstrationError("the episodes have no rewards")
        return np.array([each.sum(dtype=np.float64) for each in rewards])

    def first(self, count: int) -> "Demonstrations":
        """The first `count` episodes.

        Raises:
            ValueError: there are fewer, or `count` is below 1.
        """
        if not 1 <= count <= len(self):
            raise DemonstrationError(f"{count} episodes asked for, there are {len(self)}")
        return replace(self, episodes=self.episodes[:count])


def _check_environment(environment: Any) -> None:
    try:
        parse_env_id(environment)
    except (GymnasiumError, TypeError):
        raise DemonstrationError(
            f"environment={environment!r}: must be an id of Gymnasium such as 'Hopper-v5'"
        ) from None


def check_bounds(low: Any, high: Any) -> None:
    """Refuse what are no bounds of actions, (Dy,) each.

    Raises:
        DemonstrationError: they are not finite, or not one above the other.
    """
    for name, bound in (("low", low), ("high", high)):
        if not _is_kind(bound, "f") or bound.ndim != 1 or len(bound) == 0 or not np.isfinite(bound).all():
            what = f"{name}: must be a numpy array (Dy,) of finite floating-point numbers, is {_what(bound)}"
            raise DemonstrationError(what)
    if low.shape != high.shape or not (low < high).all():
        raise DemonstrationError(f"low={low.tolist()}, high={high.tolist()}: every low must be below its high")


def _check_arrays(episode: Episode, observation_dim: int | None, action_dim: int) -> None:
    if not isinstance(episode, Episode):
        raise ValueError(f"must be an Episode, is {_what(episode)}")
    steps = len(episode.actions) if _is_kind(episode.actions, "f") and episode.actions.ndim else "T"
    dim = "Dx" if observation_dim is None else observation_dim
    layout = {
        "actions": ("f", (steps, action_dim)),
        "observations": ("f", (steps + 1 if isinstance(steps, int) else "T+1", dim)),
        "rewards": ("f", (steps,)),
        "terminations": ("b", (steps,)),
        "truncations": ("b", (steps,)),
    }
    for name, (kind, shape) in layout.items():
        array = getattr(episode, name)
        if name == "rewards" and array is None:
            continue
        if not _is_kind(array, kind) or not _fits(array.shape, shape):
            numbers = "floating-point numbers" if kind == "f" else "booleans"
            wanted = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
            raise ValueError(f"{name} must be a numpy array {wanted} of {numbers}, is {_what(array)}")
    if steps == 0:
        raise ValueError("has no step, at least one is needed")


def _check_values(episode: Episode, low: np.ndarray, high: np.ndarray) -> None:
    for name in ("observations", "actions", "rewards"):
        array = getattr(episode, name)
        if array is not None and (place := _first(~np.isfinite(array))) is not None:
            raise ValueError(f"step {place[0]}: {_entry(name, place)} is {array[place]}, must be finite")
    actions = episode.actions
    if (place := _first((actions < low) | (actions > high))) is not None:
        allowed = f"[{low[place[1]]}, {high[place[1]]}]"
        raise ValueError(f"step {place[0]}: {_entry('actions', place)} is {actions[place]}, outside {allowed}")
    over = episode.terminations | episode.truncations
    if (place := _first(over[:-1])) is not None:
        raise ValueError(f"step {place[0]}: the episode ends there, but has {len(episode)} steps")


def _is_kind(array: Any, kind: str) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == kind


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    """Whether every axis that has a number is that long, and every other one is not empty."""
    return len(shape) == len(wanted) and all(
        size == want if isinstance(want, int) else size > 0 for size, want in zip(shape, wanted, strict=True)
    )


def _what(thing: Any) -> str:
    return f"{thing.dtype} of shape {thing.shape}" if isinstance(thing, np.ndarray) else type(thing).__name__


def _first(wrong: np.ndarray) -> tuple[int, ...] | None:
    return tuple(int(index) for index in np.argwhere(wrong)[0]) if wrong.any() else None


def _entry(name: str, place: tuple[int, ...]) -> str:
    return f"{name[:-1]}" + (f" {place[1]}" if len(place) > 1 else "")
