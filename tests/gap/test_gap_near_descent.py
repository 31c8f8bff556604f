"""Distance to gradient descent: the exact law on a quadratic, the turn at lambda sigma^2 = 1, and wrong variants."""

import dataclasses

import numpy as np
import pytest
import torch

from experiments.gap import near_descent as experiment
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED
from experiments.harness.context import Context
from imitation.ebm.langevin import Langevin

SMOKE = catalogue.canonical("gap/near_descent", "smoke")
CONFIG = catalogue.canonical("gap/near_descent", "laptop")
FEWER = dataclasses.replace(CONFIG, step_sizes=[0.01, 0.1, 1.5])


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def decided(config):
    frame = experiment.run(config, Context())
    return experiment.decide_quadratic(frame).verdict, experiment.decide_double_well(frame).verdict


def test_verdicts_of_the_real_run(frame):
    assert experiment.decide_quadratic(frame).verdict == CORRECTED
    assert experiment.decide_double_well(frame).verdict == CORRECTED


def test_smoke_decides_the_exact_part_alone():
    frame = experiment.run(SMOKE, Context())
    verdicts = [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS]
    assert verdicts == [CORRECTED, INCONCLUSIVE]


def test_distances_on_the_quadratic_have_their_closed_form(frame):
    # The distance is the noise alone: variance b^2 sum over k < n of (1 - lambda/2)^(2k), b = sqrt(lambda).
    rows = frame[(frame.energy == "quadratic") & (frame.form == "true") & (frame.metric == "end")]
    for size, group in rows.groupby("step_size"):
        kept = (1 - size / 2) ** (2 * np.arange(CONFIG.iterations))
        measured = np.sqrt((group.distance**2).mean())
        # 2000 chains: the standard error of a root mean square is 1.6 %; four of them.
        assert measured == pytest.approx(np.sqrt(size * kept.sum()), rel=0.065)


def test_descent_is_the_kernel_without_noise():
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)[None, None]
    steps = [torch.tensor([[0.7]], dtype=torch.float64)] * 12
    path = experiment._descend(torch.sin, start, steps)
    quiet = Langevin("ibc", 0.0).sample(torch.sin, start, steps, torch.Generator(), keep=12)
    torch.testing.assert_close(path, quiet, rtol=0, atol=1e-14)


def test_forms_that_do_not_differ_correct_nothing(monkeypatch):
    # The ratio is sigma in every cell: 1 where sigma is, with no interval on either side.
    monkeypatch.setattr(experiment, "Langevin", lambda form, sigma: Langevin("true", sigma))
    assert decided(FEWER) == (REFUTED, REFUTED)


def test_ignoring_sigma_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "Langevin", lambda form, sigma: Langevin(form, 1.0))
    assert decided(FEWER) == (REFUTED, REFUTED)
    below_one = dataclasses.replace(CONFIG, step_sizes=[0.01, 0.1, 1.0], sigmas=[0.1, 2.0])  # no side is wrong
    assert decided(below_one) == (REFUTED, REFUTED)


def noisy(gradient, start, step_sizes, right=experiment._descend):
    path = right(gradient, start, step_sizes)
    return path + 1e-3 * torch.randn(path.shape, generator=torch.Generator().manual_seed(0), dtype=path.dtype)


def too_fast(gradient, start, step_sizes, right=experiment._descend):
    return right(gradient, start, [2 * size for size in step_sizes])


def at_rest(gradient, start, step_sizes):
    return start.expand(len(step_sizes), *start.shape)


def uphill(gradient, start, step_sizes, right=experiment._descend):
    return right(lambda position: -gradient(position), start, step_sizes)


def stopping(gradient, start, step_sizes, right=experiment._descend):
    path = right(gradient, start, step_sizes)
    return torch.cat([path[:5], path[4:5].expand(len(path) - 5, *start.shape)])


@pytest.mark.parametrize("descend", [noisy, too_fast, at_rest, uphill, stopping])
def test_a_descent_that_is_none_is_refuted(monkeypatch, descend):
    monkeypatch.setattr(experiment, "_descend", descend)
    assert decided(FEWER) == (REFUTED, REFUTED)


@pytest.mark.parametrize("descend", [noisy, too_fast, at_rest])
def test_the_first_iteration_finds_a_wrong_descent_without_the_check_of_its_steps(monkeypatch, descend):
    monkeypatch.setattr(experiment, "_descend", descend)
    frame = experiment.run(FEWER, Context()).assign(step_error=0.0, descent=-1.0)
    assert experiment.decide_double_well(frame).verdict == REFUTED


def test_descent_that_does_not_go_down_is_refuted(frame):
    broken = frame.assign(descent=frame.descent.where(frame.seed != 3, 0.1))
    assert [claim.decide(broken).verdict for claim in experiment.CLAIMS] == [REFUTED, REFUTED]


def test_another_noise_in_the_two_forms_is_refuted_on_the_quadratic(monkeypatch):
    calls = iter(range(100))
    context = Context()
    monkeypatch.setattr(
        context, "generators", lambda seeds: Context().generators([s + 100 * next(calls) for s in seeds])
    )
    frame = experiment.run(SMOKE, context)
    assert experiment.decide_quadratic(frame).verdict == REFUTED


@pytest.mark.parametrize("sizes", [[0.01, 0.1], [1.5, 3.0]])
def test_a_grid_on_one_side_of_one_corrects_nothing(sizes):
    config = dataclasses.replace(SMOKE, step_sizes=sizes, sigmas=[1.0])
    assert decided(config) == (REFUTED, REFUTED)


def test_a_ratio_on_the_wrong_side_is_refuted(frame):
    swapped = frame.copy()
    beyond = (swapped.form == "ibc") & (swapped.sigma == 1) & (swapped.step_size > 2) & (swapped.metric == "end")
    swapped.loc[beyond, "distance"] *= 0.5
    assert experiment.decide_quadratic(swapped).verdict == REFUTED
    assert experiment.decide_double_well(swapped).verdict == REFUTED


def test_a_seed_that_diverged_is_never_dropped(frame):
    broken = frame.copy()
    broken.loc[(broken.seed == 3) & (broken.form == "ibc"), "distance"] = np.nan
    assert experiment.decide_quadratic(broken).verdict == REFUTED
    assert experiment.decide_double_well(broken).verdict == INCONCLUSIVE
