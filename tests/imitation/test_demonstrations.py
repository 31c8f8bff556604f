"""Demonstrations: what is refused and how it is named, what learners read, the oracle's episodes."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from episodes import ARRAYS, demonstrations, episode, line, same
from hypothesis import given
from hypothesis import strategies as st

from imitation.control import experts
from imitation.control.networks import Actor
from imitation.demonstrations import digest, frames, load_demonstrations, particle
from imitation.envs.particle import observe, rollout, rollout_oracle, starts
from imitation.population import Generators

FLOATS, FLAGS = ARRAYS[:3], ARRAYS[3:]


def with_one_bad(position, bad, **options):
    """Three good episodes, and a bad one in between."""
    good = [episode(steps, seed=steps) for steps in (4, 1, 6)]
    return demonstrations(*good[:position], bad, *good[position:], **options)


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


# --- entry checks -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 4))
def test_ragged_lengths_are_fine(lengths, observation_dim, action_dim):
    made = [episode(steps, observation_dim, action_dim, seed) for seed, steps in enumerate(lengths)]
    taken = demonstrations(*made, low=np.full(action_dim, -1.0), high=np.ones(action_dim))
    assert [len(each) for each in taken.episodes] == lengths
    assert (taken.observation_dim, taken.action_dim, len(taken)) == (observation_dim, action_dim, len(lengths))


@given(st.integers(0, 3), st.integers(2, 9), st.sampled_from(FLOATS), st.data())
def test_numbers_that_are_not_finite_are_refused_where_they_stand(position, steps, name, data):
    good = episode(steps)
    array = getattr(good, name)
    place = tuple(data.draw(st.integers(0, size - 1)) for size in array.shape)
    value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(
        ValueError, match=f"^episode {position}: step {place[0]}: {name[:-1]}.* must be finite$"
    ) as raised:
        with_one_bad(position, replace(good, **{name: changed(array, place, value)}))
    assert f" is {value}," in line(raised)


@given(st.integers(0, 3), st.integers(1, 9), st.data())
def test_actions_out_of_bounds_are_refused_where_they_stand(position, steps, data):
    good = episode(steps)
    place = data.draw(st.integers(0, steps - 1)), data.draw(st.integers(0, 1))
    value = data.draw(st.floats(np.nextafter(1.0, 2), 1e300)) * data.draw(st.sampled_from([-1, 1]))
    message = rf"^episode {position}: step {place[0]}: action {place[1]} is .*, outside \[-1.0, 1.0\]$"
    with pytest.raises(ValueError, match=message) as raised:
        with_one_bad(position, replace(good, actions=changed(good.actions, place, value)))
    line(raised)


def test_the_bounds_themselves_are_allowed():
    good = episode(3)
    demonstrations(replace(good, actions=np.array([[-1.0, 1.0], [1.0, -1.0], [0.0, -0.0]])))


def test_single_precision_actions_are_held_against_single_precision_bounds():
    # As in Humanoid-v5: the nearest number to .4 in single precision is above the one in double precision.
    bound = np.full(2, 0.4, np.float32)
    good = episode(2, dtype=np.float32)
    demonstrations(replace(good, actions=np.full((2, 2), bound[0])), low=-bound, high=bound)


@given(st.integers(0, 3), st.integers(1, 6), st.sampled_from(ARRAYS), st.data())
def test_wrong_shapes_are_refused(position, steps, name, data):
    good = episode(steps)
    array = getattr(good, name)
    shape = data.draw(st.lists(st.integers(0, 8), max_size=3).map(tuple).filter(lambda shape: shape != array.shape))
    # Another number of actions is another T: then the first array that does not fit that T is named.
    longer = name == "actions" and shape[1:] == (2,)
    named = "observations" if longer else name
    # The dimensions are told: else those of a bad first episode would be what the next one is held against.
    with pytest.raises(ValueError, match=f"^episode {position}: {named} must be a numpy array") as raised:
        with_one_bad(position, replace(good, **{name: np.zeros(shape, array.dtype)}), expected_observation_dim=3)
    line(raised)


@pytest.mark.parametrize("position", [0, 2])
def test_other_dimensions_than_in_the_other_episodes_are_refused(position):
    with pytest.raises(ValueError, match=r"observations must be a numpy array \(\d, \d\) .* is float64 of"):
        with_one_bad(position, episode(4, observation_dim=5))
    with pytest.raises(ValueError, match=rf"^episode {position}: actions must be a numpy array \(4, 2\)"):
        with_one_bad(position, episode(4, action_dim=1))


def test_other_dimensions_than_expected_are_refused():
    demonstrations(episode(4), expected_observation_dim=3)
    with pytest.raises(
        ValueError, match=r"^episode 0: observations must be a numpy array \(5, 11\) .* shape \(5, 3\)$"
    ):
        demonstrations(episode(4), expected_observation_dim=11)


@given(st.sampled_from(ARRAYS), st.sampled_from([object, str, complex, np.int64, "datetime64[s]", np.uint8]))
def test_other_kinds_of_numbers_are_refused(name, dtype):
    good = episode(3)
    wrong = np.zeros(getattr(good, name).shape, dtype)
    kind = "floating-point numbers" if name in FLOATS else "booleans"
    with pytest.raises(ValueError, match=rf"^episode 1: {name} must be a numpy array .* of {kind}, is ") as raised:
        with_one_bad(1, replace(good, **{name: wrong}))
    line(raised)


@pytest.mark.parametrize("wrong", [None, [[0.0, 1.0]], torch.zeros(3, 2, dtype=torch.float64)])
def test_what_is_no_array_is_refused(wrong):
    bad = episode(3)
    object.__setattr__(bad, "actions", wrong)
    with pytest.raises(ValueError, match=rf"^episode 1: actions must be .*, is {type(wrong).__name__}$"):
        with_one_bad(1, bad)


def test_an_episode_needs_a_step():
    with pytest.raises(ValueError, match=r"^episode 2: has no step, at least one is needed$"):
        with_one_bad(2, episode(0))


@pytest.mark.parametrize("name", FLAGS)
def test_an_episode_ends_only_at_its_last_step(name):
    with pytest.raises(ValueError, match=r"^episode 1: step 2: the episode ends there, but has 5 steps$"):
        with_one_bad(1, replace(episode(5), **{name: np.arange(5) == 2}))
    nothing = np.zeros(5, bool)
    demonstrations(replace(episode(5), terminations=nothing, truncations=nothing))  # cut off by whoever recorded it


def test_what_belongs_to_all_episodes_is_checked():
    with pytest.raises(ValueError, match=r"^no episode: at least one is needed$"):
        demonstrations()
    for environment in ("", "two words", "Hopper-v5\n"):
        with pytest.raises(ValueError, match=r"must be an id of Gymnasium such as 'Hopper-v5'$") as raised:
            demonstrations(episode(1), environment=environment)
        line(raised)
    for bound in (np.zeros((2, 1)), np.array([0, 1]), np.array([0.0, np.nan]), np.zeros(0)):
        with pytest.raises(ValueError, match=r"^low: must be a numpy array"):
            demonstrations(episode(1), low=bound)
    for low in (np.zeros(3), np.array([0.0, 1.0])):
        with pytest.raises(ValueError, match=r"every low must be below its high$"):
            demonstrations(episode(1), low=low)


def test_first_takes_whole_episodes_from_the_front():
    taken = demonstrations(*(episode(steps) for steps in (4, 2, 3)))
    assert [len(each) for each in taken.first(2).episodes] == [4, 2]
    assert taken.first(2).environment == taken.environment
    assert len(taken.first(3)) == 3
    for count in (4, 0, -1):
        with pytest.raises(ValueError, match=f"^{count} episodes asked for, there are 3$"):
            taken.first(count)


# --- frames -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 7))
def test_frames_against_a_plain_loop(lengths, history):
    taken = demonstrations(*(episode(steps, seed=seed) for seed, steps in enumerate(lengths)))
    rows = []
    for number, each in enumerate(taken.episodes):
        for now in range(len(each)):
            past = [each.observations[max(0, now - back)] for back in reversed(range(history))]
            rows.append((np.concatenate(past), each.actions[now], number))
    read = frames(taken, history)
    assert read.inputs.dtype == read.actions.dtype == torch.float64
    for column, expected in zip(read, zip(*rows, strict=True), strict=True):
        assert np.array_equal(column.numpy(), np.stack(expected))


def test_frames_do_not_share_memory_with_the_demonstrations():
    taken = demonstrations(episode(3))
    read = frames(taken, history=1)
    read.inputs.zero_()
    read.actions.zero_()
    assert same(taken.episodes[0], episode(3))


def test_single_precision_becomes_double():
    read = frames(demonstrations(episode(3, dtype=np.float32)))
    assert read.inputs.dtype == read.actions.dtype == torch.float64


def test_a_history_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^history=0: must be at least 1$"):
        frames(demonstrations(episode(1)), history=0)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_frames_are_what_a_rollout_hands_to_a_policy(dimensions):
    seeds = range(7)
    read = frames(particle(dimensions, seeds))
    # (B, ...) in order of episode and time -> (T, E, ...).
    inputs, actions = (column.reshape(7, 50, -1).transpose(0, 1) for column in read[:2])
    seen, queue = [], iter(actions)

    def policy(history):
        seen.append(history)
        return next(queue)

    rollout(policy, starts(seeds, dimensions))
    assert torch.equal(torch.stack(seen), inputs)


# --- the oracle's demonstrations --------------------------------------------------------------------------------------


def test_the_oracles_episodes_are_those_of_the_gymnasium_environment():
    taken = particle(3, [4, 0, 8])
    assert taken.environment_arguments == {"dimensions": 3}
    for seed, each in zip([4, 0, 8], taken.episodes, strict=True):
        env = gym.make(taken.environment, **taken.environment_arguments)
        observation, _ = env.reset(seed=seed)
        for now, action in enumerate(each.actions):
            assert np.array_equal(observation, each.observations[now])
            observation, reward, terminated, truncated, info = env.step(action)
            assert (reward, terminated, truncated) == (each.rewards[now], each.terminations[now], each.truncations[now])
        assert np.array_equal(observation, each.observations[-1])
        assert truncated
        assert info["success"]


def test_the_oracles_episodes_are_those_of_its_rollout():
    taken, run = particle(2, range(5)), rollout_oracle(starts(range(5), 2))
    for number, each in enumerate(taken.episodes):
        assert np.array_equal(each.actions, run.actions[:, number].numpy())
        assert np.array_equal(each.observations[0], observe(starts([number], 2))[0].numpy())
        assert each.observations.base is None or each.observations.base.shape[0] == 5


# --- a kept expert's demonstrations -----------------------------------------------------------------------------------


def test_an_experts_episodes_are_those_of_the_seed_that_is_given(monkeypatch):
    name = "InvertedPendulum-v5"  # which falls soon
    card = {"environment": name, "options": {}, "versions": {}, "first_episode": ""}
    untrained = experts.Expert(card, Actor(4, 1, Generators([0]), (8,)))
    monkeypatch.setattr(experts, "load", lambda _: untrained)
    found = [digest(load_demonstrations("expert", name, None, 2, seed).demonstrations) for seed in (0, 1)]
    assert found == [digest(experts.demonstrations(name, 2, seed)) for seed in (0, 1)]
    assert found[0] != found[1]
