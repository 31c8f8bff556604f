"""The sum (2) against known integrals: exact moments by other routes, and variants that must not pass."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad

from experiments.gap import integral as experiment
from experiments.gap._truncated import NODES, Bumps, integral
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError

SMOKE = catalogue.canonical("gap/integral", "smoke")
CONFIG = catalogue.canonical("gap/integral", "laptop")
DECIDED = [CORRECTED, CORRECTED, REPRODUCED, CORRECTED, REPRODUCED]


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def verdicts(frame):
    return [claim.decide(frame).verdict for claim in experiment.CLAIMS]


def test_verdicts_of_the_real_run(frame):
    assert verdicts(frame) == DECIDED


def test_smoke_decides_the_exact_part_alone():
    frame = experiment.run(SMOKE, Context())
    assert [one.verdict(frame, "smoke").verdict for one in experiment.CLAIMS] == [CORRECTED] + [INCONCLUSIVE] * 4


@pytest.mark.parametrize("centres", experiment.CENTRES.values())
@pytest.mark.parametrize("width", [0.05, 0.15, 0.8, 3.0])
def test_closed_integrals_agree_with_adaptive_quadrature(centres, width):
    energy = Bumps(centres, width)

    def numeric(power):
        return quad(lambda y: float(energy.value(np.array(y))) ** power, -1, 1, points=list(centres), limit=200)[0]

    assert energy.constant() == pytest.approx(numeric(1), rel=1e-10)
    assert energy.overlap() == pytest.approx(numeric(2), rel=1e-10)
    assert integral(energy.density(NODES)) == pytest.approx(1, rel=1e-10)


def test_draws_follow_the_density():
    energy = Bumps((-0.4, 0.5), 0.25)
    draws = energy.draw((200_000,), np.random.default_rng(0))
    assert np.abs(draws).max() <= 1
    for power in (1, 2, 4):
        expected, error = integral(energy.density(NODES) * NODES**power), (draws**power).std() / np.sqrt(len(draws))
        assert (draws**power).mean() == pytest.approx(expected, abs=4 * error)


def test_a_wide_energy_makes_the_model_uniform():
    # As the width grows p tends to 1/V, so that V times the integral of p^2 tends to 1: then the model is right too.
    energy = Bumps((0.2,), 100.0)
    assert experiment.schemes(energy)["model"].moment(1) == pytest.approx(1, abs=1e-4)


def test_a_narrow_energy_has_the_factor_of_a_gaussian():
    # The integral of p^2 is 1 / (2 w sqrt(pi)) for a Gaussian on the line.
    moment = experiment.schemes(Bumps((0.2,), 0.02))["model"].moment(1)
    assert moment == pytest.approx(experiment.SIDE / (2 * 0.02 * np.sqrt(np.pi)), rel=1e-9)


@pytest.mark.parametrize("ratio", [0.75, 0.9, 1.0, 2.0])
def test_second_moment_of_weights_on_the_line(ratio):
    def squared(y):  # p^2 / q, with the Gaussians' constants
        return ratio / np.sqrt(2 * np.pi) * np.exp(-(y**2) * (1 - 0.5 / ratio**2))

    assert experiment.second_moment(ratio) == pytest.approx(quad(squared, -np.inf, np.inf)[0], rel=1e-8)


def test_the_second_moment_is_infinite_from_one_over_root_two():
    assert experiment.second_moment(np.sqrt(0.5) * 0.999) == np.inf
    assert np.isfinite(experiment.second_moment(np.sqrt(0.5) * 1.001))


def test_spread_over_batches_is_the_exact_one(frame):
    # At M = 8 there are 4096 batches, 10 seeds: the spread is known to a few percent in one dimension.
    rows = frame[(frame.part == "ratio") & (frame.negatives == 8) & (frame.dimension == 1)]
    rows = rows[rows.scheme.isin(["uniform", "model", "broad", "broad, weighted"])]
    table = rows.groupby(["scheme", "energy", "width"])[["std", "expected_std"]].mean()
    np.testing.assert_allclose(table["std"], table.expected_std, rtol=0.05)


def test_the_positives_term_fades_as_one_over_m(frame):
    rows = frame[(frame.part == "ratio") & (frame.scheme == "uniform")]
    bias = (rows.expected_with_positive - rows.expected) * rows.negatives
    spread = bias.groupby([rows.energy, rows.dimension, rows.width]).agg(np.ptp)
    assert spread.max() < 1e-9 * bias.max()


def broken(monkeypatch, **replaced):
    """Verdicts where some schemes are taken for others: name -> the scheme that stands in for it."""
    right = experiment.schemes

    def wrong(energy):
        every = right(energy)
        return every | {name: every[other] for name, other in replaced.items()}

    monkeypatch.setattr(experiment, "schemes", wrong)
    config = dataclasses.replace(CONFIG, dimensions=[1], terms=4096, variance_dimensions=[1, 2], draws=16384)
    return verdicts(experiment.run(config, Context()))


def test_negatives_from_the_model_are_not_taken_for_uniform_ones(monkeypatch):
    decided = broken(monkeypatch, uniform="model")
    assert decided[0] == decided[1] == REFUTED


def test_a_factor_that_never_changes_refutes_the_only(monkeypatch):
    decided = broken(monkeypatch, model="uniform", broad="uniform")
    assert decided[0] == decided[2] == REFUTED


def test_forgotten_weights_are_refuted(monkeypatch):
    assert broken(monkeypatch, **{"broad, weighted": "broad"})[3] == REFUTED
    assert broken(monkeypatch, **{"model, weighted": "model"})[3] == REFUTED


def test_weights_that_never_fail_are_refuted(frame):
    # Every proposal settles, the narrow ones too.
    settled = frame.copy()
    tail = settled.part == "tail"
    settled.loc[tail, "mean"] = 1 + 0.01 * settled.seed[tail] / settled.negatives[tail]
    assert experiment.decide_weights(settled).verdict == REFUTED


def test_only_wide_proposals_decide_nothing_about_narrow_ones(frame):
    assert experiment.decide_weights(frame[~((frame.part == "tail") & (frame.width < 0.7))]).verdict == REFUTED


def test_a_variance_that_does_not_grow_is_refuted(frame):
    flat = frame.copy()
    rows = flat.part == "dimension"
    flat.loc[rows, ["mean", "expected", "closed"]] = 0.9
    assert experiment.decide_dimension(flat).verdict == REFUTED
    other = frame.copy()
    other.loc[rows, "mean"] *= 2
    assert experiment.decide_dimension(other).verdict == REFUTED


def test_a_wrong_constant_is_refuted(monkeypatch):
    right = Bumps.constant
    monkeypatch.setattr(Bumps, "constant", lambda self: right(self) * (1 + self.width))
    assert verdicts(experiment.run(SMOKE, Context()))[0] == REFUTED


def test_a_diverged_seed_counts(frame):
    lost = frame.copy()
    lost.loc[(lost.seed == 3) & (lost.scheme == "uniform"), ["mean", "with_positive"]] = np.nan
    assert experiment.decide_uniform(lost).verdict == INCONCLUSIVE


def test_too_few_draws_are_refused_at_once():
    with pytest.raises(BadInputError, match="at most half of draws"):
        experiment.run(dataclasses.replace(SMOKE, draws=64, negatives=[64]), Context())
