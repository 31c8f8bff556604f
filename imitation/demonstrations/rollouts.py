"""Demonstrations that a policy gives on demand, and the hash by which anyone can tell that they are the same."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from imitation.demonstrations.canonical import to_environment
from imitation.demonstrations.episodes import ARRAYS, DemonstrationError, Demonstrations, Episode
from imitation.demonstrations.task import Task, make, task_of


def rollout_demonstrations(
    policy: Callable[[np.ndarray], np.ndarray],
    environment: str,
    options: Mapping[str, Any] | None,
    episodes: int,
    seed: int,
) -> Demonstrations:
    """Episodes of a policy, each started from a seed of its own: the first n of more are those of n alone.

    Args:
        policy: observation (Dx,), float64 -> action (Dy,) in [-1, 1], as the library's policies give them; for the
            environment it is mapped onto its bounds. It must depend on nothing but the observation, else neither the
            hash nor the first n episodes are the same again.
        environment: Gymnasium's id.
        options: passed to `gymnasium.make`.
        episodes: how many.
        seed: of all, 0 or above; `envs.control.Environments` of the same seed begin where these episodes do.

    Raises:
        DemonstrationError: a ValueError of one line: an environment that cannot be built or has no time limit, no
            episode, a negative seed, or an action of another shape or outside [-1, 1].
    """
    if episodes < 1 or seed < 0:
        raise DemonstrationError(f"episodes={episodes}, seed={seed}: must be at least 1, and at least 0")
    with closing(make(environment, options)) as env:
        task = task_of(env, options)
        if task.time_limit is None:
            raise DemonstrationError(f"environment={environment!r}: has no time limit, an episode might never end")
        starts = [int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) for number in range(episodes)]
        recorded = [_episode(policy, env, task, number, start) for number, start in enumerate(starts)]
    ones = np.ones(len(task.low))
    return Demonstrations(environment, -ones, ones, recorded, task.arguments, task.observation_dim)


def digest(demonstrations: Demonstrations) -> str:
    """SHA-256 of all that the demonstrations hold: the task, and the shape, type and bits of each array.

    Two simulations agree in it only where they agree in every bit, which other processors or versions of a simulator
    need not.
    """
    total = hashlib.sha256()
    task = [demonstrations.environment, dict(demonstrations.environment_arguments), len(demonstrations)]
    total.update(json.dumps(task, sort_keys=True, default=repr).encode())
    episodes = [[getattr(episode, name) for name in ARRAYS] for episode in demonstrations.episodes]
    for array in (demonstrations.low, demonstrations.high, *(array for episode in episodes for array in episode)):
        little = None if array is None else np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        total.update(b"none" if little is None else f"{little.dtype.str}{little.shape}".encode())
        total.update(b"" if little is None else little.tobytes())
    return total.hexdigest()


def _episode(policy: Callable, env: Any, task: Task, number: int, start: int) -> Episode:
    rows: list[tuple] = []
    observation, _ = env.reset(seed=start)
    observations, over = [np.array(observation, np.float64)], False
    while not over:
        action = np.asarray(policy(observations[-1].copy()))
        if action.shape != task.low.shape or action.dtype.kind != "f" or not (np.abs(action) <= 1).all():
            wanted = f"must be {len(task.low)} floating-point numbers in [-1, 1]"
            raise DemonstrationError(f"episode {number}: step {len(rows)}: the policy's action is {action}, {wanted}")
        action = action.astype(np.float64)
        observation, reward, terminated, truncated, _ = env.step(to_environment(action, task))
        observations.append(np.array(observation, np.float64))
        rows.append((action, float(reward), bool(terminated), bool(truncated)))
        over = terminated or truncated
    actions, rewards, terminations, truncations = (np.array(column) for column in zip(*rows, strict=True))
    return Episode(np.array(observations), actions, rewards, terminations, truncations)
