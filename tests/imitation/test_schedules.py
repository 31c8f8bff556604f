"""Step-size schedules: end points, shape, and the refusal of what is no schedule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imitation.ebm import schedules

SCHEDULES = [schedules.polynomial, schedules.notebook]
sizes = st.floats(1e-6, 10)


@pytest.mark.parametrize("schedule", SCHEDULES)
@given(initial=sizes, final=sizes, steps=st.integers(2, 60), power=st.floats(0.5, 4))
def test_it_goes_from_the_first_to_the_last_size_without_turning(schedule, initial, final, steps, power):
    values = schedule(initial, final, steps, power)
    assert len(values) == steps
    assert values[0] == pytest.approx(initial, rel=1e-9)
    assert values[-1] == pytest.approx(final, rel=1e-9)
    rises = np.diff(values) * (final - initial)
    assert (rises >= -1e-12).all()
    assert min(values) > 0


def test_values_at_the_quarter_points():
    # (init - final) (1 - x)^2 + final against init + x^2 (final - init), from 5 to 1 at x = 0, 1/4, ..., 1.
    assert schedules.polynomial(5.0, 1.0, 5) == pytest.approx([5, 3.25, 2, 1.25, 1])
    assert schedules.notebook(5.0, 1.0, 5) == pytest.approx([5, 4.75, 4, 2.75, 1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_power_one_is_a_straight_line_and_equal_ends_are_constant(schedule):
    assert schedule(5.0, 1.0, 5, power=1.0) == pytest.approx([5, 4, 3, 2, 1])
    assert schedule(0.3, 0.3, 4) == pytest.approx([0.3] * 4)


def test_the_two_are_mirror_images():
    forward, backward = schedules.polynomial(5e-3, 1e-3, 50), schedules.notebook(1e-3, 5e-3, 50)
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_single_step_takes_the_first_size(schedule):
    assert schedule(0.5, 0.1, 1) == [0.5]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "arguments", [(0.0, 1.0, 5), (1.0, 0.0, 5), (-1.0, 1.0, 5), (1.0, 1.0, 0), (float("nan"), 1.0, 5)]
)
def test_what_is_no_schedule_is_refused_in_one_line(schedule, arguments):
    with pytest.raises(ValueError, match="sizes must be positive, steps at least 1"):
        schedule(*arguments)
