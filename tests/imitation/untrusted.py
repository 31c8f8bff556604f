"""What tests of demonstrations from files share: a good file's arrays, and how a bad one must be refused."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from imitation.demonstrations import (
    DemonstrationError,
)

# Builds fast, has no time limit problem of its own: observations (4,), actions (1,) in [-3, 3], 1000 steps.
PENDULUM = "InvertedPendulum-v5"
FUZZ = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flat(episodes=(4, 1, 6), observation_dim=4, action_dim=1, seed=0, **changes):
    """The arrays of a good npz file."""
    generator = np.random.default_rng(seed)
    steps, count = sum(episodes), len(episodes)
    arrays = {
        "observations": generator.normal(size=(steps + count, observation_dim)),
        "actions": generator.uniform(-3, 3, (steps, action_dim)),
        "lengths": np.array(episodes),
        "terminations": np.arange(count) % 2 == 0,
        "rewards": generator.normal(size=steps),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def refused(function, *arguments):
    """The faults, each of one line."""
    with pytest.raises(DemonstrationError) as raised:
        function(*arguments)
    assert raised.value.faults[0] == str(raised.value)
    assert all("\n" not in fault and len(fault) <= 500 for fault in raised.value.faults)
    return raised.value.faults


def taken_or_refused(function, source, *arguments):
    """The result, or None where it was refused in the way that it should be."""
    try:
        return function(source, *arguments)
    except DemonstrationError as error:
        faults = error.faults
    assert all("\n" not in fault and fault.startswith(str(source)) for fault in faults)
    return None
