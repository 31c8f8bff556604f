"""Finite horizons: Bellman's equations, conservation, enumeration of all paths, limits, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from imitation.mdp import TabularMDP, random_processes, softmax_policy
from imitation.mdp.horizon import (
    causal_entropy,
    log_occupancies,
    moments,
    occupancies,
    policy_value,
    repeated,
    returns,
    value_iteration,
)

S, A, H = 4, 3, 6


def case(seed: int, count: int = 2, horizon: int = H) -> tuple[TabularMDP, Tensor, Tensor]:
    """Random processes, rewards and policies per step."""
    rng = np.random.default_rng(seed)
    mdp = random_processes(count, S, A, rng)
    reward = torch.from_numpy(rng.normal(size=(horizon, count, S, A)))
    return mdp, reward, softmax_policy(torch.from_numpy(rng.normal(size=(horizon, count, S, A))))


def single(mdp: TabularMDP, index: int) -> TabularMDP:
    return TabularMDP(mdp.transition[index], mdp.initial[index])


def paths(mdp: TabularMDP, policy: Tensor):
    """Every path of states and actions with its probability, without any recursion over values."""
    horizon = len(policy)
    for states in itertools.product(range(mdp.states), repeat=horizon):
        for actions in itertools.product(range(mdp.actions), repeat=horizon):
            chance = float(mdp.initial[states[0]])
            for h, (s, a) in enumerate(zip(states, actions, strict=True)):
                chance *= float(policy[h, s, a])
                if h + 1 < horizon:
                    chance *= float(mdp.transition[s, a, states[h + 1]])
            yield states, actions, chance


def test_value_entropy_and_occupancies_by_enumeration_of_all_paths() -> None:
    mdp, reward, policy = case(0, horizon=3)
    one, gain, law = single(mdp, 1), reward[:, 1], policy[:, 1]
    total = entropy = 0.0
    visits = torch.zeros_like(law)
    for states, actions, chance in paths(one, law):
        total += chance * sum(float(gain[h, s, a]) for h, (s, a) in enumerate(zip(states, actions, strict=True)))
        entropy -= chance * sum(
            math.log(float(law[h, s, a])) for h, (s, a) in enumerate(zip(states, actions, strict=True))
        )
        for h, (s, a) in enumerate(zip(states, actions, strict=True)):
            visits[h, s, a] += chance
    value = policy_value(mdp, reward, policy)
    assert float((mdp.initial * value[0]).sum(-1)[1]) == pytest.approx(total, abs=1e-12)
    assert float(returns(mdp, reward, policy)[-1, 1]) == pytest.approx(total, abs=1e-12)
    assert float(causal_entropy(mdp, policy)[1]) == pytest.approx(entropy, abs=1e-12)
    torch.testing.assert_close(occupancies(mdp, policy)[:, 1], visits, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 1000), temperature=st.floats(0.01, 10))
@settings(max_examples=20)
def test_soft_values_are_what_their_policy_earns(seed: int, temperature: float) -> None:
    mdp, reward, _ = case(seed)
    plan = value_iteration(mdp, reward, temperature)
    policy = plan.log_policy.exp()
    earned = policy_value(mdp, reward - temperature * plan.log_policy, policy)
    torch.testing.assert_close(plan.value, earned, rtol=1e-12, atol=1e-11)
    assert float((policy.sum(-1) - 1).abs().max()) < 1e-12


@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_no_policy_beats_the_hard_plan_and_the_soft_one_tends_to_it(seed: int) -> None:
    mdp, reward, policy = case(seed)
    hard = value_iteration(mdp, reward)
    assert bool((hard.value >= policy_value(mdp, reward, policy) - 1e-12).all())
    torch.testing.assert_close(hard.value, policy_value(mdp, reward, hard.log_policy.exp()), rtol=0, atol=1e-12)
    for temperature in (1e-1, 1e-3):  # 0 <= V_T - V_0 <= T log(A) per step left
        excess = value_iteration(mdp, reward, temperature).value - hard.value
        assert float(excess.min()) >= -1e-12
        assert float(excess.max()) <= temperature * math.log(A) * H + 1e-12


def test_the_soft_plan_is_the_numerical_optimum() -> None:
    """scipy's L-BFGS on the logits of all steps reaches the same value, and no more."""
    mdp, reward, _ = case(3, count=1, horizon=3)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.from_numpy(flat).view(3, 1, S, A).requires_grad_()
        log_policy = logits.log_softmax(-1)
        value = policy_value(mdp, reward, log_policy.exp())[0]
        visits = occupancies(mdp, log_policy.exp())
        objective = -((mdp.initial * value).sum() - (visits * log_policy).sum())
        (slope,) = torch.autograd.grad(objective, logits)
        return float(objective.detach()), slope.flatten().numpy()

    found = minimize(loss, np.zeros(3 * S * A), jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 1e-16})
    exact = float((mdp.initial * value_iteration(mdp, reward, 1.0).value[0]).sum())
    assert -found.fun == pytest.approx(exact, abs=1e-9)


