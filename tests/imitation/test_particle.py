"""The particle task: its dynamics by hand and by an independent loop, its rules, and both forms bit for bit."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import imitation.envs  # registers Particle-v0
from imitation.envs import particle as task
from imitation.envs.particle import State, observe, oracle, rollout, rollout_oracle, starts, step, verdict
from imitation.envs.particle_env import OVERSHOOT, TOP_SPEED, ParticleEnv


def points(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def euler(position, velocity, action):
    """One control step in one dimension, in Python's own numbers."""
    for _ in range(10):
        force = 10.0 * (action - position) - 5.0 * velocity
        position, velocity = position + velocity * 0.005, velocity + force * 0.005
    return position, velocity


def straight_distance(one, other):
    total = 0.0
    for a, b in zip(one, other, strict=True):
        total += (a - b) * (a - b)
    return math.sqrt(total)


# --- dynamics ---------------------------------------------------------------------------------------------------------


def test_the_first_euler_steps_by_hand(monkeypatch):
    at_rest = State(points(0.0), points(0.0), points(1.0), points(1.0))
    monkeypatch.setattr(task, "EULER_STEPS", 1)
    once = step(at_rest, points(1.0))
    # The position moves with the OLD velocity, which is zero; u = 10, so v = .05.
    assert once.position.item() == 0.0
    assert once.velocity.item() == pytest.approx(0.05, abs=1e-15)
    twice = step(once, points(1.0))
    # x = .05 * .005; u = 10 - 5 * .05 = 9.75, so v = .05 + 9.75 * .005.
    assert twice.position.item() == pytest.approx(0.00025, abs=1e-15)
    assert twice.velocity.item() == pytest.approx(0.09875, abs=1e-15)


def test_a_control_step_is_the_tenth_power_of_the_linear_map():
    # (x - a, v) -> [[1, dt], [-10 dt, 1 - 5 dt]] (x - a, v), ten times.
    power = np.linalg.matrix_power(np.array([[1, 0.005], [-0.05, 0.975]]), 10)
    moved = step(State(points(0.2), points(-0.3), points(0.0), points(0.0)), points(0.9))
    expected = power @ np.array([0.2 - 0.9, -0.3])
    assert moved.position.item() == pytest.approx(expected[0] + 0.9, abs=1e-14)
    assert moved.velocity.item() == pytest.approx(expected[1], abs=1e-14)


def test_nothing_is_clipped_by_a_step_and_goals_stay():
    state = State(points(0.9), points(2.0), points(0.3), points(0.4))
    far = step(state, points(7.0))
    assert far.position.item() > 1
    assert (far.first_goal, far.second_goal) == (state.first_goal, state.second_goal)


def test_a_set_point_where_the_agent_rests_is_a_fixed_point():
    state = starts(range(5), 3)
    moved = step(state, state.position)
    assert torch.equal(moved.position, state.position)
    assert not moved.velocity.any()


@pytest.mark.parametrize("dimensions", [1, 2, 3, 7, 32])
def test_both_forms_and_a_plain_loop_agree_bit_for_bit(dimensions):
    seeds = [0, 1, 17]
    actions = np.random.default_rng(dimensions).uniform(0, 1, (50, len(seeds), dimensions))
    queue = iter(torch.from_numpy(actions))
    batch = rollout(lambda _: next(queue), starts(seeds, dimensions))
    for number, seed in enumerate(seeds):
        env = gym.make("Particle-v0", dimensions=dimensions)
        observation, info = env.reset(seed=seed)
        position, velocity, first, second = (part.tolist() for part in observation.reshape(4, dimensions))
        assert info["first_distance"] == info["second_distance"] == math.inf
        nearest = [math.inf, math.inf]
        for now in range(50):
            assert np.array_equal(observation, batch.observations[now, number].numpy())
            observation, reward, terminated, truncated, info = env.step(actions[now, number])
            moved = [euler(*each) for each in zip(position, velocity, actions[now, number].tolist(), strict=True)]
            position, velocity = ([pair[which] for pair in moved] for which in (0, 1))
            assert observation.tolist() == position + velocity + first + second
            nearest = [
                min(old, straight_distance(position, goal)) for old, goal in zip(nearest, (first, second), strict=True)
            ]
            # torch's square root may differ from Python's in the last digit.
            assert [info["first_distance"], info["second_distance"]] == pytest.approx(nearest, rel=5e-16)
            assert info["final_distance"] == pytest.approx(straight_distance(position, second), rel=5e-16)
            assert not terminated
            assert truncated == (now == 49)
            assert now == 49 or reward == 0
        assert np.array_equal(observation, batch.observations[50, number].numpy())
        assert info["first_distance"] == batch.first_distance[number].item()
        assert info["second_distance"] == batch.second_distance[number].item()
        assert info["final_distance"] == batch.final_distance[number].item()
        assert info["success"] == batch.success[number].item()
        assert reward == batch.reward[number].item()


