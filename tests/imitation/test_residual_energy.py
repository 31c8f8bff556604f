"""The residual energy: written out anew, against autograd, its spectral normalisation, and the population."""

import pytest
import torch

from imitation.ebm.implicit import Learner
from imitation.ebm.langevin import Langevin, gradient_of
from imitation.ebm.negatives import ShortChains
from imitation.ebm.residual import ResidualEnergy
from imitation.ebm.schedules import polynomial
from imitation.nn import products
from imitation.population import Generators, normal_like, uniform_like


@pytest.fixture(autouse=True, params=[0, 2**60], ids=["oneDNN", "torch"])
def whichever_serves(request, monkeypatch):
    """Which products serve depends on their size: both must pass, at the small sizes of these tests."""
    monkeypatch.setattr(products, "LARGE", request.param)


def network(blocks=2, spectral_norm=False, seeds=(0, 1), std=0.5, observation_dim=3):
    random = Generators(list(seeds))
    sizes = {"width": 8, "blocks": blocks, "members": len(seeds), "std": std, "spectral_norm": spectral_norm}
    return ResidualEnergy(observation_dim, 2, random, **sizes).double()


def batch(members=2, rows=5, samples=4, observation_dim=3):
    random = torch.Generator().manual_seed(9)
    observation = normal_like(torch.empty(members, rows, observation_dim, dtype=torch.float64), random)
    return observation, uniform_like(torch.empty(members, rows, samples, 2, dtype=torch.float64), random, -1.0, 1.0)


def settled(energy):
    """After so many power iterations that the singular values are known to rounding."""
    for _ in range(2000):
        energy.iterate()
    return energy


def written_out(energy, member, inputs):
    """The formulas at the head of the file, one row after the other: inputs (n, Dx + Dy) -> (n,)."""
    weights = [one[member] for one in energy.weights]
    if energy.spectral_norm:
        weights = [one / torch.linalg.matrix_norm(one, 2) for one in weights]
    biases = [one[member, 0] for one in energy.biases]
    hidden = inputs @ weights[0] + biases[0]
    for number in range(1, len(weights) - 1, 2):
        inner = torch.clamp(hidden, min=0) @ weights[number] + biases[number]
        hidden = hidden + torch.clamp(inner, min=0) @ weights[number + 1] + biases[number + 1]
    return (hidden @ weights[-1] + biases[-1])[:, 0]


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_energy_is_the_residual_network_written_out(blocks, spectral_norm):
    energy = network(blocks, spectral_norm)
    settled(energy) if spectral_norm else None
    observation, action = batch()
    with torch.no_grad():
        found = energy(observation, action)
    for member in range(2):
        inputs = torch.cat([observation[member][:, None].expand(-1, 4, -1), action[member]], -1).flatten(0, 1)
        expected = written_out(energy, member, inputs).view(5, 4)
        torch.testing.assert_close(found[member], expected, rtol=0, atol=1e-9 if spectral_norm else 1e-12)


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("observation_dim", [0, 3])
def test_both_gradients_by_hand_are_autograds(blocks, observation_dim, spectral_norm):
    energy = network(blocks, spectral_norm, observation_dim=observation_dim).eval()
    observation, action = batch(observation_dim=observation_dim)
    automatic = gradient_of(lambda y: energy(observation, y))(action)
    torch.testing.assert_close(energy.action_gradient(observation)(action), automatic, rtol=0, atol=1e-12)
    with_graph = energy.differentiable_action_gradient(observation, action)
    torch.testing.assert_close(with_graph, automatic, rtol=0, atol=1e-12)
    assert automatic.abs().max() > 1e-3


def test_the_penaltys_gradient_in_the_weights_is_that_of_differences():
    """Second derivatives without a second differentiation, away from the kinks."""
    energy = network(2, spectral_norm=True, seeds=(0,)).eval()
    observation, action = (one[:1] for one in batch())
    penalty = lambda: energy.differentiable_action_gradient(observation, action).square().sum()  # noqa: E731
    gradients = torch.autograd.grad(penalty(), list(energy.weights))
    random = torch.Generator().manual_seed(3)
    for weight, gradient in zip(energy.weights, gradients, strict=True):
        direction = normal_like(weight.detach(), random)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * 1e-6 * direction
                ends.append(penalty().item())
                weight -= sign * 1e-6 * direction
        slope = (gradient * direction).sum().item()
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_spectral_normalisation_bounds_the_slope():
    """One matrix has norm 1, a block at most 1 + 1: the energy's slope is at most 2^K. Here it is larger without."""
    observation, action = batch(samples=50)
    bounded, free = settled(network(3, spectral_norm=True, std=3.0)), network(3, std=3.0)
    fresh = network(3, spectral_norm=True, std=3.0)
    assert fresh.action_gradient(observation)(action).norm(dim=-1).max() <= 1.5 * 2**3  # estimates are rough as yet
    for one in bounded.normalised():
        norms = torch.linalg.matrix_norm(one.detach(), 2)
        torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-9)
    assert bounded.action_gradient(observation)(action).norm(dim=-1).max() <= 2**3
    assert free.action_gradient(observation)(action).norm(dim=-1).max() > 2**3


