"""The coherent reward's exact claims: verdicts of the real run, limits of the bound, and broken variants."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from experiments.csil import _linear_gaussian as gaussian
from experiments.csil import coherence as experiment
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context

SMOKE = catalogue.canonical("csil/coherence", "smoke")
SMALL = dataclasses.replace(SMOKE, states=[4], alphas=[1.0])


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_verdicts_of_the_real_run(frame):
    verdicts = {claim.id: claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS}
    conditions = verdicts.pop("csil.bound.conditions")
    assert set(verdicts.values()) == {REPRODUCED}
    assert conditions == CORRECTED


def test_at_least_200_processes_are_measured_at_full_size():
    full = catalogue.canonical("csil/coherence", "paper")
    assert len(full.seeds) * full.processes * len(full.states) * len(full.alphas) >= 200


def test_the_bound_is_tight_where_the_action_tells_the_weight():
    # One weight, a feature that never vanishes and no noise: the action is a one-to-one map of the weight.
    rng = np.random.default_rng(0)
    weights = gaussian.arbitrary(50, 1, rng)
    features = torch.from_numpy(0.5 + rng.random((50, 3, 1)))
    shared = gaussian.predictive(gaussian.standard(50, 1), features, 1e-9)
    actions = kl_divergence(gaussian.predictive(weights, features, 1e-9), shared)
    expected = gaussian.weight_divergence(weights)[:, None].expand(-1, 3)
    torch.testing.assert_close(actions, expected, rtol=1e-9, atol=1e-9)
    noisy = kl_divergence(
        gaussian.predictive(weights, features, 0.3), gaussian.predictive(gaussian.standard(50, 1), features, 0.3)
    )
    assert bool((noisy < actions).all())


def test_closed_forms_against_sampling():
    rng = np.random.default_rng(1)
    weights = gaussian.arbitrary(1, 3, rng)
    features = torch.from_numpy(rng.normal(size=(1, 2, 3)))
    law = gaussian.predictive(weights, features, 0.5)
    draws = torch.from_numpy(rng.multivariate_normal(weights.mean[0].numpy(), weights.covariance[0].numpy(), 200_000))
    actions = draws @ features[0].mT + 0.5 * torch.from_numpy(rng.normal(size=(200_000, 2)))
    # 200 000 draws: standard errors of .22 % of the deviation, and of .16 % for the deviation itself; five of them.
    assert bool(((actions.mean(0) - law.mean[0]).abs() < 0.012 * law.stddev[0]).all())
    torch.testing.assert_close(actions.std(0), law.stddev[0], rtol=0.01, atol=0)
    one = torch.special.ndtr(actions).mean(0)
    torch.testing.assert_close(one, torch.special.ndtr(law.mean / (1 + law.variance).sqrt())[0], rtol=0, atol=5e-3)


def test_quadrature_equals_the_closed_form():
    rng = np.random.default_rng(2)
    one, other = (Normal(*torch.from_numpy(rng.random((2, 4, 5)) + 0.1)) for _ in range(2))
    torch.testing.assert_close(gaussian.mean_log_ratio(one, other), kl_divergence(one, other), rtol=0, atol=1e-11)


def test_the_posterior_of_no_data_is_the_prior_and_of_much_data_the_expert():
    features = torch.ones(1, 1, 1).double()
    for count, mean, variance in ((1, 0.5, 0.5), (10_000, 1.0, 1e-4)):
        data = gaussian.Data(torch.zeros(1, count, dtype=torch.long), torch.ones(1, count).double())
        weights = gaussian.posterior(features, data, 1.0)
        assert float(weights.mean) == pytest.approx(mean, rel=2e-4)
        assert float(weights.covariance) == pytest.approx(variance, rel=2e-4)


def test_a_reward_without_the_prior_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "coherent_reward", lambda q, p, alpha: alpha * q)
    frame = experiment.run(SMALL, Context())
    assert experiment.decide_inversion(frame).verdict == REFUTED
    assert experiment.decide_shaping(frame).verdict == REFUTED


def test_another_temperature_is_refuted(monkeypatch):
    right = experiment.soft_value_iteration
    monkeypatch.setattr(
        experiment,
        "soft_value_iteration",
        lambda mdp, reward, prior, alpha, *rest: right(mdp, reward, prior, 0.5 * alpha, *rest),
    )
    frame = experiment.run(SMALL, Context())
    assert experiment.decide_inversion(frame).verdict == REFUTED
    assert experiment.decide_shaping(frame).verdict == REFUTED


def test_a_potential_of_the_wrong_sign_is_refuted(monkeypatch):
    right = experiment.shaped_reward
    monkeypatch.setattr(
        experiment, "shaped_reward", lambda mdp, reward, value, discount: right(mdp, reward, -value, discount)
    )
    assert experiment.decide_shaping(experiment.run(SMALL, Context())).verdict == REFUTED


def test_a_bound_without_data_processing_is_refuted(monkeypatch):
    # The weights' divergence counted once per pair, as KL / 16, is below the actions'.
    right = gaussian.weight_divergence
    monkeypatch.setattr(gaussian, "weight_divergence", lambda weights: right(weights) / 16)
    frame = experiment.run(SMALL, Context())
    assert experiment.decide_bound(frame).verdict == REFUTED
    assert experiment.decide_conditions(frame).verdict == REFUTED


def test_a_prior_outside_the_space_is_refuted_as_the_bound(frame):
    outside = frame.assign(objective=frame.objective_outside, bound=frame.bound_outside)
    assert experiment.decide_bound(outside).verdict == REFUTED
    summed = frame.assign(objective=frame.objective_summed, bound=frame.bound_summed)
    assert experiment.decide_bound(summed).verdict == REFUTED


def test_conditions_that_change_nothing_correct_nothing(frame):
    idle = frame.assign(objective_outside=frame.objective, bound_outside=frame.bound)
    assert experiment.decide_conditions(idle).verdict == REFUTED


@pytest.mark.parametrize("column", ["policy_error", "coherent_error", "objective", "largest_action_kl"])
def test_a_nan_is_never_dropped(frame, column):
    broken = frame.copy()
    broken.loc[broken[column].first_valid_index(), column] = np.nan
    assert REFUTED in [claim.decide(broken).verdict for claim in experiment.CLAIMS]


def test_an_outside_prior_breaks_the_bound_at_no_cost_in_weights():
    # With q(w) = p(w) the weights' divergence is zero, and the policy still differs from N(0, 1) at every state.
    weights = gaussian.standard(20, 2)
    features = torch.from_numpy(np.random.default_rng(3).normal(size=(20, 4, 2)))
    policy = gaussian.predictive(weights, features, 0.3)
    outside = Normal(torch.zeros_like(policy.mean), torch.ones_like(policy.mean))
    assert float(gaussian.weight_divergence(weights).abs().max()) < 1e-12
    assert float(kl_divergence(policy, outside).min()) > 0