def test_an_episode_does_not_depend_on_what_is_run_beside_it():
    many, alone = rollout_oracle(starts(range(300), 5)), rollout_oracle(starts([123], 5))
    for together, one in zip(many, alone, strict=True):
        episode = together[..., 123, :] if together.ndim == 3 else together[123]
        assert torch.equal(episode, one.squeeze(-2) if one.ndim == 3 else one[0])


def test_the_batch_may_have_several_axes_or_none():
    start = starts(range(6), 2)
    flat = rollout_oracle(start)
    grid = rollout_oracle(State(*(field.reshape(2, 3, 2) for field in start)))
    single = rollout_oracle(State(*(field[4] for field in start)))
    assert grid.observations.shape == (51, 2, 3, 8)
    assert torch.equal(grid.observations.flatten(1, 2), flat.observations)
    assert torch.equal(grid.success.flatten(), flat.success)
    assert single.success.shape == ()
    assert torch.equal(single.positions, flat.positions[:, 4])


# --- starts -----------------------------------------------------------------------------------------------------------


def test_starts_are_gymnasiums_own_draws_in_order():
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(9)))
    agent, first, second = (generator.uniform(0, 1, 4) for _ in range(3))
    state = starts([3, 9], 4)
    for drawn, expected in zip(state, (agent, np.zeros(4), first, second), strict=True):
        assert np.array_equal(drawn[1].numpy(), expected)


def test_starts_are_uniform():
    # The standard error of the mean of 20 000 uniform numbers is .00204; five of them.
    state = starts(range(5000), 4)
    for field in (state.position, state.first_goal, state.second_goal):
        assert field.mean().item() == pytest.approx(0.5, abs=0.0102)
        assert 0 <= field.min().item() <= field.max().item() <= 1


def test_an_episode_is_fixed_by_its_seed_and_the_next_one_differs():
    env, other = ParticleEnv(3), ParticleEnv(3)
    first, again = env.reset(seed=5)[0], env.reset(seed=5)[0]
    assert np.array_equal(first, again)
    assert np.array_equal(first, other.reset(seed=5)[0])
    assert np.array_equal(env.reset()[0], other.reset()[0])
    assert not np.array_equal(first, env.reset()[0])


def test_the_global_random_states_are_never_touched():
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    rollout_oracle(starts([0, 1], 2))
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(legacy, np.random.get_state()[1])  # noqa: NPY002


# --- the oracle -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 4, 8, 16, 32])
def test_the_oracle_always_succeeds(dimensions):
    episodes = rollout_oracle(starts(range(1000), dimensions))
    assert episodes.success.all()
    assert episodes.reward.eq(1).all()


def test_the_oracle_turns_within_the_radius_and_never_back():
    goals = points([1.0, 0.0]), points([0.0, 1.0])
    not_yet = torch.tensor([False])
    at = State(points([0.99, 0.0]), points([0.0, 0.0]), *goals)  # 1 - .99 rounds to above .01
    action, reached = oracle(at, not_yet)
    assert torch.equal(action, goals[0])
    assert not reached.any()
    action, reached = oracle(at._replace(position=points([0.9901, 0.0])), reached)
    assert torch.equal(action, goals[1])
    assert reached.all()
    action, reached = oracle(at._replace(position=points([0.5, 0.5])), reached)
    assert torch.equal(action, goals[1])
    assert reached.all()
    assert not not_yet.any()  # the latch given is not written to


def test_two_rollouts_of_the_oracle_do_not_share_its_memory():
    start = starts(range(20), 2)
    assert torch.equal(rollout_oracle(start).observations, rollout_oracle(start).observations)


# --- success ----------------------------------------------------------------------------------------------------------

INSIDE, OUTSIDE = 0.0499, 0.05  # strict: the radius itself is outside


