"""What demonstrations are of: an environment, and what its observations and actions look like."""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator

from imitation.demonstrations.episodes import DemonstrationError
from imitation.envs import making
from imitation.envs.making import check_box

RENDERING = ("render_mode", "width", "height", "camera_id", "camera_name", "default_camera_config", "max_geom",
             "visual_options")  # fmt: skip
MAKING = ("max_episode_steps", "disable_env_checker")  # are `gymnasium.make`'s own


class Task(NamedTuple):
    """An environment as far as demonstrations need it.

    Attributes:
        environment: Gymnasium's id, such as "Hopper-v5".
        arguments: what `gymnasium.make` needs beside it.
        low: (Dy,), the smallest action, in the environment's units.
        high: (Dy,), the largest.
        observation_dim: Dx.
        time_limit: steps after which an episode is cut off; None where there is no limit.
    """

    environment: str
    arguments: Mapping[str, Any]
    low: np.ndarray
    high: np.ndarray
    observation_dim: int
    time_limit: int | None


def make(environment: str, options: Mapping[str, Any] | None = None) -> gym.Env:
    """`imitation.envs.making.make`, whose refusals are those of demonstrations.

    Raises:
        DemonstrationError: a ValueError of one line: it cannot be built, or has other observations or actions.
    """
    try:
        return making.make(environment, options)
    except ValueError as error:
        raise DemonstrationError(str(error)) from error


def task_of(env: gym.Env, options: Mapping[str, Any] | None) -> Task:
    """What an environment that `make` built with these options is about."""
    assert env.spec is not None
    actions, observations = check_box("action", env.action_space), check_box("observation", env.observation_space)
    limit = env.spec.max_episode_steps
    return Task(env.spec.id, dict(options or {}), actions.low, actions.high, observations.shape[0], limit)


def constructor_arguments(task: Task) -> dict[str, Any]:
    """What a registered environment's constructor is given, defaults included; without what serves rendering alone."""
    spec = gym.registry[task.environment]
    assert spec.entry_point is not None
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    parameters = inspect.signature(creator).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    given = defaults | spec.kwargs | dict(task.arguments)
    return {name: _as_json(value) for name, value in given.items() if name not in RENDERING + MAKING}


def _as_json(value: Any) -> Any:
    """Tuples and arrays as lists, which is how JSON gives them back."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: _as_json(one) for name, one in value.items()}
    return [_as_json(one) for one in value] if isinstance(value, tuple | list) else value
