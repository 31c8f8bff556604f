"""The particle task as a Gymnasium environment, equal bit for bit to the batched form in `imitation.envs.particle`."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import ResetNeeded

from imitation.envs._particle_picture import picture
from imitation.envs.particle import (
    CONTROL_STEPS,
    EULER_STEPS,
    TIME_STEP,
    check_dimensions,
    distance,
    draw_start,
    observe,
    step,
    verdict,
)

# What can be reached from a start in [0, 1] by set-points in [0, 1]: positions stay within .019 of the unit cube, and
# speeds below 1.39 per second (the sum of the absolute impulse response). Actions outside [0, 1] can lead further.
OVERSHOOT = 0.1
TOP_SPEED = 1.5


class ParticleEnv(gym.Env[np.ndarray, np.ndarray]):
    """One episode at a time: 50 steps of 0.05 s, then truncated; the last one earns 1 if both goals were visited.

    Observations (4N,) are position, velocity, first goal and second goal; actions (N,) are set-points, applied as
    they are, also outside [0, 1]. `info` has the smallest distances so far to both goals (infinite before the first
    step), the present distance to the second goal, and whether the episode would be a success if it ended here.

    Args:
        dimensions: N, from 1 to 32.
        render_mode: None, or "rgb_array" for pictures (480, 480, 3) of the first two dimensions.

    Raises:
        ValueError: other dimensions or another render mode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / (TIME_STEP * EULER_STEPS))}  # noqa: RUF012

    def __init__(self, dimensions: int = 2, render_mode: str | None = None) -> None:
        check_dimensions(dimensions)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: allowed are None and 'rgb_array'")
        self.dimensions, self.render_mode = dimensions, render_mode
        low, high = np.zeros(dimensions), np.ones(dimensions)
        speed = np.full(dimensions, TOP_SPEED)
        self.action_space = gym.spaces.Box(low, high, dtype=np.float64)
        self.observation_space = gym.spaces.Box(
            np.concatenate([low - OVERSHOOT, -speed, low, low]),
            np.concatenate([high + OVERSHOOT, speed, high, high]),
            dtype=np.float64,
        )
        self._steps = CONTROL_STEPS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Draw the start that `starts([seed], N)` gives."""
        super().reset(seed=seed)
        self._state = draw_start(self.np_random, self.dimensions)
        self._steps, self._path = 0, [self._state.position.numpy()]
        self._nearest = torch.full((2,), math.inf, dtype=torch.float64)
        return observe(self._state).numpy(), self._judge()[0]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Move for 0.05 s towards the set-point.

        Raises:
            ValueError: an action of another shape than (N,), or not finite.
            ResetNeeded: the episode has not begun or is over.
        """
        if self._steps == CONTROL_STEPS:
            raise ResetNeeded(f"call reset: an episode has {CONTROL_STEPS} steps, and none is running")
        target = np.array(action, dtype=np.float64)
        if target.shape != (self.dimensions,) or not np.isfinite(target).all():
            raise ValueError(f"action {action!r}: needed are {self.dimensions} finite numbers")
        self._state = step(self._state, torch.from_numpy(target))
        self._steps += 1
        self._path.append(self._state.position.numpy())
        self._nearest = torch.minimum(self._nearest, self._distances())
        info, earned = self._judge()
        over = self._steps == CONTROL_STEPS
        return observe(self._state).numpy(), earned if over else 0.0, False, over, info

    def render(self) -> np.ndarray | None:
        """The agent, both goals and the path so far, (480, 480, 3) bytes; None without a render mode."""
        if self.render_mode is None:
            return None
        return picture(np.stack(self._path), self._state.first_goal.numpy(), self._state.second_goal.numpy())

    def _distances(self) -> torch.Tensor:
        position, _, first_goal, second_goal = self._state
        return torch.stack([distance(position, first_goal), distance(position, second_goal)])

    def _judge(self) -> tuple[dict, float]:
        first, second, final = *self._nearest, self._distances()[1]
        success, reward = verdict(first, second, final)
        info = {"first_distance": first, "second_distance": second, "final_distance": final, "success": success}
        return {name: value.item() for name, value in info.items()}, reward.item()