@pytest.mark.parametrize(
    ("first", "second", "final", "success", "reward"),
    [
        (INSIDE, INSIDE, INSIDE, True, 1),
        (INSIDE, INSIDE, OUTSIDE, False, 1),  # left the second goal again: no success, the reward does not mind
        (OUTSIDE, INSIDE, INSIDE, False, 0),
        (INSIDE, OUTSIDE, OUTSIDE, False, 0),
        (math.nan, INSIDE, INSIDE, False, 0),
        (INSIDE, INSIDE, math.nan, False, 1),
    ],
)
def test_the_rule_of_success(first, second, final, success, reward):
    judged, earned = verdict(*(torch.tensor(value, dtype=torch.float64) for value in (first, second, final)))
    assert (judged.item(), earned.item()) == (success, reward)


def line(position, first, second):
    return State(points([position]), points([0.0]), points([first]), points([second]))


def set_points(*values):
    queue = iter(values)
    return lambda history: torch.full_like(history[..., :1], next(queue))


def test_the_order_of_visits_is_not_checked():
    # Second goal first, then the first goal, and back.
    run = rollout(set_points(*[0.8] * 35, *[0.2] * 35, *[0.8] * 35), line(0.5, 0.2, 0.8), steps=105)
    near_first, near_second = ((run.positions[:, 0, 0] - goal).abs() < 0.05 for goal in (0.2, 0.8))
    assert near_second.nonzero()[0] < near_first.nonzero()[0]
    assert run.success.item()


def test_the_end_must_be_at_the_second_goal():
    away = rollout(set_points(*[0.8] * 35, *[0.2] * 35), line(0.5, 0.2, 0.8), steps=70)
    assert away.first_distance.item() < 0.05
    assert away.second_distance.item() < 0.05
    assert away.final_distance.item() > 0.5
    assert not away.success.item()
    assert away.reward.item() == 1


def test_the_start_itself_does_not_count_as_a_visit():
    run = rollout(set_points(*[1.0] * 50), line(0.0, 0.0, 1.0)._replace(velocity=points([4.0])))
    # It starts on the first goal, and after one control step it is .17 away.
    assert run.first_distance.item() == pytest.approx(euler(0.0, 4.0, 1.0)[0])
    assert not run.success.item()


# --- policies ---------------------------------------------------------------------------------------------------------


def test_a_policy_sees_the_last_two_observations_and_the_first_one_twice():
    seen = []

    def policy(history):
        seen.append(history.clone())
        history.zero_()  # what a policy does to its input must not matter
        return points([0.1, 0.9], [0.8, 0.2])

    run = rollout(policy, starts([0, 1], 2), steps=4)
    older = run.observations[[0, 0, 1, 2]]
    assert torch.equal(torch.stack(seen), torch.cat([older, run.observations[:4]], dim=-1))
    assert run.observations.dtype == seen[0].dtype == torch.float64
    assert torch.equal(run.positions, run.observations[..., :2])


def test_actions_are_clipped_and_kept_as_applied():
    run = rollout(lambda _: points([-3.0, 0.5], [2.0, 1.5]), starts([0, 1], 2), steps=3)
    assert torch.equal(run.actions[1], points([0.0, 0.5], [1.0, 1.0]))
    moved = step(starts([0, 1], 2), run.actions[0])
    assert torch.equal(run.observations[1], observe(moved))


def test_single_precision_actions_are_taken():
    run = rollout(lambda history: history[..., 4:6].float(), starts([0], 2))
    assert run.actions.dtype == torch.float64


def test_an_action_that_is_not_a_number_fails_its_own_episode_only():
    start = starts(range(3), 2)
    good = rollout(lambda history: history[..., 4:6], start)

    def broken(history):
        action = history[..., 4:6].clone()
        action[1] = math.nan
        return action

    run = rollout(broken, start)
    assert not run.success[1]
    assert run.reward[1] == 0
    assert torch.equal(run.observations[:, [0, 2]], good.observations[:, [0, 2]])


def test_no_graph_is_kept():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert not rollout(lambda history: weight * history[..., :2], starts([0], 2)).observations.requires_grad


def test_bad_calls_are_refused():
    start = starts([0], 2)
    with pytest.raises(ValueError, match=r"actions of shape \(1, 8\), needed is \(1, 2\)"):
        rollout(lambda history: history[..., :8], start)
    with pytest.raises(ValueError, match="steps=0: must be at least 1"):
        rollout_oracle(start, steps=0)
    with pytest.raises(ValueError, match="need one, and none negative"):
        starts([], 2)
    with pytest.raises(ValueError, match="the smallest -1"):
        starts([4, -1], 2)


