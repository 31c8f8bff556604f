"""Fig. 18.1: known values, three computations, orders and saturation, and variants that must be refuted."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED
from experiments.harness.context import Context
from experiments.lecture import compounding as experiment

SMOKE = catalogue.canonical("lecture/compounding", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def exact(frame, epsilon, recovery, horizon, column="gap"):
    rows = frame[(frame.method == experiment.EXACT) & (frame.epsilon == epsilon) & (frame.horizon == horizon)]
    return float(rows[rows.recovery == recovery][column].iloc[0])


def test_the_verdict(frame):
    assert experiment.decide(frame).verdict == CORRECTED


def test_known_values(frame):
    e, horizon = 0.1, 10
    assert exact(frame, e, 0, horizon) == pytest.approx(2.87420, abs=5e-6)  # printed: 10
    assert exact(frame, e, 0, horizon) == pytest.approx(9 - (1 - 0.9**9) / 0.1, abs=1e-12)
    assert exact(frame, e, 1, horizon) == pytest.approx(9 * e / 1.1 - e * (1 - (-e) ** 9) / 1.1**2, abs=1e-12)
    assert exact(frame, e, 0, horizon, "loss") == pytest.approx(-9 * np.log(0.9), abs=1e-12)


@given(epsilon=st.floats(1e-4, 0.5), recovery=st.floats(0, 1), horizon=st.integers(2, 60))
@settings(max_examples=40)
def test_the_closed_form_is_the_sum_of_its_recursion(epsilon, recovery, horizon):
    lost, total = 0.0, 0.0  # Pr(s_h = s2), from h = 2
    for _ in range(horizon - 1):
        total += lost
        lost = lost * (1 - recovery) + (1 - lost) * epsilon
    assert float(experiment.closed_form(*map(number, (epsilon, recovery, horizon)))) == pytest.approx(total, abs=1e-9)


def test_limits_of_the_closed_form():
    e, horizon = 1e-6, 100  # e H << 1: quadratic, and linear
    assert float(experiment.closed_form(*map(number, (e, 0, horizon)))) == pytest.approx(e * 99 * 98 / 2, rel=1e-3)
    assert float(experiment.closed_form(*map(number, (e, 1, horizon)))) == pytest.approx(e * 98, rel=1e-3)
    assert float(experiment.closed_form(*map(number, (0.5, 0, 1000)))) == pytest.approx(999 - 2, abs=1e-9)


def swapped(frame, recovery, other):
    """The frame as if another recovery's leads had been measured for this one, by every method."""
    broken = frame.copy()
    for method in frame.method.unique():
        mine, its = (broken[(broken.method == method) & (broken.recovery == q)].index for q in (recovery, other))
        broken.loc[mine, ["gap", "slips"]] = frame.loc[its, ["gap", "slips"]].to_numpy()
    return broken


@pytest.mark.parametrize(("recovery", "other"), [(0, 1), (0, 0.5), (1, 0), (1, 0.01), (0.5, 0), (0.5, 1)])
def test_off_support_behaviour_of_another_order_is_refuted(frame, recovery, other):
    assert experiment.decide(swapped(frame, recovery, other)).verdict == REFUTED


def test_the_printed_equations_are_refuted(frame):
    broken, q = frame.copy(), frame.recovery
    printed = (frame.epsilon * frame.horizon ** (2 - q)).where(q.isin([0, 1]), frame.gap)
    assert (
        experiment.decide(broken.assign(gap=printed.where(frame.method != experiment.SIMULATED, frame.gap))).verdict
        == REFUTED
    )
    closed = frame.method == experiment.CLOSED
    assert experiment.decide(broken.assign(gap=printed.where(closed, frame.gap))).verdict == REFUTED


def test_one_coin_for_all_visits_is_no_coin_per_visit(frame):
    """E over the coin is the mean of both leads, which the policy that mixes per visit does not have."""
    once = experiment.tossed_once(frame)
    row = once[(once.epsilon == 0.1) & (once.horizon == 10)].gap.item()
    assert row == pytest.approx((exact(frame, 0.1, 0, 10) + exact(frame, 0.1, 1, 10)) / 2, abs=1e-12)
    assert experiment.slopes(once, 0) == pytest.approx([2] * len(experiment.slopes(once, 0)), abs=0.1)
    assert experiment.slopes(frame, 0.5) == pytest.approx([1] * len(experiment.slopes(frame, 0.5)), abs=0.1)


@given(epsilon=st.floats(1e-4, 0.5), recovery=st.floats(0.01, 1))
@settings(max_examples=40)
def test_the_lead_with_a_way_back_tends_to_its_rate(epsilon, recovery):
    """Per step it tends to e / (e + q), and not to e / q."""
    horizon = 1e5
    lead = float(experiment.closed_form(*map(number, (epsilon, recovery, horizon))))
    assert lead / horizon == pytest.approx(epsilon / (epsilon + recovery), rel=2e-3)


def test_another_rate_is_refuted(frame):
    back = (frame.recovery == 0.01) & (frame.epsilon == 0.1) & (frame.method != experiment.SIMULATED)
    wrong = frame.gap.where(~back, frame.epsilon * (frame.horizon - 1))
    assert experiment.mixed_error(frame.assign(gap=wrong)) > experiment.MIXED_TOLERANCE
    assert experiment.mixed_error(frame) <= experiment.MIXED_TOLERANCE


def test_unequal_losses_are_refuted(frame):
    unequal = frame.loss.where(frame.recovery != 0, frame.loss * 1.01)
    assert experiment.decide(frame.assign(loss=unequal)).verdict == REFUTED


def test_a_simulation_of_another_policy_is_refuted(frame):
    wrong = frame.gap.where((frame.method != experiment.SIMULATED) | (frame.recovery != 0), 0.8 * frame.gap)
    assert experiment.decide(frame.assign(gap=wrong)).verdict == REFUTED


def test_a_seed_that_diverged_is_never_dropped(frame):
    assert experiment.decide(frame.assign(gap=frame.gap.where(frame.seed != 1))).verdict == REFUTED


def test_only_saturated_horizons_decide_nothing(frame):
    assert experiment.decide(frame[frame.epsilon * frame.horizon >= 1]).verdict == REFUTED


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 3
