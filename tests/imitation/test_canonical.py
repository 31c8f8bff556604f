"""What is changed in demonstrations on the way in: bounds of actions, and ends at the time limit."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers
from untrusted import refused

from imitation.demonstrations import (
    Episode,
)
from imitation.demonstrations.canonical import canonical, to_environment
from imitation.demonstrations.task import Task


def task(low=(-1.0, 0.0), high=(1.0, 4.0), limit=5, dtype=np.float64):
    return Task("Hopper-v5", {}, np.array(low, dtype), np.array(high, dtype), 3, limit)


def recorded(actions, terminated=False, truncated=True):
    actions = np.array(actions)
    last = np.arange(len(actions)) == len(actions) - 1
    return Episode(
        np.zeros((len(actions) + 1, 3)), actions, np.zeros(len(actions)), last & terminated, last & truncated
    )


def test_bounds_become_minus_one_and_one_and_the_middle_zero():
    loaded = canonical(task(), [recorded([[-1.0, 0.0], [1.0, 4.0], [0.0, 2.0], [0.5, 3.0]])])
    assert loaded.demonstrations.episodes[0].actions.tolist() == [[-1, -1], [1, 1], [0, 0], [0.5, 0.5]]
    assert loaded.clipped == 0


@given(numbers.arrays("f8", (4, 2), elements=st.floats(-1, 1)))
def test_to_the_environment_and_back_is_the_identity(actions):
    there = to_environment(actions, task())
    assert ((there >= [-1, 0]) & (there <= [1, 4])).all()
    back = canonical(task(), [recorded(there)]).demonstrations.episodes[0].actions
    assert np.allclose(back, actions, rtol=0, atol=1e-15)
    # A box that is already [-1, 1] changes no bit.
    same = canonical(task((-1, -1), (1, 1)), [recorded(actions)]).demonstrations.episodes[0].actions
    assert np.array_equal(same, actions)


def test_humanoids_single_precision_bound_is_exactly_one():
    bound = np.float32(0.4)
    humanoid = task((-bound, -bound), (bound, bound), dtype=np.float32)
    actions = np.array([[bound, -bound], [bound / 2, 0]], np.float32)
    loaded = canonical(humanoid, [recorded(actions)])
    assert loaded.demonstrations.episodes[0].actions.tolist() == [[1, -1], [0.5, 0]]
    assert loaded.demonstrations.episodes[0].actions.dtype == np.float32
    # The same numbers against bounds in double precision lie 1e-8 outside: rounding, which is not counted.
    assert canonical(task((-0.4, -0.4), (0.4, 0.4)), [recorded(actions)]).clipped == 0


def test_the_share_of_what_lay_outside_is_counted():
    loaded = canonical(task(), [recorded([[-1.5, 2.0], [0.0, 4.5]]), recorded([[0.0, 0.0], [1e308, -1e308]])])
    assert loaded.clipped == 4 / 8
    assert loaded.demonstrations.episodes[0].actions.tolist() == [[-1, 0], [0, 1]]
    assert loaded.demonstrations.episodes[1].actions[1].tolist() == [1, -1]
    for bad in (np.nan, np.inf):
        assert "must be finite" in refused(canonical, task(), [recorded([[bad, 0.0]])])[0]


@pytest.mark.parametrize("steps", [4, 5])
@pytest.mark.parametrize(("terminated", "truncated"), [(True, False), (True, True), (False, True), (False, False)])
def test_a_lone_termination_at_the_time_limit_is_the_time_limit(steps, terminated, truncated):
    loaded = canonical(task(limit=5), [recorded(np.zeros((steps, 2)), terminated, truncated)])
    episode = loaded.demonstrations.episodes[0]
    changed = (steps, terminated, truncated) == (5, True, False)
    assert loaded.relabelled == changed
    assert episode.terminations[-1] == (terminated and not changed)
    assert episode.truncations[-1] == (truncated or changed)
    assert not episode.terminations[:-1].any()


def test_gymnasium_marks_the_time_limit_even_where_the_task_ends_there():
    """What the rule above rests on."""

    class Ends(gym.Env):
        observation_space = action_space = gym.spaces.Box(-1, 1, (1,))

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), 0.0, True, False, {}

    env = gym.wrappers.TimeLimit(Ends(), 1)
    env.reset()
    assert env.step(np.zeros(1))[2:4] == (True, True)


def test_longer_than_the_time_limit_is_another_environment():
    faults = refused(canonical, task(limit=5), [recorded(np.zeros((steps, 2))) for steps in (6, 5, 7)])
    assert faults == tuple(
        f"episode {n}: has {steps} steps, Hopper-v5 is cut off at 5" for n, steps in ((0, 6), (2, 7))
    )
    canonical(task(limit=None), [recorded(np.zeros((600, 2)))])
