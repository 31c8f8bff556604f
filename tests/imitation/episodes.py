"""Small demonstrations, and what their tests compare."""

import numpy as np

from imitation.demonstrations import Demonstrations, Episode

ARRAYS = ("observations", "actions", "rewards", "terminations", "truncations")


def episode(steps, observation_dim=3, action_dim=2, seed=0, dtype=np.float64):
    generator = np.random.default_rng([seed, steps])
    last = np.arange(steps) == steps - 1
    return Episode(
        generator.normal(size=(steps + 1, observation_dim)).astype(dtype),
        generator.uniform(-1, 1, (steps, action_dim)).astype(dtype),
        generator.normal(size=steps),
        last & (seed % 2 == 0),
        last & (seed % 2 == 1),
    )


def demonstrations(*episodes, **options):
    options = {"environment": "Hopper-v5", "low": np.full(2, -1.0), "high": np.ones(2)} | options
    return Demonstrations(episodes=episodes, **options)


def same(one, other):
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in ARRAYS
    )


def line(raised):
    """The message, which must be a single line."""
    message = str(raised.value)
    assert "\n" not in message
    return message
