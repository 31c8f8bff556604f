"""The tanh-Normal in 50 digits beside it: densities, tails, samples, entropies; and nothing that is not finite."""

from itertools import pairwise
from math import atanh, log

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from imitation.policies import tanh_normal
from imitation.population import Generators

# Deviations from HetStat's floor to its ceiling, means up to the far ends of tanh.
CASES = [(0.0, 0.866), (0.3, 0.1), (-2.0, 0.0027), (3.9, 0.4), (-6.0, 0.8), (20.0, 0.0027), (0.0, 0.0027)]


def tensors(*values: float, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.tensor([value], dtype=dtype) for value in values]


def exact(mean: float, deviation: float, action: float) -> float:
    """The log-density in 50 digits, from the definition alone."""
    with mp.workdps(50):
        m, s, a = mp.mpf(mean), mp.mpf(deviation), mp.mpf(action)
        edge = mp.atanh(mp.mpf(tanh_normal.THRESHOLD))
        if abs(a) >= tanh_normal.THRESHOLD:
            beyond = (edge - mp.sign(a) * m) / s
            return float(mp.log(mp.erfc(beyond / mp.sqrt(2)) / 2) - mp.log(1 - mp.mpf(tanh_normal.THRESHOLD)))
        u = mp.atanh(a)
        return float(-(((u - m) / s) ** 2) / 2 - mp.log(s * mp.sqrt(2 * mp.pi)) - mp.log(1 - a**2))


@pytest.mark.parametrize(("mean", "deviation"), CASES)
@pytest.mark.parametrize("action", [0.0, 0.5, -0.9, 0.99, -0.9989999, 0.999, -0.9995, 1.0, -1.0])
def test_log_density_in_fifty_digits(mean: float, deviation: float, action: float) -> None:
    measured = float(tanh_normal.log_prob(*tensors(mean, deviation, action)))
    assert measured == pytest.approx(exact(mean, deviation, action), rel=1e-9, abs=1e-9)
    single = float(tanh_normal.log_prob(*tensors(mean, deviation, action, dtype=torch.float32)))
    # atanh of a single-precision action near the edge is off by 6e-8 / (1 - a^2) = 3e-5, divided by the deviation.
    assert single == pytest.approx(exact(mean, deviation, action), rel=5e-3, abs=5e-3)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.866), (0.3, 0.1), (3.9, 0.4), (-6.0, 0.8)])
def test_the_density_integrates_to_one(mean: float, deviation: float) -> None:
    def density(action: float) -> float:
        return float(tanh_normal.log_prob(*tensors(mean, deviation, action)).exp())

    edge = tanh_normal.THRESHOLD
    places = np.tanh(mean + deviation * np.linspace(-6, 6, 13))
    cuts = [-edge + 1e-12, *places[np.abs(places) < edge - 1e-9], edge - 1e-12]
    inside = sum(quad(density, low, high, epsabs=1e-10)[0] for low, high in pairwise(cuts))
    assert inside + (1 - edge) * (density(1.0) + density(-1.0)) == pytest.approx(1, abs=1e-7)


def test_coordinates_add_up() -> None:
    mean, deviation, action = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    each = torch.stack([tanh_normal.log_prob(*(v[:, i : i + 1] for v in (mean, deviation, action))) for i in range(4)])
    torch.testing.assert_close(tanh_normal.log_prob(mean, deviation, action), each.sum(0))


def test_sampled_log_densities_are_those_of_the_actions() -> None:
    mean = torch.linspace(-5, 5, 4000, dtype=torch.float64)[None, :, None]
    action, measured = tanh_normal.sample(mean, torch.full_like(mean, 0.5), Generators([0]))
    again = tanh_normal.log_prob(mean, torch.full_like(mean, 0.5), action)
    # A tail action 1 - 1e-16 still knows that it lies in the tail.
    torch.testing.assert_close(measured, again, rtol=0, atol=1e-9)


