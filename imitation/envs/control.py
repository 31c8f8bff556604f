"""Populations of Gymnasium environments with continuous actions, stepped one after another in this process.

Actions are those of the library, in [-1, 1]; each environment gets them mapped onto its own box.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Bool, Float
from torch import Tensor

from imitation.envs.making import make, middle_and_half

# Ant's contact forces are off: 27 observations, as in the versions that the papers used.
OPTIONS: dict[str, dict[str, Any]] = {"Ant-v5": {"include_cfrc_ext_in_observation": False}}


class Step(NamedTuple):
    """What a step gave each of P members' E environments: all (P, E, ...)."""

    following: Float[Tensor, "P E Do"]
    reward: Float[Tensor, "P E"]
    terminated: Float[Tensor, "P E"]
    finished: Bool[Tensor, "P E"]


class Environments:
    """P times E copies of one environment, each with a stream of its own; one that finished is begun anew.

    Args:
        name: of the environment.
        seeds: P integers, one per member.
        copies: E.

    Raises:
        ValueError: an unknown or unsuitable environment, or no seed or copy.
    """

    def __init__(self, name: str, seeds: list[int], copies: int = 1) -> None:
        if not seeds or copies < 1:
            raise ValueError(f"seeds={seeds}, copies={copies}: at least one of each")
        self.shape = (len(seeds), copies)
        self._all = [make(name, OPTIONS.get(name)) for _ in seeds for _ in range(copies)]
        self.seeds, self.rounds = list(seeds), 0
        box = self._all[0].action_space
        assert isinstance(box, Box)
        self._middle, self._half = middle_and_half(box.low, box.high)
        self.observation_dim, self.action_dim = self._all[0].observation_space.shape[0], box.shape[0]  # type: ignore[index]

    def reset(self) -> Float[Tensor, "P E Do"]:
        """Begin all anew. Each call draws from streams that depend on the seeds and the number of calls alone.

        Thus a run that resets when it writes a checkpoint needs no state of the environments to go on exactly. The
        first copy's n-th start is that of episode n of `rollout_demonstrations` by the same seed: evaluate on others.
        """
        streams = [
            np.random.SeedSequence([seed, self.rounds, copy]).generate_state(1)[0]
            for seed in self.seeds
            for copy in range(self.shape[1])
        ]
        self.rounds += 1
        self.observation = self._stacked([one.reset(seed=int(s))[0] for one, s in zip(self._all, streams, strict=True)])
        return self.observation

    def step(self, actions: Float[Tensor, "P E Da"]) -> Step:
        """Apply actions in [-1, 1], (P, E, Da); `observation` then holds what the next actions are for."""
        scaled = actions.flatten(0, 1).double().cpu().numpy().clip(-1, 1) * self._half + self._middle
        following, rewards, ends, current = [], [], [], []
        for one, action in zip(self._all, scaled, strict=True):
            after, reward, terminated, truncated, _ = one.step(action)
            following.append(after)
            rewards.append(reward)
            ends.append((terminated, terminated or truncated))
            if terminated or truncated:
                after = one.reset()[0]
            current.append(after)
        self.observation = self._stacked(current)
        terminated, finished = np.array(ends).T
        return Step(
            self._stacked(following),
            self._stacked(rewards),
            torch.from_numpy(terminated.reshape(self.shape)).float(),
            torch.from_numpy(finished.reshape(self.shape)),
        )

    def _stacked(self, values: list) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float32)).unflatten(0, self.shape)
