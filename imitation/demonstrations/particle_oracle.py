"""Demonstrations of the particle task by its oracle."""

from collections.abc import Sequence

import numpy as np

from imitation.demonstrations.episodes import Demonstrations, Episode
from imitation.envs.particle import CONTROL_STEPS, rollout_oracle, starts


def particle(dimensions: int, seeds: Sequence[int]) -> Demonstrations:
    """One episode of 50 steps per seed; observations (51, 4N), actions (50, N) in [0, 1], float64.

    Args:
        dimensions: N, from 1 to 32.
        seeds: of the starts, as in `ParticleEnv.reset(seed=seed)`.

    Raises:
        ValueError: no seed, a negative seed, or other dimensions.
    """
    rollout = rollout_oracle(starts(seeds, dimensions))
    # One block of memory per episode, not a view of all of them.
    observations = rollout.observations.transpose(0, 1).numpy().copy()
    actions = rollout.actions.transpose(0, 1).numpy().copy()
    rewards = np.zeros((len(seeds), CONTROL_STEPS))
    rewards[:, -1] = rollout.reward.numpy()
    never, last = np.zeros(CONTROL_STEPS, bool), np.arange(1, CONTROL_STEPS + 1) == CONTROL_STEPS
    episodes = [Episode(*each, never, last) for each in zip(observations, actions, rewards, strict=True)]
    bounds = np.zeros(dimensions), np.ones(dimensions)
    return Demonstrations("Particle-v0", *bounds, episodes, {"dimensions": dimensions}, 4 * dimensions)
