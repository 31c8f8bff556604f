"""Gymnasium's environments with vectors of numbers for observations and bounded actions, built without noise."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float


def make(environment: str, options: Mapping[str, Any] | None = None) -> gym.Env:
    """An environment whose observations and actions are vectors, the actions bounded.

    Args:
        environment: its id.
        options: passed to `gymnasium.make`.

    Raises:
        ValueError: one line: it cannot be built, or has other observations or actions.
    """
    try:
        with quiet_models():
            env = gym.make(environment, disable_env_checker=True, **(options or {}))
    except Exception as error:  # environments raise what they like about options that they do not know
        named = f"environment={environment!r}" + (f" with {dict(options)}" if options else "")
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{named}: cannot be built: {reason}") from error
    try:
        check_box("observation_space", env.observation_space)
        actions = check_box("action_space", env.action_space)
        if not actions.is_bounded():
            raise ValueError(f"action_space is {actions}, only bounded actions can be mapped to [-1, 1]")
    except ValueError as error:
        env.close()
        raise ValueError(f"environment={environment!r}: {error}") from None
    return env


@contextmanager
def quiet_models() -> Iterator[None]:
    """Keeps MuJoCo from warning about Gymnasium's own models, on standard error and in a file of the working folder.

    Meant for building environments only: what is amiss while one runs is worth a warning.
    """
    # A quarter of a second, which only those who build an environment need to wait. Its stubs lack these two.
    from mujoco import get_mju_user_warning, set_mju_user_warning  # type: ignore[attr-defined]

    before = get_mju_user_warning()
    set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        set_mju_user_warning(before)


def check_box(name: str, space: gym.Space) -> gym.spaces.Box:
    """The same space, if it holds vectors.

    Raises:
        ValueError: it holds something else.
    """
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"{name} is {space}, only vectors are read")
    return space


def middle_and_half(low: np.ndarray, high: np.ndarray) -> tuple[Float[np.ndarray, "Da"], Float[np.ndarray, "Da"]]:
    """m and h, double precision, by which actions a in [-1, 1] become m + h a in a box's own units."""
    low, high = low.astype(np.float64), high.astype(np.float64)
    return high / 2 + low / 2, high / 2 - low / 2  # in this order nothing overflows
