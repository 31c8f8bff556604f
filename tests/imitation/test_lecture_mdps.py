"""The lecture's processes as environments and as tables: closed forms, enumeration, rollouts, Gymnasium's checker."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from imitation.envs.lecture import ENVIRONMENTS
from imitation.mdp import TabularMDP, lecture, random_processes, softmax_policy
from imitation.mdp.horizon import occupancies, repeated, returns
from imitation.mdp.rollouts import Episodes, rollouts, step_counts


def earned(example: lecture.Example, policy: torch.Tensor, horizon: int, k: int = 0) -> torch.Tensor:
    return returns(example.mdp, repeated(example.rewards[..., k], horizon), repeated(policy, horizon))[-1]


def test_fig_18_1_known_values() -> None:
    """epsilon .1, H = 10: the expert earns 9, pi_2 2.87420 less (not 10), pi_1 by its closed form."""
    example, e = lecture.compounding(), 0.1
    epsilon, recovery = torch.tensor([0, e, e], dtype=torch.float64), torch.tensor([1.0, 1, 0], dtype=torch.float64)
    best, first, second = earned(example, lecture.compounding_policy(epsilon, recovery), 10).tolist()
    assert best == 9
    assert best - second == pytest.approx(2.87420489, abs=1e-8)
    assert best - first == pytest.approx(9 * e / (1 + e) - e * (1 - (-e) ** 9) / (1 + e) ** 2, abs=1e-14)


def test_fig_18_2_only_the_priced_mistake_costs() -> None:
    example, e = lecture.two_mistakes(), torch.tensor(0.2, dtype=torch.float64)
    for policy, other in ((lecture.two_mistakes_policy(e, 0 * e), 1), (lecture.two_mistakes_policy(0 * e, e), 0)):
        assert float(earned(example, policy, 7, other)) == 0
        assert float(earned(example, policy, 7, 1 - other)) == pytest.approx(-(6 - (1 - 0.8**6) / 0.2), abs=1e-14)


def test_pareto_returns() -> None:
    example = lecture.pareto()
    table = [[float(earned(example, lecture.expert(example, a), 5, k)) for k in (0, 1)] for a in range(3)]
    assert table == [[5, 5], [5, 5], [5, 6]]


@given(depth=st.integers(1, 6))
@settings(max_examples=6)
def test_the_cliff_takes_as_long_to_climb_as_it_says(depth: int) -> None:
    example = lecture.cliff(depth)
    below = torch.full((depth + 1, 2), 0.5, dtype=torch.float64)
    flow = torch.einsum("sa,sat->st", below, example.mdp.transition)[1:, 1:]
    steps = torch.linalg.solve(torch.eye(depth, dtype=torch.float64) - flow, torch.ones(depth, dtype=torch.float64))
    assert float(steps[-1]) == pytest.approx(2 ** (depth + 1) - 2, rel=1e-12)
    slips = lecture.expert(example, 0)
    slips[0] = torch.tensor([0.0, 1.0])
    assert float(earned(example, slips, depth + 2)) == 2  # on the path, depth steps below, on the path


def test_a_cliff_without_escape_is_for_ever() -> None:
    example = lecture.cliff(2, escape=False)
    assert torch.equal(example.mdp.transition[2], torch.tensor([[0, 0, 1], [0, 0, 1]], dtype=torch.float64))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_passes_gymnasiums_checker_and_ends_on_time(name: str) -> None:
    env = gym.make(f"imitation.envs.lecture:{name}", horizon=4)
    check_env(env.unwrapped, skip_render_check=True)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(False, True)]


def test_environments_and_tables_agree() -> None:
    """Deterministic paths exactly: the expert's return of Fig. 18.1, a crash of Fig. 18.2, Pareto's third action."""
    plays = {
        "lecture/Compounding-v0": ([0, 1, 1, 0, 0], 3.0),  # s0 s1 s1 s1 s2
        "lecture/TwoMistakes-v0": ([0, 2, 0, 0, 0], -3.0),
        "lecture/Pareto-v0": ([2, 2, 2, 2, 2], 5.5),
        "lecture/Cliff-v0": ([1, 0, 0, 0, 0], 2.0),
    }
    for name, (actions, total) in plays.items():
        env = gym.make(f"imitation.envs.lecture:{name}", horizon=5)
        env.reset(seed=0)
        assert sum(env.step(np.int64(action))[1] for action in actions) == pytest.approx(total)


def test_random_environments_are_their_number() -> None:
    one, same, other = (gym.make("imitation.envs.lecture:lecture/RandomMDP-v0", number=n).unwrapped for n in (1, 1, 2))
    assert np.array_equal(one._transition, same._transition)
    assert not np.array_equal(one._transition, other._transition)


def test_rollouts_have_the_occupancies() -> None:
    rng = np.random.default_rng(0)
    drawn = random_processes(1, 4, 3, rng)
    mdp = TabularMDP(drawn.transition[0], drawn.initial[0])
    policy = softmax_policy(torch.from_numpy(rng.normal(size=(5, 4, 3))))
    episodes, law = 20_000, occupancies(mdp, policy)
    shares = step_counts(rollouts(mdp, policy, episodes, rng), 4, 3) / episodes
    error = (shares - law).abs() / (law * (1 - law) / episodes).sqrt()
    assert float(error.max()) < 4.5  # standard errors, 60 cells
    assert torch.equal(shares.sum((-2, -1)), torch.ones(5, dtype=torch.float64))


def test_rollouts_never_draw_what_is_impossible() -> None:
    example = lecture.compounding()
    policy = lecture.compounding_policy(*torch.zeros(2, 1, dtype=torch.float64))[0]
    states = rollouts(example.mdp, repeated(policy, 6), 1000, np.random.default_rng(0)).states
    assert torch.equal(states, torch.tensor([0, 1, 1, 1, 1, 1]).expand(1000, 6))


def test_bad_input_is_refused_in_one_line() -> None:
    example, half = lecture.compounding(), torch.tensor(0.5, dtype=torch.float64)
    policy = repeated(lecture.compounding_policy(half, half), 3)
    rng = np.random.default_rng(0)
    for attempt, message in (
        (lambda: lecture.compounding_policy(3 * half, half), "epsilon: must be between 0 and 1"),
        (lambda: lecture.compounding_policy(half, half * torch.nan), "recovery: must be between 0 and 1"),
        (lambda: lecture.two_mistakes_policy(1.4 * half, 1.4 * half), r"lane \+ crash: must be between 0 and 1"),
        (lambda: lecture.cliff(0), "depth=0"),
        (lambda: rollouts(example.mdp, policy, 0, rng), "episodes=0"),
        (lambda: rollouts(example.mdp, policy[:, :2], 1, rng), r"must be \(H, S, A\)"),
        (lambda: rollouts(example.mdp, 2 * policy, 1, rng), "policy: probabilities must sum to 1"),
        (lambda: step_counts(Episodes(*torch.full((2, 1, 1), 3)), 3, 2), "state: must be between 0 and 2"),
    ):
        with pytest.raises(ValueError, match=f"^[^\n]*{message}[^\n]*$"):
            attempt()


@given(horizon=st.integers(-3, 0))
@settings(max_examples=4)
def test_environments_refuse_horizons_below_one(horizon: int) -> None:
    for build in ENVIRONMENTS.values():
        with pytest.raises(ValueError, match=f"^horizon={horizon}: must be at least 1$"):
            build(horizon=horizon)