def test_power_iterations_go_on_with_training_and_with_nothing_else():
    energy = network(1, spectral_norm=True)
    observation, action = batch()

    def moved(call):
        before = [one.clone() for one in energy._lefts()]
        call()
        return [not torch.equal(one, other) for one, other in zip(before, energy._lefts(), strict=True)]

    with torch.no_grad():
        assert not any(moved(lambda: energy(observation, action)))
    assert not any(moved(lambda: energy.action_gradient(observation)(action)))
    assert not any(moved(lambda: energy.differentiable_action_gradient(observation, action)))
    assert all(moved(lambda: energy(observation, action)))


def trained(seeds, steps, state=None):
    """A learner of smooth targets after some steps, or gone on from a state."""
    random = Generators(list(seeds))
    energy = ResidualEnergy(3, 2, random, 8, 2, len(seeds), spectral_norm=True).double()
    draws = Generators([100 + seed for seed in seeds])
    observations = normal_like(torch.empty(len(seeds), 50, 3, dtype=torch.float64), draws)
    actions = observations[..., :2].tanh()
    chains = ShortChains(4, (-1.0, 1.0), Langevin("ibc", 1.0, 0.1, (-1.0, 1.0)), polynomial(0.1, 1e-3, 5))
    one = Learner(energy, observations, actions, chains, random, lambda step: 1e-3, batch=16)
    if state:
        one.load_state_dict(state)
    for _ in range(steps):
        one.step()
    return one


def test_a_member_trains_as_it_would_alone_and_goes_on_from_a_checkpoint():
    together, alone = trained((4, 2), 6), trained((2,), 6)
    for one, other in zip(together.energy.state_dict().values(), alone.energy.state_dict().values(), strict=True):
        torch.testing.assert_close(one[1:], other, rtol=1e-6, atol=1e-9)
    resumed = trained((4, 2), 3, state=trained((4, 2), 3).state_dict())
    for one, other in zip(together.energy.parameters(), resumed.energy.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_the_gradient_is_of_the_weights_at_the_time_it_was_made(spectral_norm):
    energy = network(spectral_norm=spectral_norm)
    observation, action = batch()
    gradient = energy.action_gradient(observation)
    before = gradient(action)
    with torch.no_grad():
        for one in energy.parameters():
            one.mul_(1.5).add_(0.1)
    assert torch.equal(gradient(action), before)


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_in_float32_it_is_the_same_network(spectral_norm, request):
    """The products by oneDNN serve float32 only: energies, both gradients in y, and those in the weights."""
    single, double = (network(2, spectral_norm).eval() for _ in range(2))
    single.float()
    observation, action = batch()
    if "oneDNN" in request.node.name and torch.backends.mkldnn.is_available():
        assert products._fused(single.weights[0], 20)

    def numbers(energy, x, y):
        energies = energy(x, y)
        slopes = energy.differentiable_action_gradient(x, y)
        loss = energies.sum() + slopes.square().sum()
        gradients = torch.autograd.grad(loss, list(energy.weights))
        return [energies, slopes, energy.action_gradient(x)(y), *gradients]

    found, expected = numbers(single, observation.float(), action.float()), numbers(double, observation, action)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("place", ["observation", "action", "weight"])
def test_what_is_not_a_number_is_not_flat(place):
    energy = network(seeds=(0, 1))
    observation, action = batch()
    spoilt = {"observation": observation, "action": action, "weight": energy.weights[2].data}[place]
    spoilt[0, 0, ..., 0] = torch.nan
    found = energy.action_gradient(observation)(action)
    assert found[0, 0].isnan().any(-1).any()
    assert found[1].isfinite().all()


def test_in_bfloat16_the_gradient_is_off_by_a_few_per_cent():
    random = Generators([0])
    energy = ResidualEnergy(16, 2, random, 64, 1)
    observation, action = (one[:1].float() for one in batch(rows=64, observation_dim=16))
    exact, found = (energy.action_gradient(observation, kind)(action) for kind in (None, torch.bfloat16))
    assert (exact - found).norm() < 0.1 * exact.norm()


def test_no_blocks_are_refused():
    with pytest.raises(ValueError, match="blocks=0"):
        ResidualEnergy(3, 2, Generators([0]), 8, 0)