# --- Gymnasium --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2, 32])
def test_gymnasiums_own_checks_pass_without_a_warning(dimensions):
    check_env(gym.make("Particle-v0", dimensions=dimensions, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("dimensions", [0, 33, -1, 2.0, True, "2"])
def test_other_dimensions_are_refused(dimensions):
    with pytest.raises(ValueError, match=r"dimensions=.*: must be an integer from 1 to 32"):
        task.check_dimensions(dimensions)


@pytest.mark.parametrize("dimensions", [0, 33])
def test_make_refuses_other_dimensions(dimensions):
    with pytest.raises(ValueError, match=f"dimensions={dimensions}: must be an integer from 1 to 32"):
        gym.make("Particle-v0", dimensions=dimensions)
    with pytest.raises(ValueError, match=f"dimensions={dimensions}"):
        starts([0], dimensions)


def test_an_episode_needs_reset_before_and_after():
    env = ParticleEnv(1)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(1))
    env.reset(seed=0)
    for _ in range(50):
        *_, truncated, _ = env.step(np.ones(1))
    assert truncated
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(1))


@pytest.mark.parametrize("action", [np.zeros(3), np.array([0.5, math.nan]), np.zeros((1, 2))])
def test_bad_actions_are_refused(action):
    env = ParticleEnv(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="needed are 2 finite numbers"):
        env.step(action)


def test_observations_handed_out_are_not_the_environments_memory():
    env = ParticleEnv(2)
    observation, _ = env.reset(seed=0)
    kept, target = observation.copy(), np.array([0.3, 0.6])
    observation[:] = 9
    after = env.step(target)[0]
    target[:] = 9
    env.reset(seed=0)
    assert np.array_equal(env.step(np.array([0.3, 0.6]))[0], after)
    assert np.array_equal(env.reset(seed=0)[0], kept)


def test_the_observation_space_holds_whatever_the_action_space_can_do():
    # Deviations from 1/2, at most 1/2 at the start and in every action: the largest state is the absolute response to
    # the start plus the sum of the absolute impulse responses.
    single = np.array([[1, 0.005], [-0.05, 0.975]])
    once = np.linalg.matrix_power(single, 10)
    push = sum(np.linalg.matrix_power(single, k) @ np.array([0, 0.05]) for k in range(10))
    reach, largest, power = np.zeros(2), np.zeros(2), np.eye(2)
    for _ in range(50):
        reach += np.abs(power @ push)
        power = power @ once
        largest = np.maximum(largest, 0.5 * (reach + np.abs(power[:, 0])))
    assert largest[0] < 0.519 < 0.5 + OVERSHOOT
    assert largest[1] < 1.39 < TOP_SPEED


# --- pictures ---------------------------------------------------------------------------------------------------------


def pixel(picture, x, y):
    scale = 480 / 1.2
    return tuple(int(value) for value in picture[int((1.1 - y) * scale), int((x + 0.1) * scale)])


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_the_picture_shows_agent_goals_and_path(dimensions):
    env = gym.make("Particle-v0", dimensions=dimensions, render_mode="rgb_array")
    env.reset(seed=1)
    raw = env.unwrapped
    positions, first, second = [0.5, 0.1, 0.9], 0.2, 0.8
    heights = [0.5, 0.5, 0.5] if dimensions == 1 else [0.1, 0.9, 0.4]
    wide = [np.resize([x, y], dimensions) for x, y in zip((positions[0], first, second), heights, strict=True)]
    raw._state = State(*(torch.from_numpy(each) for each in (wide[0], wide[0], wide[1], wide[2])))
    raw._path = [np.resize([0.3, 0.1], dimensions), wide[0]]
    picture = env.render()
    assert picture.shape == (480, 480, 3)
    assert picture.dtype == np.uint8
    assert pixel(picture, 0.5, heights[0]) == (213, 94, 0)
    assert pixel(picture, 0.4, heights[0]) == (230, 159, 0)
    assert pixel(picture, 0.2 + 0.03, heights[1]) == (191, 231, 220)
    assert pixel(picture, 0.8 + 0.03, heights[2]) == (191, 220, 236)
    assert pixel(picture, 0.02, 0.97) == (255, 255, 255)


def test_what_leaves_the_picture_does_not_harm_it():
    env = ParticleEnv(2, render_mode="rgb_array")
    env.reset(seed=0)
    for _ in range(50):
        env.step(np.array([40.0, -70.0]))
    assert env.render().shape == (480, 480, 3)


def test_render_modes():
    env = ParticleEnv(2)
    env.reset(seed=0)
    assert env.render() is None
    with pytest.raises(ValueError, match="allowed are None and 'rgb_array'"):
        ParticleEnv(2, render_mode="human")


def test_the_package_registers_the_task():
    assert imitation.envs.__doc__
    assert "Particle-v0" in gym.registry