def test_equal_actions_share_the_hard_policy_and_no_reward_means_uniform() -> None:
    mdp, reward, _ = case(4)
    for temperature in (0.0, 1.0):
        plan = value_iteration(mdp, torch.zeros_like(reward), temperature)
        torch.testing.assert_close(plan.log_policy.exp(), torch.full_like(reward, 1 / A))
        torch.testing.assert_close(
            plan.value[0], torch.full((2, S), temperature * H * math.log(A), dtype=torch.float64)
        )


@given(seed=st.integers(0, 1000), horizon=st.integers(1, H))
@settings(max_examples=20)
def test_one_pass_solves_every_shorter_horizon(seed: int, horizon: int) -> None:
    mdp, reward, policy = case(seed)
    gain, law = reward[0], policy[0]
    long, short = (value_iteration(mdp, repeated(gain, h), 0.7) for h in (H, horizon))
    for one, other in zip(long.shorter(horizon), short, strict=True):
        assert torch.equal(one, other)
    cumulative = returns(mdp, repeated(gain, H), repeated(law, H))
    last = returns(mdp, repeated(gain, horizon), repeated(law, horizon))[-1]
    assert torch.equal(cumulative[horizon - 1], last)


def test_a_batch_is_its_members_and_axes_broadcast() -> None:
    mdp, reward, policy = case(5)
    for index in range(2):
        one = single(mdp, index)
        for together, alone in (
            (value_iteration(mdp, reward, 0.5).value[:, index], value_iteration(one, reward[:, index], 0.5).value),
            (policy_value(mdp, reward, policy)[:, index], policy_value(one, reward[:, index], policy[:, index])),
            (occupancies(mdp, policy)[:, index], occupancies(one, policy[:, index])),
        ):
            torch.testing.assert_close(together, alone, rtol=0, atol=1e-13)
    one = single(mdp, 0)
    assert returns(one, reward[:, None], policy[:, :, None]).shape == (H, 2, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_a_thousand_steps_conserve_probability_in_both_spaces(count: int) -> None:
    mdp, _, policy = case(6, count)
    policy = repeated(policy[0], 1000)
    visits = occupancies(mdp, policy)
    assert float((visits.sum((-2, -1)) - 1).abs().max()) < 1e-12
    assert float((visits.sum((0, -2, -1)) / 1000 - 1).abs().max()) < 1e-12
    in_logs = log_occupancies(mdp, policy.log())
    assert float(in_logs.flatten(-2).logsumexp(-1).abs().max()) < 1e-12
    torch.testing.assert_close(in_logs.exp(), visits, rtol=1e-11, atol=0)


def test_rows_that_miss_one_within_their_tolerance_do_not_add_up() -> None:
    rng = np.random.default_rng(0)
    drawn = random_processes(1, 50, 4, rng)
    off = TabularMDP(drawn.transition[0] * (1 + 9e-10), drawn.initial[0])
    policy = repeated(softmax_policy(torch.from_numpy(rng.normal(size=(50, 4)))), 1000)
    assert abs(float(occupancies(off, policy).sum()) - 1000) < 1e-12
    assert abs(float(log_occupancies(off, policy.log()).exp().sum()) - 1000) < 1e-10  # logs of 1e-3 round to 1e-15


def test_log_space_keeps_what_underflows() -> None:
    """Staying for H steps with probability .1 each: 10^-1000 is 0 in float64, its logarithm is not."""
    leave = torch.tensor([[[0.1, 0.9]], [[0.0, 1.0]]], dtype=torch.float64)
    mdp = TabularMDP(leave, torch.tensor([1.0, 0.0], dtype=torch.float64))
    policy = repeated(torch.ones(2, 1, dtype=torch.float64), 1001)
    assert float(occupancies(mdp, policy)[-1, 0, 0]) == 0
    assert float(log_occupancies(mdp, policy.log())[-1, 0, 0]) == pytest.approx(1000 * math.log(0.1), rel=1e-13)


def test_soft_values_of_a_thousand_steps_are_finite_for_rewards_of_a_thousand() -> None:
    mdp, reward, _ = case(7)
    plan = value_iteration(mdp, repeated(1e3 * reward[0], 1000), 1.0)
    assert all(bool(part.isfinite().all()) for part in plan)
    assert float((plan.log_policy.logsumexp(-1)).abs().max()) < 1e-9


def test_moments_are_the_returns_of_the_features() -> None:
    mdp, _, policy = case(8)
    features = torch.from_numpy(np.random.default_rng(0).normal(size=(S, A, 5)))
    found = moments(occupancies(mdp, policy), features)
    for k in range(5):
        single_return = returns(mdp, repeated(features[..., k], H), policy)[-1]
        torch.testing.assert_close(found[:, k], single_return, rtol=0, atol=1e-12)
    per_process = torch.stack([features, 2 * features])
    torch.testing.assert_close(moments(occupancies(mdp, policy), per_process)[1], 2 * found[1])


@given(row=st.lists(st.floats(0, 1), min_size=S, max_size=S).filter(lambda row: abs(sum(row) - 1) > 1e-6))
@settings(max_examples=30)
def test_transitions_that_do_not_sum_to_one_are_refused(row: list[float]) -> None:
    mdp, _, _ = case(9, count=1)
    transition = mdp.transition[0].clone()
    transition[1, 2] = torch.tensor(row, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^transition: probabilities must sum to 1[^\n]*$"):
        TabularMDP(transition, mdp.initial[0])


@given(amount=st.floats(1e-6, 100))
@settings(max_examples=30)
def test_negative_probabilities_are_refused(amount: float) -> None:
    mdp, reward, policy = case(9, count=1)
    shift = torch.tensor([-1.0, 1.0, 0.0], dtype=torch.float64) * (float(policy.max()) + amount)
    with pytest.raises(ValueError, match=r"^policy: probabilities must not be negative[^\n]*$"):
        policy_value(mdp, reward, policy + shift)
    transition = mdp.transition[0].clone()
    transition[0, 0, :2] = torch.tensor([-amount, 1 + amount], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^transition: probabilities must not be negative[^\n]*$"):
        TabularMDP(transition, mdp.initial[0])


@given(place=st.tuples(st.integers(0, H - 1), st.integers(0, 1), st.integers(0, S - 1), st.integers(0, A - 1)),
       bad=st.sampled_from([math.nan, math.inf, -math.inf]))  # fmt: skip
@settings(max_examples=30)
def test_rewards_that_are_not_finite_are_refused(place: tuple, bad: float) -> None:
    mdp, reward, policy = case(10)
    reward[place] = bad
    for attempt in (lambda: value_iteration(mdp, reward), lambda: returns(mdp, reward, policy),
                    lambda: policy_value(mdp, reward, policy)):  # fmt: skip
        with pytest.raises(ValueError, match=r"^reward: must be finite$"):
            attempt()


@given(horizon=st.integers(-5, 0))
def test_horizons_below_one_are_refused(horizon: int) -> None:
    mdp, reward, _ = case(11)
    with pytest.raises(ValueError, match=f"^horizon={horizon}: must be at least 1$"):
        repeated(reward[0], horizon)
    with pytest.raises(ValueError, match="the horizon H must be at least 1"):
        value_iteration(mdp, reward[:0])
    with pytest.raises(ValueError, match="must be between 1 and"):
        value_iteration(mdp, reward).shorter(horizon)


@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=4).filter(lambda s: tuple(s[:2]) != (S, A) or len(s) != 3)
)
@settings(max_examples=50)
def test_features_of_a_wrong_shape_are_refused(shape: list[int]) -> None:
    mdp, _, policy = case(12, count=7)
    with pytest.raises(ValueError, match=r"^features \([^\n]*must be \(S, A, K\)[^\n]*$"):
        moments(occupancies(mdp, policy), torch.zeros(shape, dtype=torch.float64))


def test_other_bad_input_is_refused() -> None:
    mdp, reward, policy = case(13)
    with pytest.raises(ValueError, match="temperature=-1"):
        value_iteration(mdp, reward, -1.0)
    with pytest.raises(ValueError, match="policy: probabilities must sum to 1"):
        occupancies(mdp, policy * 2)
    with pytest.raises(ValueError, match="the same horizon"):
        returns(mdp, reward[:2], policy)
    with pytest.raises(ValueError, match="axes do not fit"):
        value_iteration(mdp, reward[:, :1].expand(H, 5, S, A))
    with pytest.raises(ValueError, match=r"with S, A = \(4, 3\)"):
        occupancies(mdp, policy[..., :2] / policy[..., :2].sum(-1, keepdim=True))
    with pytest.raises(ValueError, match="features: must be finite"):
        moments(occupancies(mdp, policy), torch.full((S, A, 1), torch.nan, dtype=torch.float64))


@pytest.mark.parametrize("count", [2, H])
def test_one_policy_in_many_processes_has_each_ones_entropy(count: int) -> None:
    """With as many processes as steps the axes would also fit the wrong way round."""
    mdp, _, policy = case(14, count=count)
    together = causal_entropy(mdp, policy[:, 0])
    alone = torch.stack([causal_entropy(single(mdp, index), policy[:, 0]) for index in range(count)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_one_process_for_many_policies_gives_each_ones_entropy() -> None:
    mdp, _, policy = case(15)
    one = single(mdp, 0)
    alone = torch.stack([causal_entropy(one, policy[:, index]) for index in range(2)])
    torch.testing.assert_close(causal_entropy(one, policy), alone, rtol=0, atol=1e-12)


@given(axes=st.tuples(st.integers(2, 4), st.integers(2, 4)).filter(lambda axes: axes[0] != axes[1]))
@settings(max_examples=20)
def test_rewards_and_policies_whose_axes_do_not_broadcast_are_refused(axes: tuple[int, int]) -> None:
    mdp, reward, policy = case(16, count=1)
    one = single(mdp, 0)
    gain, law = (part.expand(H, axis, S, A) for part, axis in zip((reward, policy), axes, strict=True))
    for attempt in (returns, policy_value):
        with pytest.raises(ValueError, match=r"^reward \([^\n]*leading axes must broadcast$"):
            attempt(one, gain, law)


def test_another_dtype_is_refused() -> None:
    mdp, reward, _ = case(17)
    with pytest.raises(ValueError, match=r"^reward: must be torch.float64 as the process is, not torch.float32$"):
        value_iteration(mdp, reward.float())
