"""A tabular process as a Gymnasium environment, to roll policies out in."""

from typing import Any

import gymnasium as gym
import numpy as np

from imitation.mdp.tabular import TabularMDP


class TabularEnv(gym.Env[np.int64, np.int64]):
    """One process (no leading axes): observations are state numbers; the episode is truncated after `horizon` steps.

    Args:
        mdp: the dynamics.
        reward: R[s, a], what action a in s earns; zero everywhere if not given.
        horizon: H, the number of actions in an episode.

    Raises:
        ValueError: a batch of processes, a reward of another shape or not finite, or a horizon below 1.
    """

    def __init__(self, mdp: TabularMDP, reward: np.ndarray | None = None, horizon: int = 100) -> None:
        shape = (mdp.states, mdp.actions)
        reward = np.zeros(shape) if reward is None else np.asarray(reward, dtype=np.float64)
        if mdp.transition.ndim != 3:
            raise ValueError(f"transition {tuple(mdp.transition.shape)}: must be (S, A, S), one process")
        if reward.shape != shape:
            raise ValueError(f"reward {reward.shape}: must be (S, A) = {shape}")
        if not np.isfinite(reward).all():
            raise ValueError("reward: must be finite")
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: must be at least 1")
        self.observation_space = gym.spaces.Discrete(mdp.states)
        self.action_space = gym.spaces.Discrete(mdp.actions)
        self._transition, self._initial = mdp.transition.numpy(), mdp.initial.numpy()
        self._reward, self._horizon = reward, horizon
        self._state, self._step = np.int64(0), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.int64, dict]:
        """Draw the first state."""
        super().reset(seed=seed)
        self._step = 0
        self._state = np.int64(self.np_random.choice(len(self._initial), p=self._initial))
        return self._state, {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict]:
        """Earn R[s, a], then move.

        Raises:
            ValueError: an action that is no whole number from 0 to A - 1.
        """
        if not self.action_space.contains(action):  # -1 would be numpy's last action
            raise ValueError(f"action {action}: must be a whole number from 0 to {len(self._transition[0]) - 1}")
        earned = float(self._reward[self._state, action])
        self._state = np.int64(self.np_random.choice(len(self._initial), p=self._transition[self._state, action]))
        self._step += 1
        return self._state, earned, False, self._step >= self._horizon, {}
