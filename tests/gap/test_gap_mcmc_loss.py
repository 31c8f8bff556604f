"""The MCMC loss against the likelihood: exact parts on another density, and losses and samplers that are wrong."""

import dataclasses
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.gap import _gridded as gridded
from experiments.gap import mcmc_loss as experiment
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes, read_frame
from experiments.harness.schema import BadInputError
from experiments.harness.style import rendered
from imitation.ebm import losses
from imitation.ebm.langevin import Langevin

SMOKE = catalogue.canonical("gap/mcmc_loss", "smoke")
# Enough seeds for the statistical claims, and no more steps of training than the exact ones need.
FEW = dataclasses.replace(SMOKE, seeds=list(range(10)), points=20, samples=1024, terms=[1], steps=1)
CLAIMS = {claim.id.removeprefix("gap.mcmc-loss"): claim.decide for claim in experiment.CLAIMS}


@pytest.fixture(scope="module")
def smoke():
    return experiment.run(SMOKE, Context())


@pytest.fixture(scope="module")
def few():
    return experiment.run(FEW, Context())


def verdict(claim, config):
    return CLAIMS[claim](experiment.run(config, Context())).verdict


def problem(seed=0, points=12):
    return gridded.problem(torch.Generator().manual_seed(seed), 3, points, [16], 0.7)


def test_verdicts_of_the_exact_part(smoke):
    verdicts = [claim.verdict(smoke, "smoke").verdict for claim in experiment.CLAIMS]
    assert verdicts == [REPRODUCED, CORRECTED, REPRODUCED, INCONCLUSIVE, INCONCLUSIVE]


def test_verdicts_of_the_statistical_part(few):
    assert CLAIMS[".samples"](few).verdict == REPRODUCED
    assert CLAIMS[".langevin"](few).verdict == REPRODUCED


def test_quadrature_integrates_polynomials_and_a_gaussian():
    grid = gridded.grid(40)
    weights = grid.log_weights.exp()
    assert float(weights.sum()) == pytest.approx(2.2**2)
    moment = weights @ (grid.nodes[:, 0] ** 4 * grid.nodes[:, 1] ** 2)
    assert float(moment) == pytest.approx((2 * 1.1**5 / 5) * (2 * 1.1**3 / 3))
    energies = 50 * grid.nodes.square().sum(-1)[None]  # standard deviation .1: the edges are eleven of them away
    likelihood = gridded.log_likelihood(torch.zeros(1, dtype=torch.float64), energies, grid.log_weights)
    assert float(likelihood) == pytest.approx(-np.log(2 * np.pi * 0.01), abs=1e-6)
    entropy = float(gridded.entropy(energies, grid.log_weights))
    assert entropy == pytest.approx(np.log(2 * np.pi * np.e * 0.01), abs=1e-6)


