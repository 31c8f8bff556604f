"""Appendix A: the closed optimum against a minimiser, and losses, gradients and descents that are wrong."""

import dataclasses
import math
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.gap import _gridded as gridded
from experiments.gap import maxent_derivation as experiment
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes, read_frame
from experiments.harness.style import rendered
from imitation.ebm import losses

SMOKE = catalogue.canonical("gap/maxent_derivation", "smoke")
CLAIMS = {claim.id.removeprefix("gap.maxent-derivation"): claim.decide for claim in experiment.CLAIMS}


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def verdict(claim, **changes):
    return CLAIMS[claim](experiment.run(dataclasses.replace(SMOKE, **changes), Context())).verdict


def test_verdicts(frame):
    verdicts = {name: decide(frame).verdict for name, decide in CLAIMS.items()}
    assert verdicts == {
        "": REPRODUCED,
        ".variance": CORRECTED,
        ".finite-samples": CORRECTED,
        ".uniform": REPRODUCED,
        ".optimum": REPRODUCED,
    }


def test_the_slopes_of_actions_are_their_own():
    one = gridded.problem(torch.Generator().manual_seed(0), 2, 3, [8], 0.7)
    slopes = experiment._slopes(one, one.grid.nodes.expand(2, -1, -1))
    energies = one.at_nodes()
    for place in ((0, 0), (1, 4), (1, 8)):
        torch.testing.assert_close(slopes[place], gridded.gradient(energies[place], one.network), rtol=0, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_a_minimiser_finds_the_closed_optimum(seed):
    # No use of the closed form: the objective alone, from random energies, demonstrations missing in some cells.
    random = torch.Generator().manual_seed(seed)
    weights = torch.rand(12, generator=random, dtype=torch.float64) + 0.1
    density = torch.rand(12, generator=random, dtype=torch.float64).relu() * (torch.arange(12) % 3 > 0)
    density = density / (weights @ density)
    energies = torch.randn(12, generator=random, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.LBFGS([energies], max_iter=500, tolerance_grad=1e-12, tolerance_change=0)

    def objective():
        optimiser.zero_grad()
        logs = gridded.log_masses(energies, weights.log()) - weights.log()
        value = -(weights * density * logs).sum() - gridded.entropy(energies, weights.log())
        value.backward()
        return value

    optimiser.step(objective)
    found = (gridded.log_masses(energies, weights.log()).exp() / weights).detach().numpy()
    np.testing.assert_allclose(found, experiment.optimum(density.numpy(), weights.numpy()), rtol=0, atol=1e-7)


def test_the_optimum_of_uniform_demonstrations_is_uniform():
    weights = np.array([0.5, 2.0, 1.5])
    np.testing.assert_allclose(experiment.optimum(np.full(3, 0.25), weights), 0.25, rtol=1e-12)


def test_the_optimum_does_not_depend_on_the_unit_of_the_action():
    weights, density = np.array([0.5, 2.0, 1.5]), np.array([1.2, 0.2, 0.0])
    np.testing.assert_allclose(
        experiment.optimum(density / 1000, 1000 * weights), experiment.optimum(density, weights) / 1000, rtol=1e-11
    )


@pytest.mark.parametrize("cells", [2, 50, 10**6])
def test_one_demonstrated_cell_keeps_one_over_its_energy_gap(cells):
    mass = experiment.mass_of_one(cells)
    gap = math.log(mass / ((1 - mass) / (cells - 1)))
    assert mass * gap == pytest.approx(1, abs=1e-10)


def whole_variance(positive, negatives):
    return losses.mcmc(positive, negatives) + negatives.var(-1, correction=0)


def around_one_mean(positive, negatives):
    return losses.mcmc(positive, negatives) + 0.5 * (negatives - negatives.mean()).square().mean(-1)


def without_bias(positive, negatives):
    count = negatives.shape[-1]
    extra = negatives.var(-1, correction=1) / 2 if count > 1 else 0 * positive
    return losses.mcmc(positive, negatives) + extra


def variance_subtracted(positive, negatives):
    return losses.mcmc(positive, negatives) - negatives.var(-1, correction=0) / 2


def no_entropy(positive, negatives):
    return losses.mcmc(positive, negatives)


WRONG = [whole_variance, around_one_mean, without_bias, variance_subtracted, no_entropy]


@pytest.mark.parametrize("loss", WRONG)
def test_another_loss_is_refuted(monkeypatch, loss):
    monkeypatch.setattr(losses, "entropy_regularised", loss)
    frame = experiment.run(SMOKE, Context())
    assert CLAIMS[""](frame).verdict == REFUTED
    assert CLAIMS[".variance"](frame).verdict == REFUTED
    assert CLAIMS[".finite-samples"](frame).verdict == REFUTED


def test_the_repaired_variance_has_no_bias(monkeypatch):
    monkeypatch.setattr(losses, "entropy_regularised", without_bias)
    frame = experiment.run(dataclasses.replace(SMOKE, enumerated=[2, 3]), Context())
    np.testing.assert_allclose(experiment.select(frame, "finite", "ratio").value, 1, rtol=0, atol=1e-12)


def term_left_out(of_positive, slopes, energies, masses):
    weighted = torch.einsum("bm,bmp->bp", masses, energies[..., None] * slopes - slopes)
    return (of_positive + weighted).mean(0)


def sign_slipped(of_positive, slopes, energies, masses, right=experiment.printed_gradient):
    return right(of_positive, slopes, -energies, masses)


def last_terms_outside_the_mean(of_positive, slopes, energies, masses, right=experiment.printed_gradient):
    # The summary's bracket taken at its word: the last two terms summed over observations, not averaged.
    plain = right(of_positive, slopes, torch.zeros_like(energies), masses)
    return plain + len(energies) * (right(of_positive, slopes, energies, masses) - plain)


@pytest.mark.parametrize("formula", [term_left_out, sign_slipped, last_terms_outside_the_mean])
def test_another_derivation_is_refuted(monkeypatch, formula):
    monkeypatch.setattr(experiment, "printed_gradient", formula)
    assert verdict("") == REFUTED


def test_another_objective_is_refuted(monkeypatch):
    def difference(one):  # -E[log p - H]: the sign of the entropy
        energies, log_weights = one.at_nodes(), one.grid.log_weights
        likelihood = gridded.log_likelihood(one.of_positive(), energies, log_weights)
        return -(likelihood - gridded.entropy(energies, log_weights)).mean()

    monkeypatch.setattr(experiment, "_objective", difference)
    assert verdict("") == REFUTED


def test_an_objective_whose_gradient_is_cut_is_found_by_finite_differences(frame):
    broken = frame.copy()
    broken.loc[broken.variant == "finite difference", "value"] = 1e-3
    assert CLAIMS[""](broken).verdict == REFUTED


def through_the_density(energies, log_weights):
    masses = gridded.log_masses(energies, log_weights).exp()
    return 0.5 * ((masses * energies.square()).sum(-1) - (masses * energies).sum(-1).square())


def of_the_nodes(energies, log_weights):
    return -0.5 * energies.var(-1)


@pytest.mark.parametrize("variance", [through_the_density, of_the_nodes])
def test_another_descent_is_refuted(monkeypatch, variance):
    monkeypatch.setattr(experiment, "_variance", variance)
    assert verdict(".uniform") == REFUTED


def test_a_descent_cut_short_is_refuted():
    assert verdict(".uniform", steps=2) == REFUTED


def test_a_descent_that_starts_at_the_uniform_density_shows_nothing():
    assert verdict(".uniform", std=0.001) == REFUTED


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_a_density_at_another_temperature_is_not_the_optimum(monkeypatch, power):
    def tempered(demonstrated, weights):
        density = (demonstrated + 1e-9) ** power
        return density / (weights @ density)

    monkeypatch.setattr(experiment, "optimum", tempered)
    assert verdict(".optimum") == REFUTED


@pytest.mark.parametrize("name", ["floor", "share", "gain", "slope at T = 2"])
def test_an_optimum_without_one_of_its_properties_is_refuted(frame, name):
    broken = frame.copy()
    broken.loc[(broken.metric == "optimum") & (broken.variant == name) & (broken.seed == 1), "value"] = -0.1
    assert CLAIMS[".optimum"](broken).verdict == REFUTED


def test_a_seed_that_diverged_is_never_dropped(frame):
    broken = frame.copy()
    broken.loc[broken.seed == 1, "value"] = np.nan
    assert {decide(broken).verdict for decide in CLAIMS.values()} == {REFUTED}


def test_the_same_seeds_give_the_same_bytes_alone_and_together(frame):
    parts = pd.concat([experiment.run(dataclasses.replace(SMOKE, seeds=[seed]), Context()) for seed in SMOKE.seeds])
    assert frame_bytes(parts) == frame_bytes(frame)
    again = read_frame(BytesIO(frame_bytes(frame)))
    assert [decide(again) for decide in CLAIMS.values()] == [decide(frame) for decide in CLAIMS.values()]


def test_the_figure_draws_the_same_twice(frame):
    assert rendered(experiment.figure(frame)) == rendered(experiment.figure(frame))
