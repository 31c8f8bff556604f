"""Tabular inverse control: counts, limits in which learners coincide, gradients against autograd, fixed points."""

import numpy as np
import pytest
import torch

from imitation.mdp import discounted_occupancy, inverse
from imitation.mdp.grid import sparse_grid
from imitation.mdp.inverse.demonstrations import frequencies
from imitation.mdp.soft import coherent_reward, next_value, soft_value_iteration, uniform_log_prior

DISCOUNT = 0.9
WORLD = sparse_grid(6, DISCOUNT)
PRIOR = uniform_log_prior(WORLD.mdp)
EXPERT = soft_value_iteration(WORLD.mdp, WORLD.reward, PRIOR, 0.1, DISCOUNT)
COUNTS = inverse.demonstrate(WORLD, EXPERT.log_policy, 10, np.random.default_rng(0))[None]


def test_demonstrations_count_whole_greedy_episodes() -> None:
    assert float(COUNTS[0, 0].sum()) == 10  # all start in the corner
    assert float(COUNTS[0, WORLD.goals[0]].sum()) == 10
    assert float(COUNTS.sum()) == 10 * 8  # five steps up, two around the trap, one at the goal
    assert float(COUNTS[0, 18].sum()) == 0  # the trap
    taken = EXPERT.log_policy - EXPERT.log_policy.amax(-1, keepdim=True)
    assert float(taken[COUNTS[0] > 0].min()) > -1e-11
    assert float(frequencies(COUNTS).sum()) == pytest.approx(1)


def test_the_clone_maximises_its_objective() -> None:
    counts = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).double()
    prior = torch.tensor([[0.2, 0.5, 0.3]]).double().log().repeat(2, 1)
    log_policy = inverse.cloned(counts, prior)
    torch.testing.assert_close(log_policy[1].exp(), prior[0].exp(), rtol=0, atol=3e-6)

    def objective(one: torch.Tensor) -> torch.Tensor:
        return (one.exp() * (counts - one + prior)).sum(-1)

    rng = np.random.default_rng(0)
    for _ in range(50):
        rival = (log_policy + torch.from_numpy(rng.normal(size=(2, 3)))).log_softmax(-1)
        assert bool((objective(rival) <= objective(log_policy) + 1e-4).all())  # 1e-4: the floor


def test_at_one_temperature_coherent_imitation_returns_the_clone() -> None:
    clone = inverse.cloned(COUNTS, PRIOR)
    same = inverse.coherent_imitation(WORLD.mdp, COUNTS, PRIOR, DISCOUNT, 0.7, 0.7)
    torch.testing.assert_close(same.log_policy, clone, rtol=0, atol=1e-9)
    reward = coherent_reward(clone, PRIOR, 1.0)
    colder = inverse.coherent_imitation(WORLD.mdp, COUNTS, PRIOR, DISCOUNT)
    direct = soft_value_iteration(WORLD.mdp, reward, PRIOR, 1e-3, DISCOUNT, 1000)
    torch.testing.assert_close(colder.log_policy, direct.log_policy)


def test_a_constant_value_makes_inverse_q_learning_a_clone() -> None:
    solution = inverse.iq_learn(WORLD.mdp, COUNTS, PRIOR, DISCOUNT, through_value=False)
    assert float(solution.action_value[COUNTS == 0].abs().max()) == 0
    unseen = COUNTS[0].sum(-1) == 0
    torch.testing.assert_close(solution.log_policy[0, unseen], PRIOR[unseen])


def test_one_step_of_inverse_q_learning_is_the_gradient_of_its_objective() -> None:
    # The first step starts at Q = 0, the second at a Q with a gradient through V that differs by action.
    for steps in (1, 2):
        start = torch.zeros_like(COUNTS)
        if steps == 2:
            start = inverse.iq_learn(WORLD.mdp, COUNTS, PRIOR, DISCOUNT, temperature=0.5, iterations=1).action_value
        table = start.clone().requires_grad_()
        value = 0.5 * (table / 0.5 + PRIOR).logsumexp(-1)
        reward = table - DISCOUNT * next_value(WORLD.mdp, value)
        expert = frequencies(COUNTS)
        objective = (expert * (reward - reward.square() / 4)).sum() - (1 - DISCOUNT) * (WORLD.mdp.initial * value).sum()
        (gradient,) = torch.autograd.grad(objective, table)
        solved = inverse.iq_learn(WORLD.mdp, COUNTS, PRIOR, DISCOUNT, temperature=0.5, iterations=steps)
        torch.testing.assert_close(solved.action_value, start + 0.01 * gradient, rtol=0, atol=1e-14)


