"""The Langevin kernels: the update by hand, what they sample, limits, and the population axis."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imitation.ebm.langevin import Langevin, State, gradient_of
from imitation.population import Generators, normal_like

DOUBLE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def identity(position):
    """Gradient of the unit Gaussian's energy."""
    return position


def wavy(position):
    """Gradient of y^4/4 + sin y, which is no straight line."""
    return position**3 + torch.cos(position)


@pytest.mark.parametrize(("form", "coefficient"), [("true", 0.5 * 3), ("ibc", 0.25 * 3)])
def test_one_step_is_the_printed_formula(form, coefficient):
    # lambda = 1/4, sigma = 3: sqrt(lambda) sigma = 1.5 and lambda sigma = .75; lambda/2 = 1/8.
    position, noise = torch.tensor([[2.0, -1.0]], dtype=DOUBLE), torch.tensor([[1.0, -2.0]], dtype=DOUBLE)
    state, info = Langevin(form, noise_scale=3.0).step(State(position), lambda y: 4 * y, 0.25, noise)
    expected = position - 0.125 * torch.tensor([[8.0, -4.0]]) + coefficient * noise
    torch.testing.assert_close(state.position, expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(info.gradient, 4 * position, rtol=0, atol=0)
    torch.testing.assert_close(info.change, expected - position, rtol=0, atol=1e-15)


@settings(max_examples=50)
@given(step_size=st.floats(1e-4, 3), sigma=st.floats(0, 10), position=st.floats(-10, 10), noise=st.floats(-5, 5))
def test_ibc_is_the_true_form_with_noise_scaled_by_root_lambda_sigma(step_size, sigma, position, noise):
    start, noise = State(torch.tensor([position], dtype=DOUBLE)), torch.tensor([noise], dtype=DOUBLE)
    ibc, _ = Langevin("ibc", sigma).step(start, wavy, step_size, noise)
    true, _ = Langevin("true", math.sqrt(step_size) * sigma).step(start, wavy, step_size, noise)
    torch.testing.assert_close(ibc.position, true.position, rtol=1e-13, atol=1e-12)


def test_the_forms_coincide_at_step_size_one_only():
    noise = normal_like(torch.empty(100, 2, dtype=DOUBLE), generator())
    start = State(torch.zeros(100, 2, dtype=DOUBLE))
    ends = {
        (form, size): Langevin(form).step(start, identity, size, noise)[0].position
        for form in ("true", "ibc")
        for size in (0.5, 1.0)
    }
    assert torch.equal(ends["true", 1.0], ends["ibc", 1.0])
    assert not torch.allclose(ends["true", 0.5], ends["ibc", 0.5])


@pytest.mark.parametrize("form", ["true", "ibc"])
@pytest.mark.parametrize("step_size", [0.3, 1.0, 3.0])
def test_stationary_spread_on_a_gaussian_is_the_closed_form(form, step_size):
    # y' = (1 - a) y + b w with a = lambda / (2 s^2) has variance b^2 / (2 a - a^2), which is
    # (b^2 / lambda) s^2 / (1 - lambda / (4 s^2)): IBC's form samples at temperature lambda sigma^2.
    sigma, spread, chains = 0.7, 1.3, 20_000
    kernel = Langevin(form, sigma)
    start = torch.zeros(chains, 1, dtype=DOUBLE)
    draws = kernel.sample(lambda y: y / spread**2, start, [step_size] * 120, generator())
    temperature = sigma**2 * (step_size if form == "ibc" else 1.0)
    expected = math.sqrt(temperature / (1 - step_size / (4 * spread**2))) * spread
    # Standard error of a standard deviation: 1 / sqrt(2 n) = .5 %; four of them.
    assert draws.std().item() == pytest.approx(expected, rel=0.02)


def test_bias_of_the_true_form_is_of_first_order_in_the_step_size():
    # Propagating the variance itself (no sampling noise): 1/(1 - lambda/4) - 1 halves with lambda.
    def variance(step_size):
        value, keep = 0.0, 1 - step_size / 2
        for _ in range(int(40 / step_size)):
            value = keep**2 * value + float(Langevin("true").noise_coefficient(step_size)) ** 2
        return value

    errors = [variance(size) - 1 for size in (0.2, 0.1, 0.05)]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([1, 1], abs=0.05)


def test_the_one_step_variance_has_the_right_order_in_the_step_size():
    # Brownian scaling: the true form's noise variance is lambda sigma^2, IBC's lambda^2 sigma^2.
    for form, order in (("true", 1), ("ibc", 2)):
        noises = [float(Langevin(form, 2.0).noise_coefficient(size)) ** 2 for size in (0.1, 0.2)]
        assert math.log2(noises[1] / noises[0]) == pytest.approx(order, abs=1e-12)


def test_without_noise_both_forms_are_gradient_descent():
    start = torch.tensor([[1.7, -0.4]], dtype=DOUBLE)
    expected = start
    for _ in range(20):
        expected = expected - 0.05 * wavy(expected)
    for form in ("true", "ibc"):
        end = Langevin(form, 0.0).sample(wavy, start, [0.1] * 20, generator())[0]
        torch.testing.assert_close(end, expected, rtol=0, atol=1e-14)


def test_clip_limits_the_change_noise_included():
    noise = torch.tensor([[50.0, -50.0, 0.0, 0.1]], dtype=DOUBLE)
    position = torch.tensor([[0.0, 0.0, 9.0, 0.0]], dtype=DOUBLE)
    state, info = Langevin("true", clip=0.5).step(State(position), identity, 1.0, noise)
    expected = torch.tensor([[0.5, -0.5, -0.5, 0.1]], dtype=DOUBLE)
    torch.testing.assert_close(info.change, expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(state.position, position + expected, rtol=0, atol=1e-15)


def test_bounds_hold_for_the_position_and_not_for_the_change():
    state = State(torch.tensor([[0.9, -0.9]], dtype=DOUBLE))
    noise = torch.tensor([[5.0, -5.0]], dtype=DOUBLE)
    moved, info = Langevin("true", bounds=(-1.0, 1.0)).step(state, torch.zeros_like, 1.0, noise)
    assert moved.position.tolist() == [[1.0, -1.0]]
    assert info.change.tolist() == [[5.0, -5.0]]


@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 5, 2), (2, 3, 5, 2)])
def test_any_leading_axes(shape):
    draws = Langevin().sample(wavy, torch.zeros(shape, dtype=DOUBLE), [0.1] * 6, generator(), keep=4)
    assert draws.shape == (4, *shape)
    flat = Langevin().sample(wavy, torch.zeros(math.prod(shape), dtype=DOUBLE), [0.1] * 6, generator(), keep=4)
    assert torch.equal(draws.reshape(4, -1), flat)


