"""Tabular processes: conservation, independent computations, limits, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imitation.envs.tabular import TabularEnv
from imitation.mdp import (
    TabularMDP,
    discounted_occupancy,
    horizon_occupancy,
    random_processes,
    self_loops,
    softmax_policy,
    state_action_occupancy,
    state_transition,
    total_variation,
)

EXACT = 1e-12


def random_case(seed: int, count: int = 3, states: int = 5, actions: int = 3) -> tuple[TabularMDP, Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(count, states, actions)))
    return random_processes(count, states, actions, rng), softmax_policy(logits)


@given(seed=st.integers(0, 1000), discount=st.floats(0, 0.99))
@settings(max_examples=25)
def test_discounted_occupancy_satisfies_its_flow_equation(seed: int, discount: float) -> None:
    mdp, policy = random_case(seed)
    visits = discounted_occupancy(mdp, policy, discount)
    flow = torch.einsum("bs,bst->bt", visits, state_transition(mdp, policy))
    assert torch.allclose(visits, (1 - discount) * mdp.initial + discount * flow, atol=EXACT, rtol=0)
    assert torch.allclose(visits.sum(-1), torch.ones(3, dtype=torch.float64), atol=EXACT, rtol=0)
    assert bool((visits >= 0).all())


def test_discounted_occupancy_is_the_discounted_sum_of_the_horizons() -> None:
    mdp, policy = random_case(0)
    steps, discount = 400, 0.9
    law = horizon_occupancy(mdp, policy, steps)
    weights = (1 - discount) * discount ** torch.arange(steps, dtype=torch.float64)
    summed = torch.einsum("h,hbs->bs", weights, law)
    assert torch.allclose(discounted_occupancy(mdp, policy, discount), summed, atol=1e-12, rtol=0)


def test_limits_of_the_discount() -> None:
    mdp, policy = random_case(1)
    assert torch.allclose(discounted_occupancy(mdp, policy, 0.0), mdp.initial, atol=EXACT, rtol=0)
    stationary = torch.linalg.matrix_power(state_transition(mdp, policy), 2000)[:, 0]
    assert torch.allclose(discounted_occupancy(mdp, policy, 1 - 1e-9), stationary, atol=1e-7, rtol=0)


def test_horizon_occupancy_by_matrix_powers_and_with_a_policy_per_step() -> None:
    mdp, policy = random_case(2)
    law = horizon_occupancy(mdp, policy, 7)
    power = torch.linalg.matrix_power(state_transition(mdp, policy), 6)
    assert torch.allclose(law[6], torch.einsum("bs,bst->bt", mdp.initial, power), atol=EXACT, rtol=0)
    assert torch.equal(horizon_occupancy(mdp, policy.expand(7, *policy.shape), 7), law)
    assert torch.allclose(law.sum(-1), torch.ones(7, 3, dtype=torch.float64), atol=EXACT, rtol=0)


def test_a_horizon_of_a_thousand_conserves_probability() -> None:
    mdp, policy = random_case(3)
    assert float((horizon_occupancy(mdp, policy, 1000).sum(-1) - 1).abs().max()) < EXACT


def test_batched_equals_one_by_one() -> None:
    mdp, policy = random_case(4)
    together = discounted_occupancy(mdp, policy, 0.9)
    for index in range(3):
        alone = TabularMDP(mdp.transition[index], mdp.initial[index])
        assert torch.allclose(discounted_occupancy(alone, policy[index], 0.9), together[index], atol=1e-14, rtol=0)


def test_one_process_with_many_policies() -> None:
    mdp, policy = random_case(5)
    one = TabularMDP(mdp.transition[0], mdp.initial[0])
    together = discounted_occupancy(one, policy, 0.9)
    assert torch.allclose(together[2], discounted_occupancy(one, policy[2], 0.9), atol=1e-14, rtol=0)


def test_self_loops_keep_all_mass_where_it_starts() -> None:
    mdp = self_loops(4, 2)
    policy = softmax_policy(torch.zeros(4, 2, dtype=torch.float64))
    for visits in (discounted_occupancy(mdp, policy, 0.9), horizon_occupancy(mdp, policy, 9)[-1]):
        assert torch.allclose(visits, mdp.initial, atol=EXACT, rtol=0)


def test_state_action_occupancy_has_the_policy_as_its_conditional() -> None:
    mdp, policy = random_case(6)
    visits = discounted_occupancy(mdp, policy, 0.5)
    joint = state_action_occupancy(visits, policy)
    assert torch.allclose(joint.sum(-1), visits, atol=EXACT, rtol=0)
    assert torch.allclose(joint / joint.sum(-1, keepdim=True), policy, atol=EXACT, rtol=0)


def test_total_variation_of_known_laws() -> None:
    one = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    other = torch.tensor([[0.0, 1.0], [0.25, 0.75]], dtype=torch.float64)
    assert total_variation(one, other).tolist() == [1.0, 0.25]


def test_rollouts_in_gymnasium_agree_with_the_linear_algebra() -> None:
    """An independent computation: the frequencies of a simulated policy, within four standard errors."""
    mdp, policy = random_case(7, count=1)
    one, horizon, episodes = TabularMDP(mdp.transition[0], mdp.initial[0]), 5, 4000
    env, rng = TabularEnv(one, horizon=horizon), np.random.default_rng(0)
    counts = np.zeros((horizon, one.states))
    state, _ = env.reset(seed=0)
    for _ in range(episodes):
        for step in range(horizon):
            counts[step, state] += 1
            state, _, _, truncated, _ = env.step(np.int64(rng.choice(one.actions, p=policy[0, state].numpy())))
        assert truncated
        state, _ = env.reset()
    law = horizon_occupancy(one, policy[0], horizon).numpy()
    assert np.abs((counts / episodes - law) / np.sqrt(law * (1 - law) / episodes)).max() < 4


def test_the_environment_passes_gymnasiums_checker() -> None:
    mdp, _ = random_case(8, count=1)
    env = TabularEnv(TabularMDP(mdp.transition[0], mdp.initial[0]), np.ones((5, 3)), horizon=20)
    assert isinstance(env, gym.Env)
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    assert env.step(np.int64(0))[1] == 1.0


def broken(**changes: Tensor) -> TabularMDP:
    mdp, _ = random_case(9, count=1)
    return TabularMDP(**({"transition": mdp.transition[0], "initial": mdp.initial[0]} | changes))


ROW = torch.ones(5, 3, 5, dtype=torch.float64) / 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transition": ROW * 1.01}, "transition: probabilities must sum to 1, one sum misses it by 0.01"),
        ({"transition": ROW * torch.nan}, "transition: probabilities must be finite"),
        ({"transition": ROW.float()}, "transition torch.float32, initial torch.float64: must be torch.float64"),
        ({"initial": torch.tensor([1.5, -0.5, 0, 0, 0], dtype=torch.float64)}, "must not be negative"),
        ({"initial": torch.ones(4, dtype=torch.float64) / 4}, r"must be \(..., S, A, S\) and \(..., S\)"),
        ({"transition": ROW[..., :4]}, r"must be \(..., S, A, S\) and \(..., S\)"),
    ],
)
def test_what_is_no_process_is_refused_in_one_line(changes: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        broken(**changes)
    assert "\n" not in str(caught.value)


def test_bad_arguments_are_refused() -> None:
    mdp, policy = random_case(10)
    with pytest.raises(ValueError, match="discount=1"):
        discounted_occupancy(mdp, policy, 1.0)
    with pytest.raises(ValueError, match="horizon=0"):
        horizon_occupancy(mdp, policy, 0)
    with pytest.raises(ValueError, match="policy: probabilities must sum to 1"):
        discounted_occupancy(mdp, policy * 2, 0.5)
    with pytest.raises(ValueError, match="states=0"):
        self_loops(0, 2)


@pytest.mark.parametrize(
    ("many", "reward", "horizon", "message"),
    [
        (True, None, 5, r"^transition \(3, 5, 3, 5\): must be \(S, A, S\), one process$"),
        (False, np.ones((3, 5)), 5, r"^reward \(3, 5\): must be \(S, A\) = \(5, 3\)$"),
        (False, np.full((5, 3), np.nan), 5, r"^reward: must be finite$"),
        (False, None, 0, r"^horizon=0: must be at least 1$"),
    ],
)
def test_the_environment_says_what_it_refuses(many, reward, horizon, message) -> None:
    mdp, _ = random_case(11)
    one = TabularMDP(mdp.transition[0], mdp.initial[0])
    with pytest.raises(ValueError, match=message):
        TabularEnv(mdp if many else one, reward, horizon)


@given(action=st.integers(-100, 100).filter(lambda action: not 0 <= action < 3))
@settings(max_examples=20)
def test_actions_outside_their_range_are_refused(action: int) -> None:
    mdp, _ = random_case(12, count=1)
    env = TabularEnv(TabularMDP(mdp.transition[0], mdp.initial[0]))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"^action {action}: must be a whole number from 0 to 2$"):
        env.step(np.int64(action))
