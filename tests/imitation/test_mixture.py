"""Mixture density networks: the density against scipy, its integral, extremes in float32, two modes found."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from imitation.policies.explicit import Explicit
from imitation.policies.mixture import Mixture
from imitation.population import Generators

LEARNER = Mixture(hidden=(8,), batch=16, components=3)


def outputs(scale: float = 1.0, dtype: torch.dtype = torch.float64, action_dim: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(6)
    return scale * torch.randn(2, 7, LEARNER.width(action_dim), generator=random, dtype=torch.float64).to(dtype)


def by_scipy(learner: Mixture, output: torch.Tensor, action: torch.Tensor) -> np.ndarray:
    """log p (P, B) in float64, from the definition."""
    value, y = output.double().numpy(), action.double().numpy()
    k, dim = learner.components, action.shape[-1]
    logits, means = value[..., :k], value[..., k : k + k * dim].reshape(*value.shape[:2], k, dim)
    sigmas = learner.sigma_floor + np.exp(value[..., k + k * dim :]).reshape(means.shape)
    of_components = norm.logpdf(y[:, :, None], means, sigmas).sum(-1)
    return logsumexp(logits + of_components, axis=-1) - logsumexp(logits, axis=-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_log_density_is_scipys(dtype: torch.dtype, tolerance: float, scale: float) -> None:
    output = outputs(scale, dtype)
    action = torch.linspace(-1, 1, 28, dtype=dtype).reshape(2, 7, 2)
    mine = LEARNER.distribution(output).log_density(action)
    np.testing.assert_allclose(mine.numpy(), by_scipy(LEARNER, output, action), rtol=tolerance, atol=tolerance)


def test_the_density_integrates_to_one() -> None:
    output = outputs(0.3, action_dim=1)[:, :1]
    grid = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    mixture = LEARNER.distribution(output.expand(-1, len(grid), -1).contiguous())
    density = mixture.log_density(grid[None, :, None].expand(2, -1, -1)).exp()
    torch.testing.assert_close(torch.trapezoid(density, grid), torch.ones(2, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_loss_is_the_mean_negative_log_density_of_each_member() -> None:
    output, action = outputs(), torch.zeros(2, 7, 2, dtype=torch.float64)
    np.testing.assert_allclose(LEARNER.loss(output, action).numpy(), -by_scipy(LEARNER, output, action).mean(1))


def test_components_may_change_places() -> None:
    output, action = outputs(), torch.zeros(2, 7, 2, dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    swapped = torch.cat(
        [output[..., :3][..., order], output[..., 3:].unflatten(-1, (2, 3, 2))[..., order, :].flatten(2)], -1
    )
    torch.testing.assert_close(LEARNER.loss(swapped, action), LEARNER.loss(output, action))
    assert torch.equal(LEARNER.action(swapped), LEARNER.action(output))


@pytest.mark.parametrize("scale", [1.0, 80.0, 1e4])
def test_loss_and_gradient_stay_finite_in_float32_where_densities_do_not(scale: float) -> None:
    output = outputs(scale, torch.float32).requires_grad_()
    action = torch.ones(2, 7, 2)
    loss = LEARNER.loss(output, action)
    loss.sum().backward()
    assert output.grad is not None
    assert bool(loss.isfinite().all())
    assert bool(output.grad.isfinite().all())
    expected = -by_scipy(LEARNER, output.detach().clamp(max=700), action).mean(1)
    if scale < 1e3:  # beyond, scipy's exponential overflows
        np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-5)


def test_no_deviation_is_below_the_floor() -> None:
    floor = LEARNER.distribution(outputs(1e3)).log_sigmas.exp().min()
    assert float(floor) == pytest.approx(LEARNER.sigma_floor)


def test_it_acts_by_the_mean_of_the_heaviest_component_not_of_the_narrowest() -> None:
    # Weights .2, .7, .1 and deviations .02, 1, 1: the density is highest at the first mean.
    logits, means = torch.log(torch.tensor([0.2, 0.7, 0.1])), torch.tensor([-0.4, 0.3, 0.9])
    spreads = torch.log(torch.tensor([0.01, 0.99, 0.99]))
    output = torch.cat([logits, means, spreads])[None, None]
    assert float(LEARNER.action(output)) == pytest.approx(0.3)
    at_means = LEARNER.distribution(output.expand(1, 3, -1)).log_density(means[None, :, None])
    assert int(at_means.argmax()) == 0


def bimodal(noise: float):
    """Inputs (2, 800, 1) and actions +-.5 with normal noise, half of the rows each, whatever the input."""
    random = torch.Generator().manual_seed(2)
    inputs = torch.rand(2, 800, 1, generator=random)
    signs = torch.tensor([0.5, -0.5]).repeat(400).reshape(1, 800, 1)
    return inputs, signs + noise * torch.randn(2, 800, 1, generator=random)


def test_two_components_find_two_modes_where_least_squares_finds_none() -> None:
    inputs, actions = bimodal(noise=0.05)
    learner = Mixture(hidden=(32,), batch=128, components=2, learning_rate=3e-3)
    policy = learner.fit(inputs, actions, Generators([0, 1]), steps=800)
    mixture = learner.distribution(policy.outputs(inputs))
    means = policy.action_scaling.unscaled(mixture.means).sort(2).values[..., 0]
    torch.testing.assert_close(means, torch.tensor([-0.5, 0.5]).expand_as(means), rtol=0, atol=0.05)
    deviations = mixture.log_sigmas.exp() * policy.action_scaling.scale[:, :, None]
    torch.testing.assert_close(deviations, torch.full_like(deviations, 0.05), rtol=0.4, atol=0)
    torch.testing.assert_close(mixture.log_weights.exp(), torch.full((2, 800, 2), 0.5), rtol=0, atol=0.15)
    torch.testing.assert_close(policy.act(inputs).abs(), torch.full((2, 800, 1), 0.5), rtol=0, atol=0.05)

    mean = Explicit(hidden=(32,), batch=128).fit(inputs, actions, Generators([0, 1]), steps=800)
    assert float(mean.act(inputs).abs().max()) < 0.15


def test_without_noise_the_deviations_stop_at_the_floor() -> None:
    inputs, actions = bimodal(noise=0.0)
    learner = Mixture(hidden=(32,), batch=128, components=2, sigma_floor=0.05, learning_rate=3e-3)
    policy = learner.fit(inputs, actions, Generators([0, 1]), steps=800)
    assert not bool(policy.diverged.any())
    sigmas = learner.distribution(policy.outputs(inputs)).log_sigmas.exp()
    assert float(sigmas.min()) > 0.05 - 1e-6
    assert float(sigmas.max()) < 0.1
    torch.testing.assert_close(policy.act(inputs).abs(), torch.full((2, 800, 1), 0.5), rtol=0, atol=0.02)


def test_a_member_equals_the_same_run_alone() -> None:
    inputs, actions = (value.double() for value in bimodal(noise=0.1))
    together = LEARNER.fit(inputs, actions, Generators([5, 6]), steps=100)
    alone = LEARNER.fit(inputs[1:], actions[1:], Generators([6]), steps=100)
    torch.testing.assert_close(together.outputs(inputs)[1:], alone.outputs(inputs[1:]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("bad", [{"components": 0}, {"sigma_floor": 0.0}, {"batch": 0}])
def test_bad_sizes_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Mixture(**bad)