def test_one_step_of_the_proximal_point_is_the_gradient_of_its_objective() -> None:
    expert = frequencies(COUNTS)
    table, reward = (torch.zeros_like(COUNTS).requires_grad_() for _ in range(2))
    policy = PRIOR.exp()[None]
    visits = discounted_occupancy(WORLD.mdp, policy, DISCOUNT)[..., None] * policy
    value = -0.5 * (-table / 0.5 + (PRIOR.exp() + 1e-6).log()).logsumexp(-1)
    bellman = reward + DISCOUNT * next_value(WORLD.mdp, value) - table
    weight = (bellman / 100).softmax(-1).detach()
    objective = (expert * reward).sum() - (visits * weight * bellman).sum()
    objective = objective - (1 - DISCOUNT) * (WORLD.mdp.initial * value).sum()
    gradient, _ = torch.autograd.grad(objective, [table, reward])
    solved = inverse.proximal_point(WORLD.mdp, COUNTS, PRIOR, DISCOUNT, temperature=0.5, rounds=1, steps=1)
    torch.testing.assert_close(solved.action_value, 0.01 * gradient, rtol=0, atol=1e-14)


def test_maximum_entropy_matches_frequencies_that_can_be_matched() -> None:
    target = soft_value_iteration(WORLD.mdp, WORLD.reward / 10, PRIOR, 1.0, DISCOUNT).log_policy.exp()
    wanted = (discounted_occupancy(WORLD.mdp, target, DISCOUNT)[:, None] * target)[None]
    solution = inverse.maximum_entropy(WORLD.mdp, wanted, PRIOR, DISCOUNT, rate=2.0, steps=1000, tolerance=0.0)
    policy = solution.log_policy.exp()
    matched = discounted_occupancy(WORLD.mdp, policy, DISCOUNT)[..., None] * policy
    before = discounted_occupancy(WORLD.mdp, PRIOR.exp(), DISCOUNT)[:, None] * PRIOR.exp()
    assert float((matched - wanted).abs().max()) < 0.05 * float((before - wanted).abs().max())


def test_members_that_stop_leave_the_others_running() -> None:
    other = COUNTS + COUNTS.roll(1, -2)
    both = torch.cat([COUNTS, other])
    together = inverse.maximum_entropy(WORLD.mdp, both, PRIOR, DISCOUNT, steps=30, tolerance=1e-2)
    for member, counts in enumerate((COUNTS, other)):
        alone = inverse.maximum_entropy(WORLD.mdp, counts, PRIOR, DISCOUNT, steps=30, tolerance=1e-2)
        torch.testing.assert_close(together.log_policy[member], alone.log_policy[0], rtol=0, atol=1e-10)


def test_the_discriminators_losses_have_the_gradients_they_name() -> None:
    expert = frequencies(COUNTS)
    start = torch.from_numpy(np.random.default_rng(1).normal(size=COUNTS.shape))
    first = soft_value_iteration(WORLD.mdp, (1e-6 + start.sigmoid()).log(), PRIOR, 1.0, DISCOUNT, 100)
    policy = first.log_policy.exp()
    visits = discounted_occupancy(WORLD.mdp, policy, DISCOUNT)[..., None] * policy
    for loss in ("logistic", "reversed"):
        weights = start.clone().requires_grad_()
        share = weights.sigmoid()
        if loss == "logistic":
            value = -(expert * (1e-6 + share).log() + visits * (1e-6 + 1 - share).log()).sum()
        else:
            value = (expert * (1e-6 + 1 - share).log() + visits * (1e-6 + share).log()).sum()
        (gradient,) = torch.autograd.grad(value, weights)
        settings = {"temperature": 1.0, "rounds": 2, "discriminator_steps": 1, "start": start}
        solved = inverse.gail(WORLD.mdp, COUNTS, PRIOR, DISCOUNT, loss=loss, **settings)
        after = (1e-6 + (start - gradient).sigmoid()).log()
        direct = soft_value_iteration(WORLD.mdp, after, PRIOR, 1.0, DISCOUNT, 100)
        torch.testing.assert_close(solved.log_policy, direct.log_policy, rtol=0, atol=1e-10)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="episodes=0"):
        inverse.demonstrate(WORLD, EXPERT.log_policy, 0, np.random.default_rng(0))
    for counts in (torch.zeros_like(PRIOR), -torch.ones_like(PRIOR), PRIOR * torch.nan):
        with pytest.raises(ValueError, match="counts of demonstrated steps"):
            inverse.iq_learn(WORLD.mdp, counts, PRIOR, DISCOUNT)
    still = torch.zeros_like(PRIOR)
    still[:, 1] = 1.0  # always left: never at the goal
    with pytest.raises(ValueError, match="no goal"):
        inverse.demonstrate(WORLD, still, 1, np.random.default_rng(0))