def test_kept_positions_are_the_last_ones_in_order_of_time():
    start = torch.ones(1, dtype=DOUBLE)
    kept = Langevin(noise_scale=0.0).sample(identity, start, [1.0] * 5, generator(), keep=3)
    assert kept.flatten().tolist() == [0.5**3, 0.5**4, 0.5**5]


def test_sampling_leaves_the_start_as_it_was_and_builds_no_graph():
    start = torch.ones(4, 2, dtype=DOUBLE, requires_grad=True)
    draws = Langevin().sample(gradient_of(lambda y: y.square().sum(-1)), start, [0.1, 0.1], generator())
    assert not draws.requires_grad
    assert torch.equal(start.detach(), torch.ones(4, 2, dtype=DOUBLE))


def test_gradient_of_an_energy_is_its_derivative_row_by_row():
    position = normal_like(torch.empty(3, 4, 2, dtype=DOUBLE), generator())
    gradient = gradient_of(lambda y: (y**4 / 4 + torch.sin(y)).sum(-1))
    torch.testing.assert_close(gradient(position), wavy(position), rtol=1e-14, atol=1e-14)
    changed = position.clone()
    changed[0] += 1
    assert torch.equal(gradient(changed)[1:], gradient(position)[1:])


@pytest.mark.parametrize("form", ["true", "ibc"])
def test_a_member_of_a_population_equals_the_same_run_alone_to_the_bit(form):
    seeds, sizes = [3, 1, 4], [0.1, 0.5, 2.0]
    step = torch.tensor(sizes, dtype=DOUBLE)[:, None, None]
    sigma = torch.tensor([1.0, 0.1, 0.3], dtype=DOUBLE)[:, None, None]
    start = torch.ones(3, 7, 2, dtype=DOUBLE)
    together = Langevin(form, sigma).sample(identity, start, [step] * 30, Generators(seeds), keep=2)
    for member, seed in enumerate(seeds):
        alone = Langevin(form, sigma[member]).sample(
            identity, start[member], [step[member]] * 30, generator(seed), keep=2
        )
        assert torch.equal(together[:, member], alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_scale": -1.0}, "noise_scale must be finite and not negative, the smallest is -1"),
        (
            {"noise_scale": torch.tensor([0.1, -0.1])},
            "noise_scale must be finite and not negative, the smallest is -0.1",
        ),
        ({"noise_scale": float("nan")}, "the smallest is nan"),
        ({"clip": 0.0}, "clip=0.0: must be positive"),
        ({"bounds": (1.0, 1.0)}, r"bounds=\(1.0, 1.0\): the first must be below the second"),
    ],
)
def test_bad_kernels_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        Langevin(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "keep", "message"),
    [
        ([0.1, 0.0], 1, "step sizes must be positive"),
        ([0.1, math.nan], 1, "step sizes must be positive"),
        ([torch.tensor([[0.1], [-0.1]])], 1, "step sizes must be positive"),
        ([0.1, 0.1], 3, "keep=3: must be between 1 and the number of iterations, 2"),
        ([0.1, 0.1], 0, "keep=0: must be between 1 and the number of iterations, 2"),
        ([], 1, "keep=1: must be between 1 and the number of iterations, 0"),
    ],
)
def test_bad_runs_are_refused_in_one_line(sizes, keep, message):
    with pytest.raises(ValueError, match=message):
        Langevin().sample(identity, torch.zeros(2, 1), sizes, generator(), keep=keep)


def test_one_step_refuses_what_a_run_refuses():
    state, noise = State(torch.zeros(3, 2)), torch.ones(3, 2)
    with pytest.raises(ValueError, match="step sizes must be positive, the smallest is -1"):
        Langevin().step(state, lambda y: y, -1.0, noise)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positions_keep_their_type(dtype):
    kernel = Langevin("ibc", noise_scale=torch.tensor([[0.1], [0.2]], dtype=torch.float64))
    seen = []

    def gradient(position):
        seen.append(position.dtype)
        return position

    sizes = [torch.tensor([[0.1], [0.2]], dtype=torch.float64)] * 3
    draws = kernel.sample(gradient, torch.zeros(2, 5, dtype=dtype), sizes, torch.Generator().manual_seed(0), keep=3)
    assert {*seen, draws.dtype} == {dtype}
