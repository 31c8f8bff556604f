"""Every 20th transition, episodes of a policy on demand, and the hash of demonstrations."""

from dataclasses import replace

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imitation.demonstrations import DemonstrationError, Demonstrations, Episode, digest
from imitation.demonstrations.canonical import to_environment
from imitation.demonstrations.rollouts import rollout_demonstrations
from imitation.demonstrations.task import make, task_of
from imitation.demonstrations.transitions import subsample

PENDULUM, HOPPER = "InvertedPendulum-v5", "Hopper-v5"


def numbered(lengths, terminated=True, **options):
    """Observation t of episode i is (i, t), action (i/10000, t/1000)."""
    episodes = []
    for number, steps in enumerate(lengths):
        time = np.arange(steps + 1)
        observations = np.stack([np.full(steps + 1, number), time], axis=1).astype(np.float64)
        last = time[:-1] == steps - 1
        actions = observations[:-1] / [10000, 1000]
        episodes.append(Episode(observations, actions, np.ones(steps), last & terminated, last & (not terminated)))
    return Demonstrations("Hopper-v5", -np.ones(2), np.ones(2), episodes, **options)


def seeded(seed=0):
    return np.random.default_rng(seed)


# --- every 20th -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 8), st.integers(0, 9), st.booleans())
def test_kept_are_progressions_of_real_transitions(lengths, every, seed, terminated):
    taken = numbered([*lengths, 8], terminated)
    kept = subsample(taken, every, seeded(seed))
    number, time = kept.observations.T.astype(int)
    assert np.array_equal(kept.following, np.stack([number, time + 1], axis=1))
    assert np.array_equal(kept.actions, kept.observations / [10000, 1000])
    assert np.array_equal(kept.terminated, terminated & (time + 1 == np.array([*lengths, 8])[number]))
    for episode, steps in enumerate([*lengths, 8]):
        times = time[number == episode].tolist()
        first = times[0] if times else None
        assert times == ([] if first is None else list(range(first, steps, every)))
        # Nothing is left out that could have been kept: only an episode shorter than the gap may give none.
        assert first is not None or steps < every
        assert first is None or first < every


def test_every_single_one_is_all_of_them():
    taken = numbered([3, 1, 4])
    kept = subsample(taken, 1, seeded())
    assert np.array_equal(kept.observations, np.concatenate([each.observations[:-1] for each in taken.episodes]))
    assert np.array_equal(kept.following, np.concatenate([each.observations[1:] for each in taken.episodes]))
    assert kept.terminated.tolist() == [False, False, True, True, False, False, False, True]


def test_each_transition_is_kept_with_the_same_probability():
    every, episodes, steps = 5, 4000, 12
    time = subsample(numbered([steps] * episodes), every, seeded()).observations[:, 1].astype(int)
    share = np.bincount(time, minlength=steps) / episodes
    # Five standard deviations of a binomial share.
    assert np.abs(share - 1 / every).max() < 5 * np.sqrt(1 / every * (1 - 1 / every) / episodes)


def test_fewer_demonstrations_are_part_of_more():
    taken = numbered([40, 25, 60, 31])
    all_of_them = subsample(taken, 20, seeded(3))
    for count in (1, 2, 3):
        fewer = subsample(taken.first(count), 20, seeded(3))
        for one, other in zip(fewer, all_of_them, strict=True):
            assert np.array_equal(one, other[: len(one)])


