"""Chain diagnostics: against ArviZ, against known processes, and whether the z score finds a wrong sampler."""

import warnings

import numpy as np
import pytest
import torch

from imitation.ebm.diagnostics import effective_sample_size, split_r_hat, standard_error_z
from imitation.ebm.langevin import Langevin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what other packages warn of when they are imported is not ours
    import arviz


def autoregression(correlation, chains, draws, seed=0):
    """Stationary AR(1) with unit variance: (chains, draws)."""
    rng = np.random.default_rng(seed)
    values = np.empty((chains, draws))
    values[:, 0] = rng.standard_normal(chains)
    for step in range(1, draws):
        noise = rng.standard_normal(chains)
        values[:, step] = correlation * values[:, step - 1] + np.sqrt(1 - correlation**2) * noise
    return values


SAMPLES = {
    "independent": autoregression(0.0, 4, 500),
    "slow": autoregression(0.9, 4, 500),
    "very slow": autoregression(0.99, 4, 200),
    "alternating": autoregression(-0.6, 4, 500),
    "odd length": autoregression(0.5, 3, 301),
    "two chains": autoregression(0.7, 2, 100),
    "short": autoregression(0.3, 4, 10),
    "apart": autoregression(0.5, 4, 300) + np.arange(4)[:, None],
    "drifting": autoregression(0.5, 4, 300) + np.linspace(0, 3, 300),
    "far from zero": autoregression(0.5, 4, 300) + 1e6,
}


@pytest.mark.parametrize("draws", SAMPLES.values(), ids=SAMPLES)
def test_the_numbers_are_arviz_numbers(draws):
    assert effective_sample_size(draws) == pytest.approx(float(arviz.ess(draws, method="mean")), rel=1e-6)
    assert split_r_hat(draws) == pytest.approx(float(arviz.rhat(draws, method="split")), rel=1e-9)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_effective_sample_size_of_a_known_process(correlation):
    # AR(1): N (1 - r) / (1 + r); over 200 000 draws the estimate is good to a few percent.
    draws = autoregression(correlation, 10, 20_000)
    expected = draws.size * (1 - correlation) / (1 + correlation)
    assert effective_sample_size(draws) == pytest.approx(expected, rel=0.1)


def test_r_hat_is_one_when_chains_agree_and_large_when_they_do_not():
    agree = autoregression(0.3, 4, 5000)
    assert split_r_hat(agree) == pytest.approx(1, abs=0.01)
    assert split_r_hat(agree + 3 * np.arange(4)[:, None]) > 2
    assert split_r_hat(np.sort(agree, axis=1)) > 1.5  # halves of one chain that disagree


def test_a_constant_says_nothing_about_its_spread():
    assert np.isnan(split_r_hat(np.ones((2, 20))))
    assert effective_sample_size(np.ones((2, 20))) == 40


def rejections(scores, level=1.96):
    return float(np.mean(np.abs(scores) > level))


@pytest.mark.parametrize(("correlation", "draws"), [(0.0, 400), (0.8, 2000)])
def test_the_z_score_is_standard_normal_when_the_sampler_is_right(correlation, draws):
    # 400 repetitions of a 5 % test: 5 +- 1.1 %. The estimated sample size adds a little, so at most 9 %.
    values = autoregression(correlation, 400 * 4, draws).reshape(400, 4, draws)
    scores = np.array([standard_error_z(sample, 0.0) for sample in values])
    assert 0.02 < rejections(scores) < 0.09
    assert scores.mean() == pytest.approx(0, abs=0.2)
    assert scores.std() == pytest.approx(1, abs=0.12)


def test_a_naive_error_would_reject_a_correct_slow_chain():
    values = autoregression(0.8, 400 * 4, 500).reshape(400, 4, 500)
    naive = [sample.mean() / (sample.std() / np.sqrt(sample.size)) for sample in values]
    assert rejections(naive) > 0.3
    assert rejections([standard_error_z(sample, 0.0) for sample in values]) < 0.12


def test_the_z_score_has_the_sign_and_size_of_the_bias():
    draws = autoregression(0.0, 4, 2500)
    expected = 0.1 * np.sqrt(10_000)
    assert standard_error_z(draws + 0.1, 0.0) == pytest.approx(expected, rel=0.35)
    assert standard_error_z(draws, 0.1) < -5


def gaussian_chains(form, step_size=0.2, chains=8, draws=2000):
    """Draws of a Langevin kernel on the unit Gaussian: (chains, draws)."""
    random = torch.Generator().manual_seed(1)
    start = torch.zeros(chains, 1, dtype=torch.float64)
    steps = [step_size] * (draws + 200)
    return Langevin(form).sample(lambda y: y, start, steps, random, keep=draws)[..., 0].T.numpy()


def test_it_catches_ibcs_form_in_the_variance_and_passes_the_true_form():
    step_size = 0.2
    true, ibc = gaussian_chains("true", step_size), gaussian_chains("ibc", step_size)
    # The true form's own stationary variance; its bias is known, so that only a wrong sampler is caught.
    variance = 1 / (1 - step_size / 4)
    assert abs(standard_error_z(true**2, variance)) < 3
    assert abs(standard_error_z(ibc**2, variance)) > 20
    # A test of the mean alone, as in IBC's own code, cannot see the difference.
    assert abs(standard_error_z(true, 0.0)) < 3
    assert abs(standard_error_z(ibc, 0.0)) < 3


@pytest.mark.parametrize("function", [effective_sample_size, split_r_hat])
@pytest.mark.parametrize("shape", [(10,), (2, 7), (2, 10, 1)])
def test_bad_shapes_are_refused_in_one_line(function, shape):
    with pytest.raises(ValueError, match="must be \\(chains, draws\\) with at least 8 draws") as caught:
        function(np.zeros(shape))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", [effective_sample_size, split_r_hat, lambda draws: standard_error_z(draws, 0.0)])
def test_a_chain_that_diverged_has_no_numbers(function):
    draws = autoregression(0.3, 2, 50)
    draws[0, 30:] = np.nan
    assert np.isnan(function(draws))


@pytest.mark.parametrize("value", [1.0, 0.1, 1 / 3])
def test_a_constant_is_seen_whatever_its_rounding(value):
    draws = np.full((2, 1000), value)
    assert effective_sample_size(draws) == draws.size
    assert np.isnan(split_r_hat(draws))
    assert np.isnan(standard_error_z(draws, value))
    assert standard_error_z(draws, value - 1) == np.inf
