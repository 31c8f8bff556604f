"""HetStat: triangular products, periodic features in closed form, the prior at the start, members, gradients."""

from itertools import product
from math import cos, exp, log, pi, sqrt, tanh

import pytest
import torch
from scipy.stats import norm

from imitation.policies import tanh_normal
from imitation.policies.hetstat import HetStat, TriangularFactor, coherent_reward, triangle_wave, wave_features
from imitation.policies.tanh_normal_mlp import TanhNormalMLP
from imitation.population import Generators, normal_like

SMALL = {"hidden": (16, 8), "bottleneck": 5, "features": 128, "dtype": torch.float64}


def shaken(policy, seeds: list[int], size: float = 0.1):
    """The policy with noise on every parameter, each member's own, so that nothing is zero."""
    random = Generators(seeds)
    with torch.no_grad():
        for value in policy.parameters():
            value += size * normal_like(value, random)
    return policy


def observations(members: int = 2, rows: int = 9) -> torch.Tensor:
    return torch.randn(members, rows, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize("features", [10, 64, 192])
def test_the_blocked_product_is_the_triangular_one(features: int) -> None:
    factor = shaken(TriangularFactor(features, 3, Generators([0, 1]), torch.float64), [2, 3])
    dense = factor.dense()
    assert torch.equal(dense, dense.tril())
    assert bool((dense.diagonal(dim1=-2, dim2=-1) > 0).all())
    phi = torch.randn(2, 5, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.einsum("pdij,pbi->pbdj", dense, phi).square().sum(-1)
    torch.testing.assert_close(factor(phi), expected, rtol=1e-12, atol=1e-12)
    free = sum(int((torch.autograd.grad(factor(phi).sum(), one)[0] != 0).sum()) for one in factor.parameters())
    assert free == 2 * 3 * features * (features + 1) // 2


def test_large_entries_off_the_diagonal_do_not_overflow() -> None:
    factor = shaken(TriangularFactor(64, 1, Generators([0])), [0], size=300.0)
    factor.corners.data *= factor.strictly_lower
    value = factor(torch.ones(1, 1, 64))
    value.sum().backward()
    assert bool(value.isfinite().all())
    assert factor.corners.grad is not None
    assert bool(factor.corners.grad.isfinite().all())


def test_the_formula_of_the_policy_step_by_step() -> None:
    policy = shaken(HetStat(4, 2, Generators([0, 1]), **SMALL), [5, 6], size=0.3)
    x = observations()
    for member in range(2):
        value = x[member]
        for weight, bias in zip(policy.perceptron.weights, policy.perceptron.biases, strict=True):
            value = torch.nn.functional.elu(value @ weight[member] + bias[member, 0])
        v = (value * policy.log_scales[member].exp()) @ policy.directions[member]
        wave = [pi / sqrt(8) * (v + phase).sin().asin() for phase in (pi / 4, -pi / 4)]
        phi = torch.cat(wave, -1) / sqrt(128)
        lower = policy.factor.dense()[member]
        length = torch.stack([(phi @ lower[d]).square().sum(-1) for d in range(2)], -1)
        mean, deviation = policy(x)
        torch.testing.assert_close(mean[member], phi @ policy.mean_weights[member])
        torch.testing.assert_close(deviation[member], sqrt(0.75) * (1e-5 + length).sqrt().tanh())


def test_the_formula_of_the_plain_policy_step_by_step() -> None:
    policy = shaken(TanhNormalMLP(4, 2, Generators([0, 1]), (16, 8), torch.float64), [5, 6], size=0.3)
    x = observations()
    for member in range(2):
        value = x[member]
        for weight, bias in zip(policy.perceptron.weights, policy.perceptron.biases, strict=True):
            value = torch.nn.functional.elu(value @ weight[member] + bias[member, 0])
        raw = value @ policy.deviation_weights[member] + policy.deviation_bias[member, 0]
        mean, deviation = policy(x)
        torch.testing.assert_close(mean[member], value @ policy.mean_weights[member] + policy.mean_bias[member, 0])
        torch.testing.assert_close(deviation[member], sqrt(1e-5) + torch.exp(-5 * (1 - raw.tanh()) / 2))


def test_the_triangle_wave_has_its_fourier_series() -> None:
    x = torch.linspace(-20, 20, 997, dtype=torch.float64)
    harmonics = torch.arange(1, 4001, 2, dtype=torch.float64)[:, None]
    signs = torch.ones_like(harmonics)
    signs[1::2] = -1
    series = sqrt(2) * (signs * (harmonics * x).sin() / harmonics.square()).sum(0)
    torch.testing.assert_close(triangle_wave(x), series, rtol=0, atol=1e-3)
    period = torch.arange(100_000, dtype=torch.float64) * 2 * pi / 100_000
    assert float(triangle_wave(period).square().mean()) == pytest.approx(pi**4 / 96, rel=1e-6)


PLACES = [0.0, 0.4, -1.3, 2.5, 6.0]


def kernel(wave: str, x: float, y: float, count: int = 200_000) -> float:
    """E over w ~ N(0, 1) of phi(w x) . phi(w y), w at the normal's quantiles."""
    directions = torch.from_numpy(norm.ppf((torch.arange(count).numpy() + 0.5) / count))
    phi = wave_features(torch.stack([directions * x, directions * y])[None], wave)[0]
    return float(phi[0] @ phi[1])


@pytest.mark.parametrize(("x", "y"), list(product(PLACES, PLACES)))
def test_sine_features_are_stationary(x: float, y: float) -> None:
    assert kernel("sine", x, y) == pytest.approx(exp(-((x - y) ** 2) / 2), abs=1e-4)


@pytest.mark.parametrize(("x", "y"), list(product(PLACES, PLACES)))
def test_triangle_features_are_stationary_but_for_products_of_different_harmonics(x: float, y: float) -> None:
    def term(n: int, m: int) -> float:
        sign = (-1) ** ((n - 1) // 2 + (m - 1) // 2)
        apart, sums = (exp(-((n * x + s * m * y) ** 2) / 2) * cos((n + s * m) * pi / 4) for s in (-1, 1))
        return sign / (n * m) ** 2 * (apart - sums)

    odd = range(1, 60, 2)
    everything = sum(term(n, m) for n, m in product(odd, odd))
    assert kernel("triangle", x, y) == pytest.approx(everything, abs=1e-3)
    stationary = sum(term(n, n) for n in odd)
    if max(abs(x), abs(y)) > 2 and abs(x - y) < 0.1:  # far from the origin the rest is gone
        assert kernel("triangle", x, y) == pytest.approx(stationary, abs=1e-3)


def test_relu_features_are_not_stationary() -> None:
    assert kernel("relu", 6.0, 6.0) > 5 * kernel("relu", 0.4, 0.4)


@pytest.mark.parametrize(("wave", "square"), [("sine", 1.0), ("triangle", pi**4 / 128)])
def test_the_policy_starts_at_one_deviation_and_mean_zero(wave: str, square: float) -> None:
    policy = HetStat(4, 2, Generators([0, 1]), wave=wave)
    policy.log_scales.data -= 20  # the scales' start leaves the wave's argument near zero; here it is zero
    mean, deviation = policy(observations().float())
    assert torch.equal(mean, torch.zeros_like(mean))
    expected = sqrt(0.75) * tanh(sqrt(1e-5 + square))
    torch.testing.assert_close(deviation, torch.full_like(deviation, expected), rtol=1e-4, atol=0)


def test_orthogonal_weights() -> None:
    policy = HetStat(4, 2, Generators([0, 1]), **SMALL)
    for weight in policy.perceptron.weights:
        small = weight if weight.shape[1] <= weight.shape[2] else weight.mT
        identity = torch.eye(small.shape[1], dtype=torch.float64).expand(2, -1, -1)
        torch.testing.assert_close(small @ small.mT, identity)


@pytest.mark.parametrize("kind", ["hetstat", "mlp"])
def test_members_are_what_they_would_be_alone(kind: str) -> None:
    def build(seeds: list[int]):
        random = Generators(seeds)
        one = HetStat(4, 2, random, **SMALL) if kind == "hetstat" else TanhNormalMLP(4, 2, random, (16, 8))
        return shaken(one.double(), [seed + 10 for seed in seeds])

    together, alone, x = build([3, 4, 5]), build([4]), observations(3)
    for several, single in zip(together(x), alone(x[1:2]), strict=True):
        torch.testing.assert_close(several[1:2], single, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wave", ["triangle", "sine", "relu"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_gradients_are_finite(wave: str, scale: float) -> None:
    policy = shaken(HetStat(4, 2, Generators([0]), features=64, wave=wave), [1])
    x = (scale * observations(1)).float().requires_grad_()
    mean, deviation = policy(x)
    tanh_normal.log_prob(mean, deviation, torch.ones_like(mean)).sum().backward()
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in policy.parameters())


@pytest.mark.parametrize("build", [HetStat, TanhNormalMLP])
def test_faithful_stops_the_features_on_the_deviations_path_alone(build) -> None:
    policy = shaken(build(4, 2, Generators([0])).double(), [1])
    x = observations(1)
    mean, deviation = policy(x, faithful=True)
    own = [name for name, grad in gradients(policy, deviation.sum()) if grad is not None]
    heads = ("factor.", "deviation_")
    assert own
    assert all(name.startswith(heads) for name in own)
    measured, expected = (gradients(policy, value.sum()) for value in (mean, policy(x)[0]))
    for (name, one), (_, other) in zip(measured, expected, strict=True):
        assert (one is None) == (other is None), name
        assert one is None or torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(policy(x), (mean, deviation), strict=True))


def gradients(policy, value: torch.Tensor):
    names, leaves = zip(*policy.named_parameters(), strict=True)
    return list(zip(names, torch.autograd.grad(value, leaves, allow_unused=True), strict=True))


def test_a_frozen_copy_stays() -> None:
    policy = shaken(HetStat(4, 2, Generators([0]), **SMALL), [1])
    frozen, x = policy.frozen(), observations(1)
    before = policy(x)
    shaken(policy, [2])
    assert all(torch.equal(a, b) for a, b in zip(frozen(x), before, strict=True))
    assert not any(one.requires_grad for one in frozen.parameters())
    assert all(one.requires_grad for one in policy.parameters())


def test_the_coherent_reward_at_the_floor() -> None:
    # The largest reward of an action at the mean 0: the density's peak at the deviation's floor.
    floor = sqrt(0.75) * tanh(sqrt(1e-5))
    mean, deviation = torch.zeros(1, 3, dtype=torch.float64), torch.full((1, 3), floor, dtype=torch.float64)
    reward = coherent_reward(mean, deviation, mean, alpha=1 / 3)
    assert float(reward) == pytest.approx(-log(floor) - 0.5 * log(2 * pi) + log(2))
    assert float(reward) < -0.5 * log(1e-5) + log(2)  # the bound of the published code, here
    # Near the edge the same peak is narrower in the action, and its density above that bound.
    edge = torch.full_like(mean, 3.7)
    assert float(coherent_reward(edge, deviation, edge.tanh(), alpha=1 / 3)) > 11


def test_the_reward_of_the_uniform_prior_is_near_zero() -> None:
    action = torch.linspace(-0.95, 0.95, 39, dtype=torch.float64)[:, None]
    mean, deviation = torch.zeros_like(action), torch.full_like(action, sqrt(0.75))
    assert float(coherent_reward(mean, deviation, action, 1.0).abs().max()) < 0.15


BAD = [{"features": 5}, {"features": 0}, {"wave": "square"}, {"bottleneck": 0}, {"hidden": (0,)}]


@pytest.mark.parametrize("bad", BAD)
def test_bad_sizes_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="sizes must be positive"):
        HetStat(4, 2, Generators([0]), **bad)
    with pytest.raises(ValueError, match="sizes must be positive"):
        TanhNormalMLP(4, 2, Generators([0]), hidden=())
