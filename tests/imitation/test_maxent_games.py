"""Maximum causal entropy and its games: gradients, curvature, both signs, solvers against one another, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imitation.mdp import TabularMDP, random_processes, self_loops
from imitation.mdp.games import convex_maxent, dual_maxent, newton_maxent, primal_game, smoothness_step
from imitation.mdp.horizon import causal_entropy
from imitation.mdp.maxent import (
    COST,
    REWARD,
    MomentGame,
    curvature,
    soft_best_response,
    soft_best_response_to_cost,
)


def random_game(seed: int, horizon: int = 5, features: int = 3) -> tuple[MomentGame, Tensor]:
    """A process, and the moments of the best response to known multipliers."""
    rng = np.random.default_rng(seed)
    mdp = random_processes(1, 5, 3, rng)
    mdp = TabularMDP(mdp.transition[0], mdp.initial[0])
    table, multipliers = (
        torch.from_numpy(rng.uniform(size=(5, 3, features))),
        torch.from_numpy(rng.normal(size=features)),
    )
    blank = MomentGame(mdp, table, torch.zeros_like(multipliers), horizon)
    expert = blank.moments(soft_best_response(mdp, blank.reward(multipliers), horizon).log_policy)
    return MomentGame(mdp, table, expert, horizon), multipliers


def dual_value(game: MomentGame, multipliers: Tensor) -> Tensor:
    return soft_best_response(game.mdp, game.reward(multipliers), game.horizon).value - multipliers @ game.expert


@pytest.mark.parametrize("seed", range(5))
def test_the_duals_slope_is_the_moment_gap_and_its_hessian_the_curvature(seed: int) -> None:
    game, _ = random_game(seed)
    point = torch.from_numpy(np.random.default_rng(seed + 9).normal(size=3)).requires_grad_()
    slope = torch.autograd.functional.jacobian(lambda lam: dual_value(game, lam), point)
    log_policy = soft_best_response(game.mdp, game.reward(point.detach()), game.horizon).log_policy
    torch.testing.assert_close(slope, game.moments(log_policy) - game.expert, rtol=0, atol=1e-12)
    hessian = torch.autograd.functional.hessian(lambda lam: dual_value(game, lam), point)
    torch.testing.assert_close(curvature(game, log_policy), hessian, rtol=0, atol=1e-12)


def test_no_reward_gives_the_uniform_policy_and_its_entropy() -> None:
    game, _ = random_game(0)
    plan = soft_best_response(game.mdp, torch.zeros(5, 3, dtype=torch.float64), 7)
    assert float(plan.value) == pytest.approx(7 * math.log(3), abs=1e-12)
    torch.testing.assert_close(plan.log_policy.exp(), torch.full((7, 5, 3), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
def test_the_value_is_the_reward_and_the_entropy_of_the_response(seed: int) -> None:
    game, multipliers = random_game(seed)
    plan = soft_best_response(game.mdp, game.reward(multipliers), game.horizon)
    total = game.moments(plan.log_policy) @ multipliers + causal_entropy(game.mdp, plan.log_policy.exp())
    assert float(plan.value - total) == pytest.approx(0, abs=1e-12)


def test_a_cost_is_a_reward_with_the_other_sign() -> None:
    game, multipliers = random_game(1)
    reward = soft_best_response(game.mdp, game.reward(multipliers), 5)
    cost = soft_best_response_to_cost(game.mdp, game.reward(-multipliers), 5)
    torch.testing.assert_close(reward.log_policy, cost.log_policy, rtol=0, atol=1e-12)
    assert float(reward.value + cost.value) == pytest.approx(0, abs=1e-12)
    step = smoothness_step(game)
    one, other = (dual_maxent(game, step, 50, 0.1, convention) for convention in (REWARD, COST))
    torch.testing.assert_close(one.multipliers, -other.multipliers, rtol=0, atol=1e-12)


def test_long_horizons_and_large_rewards_stay_finite() -> None:
    game, multipliers = random_game(2)
    for scale in (1.0, 1e4):
        plan = soft_best_response(game.mdp, game.reward(scale * multipliers), 1000)
        assert bool(plan.log_policy.isfinite().all() and plan.value.isfinite())
        assert float(plan.log_policy.logsumexp(-1).abs().max()) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_online_gradient_lbfgs_and_newton_find_the_experts_multipliers(seed: int) -> None:
    game, multipliers = random_game(seed)
    path = dual_maxent(game, smoothness_step(game), 800)
    torch.testing.assert_close(path.multipliers[-1], multipliers, rtol=0, atol=1e-6)
    torch.testing.assert_close(convex_maxent(game), multipliers, rtol=0, atol=1e-6)
    tiny = torch.tensor([1e-10], dtype=torch.float64)
    torch.testing.assert_close(newton_maxent(game, tiny, tolerance=1e-12), multipliers, rtol=0, atol=1e-6)


def test_the_penalty_leaves_its_gap_and_all_solvers_agree_on_infeasible_moments() -> None:
    game, _ = random_game(3)
    game = MomentGame(game.mdp, game.features, game.expert + 10, game.horizon)
    penalty = torch.tensor([0.5], dtype=torch.float64)
    path = dual_maxent(game, smoothness_step(game, penalty), 400, penalty)
    last = path.multipliers[-1]
    torch.testing.assert_close(game.expert - path.moments[-1], 0.5 * last, rtol=0, atol=1e-9)
    torch.testing.assert_close(newton_maxent(game, penalty), last, rtol=0, atol=1e-7)
    torch.testing.assert_close(convex_maxent(game, 0.5), last, rtol=0, atol=1e-5)


def test_instances_that_share_a_process_equal_each_alone() -> None:
    game, _ = random_game(4)
    expert = torch.stack([game.expert, game.expert * 0.9])
    shared = MomentGame(
        TabularMDP(game.mdp.transition[None], game.mdp.initial[None]), game.features[None], expert, game.horizon
    )
    penalty = torch.tensor([[0.1], [0.3]], dtype=torch.float64)
    both = dual_maxent(shared, smoothness_step(shared, penalty), 60, penalty).multipliers[-1]
    for index in range(2):
        alone = MomentGame(game.mdp, game.features, expert[index], game.horizon)
        path = dual_maxent(alone, smoothness_step(alone, penalty[index]), 60, penalty[index])
        torch.testing.assert_close(both[index], path.multipliers[-1], rtol=0, atol=1e-11)
    torch.testing.assert_close(newton_maxent(shared, penalty), both, rtol=0, atol=1e-2)


def test_the_average_iterate_of_the_primal_has_the_mean_moments() -> None:
    game, _ = random_game(5)
    path = primal_game(game, 0.1, torch.tensor([0.2], dtype=torch.float64), 1.0, 40)
    torch.testing.assert_close(game.moments_of(path.mean_visits), path.moments.mean(0), rtol=0, atol=1e-12)
    assert float(path.multipliers.norm(dim=-1).max()) <= 1 + 1e-12
    torch.testing.assert_close(path.mean_visits.sum((-2, -1)), torch.ones(5, dtype=torch.float64))


def test_one_state_and_one_step_is_hedge_against_online_gradient() -> None:
    features = torch.tensor([[[1.0], [0.0]]], dtype=torch.float64)
    game = MomentGame(self_loops(1, 2), features, torch.tensor([0.3], dtype=torch.float64), 1)
    path = primal_game(game, 0.5, torch.tensor([0.4], dtype=torch.float64), 1.0, 6)
    weights, lam = np.ones(2), 0.0
    for _ in range(6):
        law = weights / weights.sum()
        weights = law * np.exp(0.5 * lam * np.array([1.0, 0.0]))
        lam = float(np.clip(lam - 0.4 * (law[0] - 0.3), -1, 1))
    np.testing.assert_allclose(path.log_policy.exp()[0, 0], weights / weights.sum(), atol=1e-14)


def test_with_entropy_the_primal_ends_at_the_soft_best_response() -> None:
    game, multipliers = random_game(6)
    path = primal_game(game, 0.5, smoothness_step(game) / 2, math.inf, 1000, temperature=1.0)
    expert = soft_best_response(game.mdp, game.reward(multipliers), game.horizon).log_policy
    torch.testing.assert_close(path.log_policy.exp(), expert.exp(), rtol=0, atol=1e-8)


@given(horizon=st.integers(-5, 0))
def test_a_horizon_below_one_is_refused(horizon: int) -> None:
    game, _ = random_game(0)
    with pytest.raises(ValueError, match=r"horizon=.*at least 1"):
        MomentGame(game.mdp, game.features, game.expert, horizon)
    with pytest.raises(ValueError, match="at least 1"):
        soft_best_response(game.mdp, game.reward(game.expert), horizon)


@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4))
@settings(max_examples=40)
def test_features_of_a_wrong_shape_are_refused(shape: list[int]) -> None:
    game, _ = random_game(0)
    if len(shape) >= 3 and shape[-3:-1] == [5, 3] and shape[-1] == 3:
        return
    with pytest.raises(ValueError, match="must be"):
        MomentGame(game.mdp, torch.zeros(shape, dtype=torch.float64), game.expert, 5)


@given(bad=st.sampled_from([math.nan, math.inf, -math.inf]), place=st.integers(0, 14))
def test_numbers_that_are_not_finite_are_refused(bad: float, place: int) -> None:
    game, _ = random_game(0)
    reward = torch.zeros(15, dtype=torch.float64)
    reward[place] = bad
    with pytest.raises(ValueError, match="finite"):
        soft_best_response(game.mdp, reward.reshape(5, 3), 4)
    with pytest.raises(ValueError, match=r"^cost: must be finite$"):
        soft_best_response_to_cost(game.mdp, reward.reshape(5, 3), 4)
    features = game.features.clone()
    features.view(-1)[place] = bad
    with pytest.raises(ValueError, match="finite"):
        MomentGame(game.mdp, features, game.expert, 5)


@given(shape=st.lists(st.integers(1, 6), min_size=2, max_size=4).filter(lambda shape: shape[-2:] != [5, 3]))
@settings(max_examples=30)
def test_rewards_and_costs_of_a_wrong_shape_are_refused(shape: list[int]) -> None:
    game, _ = random_game(0)
    for name, respond in (("reward", soft_best_response), ("cost", soft_best_response_to_cost)):
        with pytest.raises(ValueError, match=rf"^{name} \([^\n]*must be \(H, \.\.\., S, A\)[^\n]*$"):
            respond(game.mdp, torch.zeros(shape, dtype=torch.float64), 4)


@given(axes=st.permutations([2, 3, 4]), which=st.integers(0, 2))
@settings(max_examples=20)
def test_leading_axes_that_do_not_broadcast_are_refused(axes: list[int], which: int) -> None:
    game, _ = random_game(0)
    axes[which] = 1  # the other two are at odds
    mdp = TabularMDP(game.mdp.transition.expand(axes[0], -1, -1, -1), game.mdp.initial.expand(axes[0], -1))
    with pytest.raises(ValueError, match=r"^leading axes of process, features and expert, [^\n]*must broadcast$"):
        MomentGame(mdp, game.features.expand(axes[1], -1, -1, -1), game.expert.expand(axes[2], -1), 5)


def test_games_without_features_or_of_two_dtypes_are_refused() -> None:
    game, _ = random_game(0)
    with pytest.raises(ValueError, match=r"^features \(5, 3, 0\): [^\n]*K at least 1$"):
        MomentGame(game.mdp, game.features[..., :0], game.expert[:0], 5)
    with pytest.raises(ValueError, match=r"^features and expert moments must be torch.float64[^\n]*$"):
        MomentGame(game.mdp, game.features.float(), game.expert, 5)


def test_steps_and_penalties_may_be_numbers() -> None:
    game, _ = random_game(7)
    number, tensor = 0.1, torch.tensor([0.1], dtype=torch.float64)
    assert torch.equal(dual_maxent(game, number, 5).moments, dual_maxent(game, tensor, 5).moments)
    assert torch.equal(newton_maxent(game, number), newton_maxent(game, tensor))
    one, other = (primal_game(game, 0.1, step, 1.0, 5).moments for step in (number, tensor))
    assert torch.equal(one, other)


@given(excess=st.floats(0.1, 100), feature=st.integers(0, 2), sign=st.sampled_from([-1, 1]))
@settings(max_examples=4)
def test_moments_that_no_policy_has_are_no_solution_of_the_convex_programme(excess, feature, sign) -> None:
    game, _ = random_game(0)
    beyond = game.expert.clone()
    beyond[feature] = (game.horizon if sign > 0 else 0) + sign * excess  # features lie in [0, 1]
    with pytest.raises(ValueError, match=r"^the dual's gradient ends at [^\n]*are the moments any policy's\?$"):
        convex_maxent(MomentGame(game.mdp, game.features, beyond, game.horizon))


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_a_search_that_may_end_early_ends_within_its_tolerance(tolerance: float) -> None:
    game, _ = random_game(1)
    log_policy = soft_best_response(game.mdp, game.reward(convex_maxent(game, tolerance=tolerance)), 5).log_policy
    left = float((game.moments(log_policy) - game.expert).abs().max())
    assert 1e-6 < left <= tolerance


def test_steps_penalties_and_counts_out_of_range_are_refused() -> None:
    game, _ = random_game(0)
    one, zero = (torch.tensor([value], dtype=torch.float64) for value in (1.0, 0.0))
    for call in (
        lambda: dual_maxent(game, zero, 5),
        lambda: dual_maxent(game, one, 0),
        lambda: dual_maxent(game, one, 5, -1.0),
        lambda: convex_maxent(game, penalty=-1.0),
        lambda: newton_maxent(game, zero),
        lambda: primal_game(game, 0.0, one, 1.0, 5),
        lambda: primal_game(game, 1.0, one, 0.0, 5),
        lambda: primal_game(game, 1.0, one, 1.0, 5, temperature=2.0),
    ):
        with pytest.raises(ValueError, match=r"must|at most"):
            call()
    batch = MomentGame(game.mdp, game.features, game.expert[None], 5)
    with pytest.raises(ValueError, match="one process at a time"):
        convex_maxent(batch)
