"""The chain from small noise to mutual information: exact values of the data, paired members, rules that can fail."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from experiments.gap import deep_valley as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context

SMOKE = catalogue.canonical("gap/deep_valley", "smoke")
CONFIG = catalogue.canonical("gap/deep_valley", "laptop")
SHORT = dataclasses.replace(CONFIG, seeds=[0, 1, 2], sigmas=[0.01, 0.3, 1.0], steps=120)
GAUSSIAN_ENTROPY = math.log(experiment.NOISE * math.sqrt(2 * math.pi * math.e))


@pytest.fixture(scope="module")
def short():
    return experiment.run(SHORT, Context())


def test_the_datas_entropy_is_that_of_its_noise():
    assert experiment._truth("one mode")["true_entropy"] == pytest.approx(GAUSSIAN_ENTROPY, abs=1e-6)
    # Modes .4 to 1.2 apart, four standard deviations at least: log 2 less what their overlap takes.
    two = experiment._truth("two modes")["true_entropy"]
    assert GAUSSIAN_ENTROPY + math.log(2) - 0.03 < two < GAUSSIAN_ENTROPY + math.log(2)


@pytest.mark.parametrize("density", experiment.DENSITIES)
def test_the_datas_information_agrees_with_a_sample(density):
    # I = E log p(y|x) / p(y), the marginal by averaging over other observations.
    generator = torch.Generator().manual_seed(0)
    random = experiment.Generators([0])
    x, y = (one[0] for one in experiment._data(density, torch.empty(1, 4000, 1, dtype=torch.float64), random))
    others = 2 * torch.rand(1, 4000, dtype=torch.float64, generator=generator) - 1
    marginal = experiment.log_density(others, y, density).logsumexp(-1) - math.log(others.numel())
    ratio = experiment.log_density(x, y, density)[:, 0] - marginal
    assert float(ratio.mean()) == pytest.approx(experiment._truth(density)["true_information"], abs=0.05)


def test_own_distance_is_that_of_two_gaussian_draws():
    expected = 2 * experiment.NOISE / math.sqrt(math.pi)
    assert experiment._truth("one mode")["own_distance"] == pytest.approx(expected, rel=1e-3)


def test_a_flat_energy_has_the_entropy_of_the_range_and_no_information():
    x, y = experiment._grid()
    flat = torch.full((len(x), len(y)), -math.log(2 * experiment.RANGE), dtype=torch.float64)
    truth = experiment.log_density(x[:, None], y, "one mode")
    measured = experiment.summaries(flat, truth)
    assert float(measured["entropy"]) == pytest.approx(math.log(2 * experiment.RANGE))
    assert float(measured["information"]) == pytest.approx(0, abs=1e-12)
    assert float(measured["divergence"]) == pytest.approx(math.log(2 * experiment.RANGE) - GAUSSIAN_ENTROPY, abs=1e-6)


def test_a_density_twice_as_sharp_claims_information_that_is_not_there():
    # With half the noise H(y|x) falls by log 2, and the divergence from the data is what it is for Gaussians.
    x, y = experiment._grid()
    truth = experiment.log_density(x[:, None], y, "one mode")
    sharp = torch.log_softmax(4 * truth, -1) - math.log(experiment._spacing(y))
    exact, measured = experiment.summaries(truth, truth), experiment.summaries(sharp, truth)
    assert float(measured["entropy"] - exact["entropy"]) == pytest.approx(-math.log(2), abs=1e-4)
    assert float(measured["information"]) > float(exact["information"]) + 0.5
    assert float(measured["divergence"]) == pytest.approx(-math.log(2) + (4 - 1) / 2, abs=1e-3)


def test_members_of_one_seed_differ_in_sigma_alone():
    frame = experiment.run(dataclasses.replace(SMOKE, sigmas=[0.1, 0.1]), Context())
    rows = frame[frame.sampler == "langevin"].drop(columns="sigma")
    for _, cell in rows.groupby(["density", "seed"]):
        first, second = cell.drop(columns=["density", "sampler"]).to_numpy(float)
        np.testing.assert_array_equal(first, second)


def test_uniform_negatives_lead_towards_the_data(short):
    # The optimum of InfoNCE is exp(-E) ~ p / q: the data for uniform q, whatever the noise scale of another sampler.
    for _, cell in short.groupby("density"):
        uniform = cell[cell.sampler == "uniform"].divergence.max()
        assert uniform < 0.8 * cell[cell.sampler == "langevin"].divergence.min()


def test_a_short_training_goes_against_the_links(short):
    decided = [experiment.decide_entropy, experiment.decide_information, experiment.decide_divergence]
    assert [decide(short).verdict for decide in decided] == [REFUTED] * 3


def test_a_sampler_that_ignores_sigma_decides_nothing(monkeypatch):
    right = experiment._langevin
    monkeypatch.setattr(experiment, "_langevin", lambda scales: right(torch.full_like(scales, 0.1)))
    frame = experiment.run(SMOKE, Context())
    assert [claim.decide(frame).verdict for claim in experiment.CLAIMS] == [INCONCLUSIVE] * 4


def as_the_paper_says(frame):
    """The frame with every link as claimed: all rise with sigma but the information."""
    rows, noise = frame.copy(), 1e-3 * frame.seed
    for value, sign in (("distance", 1), ("entropy", 1), ("information", -1), ("divergence", 1)):
        rows[value] = sign * rows.sigma.fillna(2.0) + noise
    return rows


def test_links_as_the_paper_claims_them_would_be_reproduced(short):
    frame = as_the_paper_says(short)
    assert [claim.decide(frame).verdict for claim in experiment.CLAIMS] == [REPRODUCED] * 4


@pytest.mark.parametrize("claim", experiment.CLAIMS, ids=lambda claim: claim.id)
def test_one_density_against_a_link_is_enough(short, claim):
    frame = as_the_paper_says(short)
    against = frame.density == "two modes"
    frame.loc[against, "sigma"] = 1 / frame.sigma[against]
    assert claim.decide(frame).verdict == REFUTED


def test_a_diverged_member_counts(short):
    lost = as_the_paper_says(short)
    lost.loc[(lost.seed == 1) & (lost.sigma == 1), ["distance", "entropy", "information", "divergence"]] = np.nan
    assert [claim.decide(lost).verdict for claim in experiment.CLAIMS] == [INCONCLUSIVE] * 4


def test_smoke_decides_nothing():
    frame = experiment.run(SMOKE, Context())
    assert {claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS} == {INCONCLUSIVE}
