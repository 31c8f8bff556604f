"""The network energy: the gradient by hand, the population, and blocks."""

import time

import pytest
import torch

from imitation.ebm import mlp
from imitation.ebm.langevin import Langevin, gradient_of
from imitation.ebm.mlp import MLPEnergy
from imitation.nn import products
from imitation.nn.products import layer
from imitation.population import Generators, normal_like, uniform_like


@pytest.fixture(autouse=True, params=[0, 2**60], ids=["oneDNN", "torch"])
def whichever_serves(request, monkeypatch):
    """Which products serve depends on their size: both must pass, at the small sizes of these tests."""
    monkeypatch.setattr(products, "LARGE", request.param)


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


@pytest.mark.parametrize("rows", [1, 7, 8, 12, 24, 40, 10_000])
def test_blocks_of_members_and_rows_do_not_change_the_gradient(monkeypatch, rows):
    energy = network(seeds=(0, 1, 2))
    observation, action = batch(members=3)
    whole = energy.action_gradient(observation)(action)
    monkeypatch.setattr(mlp, "ROWS", rows)
    torch.testing.assert_close(energy.action_gradient(observation)(action), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [256, 640, 1024])
def test_blocks_of_large_members_are_the_same_to_the_bit(monkeypatch, rows, precision):
    """The products of a member do not depend on who else is in its block: alone, two and one, all three."""
    energy = network(16, 2, seeds=(0, 1, 2), hidden=(256, 256), std=0.05).float()
    observation, action = (one.float() for one in batch(members=3, rows=64, samples=4, observation_dim=16))
    whole = energy.action_gradient(observation, precision)(action)
    monkeypatch.setattr(mlp, "ROWS", rows)
    assert torch.equal(energy.action_gradient(observation, precision)(action), whole)


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