def test_samples_follow_the_normal_and_carry_gradients() -> None:
    mean, deviation = (torch.full((1, 200_000, 1), v, requires_grad=True) for v in (0.4, 0.3))
    action, _ = tanh_normal.sample(mean, deviation, Generators([1]))
    value = action.detach().atanh()
    assert float(value.mean()) == pytest.approx(0.4, abs=4 * 0.3 / 200_000**0.5)
    assert float(value.std()) == pytest.approx(0.3, rel=0.01)
    action.sum().backward()
    slope = 1 - action.detach().square()  # da/dmean; da/ddeviation is the noise times it
    assert mean.grad is not None
    assert deviation.grad is not None
    torch.testing.assert_close(mean.grad, slope)
    torch.testing.assert_close(deviation.grad, slope * (value - 0.4) / 0.3, rtol=1e-2, atol=1e-3)


def test_members_draw_from_their_own_streams() -> None:
    mean, deviation = torch.zeros(3, 7, 2), torch.ones(3, 7, 2)
    together, _ = tanh_normal.sample(mean, deviation, Generators([4, 5, 6]))
    alone, _ = tanh_normal.sample(mean[:1], deviation[:1], Generators([5]))
    assert torch.equal(together[1:2], alone)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 0.866), (0.7, 0.5), (-1.5, 0.2), (2.0, 0.866), (0.0, 0.0027)])
def test_entropy_is_the_integral_of_the_definition(mean: float, deviation: float) -> None:
    def integrand(z: float) -> float:
        u = mean + deviation * z
        log_slope = 2 * (log(2) - abs(u) - np.log1p(np.exp(-2 * abs(u))))
        log_density = norm.logpdf(z) - log(deviation) - log_slope
        return -log_density * norm.pdf(z)

    expected = quad(integrand, -12, 12, epsabs=1e-11, limit=200)[0]
    assert float(tanh_normal.entropy(*tensors(mean, deviation))) == pytest.approx(expected, abs=1e-5)
    divergence = float(tanh_normal.divergence_from_uniform(*tensors(mean, deviation)))
    assert divergence == pytest.approx(log(2) - expected, abs=1e-5)
    assert divergence > 0


def test_the_ceiling_of_the_deviation_is_close_to_the_uniform_prior() -> None:
    # atanh of a uniform variable is logistic with variance pi^2/12 = .822; HetStat's ceiling is .75.
    assert float(tanh_normal.divergence_from_uniform(*tensors(0.0, 0.75**0.5))) < 0.011


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_densities_and_gradients_are_finite_for_every_action(dtype: torch.dtype) -> None:
    mean = torch.tensor([-1e4, -50.0, -4, -atanh(0.999), 0, 1, 50, 1e4], dtype=dtype)[:, None, None]
    deviation = torch.tensor([0.0027, 0.1, 0.866], dtype=dtype)[None, :, None]
    limits = [0, -1e-30, 0.998999, 0.999, 0.9990001, 1 - 2**-24, 1, -1, -(1 - 2**-24), 1.5]
    action = torch.tensor(limits, dtype=dtype)[None, None]
    leaves = [v.expand(8, 3, 10).clone()[..., None].requires_grad_() for v in (mean, deviation, action)]
    density = tanh_normal.log_prob(*leaves)
    density.sum().backward()
    assert bool(density.isfinite().all())
    assert all(bool(leaf.grad.isfinite().all()) for leaf in leaves if leaf.grad is not None)
    value = torch.tensor([-1e4, -20.0, -3.8002, 0, 3.8002, 20, 1e4], dtype=dtype)[:, None]
    again = tanh_normal.log_prob_of_value(torch.zeros_like(value), torch.ones_like(value), value)
    assert bool(again.isfinite().all())


def test_gradients_of_the_log_density_are_those_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(3)
    mean, action = (torch.rand(20, 2, generator=random, dtype=torch.float64) * 2.2 - 1.1 for _ in range(2))
    deviation = torch.rand(20, 2, generator=random, dtype=torch.float64) + 0.1
    # atanh of an inside action is steep near the edge: inside, and deep in the tails.
    action = torch.where(action.abs() > 0.99, action.sign() * 1.2, action)
    leaves = [v.requires_grad_() for v in (mean, deviation, action)]
    assert torch.autograd.gradcheck(tanh_normal.log_prob, leaves)


def test_the_density_of_the_mode() -> None:
    mean, deviation = tensors(0.8, 0.0027386)
    expected = exact(0.8, 0.0027386, float(tanh_normal.mode(mean)))
    assert float(tanh_normal.log_prob_of_mode(mean, deviation)) == pytest.approx(expected, abs=1e-9)