def test_draws_follow_the_masses():
    masses = torch.tensor([[0.1, 0.0, 0.6, 0.3], [0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    drawn = gridded.drawn(torch.Generator().manual_seed(0), masses, 40_000)
    shares = torch.stack([(drawn == node).double().mean(-1) for node in range(4)], 1)
    # Four standard errors of a share of 40 000 draws.
    torch.testing.assert_close(shares, masses, rtol=0, atol=4 * 0.5 / 200)
    assert (shares[masses == 0] == 0).all()


def test_gradients_of_blocks_are_those_of_the_loss_on_each():
    one = problem()
    negatives = torch.rand(3, 12, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    apart = experiment._gradients(one, negatives, 4)
    for number, found in enumerate(apart):
        energies = one.energies(negatives[:, 4 * number : 4 * number + 4])
        loss = losses.mcmc(one.of_positive(), energies).mean()
        torch.testing.assert_close(found, gridded.gradient(loss, one.network), rtol=0, atol=1e-14)


def test_finite_differences_leave_the_network_as_it_was():
    one = problem()
    before = [value.clone() for value in one.network.parameters()]
    direction, slope = gridded.finite_difference(one.of_positive().sum, one.network, torch.Generator(), 1e-7)
    assert float(direction.norm()) == pytest.approx(1)
    assert slope == 0  # the value was taken before
    assert all(torch.equal(*pair) for pair in zip(before, one.network.parameters(), strict=True))


def test_the_quadrature_is_finer_than_the_margin_of_the_bias():
    for seed in range(5):
        one = gridded.problem(torch.Generator().manual_seed(seed), 4, 20, FEW.hidden, FEW.std)
        fine = one._replace(grid=gridded.grid(80))
        gradients = [gridded.gradient(experiment._likelihood(each), one.network) for each in (one, fine)]
        assert gridded.relative_error(*gradients) < experiment.BIAS_MARGIN / 2


def through_the_density(energies, log_weights):
    return (gridded.log_masses(energies, log_weights).exp() * energies).sum(-1)


def over_the_nodes(energies, log_weights):
    return (energies.softmax(-1).detach() * energies).sum(-1)


def without_weights(energies, log_weights):
    return ((-energies).softmax(-1).detach() * energies).sum(-1)


@pytest.mark.parametrize("expected", [through_the_density, over_the_nodes, without_weights])
def test_another_expectation_is_refuted(monkeypatch, expected):
    monkeypatch.setattr(experiment, "_expected", expected)
    config = dataclasses.replace(SMOKE, samples=128)
    assert verdict("", config) == REFUTED
    assert verdict(".printed", config) == REFUTED


@pytest.mark.parametrize("samples", [64, 192])
def test_samples_that_do_not_fill_two_halves_of_blocks_are_refused(samples):
    with pytest.raises(BadInputError, match=f"samples={samples}: must be a multiple of twice each of negatives"):
        experiment.run(dataclasses.replace(SMOKE, samples=samples), Context())


def test_another_likelihood_is_found_by_finite_differences(monkeypatch):
    # A likelihood whose Z is held fixed has, by autograd, a gradient that its own values do not have.
    def likelihood(positive, energies, log_weights):
        return -positive - (log_weights - energies).logsumexp(-1).detach()

    monkeypatch.setattr(gridded, "log_likelihood", likelihood)
    assert verdict("", dataclasses.replace(SMOKE, samples=128)) == REFUTED


def test_a_printed_formula_that_were_right_needs_no_correction(smoke):
    broken = smoke.copy()
    printed = broken.variant.isin(["printed", "positive as m = 0"]) & (broken.metric == "error")
    broken.loc[printed, "value"] = 1e-15
    assert CLAIMS[".printed"](broken).verdict == REFUTED


def test_a_bias_of_another_form_is_refuted(smoke):
    broken = smoke.copy()
    broken.loc[(broken.metric == "constant") & (broken.variant == "printed"), "value"] *= 1.001
    assert CLAIMS[".printed"](broken).verdict == REFUTED


def test_a_value_that_is_not_likelihood_less_entropy_is_refuted(monkeypatch):
    right = gridded.entropy
    monkeypatch.setattr(gridded, "entropy", lambda *arguments: 1.001 * right(*arguments))
    assert verdict(".value", dataclasses.replace(SMOKE, samples=128)) == REFUTED


def test_a_value_that_bounds_the_likelihood_is_refuted(smoke):
    broken = smoke.copy()
    broken.loc[(broken.metric == "value") & (broken.variant == "(4)"), "value"] -= 5
    assert CLAIMS[".value"](broken).verdict == REFUTED


def test_one_more_negative_over_m_is_not_unbiased(monkeypatch):
    monkeypatch.setattr(losses, "mcmc", lambda positive, negatives: positive - 1.25 * negatives.mean(-1))
    assert verdict(".samples", FEW) == REFUTED


def test_uniform_draws_are_not_those_of_the_density(monkeypatch):
    def uniform(random, masses, count):
        return torch.randint(masses.shape[1], (len(masses), count), generator=random)

    monkeypatch.setattr(gridded, "drawn", uniform)
    assert verdict(".samples", FEW) == REFUTED


def test_draws_that_depend_on_each_other_do_not_gain_from_more(monkeypatch):
    right = gridded.drawn

    def repeated(random, masses, count):
        return right(random, masses, count // 64).repeat_interleave(64, 1)

    monkeypatch.setattr(gridded, "drawn", repeated)
    assert verdict(".samples", FEW) == REFUTED


def test_exact_samples_in_place_of_short_chains_are_not_biased(few):
    exact = few[~((few.metric == "squared bias") & few.variant.isin(list(experiment.KERNELS)))]
    chosen = exact[(exact.metric == "squared bias") & (exact.variant == experiment.INDEPENDENT)]
    broken = pd.concat([exact, *(chosen.assign(variant=name) for name in experiment.KERNELS)])
    assert CLAIMS[".langevin"](broken).verdict == REFUTED


def test_long_chains_of_the_true_form_are_not_called_biased(monkeypatch):
    # Small steps, many of them: the true form reaches the density, and the claim is about ten iterations only.
    kernel = Langevin("true", 1.0, None, (-gridded.LIMIT, gridded.LIMIT))
    monkeypatch.setattr(experiment, "KERNELS", dict.fromkeys(experiment.KERNELS, (kernel, 0.02)))
    config = dataclasses.replace(FEW, seeds=[0, 1, 2, 3], iterations=1000, samples=512, points=12)
    assert verdict(".langevin", config) != REPRODUCED


def test_a_seed_that_diverged_is_never_dropped(smoke, few):
    for frame, claims in ((smoke, ["", ".printed", ".value"]), (few, [".samples", ".langevin"])):
        broken = frame.copy()
        broken.loc[broken.seed == 1, "value"] = np.nan
        for claim in claims:
            assert CLAIMS[claim](broken).verdict in (REFUTED, INCONCLUSIVE)


def test_the_same_seeds_give_the_same_bytes_alone_and_together(smoke):
    parts = pd.concat([experiment.run(dataclasses.replace(SMOKE, seeds=[seed]), Context()) for seed in SMOKE.seeds])
    assert frame_bytes(parts) == frame_bytes(smoke)
    again = read_frame(BytesIO(frame_bytes(smoke)))
    assert [claim.decide(again) for claim in experiment.CLAIMS] == [claim.decide(smoke) for claim in experiment.CLAIMS]


def test_a_single_seed_decides_no_statistics():
    frame = experiment.run(dataclasses.replace(SMOKE, seeds=[3]), Context())
    assert [CLAIMS[name](frame).verdict for name in (".samples", ".langevin")] == [INCONCLUSIVE] * 2
    rendered(experiment.figure(frame))


def test_the_figure_draws_the_same_twice(smoke):
    assert rendered(experiment.figure(smoke)) == rendered(experiment.figure(smoke))
