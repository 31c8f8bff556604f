"""Learning rates as functions of the step, and Adam over a population."""

import math

import pytest
import torch

from imitation.nn.optimiser import Adam, cosine, stepwise


def test_stepwise_decay_falls_by_the_factor_every_so_many_steps():
    rate = stepwise(1e-3, 0.99, 100)
    assert [rate(step) for step in (0, 99)] == [1e-3, 1e-3]
    assert rate(100) == pytest.approx(0.99e-3)
    assert rate(1000) == pytest.approx(1e-3 * 0.99**10)


def test_half_a_cosine_starts_at_the_rate_and_ends_at_zero():
    rate = cosine(2.0, 100)
    assert rate(0) == 2
    assert rate(50) == pytest.approx(1)
    assert rate(25) == pytest.approx(1 + math.cos(math.pi / 4))
    assert rate(100) == rate(1000) == 0


@pytest.mark.parametrize("make", [lambda rate: stepwise(rate, 0.5, 10), lambda rate: cosine(rate, 10)])
@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan])
def test_rates_that_are_not_positive_are_refused(make, rate):
    with pytest.raises(ValueError, match="rate="):
        make(rate)


@pytest.mark.parametrize(("factor", "every"), [(0.0, 1), (1.1, 1), (0.5, 0)])
def test_decays_that_cannot_be_are_refused(factor, every):
    with pytest.raises(ValueError, match=f"factor={factor}, every={every}"):
        stepwise(1.0, factor, every)


def test_a_cosine_needs_steps():
    with pytest.raises(ValueError, match="steps=0"):
        cosine(1.0, 0)


def test_the_first_step_moves_each_number_by_the_rate_and_later_ones_follow_the_schedule():
    """Adam's first step is the rate times the sign; with a constant slope so is every step."""
    values = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    slope = torch.tensor([[1.0, -2.0, 0.5], [3.0, -0.1, 7.0]], dtype=torch.float64)
    adam = Adam([values], stepwise(0.1, 0.5, 2))
    expected = torch.zeros_like(values)
    for rate in (0.1, 0.1, 0.05, 0.05, 0.025):
        adam.step((values * slope).sum())
        expected = expected - rate * slope.sign()
        torch.testing.assert_close(values.detach(), expected, rtol=1e-6, atol=0)
    assert adam.steps == 5


def quartic(seed=0):
    values = torch.nn.Parameter(torch.randn(4, generator=torch.Generator().manual_seed(seed)))
    return values, Adam([values], cosine(0.1, 20))


def test_a_state_is_not_changed_by_the_steps_of_whom_it_was_given_to():
    first, adam = quartic()
    for _ in range(3):
        adam.step(first.pow(4).sum())
    state, start = adam.state_dict(), first.detach().clone()
    ends = []
    for _ in range(2):
        values, other = quartic(seed=1)
        values.data.copy_(start)
        other.load_state_dict(state)
        for _ in range(5):
            other.step(values.pow(4).sum())
        ends.append(values.detach())
    assert torch.equal(*ends)
    for _ in range(5):
        adam.step(first.pow(4).sum())
    assert torch.equal(first.detach(), ends[0])
