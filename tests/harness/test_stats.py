"""Intervals: known values, coverage, and what a diverged or a lonely seed does."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from experiments.harness.claim import above, below, equals, equivalent, holds
from experiments.harness.stats import bootstrap_interval, interquartile_mean, mean_interval, share_interval


def test_mean_interval_is_students() -> None:
    sample = np.random.default_rng(0).normal(size=12)
    expected = scipy_stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert mean_interval(sample) == pytest.approx((sample.mean(), *expected))


def test_mean_interval_covers_as_often_as_it_says() -> None:
    samples = np.random.default_rng(1).normal(3.0, 2.0, size=(2000, 8))
    covered = [low <= 3.0 <= high for _, low, high in map(mean_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)  # three standard errors of 2000 coin flips


def test_bootstrap_of_a_mean_agrees_with_student_for_many_seeds() -> None:
    sample = np.random.default_rng(2).normal(size=400)
    assert bootstrap_interval(sample, lambda part: part.mean(1)) == pytest.approx(mean_interval(sample), abs=0.005)


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert interquartile_mean(np.array([[0, 1, 2, 100], [-9, 7, 5, 8]])).tolist() == [1.5, 6]


def test_bootstrap_is_repeatable_and_keeps_axes() -> None:
    sample = np.random.default_rng(3).normal(size=(20, 5))
    first = bootstrap_interval(sample, lambda part: part.mean(1).max(-1))
    assert first == bootstrap_interval(sample, lambda part: part.mean(1).max(-1))


def test_a_share_of_few_alike_seeds_is_wide() -> None:
    share, low, high = share_interval([1.0, 1.0, 1.0])
    assert (share, high) == (1, 1)
    assert low == pytest.approx(0.025 ** (1 / 3))  # the chance of three in three is then 2.5 %
    assert share_interval([0, 1, 1, 0])[1:] == pytest.approx((0.0676, 0.9324), abs=1e-4)  # tables of the binomial
    assert np.isnan(share_interval([1, float("nan")])).all()
    with pytest.raises(ValueError, match="zeros and ones"):
        share_interval([0.5, 1])


def test_a_diverged_seed_is_not_dropped() -> None:
    assert np.isnan(mean_interval([1.0, 2.0, np.nan])).all()
    assert equivalent(mean_interval([1.0, 1.0, np.inf]), 1.0, 0.1).verdict == "inconclusive"


def test_one_seed_decides_nothing() -> None:
    estimate, low, high = mean_interval([4.0])
    assert estimate == 4.0
    assert np.isnan([low, high]).all()
    assert np.isnan(bootstrap_interval([4.0], lambda part: part.mean(1))[1:]).all()
    lonely = (4.0, low, high)
    for decision in (equivalent(lonely, 4.0, 1.0), below(lonely, 5.0), above(lonely, 3.0)):
        assert decision.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("decision", "verdict"),
    [
        (equals(1.0, 1.0 + 1e-9, 1e-8), "reproduced"),
        (equals(1.0, 1.1, 1e-8), "refuted"),
        (equals(float("nan"), 1.0, 1e-8), "refuted"),
        (holds(True, 1.0), "reproduced"),
        (holds(False, 1.0), "refuted"),
        (equivalent((1.0, 0.9, 1.1), 1.0, 0.2), "reproduced"),
        (equivalent((1.0, 0.7, 1.1), 1.0, 0.2), "inconclusive"),
        (equivalent((2.0, 1.9, 2.1), 1.0, 0.2), "refuted"),
        (below((1.0, 0.9, 1.1), 1.2), "reproduced"),
        (below((1.0, 0.9, 1.1), 1.0), "inconclusive"),
        (below((1.0, 0.9, 1.1), 0.8), "refuted"),
        (above((1.0, 0.9, 1.1), 0.8), "reproduced"),
        (above((1.0, 0.9, 1.1), 1.2), "refuted"),
    ],
)
def test_decision_rules(decision, verdict: str) -> None:
    assert decision.verdict == verdict


def test_only_a_check_that_held_becomes_a_correction() -> None:
    assert holds(True, 1.0).as_corrected("so").verdict == "corrected"
    assert holds(False, 1.0, "no").as_corrected("so") == holds(False, 1.0, "no")
