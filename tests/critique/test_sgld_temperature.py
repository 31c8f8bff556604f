"""EDM's sampler on a unit Gaussian: closed forms, verdicts, and broken variants that must not pass."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.critique import sgld_temperature as experiment
from experiments.harness import catalogue
from experiments.harness.claim import REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes
from imitation.ebm.langevin import State

NAME = "critique/sgld_temperature"
CLAIMS = {claim.id: claim for claim in experiment.CLAIMS}
MAIN, BUFFER, FORMULA = CLAIMS


def small() -> experiment.Config:
    # Half the grid, but all 20 seeds and the laptop's chains: with less the 5 % margin decides nothing.
    laptop = catalogue.canonical(NAME, "laptop")
    return replace(laptop, alphas=[0.02, 0.05], sigmas=[0.01, 0.1], burn_in=1000, draws=30)


def verdict(frame: pd.DataFrame, claim: str) -> str:
    return CLAIMS[claim].decide(frame).verdict


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return experiment.run(small(), Context())


def test_stationary_variance_is_the_fixed_point_of_the_recursion():
    for alpha, sigma in ((0.01, 0.01), (0.3, 2.0)):
        variance = experiment.stationary_variance(alpha, sigma)
        assert (1 - alpha) ** 2 * variance + sigma**2 == pytest.approx(variance, rel=1e-12)


def test_printed_numbers_of_the_facts():
    assert experiment.stationary_variance(0.01, 0.01) == pytest.approx(0.0050251, abs=5e-8)
    assert experiment.stationary_variance(0.01, experiment.correct_noise(0.01)) == pytest.approx(1 / (1 - 0.005))


@pytest.mark.parametrize("sigma", [0.01, 0.1414])
def test_buffer_variance_is_the_sum_over_ages(sigma):
    variance, expected = 1 / 3, 0.0
    for update in range(1, 20 * 2000 + 1):
        variance = 0.99**2 * variance + sigma**2
        if update % 20 == 0:
            expected += 0.05 * 0.95 ** (update // 20 - 1) * variance
    assert experiment.buffer_variance(0.01, sigma, 20, 0.05) == pytest.approx(expected, rel=1e-10)


def test_kernel_is_the_official_update():
    """s' = s - alpha grad E + sigma w, probed once without noise and once without a slope."""
    alpha, sigma = torch.tensor([0.01, 0.3], dtype=torch.float64), torch.tensor([0.01, 2.0], dtype=torch.float64)
    langevin, size = experiment.kernel(alpha, sigma)
    one = torch.ones(2, dtype=torch.float64)
    state = State(one)
    still, _ = langevin.step(state, lambda position: position, size, 0 * one)
    moved, _ = langevin.step(state, lambda position: 0 * position, size, one)
    torch.testing.assert_close(still.position, 1 - alpha, rtol=1e-14, atol=0)
    torch.testing.assert_close(moved.position, 1 + sigma, rtol=1e-14, atol=0)


def test_densities_integrate_to_one(frame):
    density = frame[frame.quantity == "density"]
    mass = (
        (density.value * (density.high - density.low)).groupby([density.sampler, density.setting, density.seed]).sum()
    )
    assert np.allclose(mass, 1, atol=2e-3)  # the rest lies beyond +-4


def test_claims_hold(frame):
    assert [verdict(frame, claim) for claim in CLAIMS] == [REPRODUCED] * 3


def test_at_a_large_step_the_temperature_is_another(frame):
    # The closed form holds at every step, the temperature sigma^2/(2 alpha) at small ones only.
    rows = frame[frame.setting == "grid"]
    exact = experiment.stationary_variance(0.3, 0.1) * np.ones(len(rows)) * (1 + 1e-3 * rows.seed)
    coarse = frame.assign(alpha=frame.alpha.where(frame.setting != "grid", 0.3))
    coarse = coarse.assign(sigma=coarse.sigma.where(frame.setting != "grid", 0.1))
    coarse.loc[rows.index, "value"] = exact
    assert verdict(coarse, "edm.sgld-temperature.formula") == REFUTED


@pytest.mark.parametrize("claim", [MAIN, BUFFER])
def test_control_correct_noise_where_the_official_is_claimed(claim):
    broken = experiment.run(replace(small(), sigma=experiment.correct_noise(0.01)), Context())
    assert verdict(broken, claim) == REFUTED


@pytest.mark.parametrize("claim", [MAIN, FORMULA])
def test_control_chains_that_have_not_settled(claim):
    broken = experiment.run(replace(small(), burn_in=20, draws=1, spacing=1), Context())
    assert verdict(broken, claim) == REFUTED


def test_control_buffer_without_fresh_starts():
    broken = experiment.run(replace(small(), reinitialised=0.0), Context())
    assert verdict(broken, BUFFER) == REFUTED


def test_control_noise_of_the_other_form(monkeypatch):
    """The noise multiplied by lambda instead of its root: every temperature is off."""
    original = experiment.kernel

    def broken(alpha, sigma):
        langevin, size = original(alpha, sigma)
        return replace(langevin, form="ibc"), size

    monkeypatch.setattr(experiment, "kernel", broken)
    frame = experiment.run(small(), Context())
    assert REPRODUCED not in [verdict(frame, claim) for claim in CLAIMS]


def test_one_seed_decides_nothing():
    frame = experiment.run(replace(small(), seeds=[0], draws=2), Context())
    assert REPRODUCED not in [verdict(frame, claim) for claim in CLAIMS]


def test_same_seeds_give_the_same_bytes():
    smoke = catalogue.canonical(NAME, "smoke")
    first, second = (frame_bytes(experiment.run(smoke, Context())) for _ in range(2))
    assert first == second


def test_shards_by_seeds_are_the_whole():
    smoke = catalogue.canonical(NAME, "smoke")
    whole = experiment.run(smoke, Context())
    shards = pd.concat([experiment.run(replace(smoke, seeds=part), Context()) for part in ([0], [1, 2, 3])])
    order = ["quantity", "sampler", "setting", "alpha", "sigma", "seed", "low"]
    whole, shards = (one.sort_values(order).reset_index(drop=True) for one in (whole, shards))
    pd.testing.assert_frame_equal(whole, shards, rtol=1e-12)
    assert "seeds" in experiment.SHARD_AXES


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_every_scale_holds_the_official_sampler(scale):
    cfg = catalogue.canonical(NAME, scale)
    official = (cfg.alpha, cfg.sigma, cfg.steps, cfg.reinitialised)
    assert official == (experiment.OFFICIAL_ALPHA, experiment.OFFICIAL_SIGMA, experiment.OFFICIAL_STEPS,
                        experiment.OFFICIAL_REINITIALISED)  # fmt: skip


def test_smoke_decides_none_and_draws():
    frame = experiment.run(catalogue.canonical(NAME, "smoke"), Context())
    assert {claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS} == {"inconclusive"}
    assert len(experiment.figure(frame).axes) == 3
