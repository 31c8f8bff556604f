"""Example 3 and Theorem 1: exact values, and broken variants that every decision must catch."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from experiments.critique import _two_state as example
from experiments.critique import gradient_sign
from experiments.harness import catalogue
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes

CLAIMS = {claim.id: claim for claim in gradient_sign.CLAIMS}
GOOD = {"reproduced", "corrected"}


def measure() -> pd.DataFrame:
    return gradient_sign.run(catalogue.canonical("critique/gradient_sign", "smoke"), Context())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return measure()


@pytest.mark.parametrize(
    ("id", "verdict", "measured"),
    [
        ("critique.energy-sign", "corrected", 0.125),
        ("critique.example-3", "reproduced", -0.125),
        ("critique.example-3.objective", "corrected", 0.84810),
        ("critique.theorem-1", "reproduced", -0.24518),
        ("critique.theorem-1.objective", "corrected", 0.41601),
    ],
)
def test_verdicts_and_known_values(frame: pd.DataFrame, id: str, verdict: str, measured: float) -> None:
    decision = CLAIMS[id].verdict(frame, "smoke")
    assert decision.verdict == verdict
    assert decision.measured == pytest.approx(measured, abs=1e-5)


def test_total_gradient_is_linear_in_the_visits_with_known_coefficients(frame: pd.DataFrame) -> None:
    for theta, start in ((0.0, 0.35606), (1.0, 0.17465)):
        rows = gradient_sign.at(frame, "total", k=0.5, theta=theta)
        assert np.allclose(rows.value, start - 0.41983 * rows.d2, atol=1e-5)


def test_gradients_against_finite_differences() -> None:
    theta, k, d2 = (torch.tensor(value, dtype=torch.float64) for value in (0.7, 0.5, 0.3))
    step = 1e-6
    for objective in (example.cloning, example.joint):
        difference = (objective(theta + step, k, d2) - objective(theta - step, k, d2)) / (2 * step)
        assert float(example.slope(objective, theta, k, d2)) == pytest.approx(float(difference), abs=1e-9)


def with_wrong_energy_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both conventions read as (4)-(5)."""
    real = example.log_state_density
    monkeypatch.setattr(example, "log_state_density", lambda logits, sign: real(logits, "-f"))


def without_the_state_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """EDM is cloning: its gradient never points away."""
    monkeypatch.setattr(example, "state_term", lambda theta, k, d2, sign="f": 0 * theta * k * d2)
    monkeypatch.setattr(example, "joint_slope", gradient_sign._cloning_slope)
    monkeypatch.setattr(gradient_sign, "_second_term_slope", lambda theta, k, d2: 0 * theta * k * d2)


def with_expert_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demonstrations come from theta = 1.1: cloning's gradient at theta = 1 is not zero."""
    real = example.weights
    monkeypatch.setattr(example, "weights", lambda k, d2: real(1.1 * k, d2))


def with_summed_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state term forgets the expert's visits and counts log p(s2) alone."""
    real = example.state_term
    monkeypatch.setattr(
        example, "state_term", lambda theta, k, d2, sign="f": real(theta, k, torch.ones_like(k * d2), sign)
    )


@pytest.mark.parametrize(
    ("id", "breaks"),
    [
        ("critique.energy-sign", with_wrong_energy_sign),
        ("critique.example-3", with_wrong_energy_sign),
        ("critique.example-3.objective", with_summed_visits),
        ("critique.example-3.objective", without_the_state_term),
        ("critique.theorem-1.objective", without_the_state_term),
        ("critique.theorem-1", with_wrong_energy_sign),
        ("critique.theorem-1", with_expert_elsewhere),
        ("critique.theorem-1.objective", with_summed_visits),
    ],
)
def test_negative_controls(id: str, breaks: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    assert CLAIMS[id].verdict(measure(), "smoke").verdict not in GOOD


def test_what_would_hold_as_printed_is_reproduced(frame: pd.DataFrame) -> None:
    """Frames in which the sentence itself is true; the whole objective's needs its threshold to be missing too."""

    def changed(quantity: str, **columns) -> pd.DataFrame:
        rows = frame.quantity == quantity
        return frame.assign(**{name: frame[name].where(~rows, value) for name, value in columns.items()})

    signs = frame.assign(quantity=frame.quantity.replace({"state, signs of (4)-(5)": "state", "state": "other"}))
    both = pd.concat([signs, signs[signs.quantity == "state"].assign(quantity="state, signs of (4)-(5)")])
    printed = frame[frame.quantity == "state"].assign(quantity="state, signs of (4)-(5)")
    right = pd.concat([frame[frame.quantity != "state, signs of (4)-(5)"], printed])
    assert CLAIMS["critique.energy-sign"].decide(right).verdict == "reproduced"
    assert CLAIMS["critique.energy-sign"].decide(both).verdict == "refuted"
    away = changed("total", value=-1.0, closed_form=-1.0)
    for id in ("critique.example-3.objective", "critique.theorem-1.objective"):
        assert CLAIMS[id].decide(away).verdict == "refuted"  # there still is a threshold
        missing = away.assign(value=away.value.where(away.quantity != "threshold d2"))
        assert CLAIMS[id].decide(missing).verdict == "reproduced"


def test_k_equal_to_one_pushes_nowhere(frame: pd.DataFrame) -> None:
    """With k = 1 both states weigh the same and the claimed gradient is zero: the check on -0.245 must fail."""

    def as_half(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[np.isclose(rows.k, 1)].assign(k=0.5)

    assert CLAIMS["critique.theorem-1"].verdict(as_half(frame), "smoke").verdict == "refuted"


def test_the_same_configuration_gives_the_same_bytes(frame: pd.DataFrame) -> None:
    assert frame_bytes(measure()) == frame_bytes(frame)


def test_autograd_is_independent_of_the_closed_form(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong closed form is seen, because the measured values do not come from it."""

    def wrong(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
        return torch.zeros_like(theta)

    monkeypatch.setattr(gradient_sign, "_printed_state_slope", wrong)
    assert CLAIMS["critique.example-3"].verdict(measure(), "smoke").verdict == "refuted"
