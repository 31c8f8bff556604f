"""The marginal action sampler: its loss by hand, what it learns, and that drawing is not learning."""

import copy

import pytest
import torch

from imitation.ebm import losses
from imitation.ebm.langevin import Langevin
from imitation.ebm.marginal import MarginalSampler
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.schedules import polynomial
from imitation.nn.optimiser import cosine, stepwise
from imitation.population import Generators

BOUNDS = (-1.1, 1.1)
MEAN, SPREAD = torch.tensor([0.3, -0.4]), torch.tensor([0.2, 0.1])


def sampler(seeds=(0,), dtype=torch.float64, schedule=None, hidden=(16,), std=0.5, samples=3, **options):
    energy = MLPEnergy(0, 2, Generators(list(seeds)), hidden, members=len(seeds), std=std).to(dtype)
    kernel = Langevin("true", clip=0.5, bounds=BOUNDS)
    sizes = polynomial(0.2, 0.002, 20)
    return MarginalSampler(energy, schedule or stepwise(1e-2, 1.0, 1), samples, BOUNDS, kernel, sizes, **options)


def batch(members=1, rows=5, samples=3, dtype=torch.float64):
    random = torch.Generator().manual_seed(3)
    positive = torch.rand(members, rows, 2, generator=random, dtype=dtype) * 2 - 1
    return positive, torch.rand(members, rows, samples, 2, generator=random, dtype=dtype) * 2 - 1


def by_hand(model, member, actions):
    """Energies of actions (..., 2), written out."""
    (first, last), (bias, offset) = model.energy.weights, model.energy.biases
    return ((actions @ first[member] + bias[member, 0]).relu() @ last[member] + offset[member, 0])[..., 0]


@pytest.mark.parametrize("options", [{}, {"maximum_entropy": True}, {"maximum_entropy": True, "anchor": 0.3}])
def test_the_loss_is_the_one_of_the_paper(options):
    """All negatives of a member are samples of one distribution: the variance is around one mean."""
    model = sampler(seeds=(0, 1), **options)
    positive, negatives = batch(2)
    for member, found in enumerate(model.loss(positive, negatives)):
        ours, theirs = by_hand(model, member, positive[member]), by_hand(model, member, negatives[member]).flatten()
        expected = ours.mean() - theirs.mean()
        if options.get("maximum_entropy"):
            expected = expected + 0.5 * (theirs.square().mean() - theirs.mean().square())
            expected = expected + options.get("anchor", 0.0) * ours.square().mean()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_variance_is_not_taken_observation_by_observation():
    model = sampler(maximum_entropy=True)
    positive, negatives = batch()
    apart = losses.entropy_regularised(by_hand(model, 0, positive[0]), by_hand(model, 0, negatives[0])).mean()
    assert (model.loss(positive, negatives)[0] - apart).abs() > 1e-3


def test_a_step_goes_down_that_loss_by_adam():
    model, positive, negatives = sampler(maximum_entropy=True, anchor=0.1), *batch()
    before = copy.deepcopy(model.energy)
    gradients = torch.autograd.grad(model.loss(positive, negatives).sum(), list(model.energy.parameters()))
    model.learn(positive, negatives)
    for old, new, slope in zip(before.parameters(), model.energy.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - 1e-2 * slope / (slope.abs() + 1e-8), rtol=0, atol=1e-12)


def test_drawing_changes_nothing_and_asks_no_other_model():
    model, (positive, _) = sampler(seeds=(0, 1)), batch(2)
    model.learn(positive, batch(2)[1])
    before = copy.deepcopy(model.state_dict())
    first = model.draw(None, positive[..., :0], positive, Generators([4, 5]))
    assert first.shape == (2, 5, 3, 2)
    assert not first.requires_grad
    assert first.abs().max() <= BOUNDS[1]
    assert torch.equal(model.draw(None, positive, positive, Generators([4, 5])), first)
    for name, value in model.state_dict()["energy"].items():
        assert torch.equal(value, before["energy"][name])
    for number, moments in model.state_dict()["adam"]["adam"]["state"].items():
        for name, value in moments.items():
            assert torch.equal(value, before["adam"]["adam"]["state"][number][name])
    alone = sampler(seeds=(1,))
    alone.energy.load_state_dict({name: value[1:] for name, value in before["energy"].items()})
    single = alone.draw(None, positive[1:], positive[1:], Generators([5]))
    torch.testing.assert_close(first[1:], single, rtol=0, atol=1e-9)


def trained(learn, steps=250):
    """Samples (N, 2) of a model that was trained on N(MEAN, SPREAD^2); `learn` is one step of it."""
    model = sampler(dtype=torch.float32, schedule=cosine(5e-3, steps), hidden=(64, 64), std=0.05, samples=8)
    random, data = Generators([1]), torch.Generator().manual_seed(2)
    for _ in range(steps):
        positive = (MEAN + SPREAD * torch.randn(1, 64, 2, generator=data)).clamp(-1, 1)
        learn(model, positive, model.draw(None, positive, positive, random))
    return model.draw(None, torch.zeros(1, 500, 0), torch.zeros(1, 500, 2), random).flatten(0, 2)


def matches(samples):
    """Loosely: a short training, short chains, and a density without bounds on its energy's slope."""
    near = (samples.mean(0) - MEAN).abs() < 0.06
    return bool((near & (samples.std(0) / SPREAD > 0.6) & (samples.std(0) / SPREAD < 1.6)).all())


def test_it_learns_a_known_distribution():
    assert matches(trained(lambda model, positive, negatives: model.learn(positive, negatives)))


def uphill(model, positive, negatives):
    model.learn(negatives[:, :, 0], positive[:, :, None].expand_as(negatives).contiguous())


def idle(model, positive, negatives):
    model.learn(positive, positive[:, :, None].expand_as(negatives).contiguous())


@pytest.mark.parametrize("broken", [uphill, idle])
def test_what_learns_the_wrong_way_or_from_no_negatives_does_not(broken):
    assert not matches(trained(broken, steps=60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchor": -1.0}, "anchor=-1.0"),
        ({"anchor": float("nan")}, "anchor=nan"),
        ({"samples": 0}, "samples=0"),
        ({"anchor": 1.0, "maximum_entropy": False}, "anchor=1.0: must be 0 without maximum_entropy"),
    ],
)
def test_bad_values_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sampler(**options)


def test_a_model_of_observations_is_refused():
    energy = MLPEnergy(1, 2, Generators([0]), (8,))
    with pytest.raises(ValueError, match="observation_dim=1"):
        MarginalSampler(energy, cosine(1e-3, 1), 3, BOUNDS, Langevin(), [0.1])


def test_the_sampler_computes_in_its_precision():
    positive, _ = batch(rows=64, dtype=torch.float32)
    drawn = {
        precision: sampler(dtype=torch.float32, precision=precision).draw(None, positive, positive, Generators([5]))
        for precision in (None, torch.float32, torch.bfloat16)
    }
    assert torch.equal(drawn[None], drawn[torch.float32])
    apart = (drawn[torch.bfloat16] - drawn[torch.float32]).abs().mean()
    assert 0 < apart < 1e-2