def test_the_seed_decides():
    taken = numbered([200])
    draws = {float(subsample(taken, 20, seeded(seed)).observations[0, 1]) for seed in range(200)}
    assert draws == set(range(20))
    again = [subsample(taken, 20, seeded(7)).observations.tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_nothing_kept_is_refused():
    with pytest.raises(DemonstrationError, match=r"^every=0: must be at least 1$"):
        subsample(numbered([3]), 0, seeded())
    # With this seed the first draw is 850.
    with pytest.raises(DemonstrationError, match=r"^every=1000: no transition was kept of 3 steps$"):
        subsample(numbered([3]), 1000, seeded())


# --- a policy's episodes ----------------------------------------------------------------------------------------------


def balance(observation):
    """Keeps the pendulum up for a while: a proportional controller."""
    return np.clip(observation @ np.array([[0.1], [3.0], [0.2], [0.5]]), -1, 1)


def wobble(observation):
    return np.sin(np.arange(3) + observation[:3] * 5)


@pytest.mark.parametrize(("environment", "policy", "half"), [(PENDULUM, balance, 3), (HOPPER, wobble, 1)])
def test_episodes_are_those_of_a_plain_loop(environment, policy, half):
    taken = rollout_demonstrations(policy, environment, None, 2, 5)
    env = gym.make(environment)
    for number, episode in enumerate(taken.episodes):
        observation, _ = env.reset(seed=int(np.random.SeedSequence([5, number]).generate_state(1)[0]))
        for step in range(len(episode)):
            assert np.array_equal(observation, episode.observations[step])
            assert np.array_equal(policy(observation), episode.actions[step])
            observation, reward, terminated, truncated, _ = env.step(half * episode.actions[step])
            ends = episode.terminations[step], episode.truncations[step]
            assert (reward, terminated, truncated) == (episode.rewards[step], *ends)
        assert np.array_equal(observation, episode.observations[-1])
        assert terminated or truncated
    env.close()
    assert (taken.environment, taken.high.tolist()) == (environment, [1] * taken.action_dim)


def test_fewer_episodes_are_part_of_more_and_the_seed_decides():
    three = rollout_demonstrations(wobble, HOPPER, None, 3, 0)
    assert digest(three.first(2)) == digest(rollout_demonstrations(wobble, HOPPER, None, 2, 0))
    starts = [episode.observations[0].tolist() for episode in three.episodes]
    assert len({str(start) for start in starts}) == 3
    other = rollout_demonstrations(wobble, HOPPER, None, 1, 1)
    assert other.episodes[0].observations[0].tolist() not in starts


def test_the_time_limit_truncates():
    options = {"terminate_when_unhealthy": False, "max_episode_steps": 7}
    taken = rollout_demonstrations(wobble, HOPPER, options, 1, 0)
    (episode,) = taken.episodes
    assert (len(episode), episode.truncations[-1], episode.terminations[-1]) == (7, True, False)
    assert dict(taken.environment_arguments) == options


def test_options_reach_the_environment():
    options = {"exclude_current_positions_from_observation": False}
    taken = rollout_demonstrations(lambda seen: wobble(seen[1:]), HOPPER, options, 1, 0)
    assert taken.observation_dim == 12
    assert dict(taken.environment_arguments) == options


def test_humanoids_box_is_known():
    env = make("Humanoid-v5")
    task = task_of(env, None)
    env.close()
    assert np.array_equal(to_environment(np.ones(17), task), task.high.astype(np.float64))
    assert (task.high == np.float32(0.4)).all()
    assert task.time_limit == 1000


def test_building_an_environment_leaves_no_trace(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = mujoco.get_mju_user_warning()
    make("HalfCheetah-v5").close()  # MuJoCo warns about its model
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert mujoco.get_mju_user_warning() is before


@pytest.mark.parametrize(
    "action", [np.zeros(2), np.zeros((1, 3)), np.array([0, 0, np.nan]), np.array([0, 0, 1.01]), np.zeros(3, int), None]
)
def test_actions_that_are_none_are_refused_at_once(action):
    steps = []

    def policy(_):
        steps.append(1)
        return action if len(steps) > 1 else np.zeros(3)

    with pytest.raises(
        DemonstrationError, match=r"^episode 0: step 1: .*must be 3 floating-point numbers in \[-1, 1\]$"
    ):
        rollout_demonstrations(policy, HOPPER, None, 1, 0)
    assert len(steps) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((HOPPER, None, 0, 0), "^episodes=0, seed=0: must be at least 1, and at least 0$"),
        ((HOPPER, None, 1, -1), "^episodes=1, seed=-1: must be at least 1, and at least 0$"),
        (("Nowhere-v5", None, 1, 0), "^environment='Nowhere-v5': cannot be built: "),
        ((HOPPER, {"max_episode_steps": -1}, 1, 0), "^environment='Hopper-v5': has no time limit"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(arguments, message):
    with pytest.raises(DemonstrationError, match=message):
        rollout_demonstrations(wobble, *arguments)


# --- the hash ---------------------------------------------------------------------------------------------------------


def test_the_hash_is_of_the_content():
    """Pinned: a hash that was written down must stay what it was."""
    taken = numbered([3, 2], environment_arguments={"b": 1, "a": [2]})
    pinned = "66ea0e199d647a97cb4b3eeed8e500a6f85c86a1bd96eae58c292cad7eef56ec"
    assert digest(taken) == pinned
    assert digest(replace(taken, environment_arguments={"a": [2], "b": 1}, expected_observation_dim=None)) == pinned
    stored_otherwise = [
        replace(each, observations=np.asfortranarray(each.observations).astype(">f8"), rewards=each.rewards[::-1][::-1])
        for each in taken.episodes
    ]
    assert digest(replace(taken, episodes=stored_otherwise, expected_observation_dim=None)) == pinned


def test_whatever_changes_changes_the_hash():
    taken = numbered([3, 3])
    first, second = taken.episodes
    last_bit = first.observations.copy()
    last_bit[1, 1] = np.nextafter(last_bit[1, 1], 2)
    others = [
        {"episodes": (second, first)},
        {"episodes": (first,)},
        {"episodes": (replace(first, observations=last_bit), second)},
        {"episodes": (replace(first, actions=-first.actions), second)},
        {"episodes": (replace(first, terminations=first.truncations, truncations=first.terminations), second)},
        {"episodes": [replace(each, rewards=None) for each in taken.episodes]},
        {"episodes": [replace(each, rewards=each.rewards.astype(np.float32)) for each in taken.episodes]},
        {"environment": "Hopper-v4"},
        {"environment_arguments": {"healthy_reward": 2}},
        {"high": np.full(2, 2.0)},
    ]
    hashes = {digest(replace(taken, **other, expected_observation_dim=None)) for other in others}
    assert len(hashes | {digest(taken)}) == len(others) + 1
