"""The network energy: the gradient by hand, the population, and blocks."""

import pytest
import torch

from imitation.ebm import mlp
from imitation.ebm.langevin import Langevin, gradient_of
from imitation.ebm.mlp import MLPEnergy
from imitation.population import Generators, normal_like, uniform_like


def network(observation_dim=3, action_dim=2, seeds=(0, 1), hidden=(16, 8), std=0.5):
    """A population in float64, with weights large enough for the energies to differ."""
    random = Generators(list(seeds))
    return MLPEnergy(observation_dim, action_dim, random, hidden, members=len(seeds), std=std).double()


def batch(members=2, rows=5, samples=4, observation_dim=3, action_dim=2, seed=9):
    random = torch.Generator().manual_seed(seed)
    observation = normal_like(torch.empty(members, rows, observation_dim, dtype=torch.float64), random)
    action = uniform_like(torch.empty(members, rows, samples, action_dim, dtype=torch.float64), random, -1.0, 1.0)
    return observation, action


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (8, 8, 8)])
@pytest.mark.parametrize("observation_dim", [0, 3])
def test_the_gradient_by_hand_is_autograds(hidden, observation_dim):
    energy = network(observation_dim, hidden=hidden)
    observation, action = batch(observation_dim=observation_dim)
    by_hand = energy.action_gradient(observation)(action)
    automatic = gradient_of(lambda y: energy(observation, y))(action)
    torch.testing.assert_close(by_hand, automatic, rtol=0, atol=1e-12)
    assert by_hand.abs().max() > 1e-3


def test_the_forward_pass_is_the_multilayer_perceptron_written_out():
    energy = network()
    observation, action = batch()
    for member in range(2):
        value = torch.cat([observation[member][:, None].expand(-1, 4, -1), action[member]], -1)
        for weight, bias in zip(energy.weights[:-1], energy.biases[:-1], strict=True):
            value = (value @ weight[member] + bias[member]).relu()
        expected = (value @ energy.weights[-1][member] + energy.biases[-1][member])[..., 0]
        torch.testing.assert_close(energy(observation, action)[member], expected, rtol=0, atol=1e-13)


def test_a_member_equals_the_same_network_alone():
    together, alone = network(seeds=(4, 2, 7)), network(seeds=(2,))
    observation, action = batch(members=3)
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one[1:2], other)
    energies = together(observation, action)[1:2], alone(observation[1:2], action[1:2])
    torch.testing.assert_close(*energies, rtol=0, atol=1e-13)
    slopes = (
        together.action_gradient(observation)(action)[1:2],
        alone.action_gradient(observation[1:2])(action[1:2]),
    )
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-13)


def test_members_do_not_see_each_other():
    energy = network()
    observation, action = batch()
    changed = action.clone()
    changed[0] += 1
    assert torch.equal(energy(observation, changed)[1], energy(observation, action)[1])
    gradient = energy.action_gradient(observation)
    assert torch.equal(gradient(changed)[1], gradient(action)[1])


@pytest.mark.parametrize("rows", [1, 7, 8, 12, 10_000])
def test_blocks_do_not_change_the_gradient(monkeypatch, rows):
    energy = network()
    observation, action = batch()
    whole = energy.action_gradient(observation)(action)
    monkeypatch.setattr(mlp, "ROWS", rows)
    torch.testing.assert_close(energy.action_gradient(observation)(action), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_single_precision_takes_the_fast_way_to_the_same_gradient(seeds):
    energy = network(seeds=seeds).float()
    observation, action = (tensor.float() for tensor in batch(members=len(seeds)))
    by_hand = energy.action_gradient(observation)(action)
    exact = energy.double().action_gradient(observation.double())(action.double())
    torch.testing.assert_close(by_hand.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_of_the_weights_at_the_time_it_was_made(dtype):
    energy = network().to(dtype)
    observation, action = (tensor.to(dtype) for tensor in batch())
    gradient = energy.action_gradient(observation)
    before = gradient(action)
    with torch.no_grad():
        for one in energy.parameters():
            one.mul_(1.5)
    assert torch.equal(gradient(action), before)
    after = energy.action_gradient(observation)(action)
    torch.testing.assert_close(after, gradient_of(lambda y: energy(observation, y))(action), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_not_a_number_stays_so(dtype):
    """A flat energy would let a diverged chain go on unseen."""
    energy = network().to(dtype)
    observation, action = (tensor.to(dtype) for tensor in batch())
    spoilt = observation.clone()
    spoilt[0, 1, 0] = torch.nan
    gradient = energy.action_gradient(spoilt)(action)
    assert gradient[0, 1].isnan().all()
    assert gradient[1].isfinite().all()
    action[0, 0, 0, 0] = torch.inf
    assert energy.action_gradient(observation)(action)[0, 0, 0, 0].isnan()
    with torch.no_grad():
        energy.weights[1][0, 0, 0] = torch.nan
    gradient = energy.action_gradient(observation)(action)
    assert gradient[0].isnan().all()
    assert gradient[1].isfinite().all()


def test_actions_of_other_observations_are_refused():
    energy = network()
    observation, action = batch()
    with pytest.raises(ValueError, match="do not fit observations"):
        energy.action_gradient(observation[:, :1])(action)


def test_the_gradient_drives_a_sampler_without_a_graph():
    energy = network()
    observation, action = batch()
    draws = Langevin("ibc", 0.1).sample(
        energy.action_gradient(observation), action, [0.1] * 5, Generators([0, 1]), keep=1
    )
    assert draws.shape == (1, *action.shape)
    assert not draws.requires_grad


def test_training_the_loss_reaches_every_parameter():
    energy = network()
    observation, action = batch()
    energy(observation, action).sum().backward()
    assert all(one.grad is not None and torch.isfinite(one.grad).all() for one in energy.parameters())


def test_the_start_has_the_asked_spread():
    energy = MLPEnergy(16, 2, Generators([0]), (256, 256))
    values = torch.cat([one.flatten() for one in energy.parameters()])
    # 70 000 weights and biases: the standard error of the spread is .3 %.
    assert values.std().item() == pytest.approx(0.05, rel=0.02)
    assert [tuple(one.shape) for one in energy.weights] == [(1, 18, 256), (1, 256, 256), (1, 256, 1)]
    assert [tuple(one.shape) for one in energy.biases] == [(1, 1, 256), (1, 1, 256), (1, 1, 1)]


@pytest.mark.parametrize(
    "arguments",
    [{"observation_dim": -1}, {"action_dim": 0}, {"hidden": ()}, {"hidden": (8, 0)}, {"members": 0}],
)
def test_bad_sizes_are_refused_in_one_line(arguments):
    values = {"observation_dim": 3, "action_dim": 2, "hidden": (8,), "members": 1} | arguments
    with pytest.raises(ValueError, match="sizes must be positive"):
        MLPEnergy(random=torch.Generator().manual_seed(0), **values)


def test_as_many_generators_as_members():
    with pytest.raises(ValueError, match="does not match 3 generators"):
        MLPEnergy(3, 2, Generators([0, 1, 2]), (8,), members=2)
