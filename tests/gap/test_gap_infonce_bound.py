"""The InfoNCE bound on Gaussians: known information, exact limits, and schemes that must not pass for one another."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from experiments.gap import infonce_bound as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.ebm.diagnostics import effective_sample_size

SMOKE = catalogue.canonical("gap/infonce_bound", "smoke")
CONFIG = catalogue.canonical("gap/infonce_bound", "laptop")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


@pytest.fixture(scope="module")
def smoke():
    return experiment.run(SMOKE, Context())


def test_verdicts_of_the_real_run(frame):
    assert [claim.decide(frame).verdict for claim in experiment.CLAIMS] == [REPRODUCED] * 5


def test_smoke_decides_the_exact_part_alone(smoke):
    decided = {claim.id: claim.verdict(smoke, "smoke").verdict for claim in experiment.CLAIMS}
    assert decided.pop("gap.infonce-bound.repeated") == REPRODUCED
    assert set(decided.values()) == {INCONCLUSIVE}


@pytest.mark.parametrize(("rho", "width"), [(0.6, 1.0), (0.95, 1.0), (0.8, 0.5), (0.8, 2.0)])
def test_the_critic_is_the_log_ratio_of_densities(rho, width):
    x, y = torch.randn(2, 50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    conditional = torch.distributions.Normal(rho * x, math.sqrt(1 - rho**2)).log_prob(y)
    marginal = torch.distributions.Normal(0.0, width).log_prob(y)
    torch.testing.assert_close(experiment.log_ratio(x, y, rho, width), (conditional - marginal).sum(-1))


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_positives_have_the_information_and_the_divergence_as_mean_critic(width):
    rho, generator = 0.8, torch.Generator().manual_seed(1)
    x, noise = torch.randn(2, 200_000, 2, dtype=torch.float64, generator=generator)
    scores = experiment.log_ratio(x, rho * x + math.sqrt(1 - rho**2) * noise, rho, width)
    expected = experiment.information(2, rho) + experiment.divergence(2, width)
    assert float(scores.mean()) == pytest.approx(expected, abs=4 * float(scores.std()) / math.sqrt(len(scores)))


@pytest.mark.parametrize("autocorrelation", [0.5, 0.9, 0.99, 1.0])
def test_every_state_of_the_chain_is_a_draw_of_the_marginal(autocorrelation):
    config = dataclasses.replace(CONFIG, pairs=4000, negatives=[33])
    chain = experiment._chain(config, autocorrelation, torch.Generator().manual_seed(0))
    # 8000 independent values per place: standard errors .011 of the mean and .016 of the variance; five of them.
    assert float(chain.mean((0, 2)).abs().max()) < 0.056
    assert float((chain.square().mean((0, 2)) - 1).abs().max()) < 0.08
    lagged = float((chain[:, 1:] * chain[:, :-1]).mean())
    assert lagged == pytest.approx(autocorrelation, abs=0.06)


def test_effective_size_agrees_with_the_diagnostics():
    config = dataclasses.replace(CONFIG, pairs=200, negatives=[1024], dimension=1)
    chain = experiment._chain(config, 0.9, torch.Generator().manual_seed(0))[..., 0].numpy()
    measured = effective_sample_size(chain) / len(chain)
    assert experiment.effective_negatives(1024, 0.9) == pytest.approx(measured, rel=0.1)
    assert experiment.effective_negatives(1024, 1.0) == pytest.approx(1)


def test_the_gap_of_many_independent_negatives_is_that_of_a_series(frame):
    # log A to second order: chi^2 / (2 M), where 1 + chi^2 = (1 - rho^2)^-d.
    rows = frame[(frame.scheme == "independent") & (frame.scale == 1) & (frame.negatives == 1024)]
    for rho, cell in rows.groupby("correlation"):
        chi_squared = (1 - rho**2) ** -CONFIG.dimension - 1
        if chi_squared < 10:
            assert -cell.excess.mean() == pytest.approx(chi_squared / 2048, rel=0.25)


def test_copies_measured_agree_with_quadrature_in_one_coordinate():
    config = dataclasses.replace(CONFIG, dimension=1, pairs=4000, negatives=[1, 16, 128], autocorrelations=[1.0])
    frame = experiment.run(config, Context())
    exact = frame[frame.scheme == "one coordinate"][["correlation", "negatives", "excess"]]
    both = frame[frame.scheme == "chain"].merge(exact, on=["correlation", "negatives"], suffixes=("", "_exact"))
    assert len(both) == 9 * len(CONFIG.seeds)
    for _, cell in both.groupby(["correlation", "negatives"]):
        error = cell.excess.std() / math.sqrt(len(cell))
        assert cell.excess.mean() == pytest.approx(cell.excess_exact.iloc[0], abs=4 * error + 1e-4)


def test_reduced_noise_leaves_the_mean(frame):
    rows = frame[(frame.seed >= 0) & (frame.scheme != "conditional")]
    keys = ["scheme", "setting", "correlation", "scale", "negatives"]
    difference = (rows.estimate - rows.information - rows.excess).groupby([rows[key] for key in keys])
    z = difference.mean() / (difference.std() / math.sqrt(len(CONFIG.seeds)))
    assert z.abs().max() < 5  # over two hundred cells, many of them on the same positives


@pytest.mark.parametrize("stand_in", ["chain", "proposal"])
def test_dependent_or_foreign_negatives_do_not_keep_the_bound(frame, stand_in):
    rows = frame[frame.scheme == stand_in]
    fake = rows[rows.setting == rows.setting.max()].assign(scheme="independent")
    assert experiment.decide_independent(fake).verdict == REFUTED


def test_independent_negatives_break_nothing(frame):
    rows = frame[(frame.scheme == "independent") & (frame.scale == 1)]
    assert experiment.decide_dependent(rows.assign(scheme="chain")).verdict == REFUTED
    assert experiment.decide_proposal(rows.assign(scheme="proposal")).verdict == REFUTED
    assert experiment.decide_conditional(rows.assign(scheme="conditional")).verdict == REFUTED


def test_an_estimate_beyond_its_ceiling_is_refuted(frame):
    beyond = frame.copy()
    beyond.loc[beyond.index[-1], "estimate"] = np.log(beyond.negatives.iloc[-1] + 1) + 1e-6
    assert experiment.decide_independent(beyond).verdict == REFUTED


def test_independent_negatives_in_the_quadrature_are_refuted(monkeypatch):
    # With M independent negatives the estimate stays below the information, whatever M.
    def never_above(rho, nodes, right=experiment._quadrature):
        return np.minimum(right(rho, nodes), experiment.information(1, rho))

    monkeypatch.setattr(experiment, "_quadrature", never_above)
    assert experiment.decide_repeated(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_a_wrong_critic_in_the_quadrature_is_refuted(monkeypatch):
    right = experiment.log_ratio
    monkeypatch.setattr(experiment, "log_ratio", lambda x, y, rho, width=1.0: 0.9 * right(x, y, rho, width))
    assert experiment.decide_repeated(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_a_diverged_seed_counts(frame):
    lost = frame.copy()
    lost.loc[lost.seed == 3, ["estimate", "excess"]] = np.nan
    assert experiment.decide_dependent(lost).verdict == INCONCLUSIVE
    assert experiment.decide_proposal(lost).verdict == INCONCLUSIVE
    assert experiment.decide_independent(lost).verdict == INCONCLUSIVE
