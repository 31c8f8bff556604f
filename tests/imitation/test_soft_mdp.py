"""Soft dynamic programming: fixed points, limits of the temperature, and an independent optimisation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from imitation.mdp import TabularMDP, discounted_occupancy, random_processes, softmax_policy
from imitation.mdp.iterated_occupancy import iterated_occupancy
from imitation.mdp.soft import (
    coherent_reward,
    next_value,
    shaped_reward,
    soft_maximum,
    soft_policy_iteration,
    soft_policy_value,
    soft_value_iteration,
    uniform_log_prior,
)

DISCOUNT = 0.9


def case(seed: int = 0, count: int = 3, states: int = 5, actions: int = 3) -> tuple[TabularMDP, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    mdp = random_processes(count, states, actions, rng)
    reward, logits = (torch.from_numpy(rng.normal(size=(count, states, actions))) for _ in range(2))
    return mdp, reward, logits.log_softmax(-1)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 50.0])
def test_value_and_policy_iteration_agree(temperature: float) -> None:
    mdp, reward, prior = case()
    by_value = soft_value_iteration(mdp, reward, prior, temperature, DISCOUNT, 600)
    by_policy = soft_policy_iteration(mdp, reward, prior, temperature, DISCOUNT)
    for one, other in zip(by_value, by_policy, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_the_fixed_point_satisfies_its_equations_and_the_policy_is_a_law() -> None:
    mdp, reward, prior = case(1)
    log_policy, action_value, value = soft_value_iteration(mdp, reward, prior, 0.3, DISCOUNT, 600)
    torch.testing.assert_close(action_value, reward + DISCOUNT * next_value(mdp, value), rtol=0, atol=1e-12)
    torch.testing.assert_close(log_policy.logsumexp(-1), torch.zeros(3, 5).double(), rtol=0, atol=1e-12)
    direct = 0.3 * (prior.exp() * (action_value / 0.3).exp()).sum(-1).log()
    torch.testing.assert_close(value, direct, rtol=0, atol=1e-10)


def test_a_general_optimiser_finds_no_better_policy() -> None:
    mdp, reward, prior = case(2, count=1, states=3, actions=2)

    def loss(flat: np.ndarray) -> float:
        log_policy = torch.from_numpy(flat.reshape(1, 3, 2)).log_softmax(-1)
        value = soft_policy_value(mdp, reward, log_policy, prior, 0.5, DISCOUNT)
        return -float((mdp.initial * value).sum())

    found = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-9})
    best = soft_value_iteration(mdp, reward, prior, 0.5, DISCOUNT, 600).value
    assert -found.fun == pytest.approx(float((mdp.initial * best).sum()), abs=1e-9)


def test_a_low_temperature_tends_to_the_hard_maximum_and_a_high_one_to_the_prior() -> None:
    mdp, reward, prior = case(3)
    hard = soft_value_iteration(mdp, reward, prior, 0.0, DISCOUNT, 600)
    cold = soft_value_iteration(mdp, reward, prior, 1e-4, DISCOUNT, 600)
    torch.testing.assert_close(cold.value, hard.value, rtol=0, atol=1e-2)
    assert bool((cold.log_policy.argmax(-1) == hard.log_policy.argmax(-1)).all())
    hot = soft_value_iteration(mdp, reward, prior, 1e9, DISCOUNT, 600)
    torch.testing.assert_close(hot.log_policy, prior, rtol=0, atol=1e-7)


def test_hard_value_iteration_against_enumeration() -> None:
    mdp, reward, _ = case(4, count=1, states=3, actions=2)
    prior = uniform_log_prior(mdp)
    values = []
    for code in range(8):
        chosen = torch.tensor([code >> bit & 1 for bit in range(3)])
        policy = torch.nn.functional.one_hot(chosen, 2).double().log()[None]
        values.append(soft_policy_value(mdp, reward, policy, prior, 0.0, DISCOUNT))
    best = torch.stack(values).amax(0)
    torch.testing.assert_close(soft_value_iteration(mdp, reward, prior, 0.0, DISCOUNT, 600).value, best)


def test_ties_and_forbidden_actions_at_temperature_zero() -> None:
    tied = torch.tensor([[1.0, 1.0, 0.0, 9.0]]).double()
    prior = torch.tensor([[0.25, 0.5, 0.25, 0.0]]).double().log()
    value, log_policy = soft_maximum(tied, prior, 0.0)
    assert float(value) == 1.0
    torch.testing.assert_close(log_policy.exp(), torch.tensor([[1 / 3, 2 / 3, 0, 0]]).double())


def test_one_process_for_all_equals_a_process_each() -> None:
    mdp, reward, prior = case(5)
    shared = TabularMDP(mdp.transition[0], mdp.initial[0])
    together = soft_value_iteration(shared, reward, prior, 0.2, DISCOUNT, 100)
    for member in range(3):
        alone = soft_value_iteration(shared, reward[member], prior[member], 0.2, DISCOUNT, 100)
        torch.testing.assert_close(together.value[member], alone.value, rtol=0, atol=1e-12)
    repeated = TabularMDP(mdp.transition[:1].expand(3, -1, -1, -1), mdp.initial[:1].expand(3, -1))
    torch.testing.assert_close(next_value(repeated, together.value), next_value(shared, together.value))


def test_shaping_keeps_the_hard_optimal_policy() -> None:
    mdp, reward, _ = case(6)
    prior = uniform_log_prior(mdp)
    potential = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5)))
    plain = soft_value_iteration(mdp, reward, prior, 0.0, DISCOUNT, 600)
    shaped = soft_value_iteration(mdp, shaped_reward(mdp, reward, potential, DISCOUNT), prior, 0.0, DISCOUNT, 600)
    assert bool((plain.log_policy.argmax(-1) == shaped.log_policy.argmax(-1)).all())
    torch.testing.assert_close(shaped.value, plain.value - potential, rtol=0, atol=1e-10)


def test_iterated_occupancy_tends_to_the_solve_and_members_stop_alone() -> None:
    mdp, _, prior = case(7)
    exact = discounted_occupancy(mdp, prior.exp(), DISCOUNT)
    torch.testing.assert_close(iterated_occupancy(mdp, prior.exp(), DISCOUNT, 0.0, 800), exact, rtol=0, atol=1e-12)
    rough = iterated_occupancy(mdp, prior.exp(), DISCOUNT, 1e-2)
    assert 0 < float((rough - exact).abs().max()) < 1e-2 * DISCOUNT / (1 - DISCOUNT)
    shared = TabularMDP(mdp.transition[0], mdp.initial[0])
    policies = softmax_policy(prior * torch.tensor([1.0, 5.0, 0.1]).double()[:, None, None])
    together = iterated_occupancy(shared, policies, DISCOUNT, 1e-3)
    for member in range(3):
        torch.testing.assert_close(together[member], iterated_occupancy(shared, policies[member], DISCOUNT, 1e-3))


@given(place=st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 2)),
       bad=st.sampled_from([math.nan, math.inf, -math.inf]))  # fmt: skip
@settings(max_examples=30)
def test_rewards_that_are_not_finite_are_refused(place: tuple, bad: float) -> None:
    mdp, reward, prior = case(9)
    reward[place] = bad
    for attempt in (lambda: soft_value_iteration(mdp, reward, prior, 1.0, DISCOUNT),
                    lambda: soft_policy_iteration(mdp, reward, prior, 1.0, DISCOUNT),
                    lambda: soft_policy_value(mdp, reward, prior, prior, 1.0, DISCOUNT)):  # fmt: skip
        with pytest.raises(ValueError, match=r"^reward: must be finite$"):
            attempt()


@given(shape=st.lists(st.integers(1, 6), min_size=2, max_size=4).filter(lambda shape: shape[-2:] != [5, 3]))
@settings(max_examples=30)
def test_rewards_of_a_wrong_shape_are_refused(shape: list[int]) -> None:
    mdp, _, _ = case(10)
    reward = torch.zeros(shape, dtype=torch.float64)
    prior = reward.log_softmax(-1)  # of the same wrong shape
    for attempt in (lambda: soft_value_iteration(mdp, reward, prior, 1.0, DISCOUNT),
                    lambda: soft_policy_iteration(mdp, reward, prior, 1.0, DISCOUNT),
                    lambda: soft_policy_value(mdp, reward, prior, prior, 1.0, DISCOUNT)):  # fmt: skip
        with pytest.raises(ValueError, match=r"^reward \([^\n]*must be \(\.\.\., S, A\) with S, A = \(5, 3\)$"):
            attempt()


@given(shift=st.floats(1e-6, 10) | st.just(math.nan))
@settings(max_examples=20)
def test_a_policy_that_is_no_law_has_no_value(shift: float) -> None:
    mdp, reward, prior = case(11)
    with pytest.raises(ValueError, match=r"^policy: the probabilities of the actions must sum to 1 in every state$"):
        soft_policy_value(mdp, reward, prior + shift, prior, 1.0, DISCOUNT)


def test_bad_input_is_refused() -> None:
    mdp, reward, prior = case(8)
    with pytest.raises(ValueError, match="temperature=-1"):
        soft_value_iteration(mdp, reward, prior, -1.0, DISCOUNT)
    with pytest.raises(ValueError, match=r"discount=1\.0"):
        soft_value_iteration(mdp, reward, prior, 1.0, 1.0)
    with pytest.raises(ValueError, match="iterations=0"):
        soft_value_iteration(mdp, reward, prior, 1.0, DISCOUNT, 0)
    with pytest.raises(ValueError, match="sum to 1"):
        soft_policy_iteration(mdp, reward, prior + 0.1, 1.0, DISCOUNT)
    with pytest.raises(ValueError, match="positive probability"):
        coherent_reward(torch.full((2, 2), -torch.inf).double(), torch.zeros(2, 2).double(), 1.0)
    with pytest.raises(ValueError, match="tolerance=-1"):
        iterated_occupancy(mdp, prior.exp(), DISCOUNT, -1.0)