def written_out(value, weight, offset, relu):
    """A layer as a sum over inputs, the offset repeated for its rows."""
    rows = offset.repeat_interleave(value.shape[1] // offset.shape[1], 1)
    result = (value[..., None] * weight[:, None]).sum(2) + rows
    return result.clamp(min=0) if relu else result


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("widths", [(5, 4), (2, 8), (4, 1)])
@pytest.mark.parametrize(("members", "offsets"), [(1, 1), (3, 1), (1, 12), (2, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_a_layer_and_its_gradient_are_the_sums_written_out(dtype, tolerance, members, offsets, widths, relu):
    random = torch.Generator().manual_seed(0)
    shapes = (members, 12, widths[0]), (members, *widths), (members, offsets, widths[1]), (members, 12, widths[1])
    exact = [normal_like(torch.empty(shape, dtype=torch.float64), random) for shape in shapes]
    *inputs, slope = [one.to(dtype).requires_grad_() for one in exact]
    *plain, plain_slope = [one.clone().requires_grad_() for one in exact]
    found, expected = layer(*inputs, relu=relu), written_out(*plain, relu=relu)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
    gradients = torch.autograd.grad(found, inputs, slope.detach())
    for one, other in zip(gradients, torch.autograd.grad(expected, plain, plain_slope.detach()), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=10 * tolerance)


def test_a_layer_without_offset_is_one_with_an_offset_of_zero():
    value, weight, zero = torch.randn(2, 6, 3), torch.randn(2, 3, 4), torch.zeros(2, 1, 4)
    found, expected = ([one.clone().requires_grad_() for one in (value, weight)] for _ in range(2))
    torch.testing.assert_close(layer(*found, relu=True), layer(*expected, zero, relu=True))
    layer(*found, relu=True).square().sum().backward()
    layer(*expected, zero, relu=True).square().sum().backward()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_layer_differentiates_what_is_asked_of_it():
    """A sum's slope has stride zero; weights that are held fixed get no gradient."""
    value, weight, offset = torch.randn(2, 6, 3), torch.randn(2, 3, 4), torch.randn(2, 1, 4)
    for index in range(3):
        inputs = [one.clone().requires_grad_(place == index) for place, one in enumerate((value, weight, offset))]
        layer(*inputs, relu=False).sum().backward()
        assert [one.grad is not None for one in inputs] == [place == index for place in range(3)]
        plain = [one.detach().clone().requires_grad_(place == index) for place, one in enumerate(inputs)]
        written_out(*plain, relu=False).sum().backward()
        torch.testing.assert_close(inputs[index].grad, plain[index].grad)


def test_a_second_derivative_is_right_or_refused():
    inputs = [torch.rand(shape, requires_grad=True) for shape in ((1, 6, 3), (1, 3, 4), (1, 1, 4))]
    slope = torch.autograd.grad(layer(*inputs, relu=True).square().sum(), inputs[0], create_graph=True)[0]
    if products._fused(inputs[1], 6):
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope.sum().backward()
    in_double = [one.double().detach().requires_grad_() for one in inputs]
    assert torch.autograd.gradgradcheck(lambda *every: layer(*every, relu=False).square(), in_double)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("place", ["observation", "action", "weight", "bias"])
def test_energies_of_what_is_not_a_number_are_none(dtype, place):
    energy = network().to(dtype)
    observation, action = (tensor.to(dtype) for tensor in batch())
    spoilt = {"observation": observation, "action": action, "weight": energy.weights[0], "bias": energy.biases[1]}
    with torch.no_grad():
        spoilt[place][0, 0, ..., 0] = torch.nan
    energies = energy(observation, action)
    assert energies[0, 0].isnan().all()
    assert energies[1].isfinite().all()


def large(precision=None, std=0.05):
    """Gradients of a network of the papers' size in a precision, beside autograd's in float64: (N, Dy) each."""
    energy = network(16, 2, hidden=(256, 256), std=std).float()
    observation, action = (one.float() for one in batch(rows=128, samples=8, observation_dim=16))
    found = energy.action_gradient(observation, precision)(action).double()
    energy.double()
    exact = gradient_of(lambda y: energy(observation.double(), y))(action.double())
    return found.flatten(0, 2), exact.flatten(0, 2)


@pytest.mark.parametrize("std", [0.05, 0.2])
def test_single_precision_is_exact_but_for_rounding(std):
    """But for rare units whose input rounding moves across zero: the error of all is asked for, not the largest."""
    found, exact = large(std=std)
    assert (found - exact).norm() < 1e-4 * exact.norm()


@pytest.mark.parametrize("std", [0.05, 0.2])
def test_bfloat16_points_the_same_way(std):
    """Measured: an error of 5 % of the gradients' length, mean cosine .995; the worst are units taken for inactive."""
    found, exact = large(torch.bfloat16, std)
    assert 1e-3 * exact.norm() < (found - exact).norm() < 0.1 * exact.norm()
    cosine = torch.cosine_similarity(found, exact)
    assert cosine.mean() > 0.99
    assert cosine.quantile(0.01) > 0.9


def test_bfloat16_is_rounded_alike_where_the_processor_has_no_such_products(monkeypatch):
    native, exact = large(torch.bfloat16)
    monkeypatch.setattr(products, "_has_bfloat16", lambda: False)
    rounded = large(torch.bfloat16)[0]
    assert (rounded - native).norm() < 0.3 * (native - exact).norm()


def test_bfloat16_does_not_change_the_type_of_a_chain():
    energy = network().float()
    observation, action = (one.float() for one in batch())
    gradient = energy.action_gradient(observation, torch.bfloat16)
    assert gradient(action).dtype == torch.float32
    assert all(one.dtype == torch.float32 for one in energy.parameters())


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (8, 8, 8)])
@pytest.mark.parametrize("observation_dim", [0, 3])
def test_the_differentiable_gradient_is_the_gradient(hidden, observation_dim):
    energy = network(observation_dim, hidden=hidden)
    observation, action = batch(observation_dim=observation_dim)
    found = energy.differentiable_action_gradient(observation, action)
    torch.testing.assert_close(found, energy.action_gradient(observation)(action), rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [(16,), (16, 8), (8, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_gradient_in_the_weights_is_that_of_a_double_backward(hidden, dtype):
    energy = network(hidden=hidden)
    observation, action = batch()
    action.requires_grad_()
    slopes = torch.autograd.grad(energy(observation, action).sum(), action, create_graph=True)[0]
    expected = torch.autograd.grad(slopes.square().sum(), list(energy.weights))
    energy.to(dtype)
    found = energy.differentiable_action_gradient(observation.to(dtype), action.detach().to(dtype))
    gradients = torch.autograd.grad(found.square().sum(), list(energy.weights))
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-4}[dtype]
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)
        assert other.abs().max() > 1e-3


def test_rows_cut_out_of_wider_ones_take_no_longer():
    """oneDNN takes 600 times as long for such a product; the gradient in the weights of a critic asks for it."""
    wide = normal_like(torch.empty(1, 512, 400), torch.Generator().manual_seed(0))
    cut, slope = wide[..., :348], wide[..., :256].clone()
    assert torch.equal(products._outer(cut, slope), products._outer(cut.clone(), slope))
    assert seconds(lambda: products._outer(cut, slope)) < 20 * seconds(lambda: products._outer(cut.clone(), slope))


def seconds(call):
    """Of the fastest of five calls."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_by_their_bits_are_torchs(dtype):
    edges = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e-30, -1e-30, 3.0, -3.0])
    value = torch.cat([edges, normal_like(torch.empty(1000), torch.Generator().manual_seed(0))]).to(dtype)
    slope = value.flip(0)
    active = products.relu_(value.clone())
    assert torch.equal(active, value.relu())
    assert torch.equal(products.heaviside_(active.clone()), (value > 0).to(dtype))
    assert torch.equal(products.pass_(slope.clone(), active.clone()), torch.where(value > 0, slope, 0))


def test_parameters_are_made_where_their_generators_draw(monkeypatch):
    monkeypatch.setattr(mlp, "device_of", lambda random: torch.device("meta"))
    monkeypatch.setattr(mlp, "normal_like", lambda empty, random: empty)
    assert {one.device.type for one in MLPEnergy(3, 2, Generators([0]), (16,)).parameters()} == {"meta"}
