"""Finite demonstrations: estimators against independent ones, theory, and broken variants that must be caught."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from experiments.critique import finite_sample
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes

CLAIMS = {claim.id: claim for claim in finite_sample.CLAIMS}
GOOD = {"reproduced", "corrected"}
CONFIG = finite_sample.Config(
    k=0.5, d2=[0.4, 0.5], n=[20, 50, 100, 300, 1000, 3000, 10_000, 100_000], repetitions=300, seeds=list(range(16))
)


def measure() -> pd.DataFrame:
    return finite_sample.run(CONFIG, Context())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return measure()


@pytest.mark.parametrize("id", list(CLAIMS))
def test_verdicts(frame: pd.DataFrame, id: str) -> None:
    assert CLAIMS[id].verdict(frame, "laptop").verdict == "reproduced"
    assert CLAIMS[id].verdict(frame, "smoke").verdict == "inconclusive"


def test_estimates_maximise_their_likelihoods() -> None:
    """Against a scalar optimiser on the log-likelihood itself."""
    n, visits2, taken1, taken2, k = 40, 15, 16, 9, 0.5

    def cloning(theta: float) -> float:
        first = taken1 * theta + (n - visits2) * log_expit(-theta)
        return -(first + taken2 * k * theta + visits2 * log_expit(-k * theta))

    def joint(theta: float) -> float:
        return -((taken1 + k * taken2) * theta - n * np.log(2 + np.exp(theta) + np.exp(k * theta)))

    data = [np.array([value]) for value in (n, visits2, taken1 + k * taken2)]
    estimates = finite_sample._estimates(*data, k)
    for method, loss in (("cloning", cloning), ("edm", joint)):
        best = minimize_scalar(loss, bounds=(-6, 8), method="bounded", options={"xatol": 1e-10}).x
        assert estimates[method][0] == pytest.approx(best, abs=1e-6)


def test_without_a_maximum_the_edge_is_the_estimate() -> None:
    data = [np.array([10, 10]), np.array([4, 4]), np.array([6 + 0.5 * 4, 0.0])]
    estimates = finite_sample._estimates(*data, 0.5)
    assert estimates["cloning"].tolist() == [finite_sample.HIGHEST, finite_sample.LOWEST]


def test_large_sample_theory(frame: pd.DataFrame) -> None:
    case = "misspecified, 0.4"
    n, squared = finite_sample.errors(frame, case, "cloning")
    theory = finite_sample._large_sample(frame, case)
    information = 0.6 * expit(1) * expit(-1) + 0.4 * 0.25 * expit(0.5) * expit(-0.5)
    assert theory["cloning"] == pytest.approx(information**-0.5)
    assert np.sqrt(squared[:, -1].mean() * n[-1]) == pytest.approx(theory["cloning"], rel=0.06)
    well = finite_sample._large_sample(frame, "well specified")
    assert well["floor"] < 1e-9
    assert well["edm"] < well["cloning"]


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(method=frame.method.map({"cloning": "edm", "edm": "cloning"}))


@pytest.mark.parametrize("id", list(CLAIMS))
def test_estimators_swapped_fail_every_claim(frame: pd.DataFrame, id: str) -> None:
    assert CLAIMS[id].verdict(swapped(frame), "laptop").verdict not in GOOD


def test_a_crossover_needs_seeds_but_no_lead_of_edms(frame: pd.DataFrame) -> None:
    decide = CLAIMS["critique.finite-sample.crossover"].decide
    assert decide(frame[frame.seed == 0]).verdict == "inconclusive"
    worse = frame.assign(mse=frame.mse * np.where(frame.method == "edm", 1e3, 1))  # at every n
    assert decide(worse).verdict == "reproduced"
    better = frame.assign(mse=frame.mse * np.where(frame.method == "edm", 1e-6, 1))
    assert decide(better).verdict == "refuted"


def with_wrong_energy_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """EDM's estimate with p(s) ~ 1 / sum e^f, the signs of (4)-(5)."""
    real = finite_sample._estimates

    def estimates(n, visits2, feature, k):
        data = np.broadcast_arrays(n.astype(float), visits2.astype(float), feature)

        def slope(theta, n, visits2, feature):
            first, other = expit(theta), k * expit(k * theta)
            share = 1 / (1 + (1 + np.exp(k * theta)) / (1 + np.exp(theta)))  # the other state's, as 1 / sum e^f
            own = (n - visits2) * first + visits2 * other
            return (feature - 2 * own) / n + (1 - share) * first + share * other

        return real(n, visits2, feature, k) | {"edm": finite_sample._maximum(slope, data)}

    monkeypatch.setattr(finite_sample, "_estimates", estimates)


def with_errors_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloning sees at most 100 pairs, however many are demonstrated."""
    real = finite_sample._estimates

    def estimates(n, visits2, feature, k):
        few = np.minimum(n, 100) / n
        kept = real(np.maximum(n * few, 2), (visits2 * few).round(), feature * few, k)
        return real(n, visits2, feature, k) | {"cloning": kept["cloning"] + 0.05}

    monkeypatch.setattr(finite_sample, "_estimates", estimates)


def with_equal_slopes(monkeypatch: pytest.MonkeyPatch) -> None:
    """k = 1: EDM's optimum is the expert, there is no floor and nothing to cross."""
    monkeypatch.setitem(vars(CONFIG), "k", 1.0)


@pytest.mark.parametrize(
    ("id", "breaks"),
    [
        ("critique.finite-sample.cloning", with_errors_that_stay),
        ("critique.finite-sample.floor", with_wrong_energy_sign),
        ("critique.finite-sample.floor", with_equal_slopes),
        ("critique.finite-sample.efficiency", with_wrong_energy_sign),
        ("critique.finite-sample.crossover", with_errors_that_stay),
        ("critique.finite-sample.crossover", with_equal_slopes),
    ],
)
def test_negative_controls(id: str, breaks: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    assert CLAIMS[id].verdict(measure(), "laptop").verdict not in GOOD


def test_seeds_are_independent_of_what_runs_beside_them(frame: pd.DataFrame) -> None:
    alone = finite_sample.run(finite_sample.Config(**(vars(CONFIG) | {"seeds": [7]})), Context())
    assert frame_bytes(alone) == frame_bytes(frame[frame.seed == 7])


def test_pieces_read_back_are_what_was_measured(tmp_path, frame: pd.DataFrame) -> None:
    first = finite_sample.run(CONFIG, Context(tmp_path, "key"))
    again = finite_sample.run(CONFIG, Context(tmp_path, "key"))
    assert frame_bytes(first) == frame_bytes(again) == frame_bytes(frame)
