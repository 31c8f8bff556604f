"""Demonstrations as learners expect them: actions in [-1, 1], and time limits that are no ends of the task."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from imitation.demonstrations.episodes import DemonstrationError, Demonstrations, Episode, check_bounds
from imitation.demonstrations.task import Task
from imitation.envs.making import middle_and_half

# Single-precision actions at a bound may lie outside of it by rounding alone; that counts as being there.
ROUNDING = 1e-6


class Loaded(NamedTuple):
    """Demonstrations, and what had to be changed to make them so.

    Attributes:
        demonstrations: all actions in [-1, 1], (-1, ..., -1) standing for the environment's smallest action.
        clipped: share of the numbers in all actions that lay outside the environment's bounds and were moved there.
        relabelled: episodes that were marked as terminated where only time was up.
    """

    demonstrations: Demonstrations
    clipped: float
    relabelled: int


def canonical(task: Task, episodes: Sequence[Episode]) -> Loaded:
    """Hold episodes against their task and bring them into the library's form.

    Actions are mapped from the task's bounds onto [-1, 1], axis by axis. An episode of exactly the time limit's length
    that is marked as terminated and not as truncated becomes a truncated one: Gymnasium marks every episode that
    reaches the limit as truncated, so the lone mark is a recorder's who had one for both.

    Raises:
        DemonstrationError: a ValueError with a line per episode that does not pass the checks of `Demonstrations`, or
            that is longer than the time limit; or the task's actions are not bounded.
    """
    check_bounds(task.low.astype(np.float64), task.high.astype(np.float64))
    timed = [_relabelled(episode, task.time_limit) for episode in episodes]
    mapped = [_unit(episode, task.low, task.high) for episode, _ in timed]
    ones = np.ones(len(task.low))
    dim = task.observation_dim
    demonstrations = Demonstrations(
        task.environment, -ones, ones, [episode for episode, _ in mapped], task.arguments, dim
    )
    if task.time_limit is not None:
        _check_time(demonstrations, task.time_limit)
    numbers = sum(episode.actions.size for episode in demonstrations.episodes)
    return Loaded(demonstrations, sum(count for _, count in mapped) / numbers, sum(changed for _, changed in timed))


def to_environment(action: np.ndarray, task: Task) -> np.ndarray:
    """Actions in [-1, 1], (..., Dy), in the environment's units, double precision."""
    middle, half = middle_and_half(task.low, task.high)
    return middle + half * action


def _unit(episode: Episode, low: np.ndarray, high: np.ndarray) -> tuple[Episode, int]:
    """The episode with actions in [-1, 1], and how many numbers had to be moved to get there."""
    actions = episode.actions
    if actions.dtype.kind != "f" or actions.shape[1:] != low.shape:
        return episode, 0  # left to the checks, which name it
    middle, half = middle_and_half(low, high)
    with np.errstate(over="ignore", invalid="ignore"):
        unit = (actions.astype(np.float64) - middle) / half
    finite = np.isfinite(actions)
    moved = finite & (np.abs(unit) > 1 + ROUNDING)
    # Infinite actions are faults, and stay visible as such.
    unit = np.where(finite, unit.clip(-1, 1), actions)
    return replace(episode, actions=unit.astype(actions.dtype)), int(moved.sum())


def _relabelled(episode: Episode, limit: int | None) -> tuple[Episode, bool]:
    ends = episode.terminations, episode.truncations
    if limit is None or any(end.shape != (limit,) or end.dtype != bool for end in ends):
        return episode, False
    if not episode.terminations[-1] or episode.truncations[-1]:
        return episode, False
    terminations, truncations = (end.copy() for end in ends)
    terminations[-1], truncations[-1] = False, True
    return replace(episode, terminations=terminations, truncations=truncations), True


def _check_time(demonstrations: Demonstrations, limit: int) -> None:
    faults = [
        f"episode {number}: has {len(episode)} steps, {demonstrations.environment} is cut off at {limit}"
        for number, episode in enumerate(demonstrations.episodes)
        if len(episode) > limit
    ]
    if faults:
        raise DemonstrationError(*faults)
