"""IBC's form is Langevin at temperature lambda sigma^2; wrong kernels are not."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from experiments.gap import temperature as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.ebm.langevin import Info, Langevin, State

SMOKE = catalogue.canonical("gap/temperature", "smoke")
# Enough draws for the margins, on a small grid; wrong kernels are found with fewer.
CONFIG = dataclasses.replace(
    SMOKE, seeds=list(range(10)), step_sizes=[0.5, 1.0, 3.0], chains=400, burn_in=200, kept=300
)
FEWER = dataclasses.replace(CONFIG, step_sizes=[0.3, 0.7], sigmas=[0.1], temperatures=[1.0], chains=100, kept=100)


def decided(config):
    frame = experiment.run(config, Context())
    return experiment.decide_temperature(frame).verdict, experiment.decide_path(frame).verdict


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def test_verdicts_of_the_real_run(frame):
    assert experiment.decide_temperature(frame).verdict == REPRODUCED
    assert experiment.decide_path(frame).verdict == REPRODUCED


def test_smoke_decides_the_exact_part_alone():
    frame = experiment.run(SMOKE, Context())
    verdicts = {claim.id: claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS}
    assert verdicts == {"gap.temperature": INCONCLUSIVE, "gap.temperature.path": REPRODUCED}


def test_quadrature_knows_the_mixture_at_temperature_one():
    # exp(-E) is an equal mixture of N(-2, 1) and N(2, 1): second moment 5.
    law = experiment._law([1.0])
    assert law["moment"][0] == pytest.approx(5, rel=1e-8)
    middles = (experiment.EDGES[1:] + experiment.EDGES[:-1]) / 2
    normal = [math.exp(-((middles - m) ** 2)[i] / 2) for m in (-2, 2) for i in range(len(middles))]
    mixture = np.reshape(normal, (2, -1)).mean(0) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(law["density"][:, 0], mixture, atol=1e-3)


def kernel(form, scale):
    """What stands in for Langevin: `form` and `scale` say what becomes of the two arguments."""
    return lambda asked, sigma: Langevin(form(asked), scale(sigma))


WRONG = {
    "noise scaled by the root of the step": kernel(lambda form: "true", lambda sigma: sigma),
    "sigma ignored": kernel(lambda form: form, torch.ones_like),
    "sigma squared": kernel(lambda form: form, torch.square),
    "no noise": kernel(lambda form: form, torch.zeros_like),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_noise_is_not_reproduced(monkeypatch, wrong):
    monkeypatch.setattr(experiment, "Langevin", wrong)
    assert decided(FEWER)[0] == REFUTED


def test_a_path_with_another_noise_is_refuted(monkeypatch):
    wrong = kernel(lambda form: "true", lambda sigma: sigma)
    monkeypatch.setattr(experiment, "Langevin", wrong)
    assert decided(SMOKE)[1] == REFUTED


def test_a_drift_without_its_half_is_refuted(monkeypatch):
    def step(self, state, gradient, step_size, noise):
        slope = gradient(state.position)
        change = noise * self.noise_coefficient(step_size) - slope * step_size
        return State(state.position + change), Info(slope, change)

    monkeypatch.setattr(Langevin, "step", step)
    assert decided(FEWER)[0] == REFUTED


def test_a_double_well_at_the_wrong_temperature_is_refuted(frame):
    broken = frame.copy()
    broken.loc[broken.part == "second moment", "value"] *= 1.06
    assert experiment.decide_temperature(broken).verdict == REFUTED


def test_one_bad_cell_is_enough_and_a_diverged_seed_is_never_dropped(frame):
    cell = (frame.part == "std") & (frame.step_size == 1.0) & (frame.sigma == 0.1)
    assert cell.sum() == len(CONFIG.seeds)
    assert (
        experiment.decide_temperature(frame.assign(value=frame.value.where(~cell, 1.05 * frame.value))).verdict
        == REFUTED
    )
    diverged = frame.assign(value=frame.value.where(~(cell & (frame.seed == 4)), np.nan))
    assert experiment.decide_temperature(diverged).verdict == INCONCLUSIVE
