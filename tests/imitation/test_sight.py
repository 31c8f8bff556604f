"""Convolutional networks for a population: torch's own layers, members alone, the fit, what is refused."""

import pytest
import torch
from torch import nn

from imitation.policies import Cloning, HetStat
from imitation.policies.cloning import faithful_loss
from imitation.policies.sight import KERNELS, STRIDES, Sight, Sighted
from imitation.population import Generators

SHAPE = (2, 17, 20)
SIZES = {"channels": (3, 4, 5), "width": 6}


def sight(seeds=(0, 1)) -> Sight:
    return Sight(SHAPE, Generators(list(seeds)), **SIZES)


def pictures(members: int, rows: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randint(256, (members, rows, 2 * 17 * 20), generator=torch.Generator().manual_seed(seed))
    return drawn.to(torch.uint8)


def test_it_is_torchs_network():
    mine, shown = sight(), pictures(2, 5)
    for member in range(2):
        layers, into = [], SHAPE[0]
        for kernel, bias, size, stride in zip(mine.kernels, mine.biases, KERNELS, STRIDES, strict=True):
            one = nn.Conv2d(into, len(bias[member]), size, stride)
            bound = (into * size * size) ** -0.5
            assert one.weight.abs().max() <= bound  # the range of torch's own start
            assert 0.8 * bound < float(kernel[member].detach().abs().max()) <= bound
            one.weight.data, one.bias.data = kernel[member].data, bias[member].data
            layers, into = [*layers, one, nn.ReLU()], len(bias[member])
        last = nn.Linear(len(mine.weight[member]), 6)
        last.weight.data, last.bias.data = mine.weight[member].data.T, mine.bias[member, 0].data
        network = nn.Sequential(*layers, nn.Flatten(), last, nn.LayerNorm(6, elementwise_affine=False), nn.Tanh())
        expected = network(shown[member].view(5, *SHAPE) / 255 - 0.5)
        torch.testing.assert_close(mine(shown)[member], expected, rtol=1e-4, atol=1e-5)


def test_a_member_is_what_it_would_be_alone():
    both, alone = sight(), sight([1])
    shown = pictures(2, 4)
    assert torch.equal(both(shown)[1:], alone(shown[1:]))
    assert not torch.equal(both(shown)[0], both(shown[[1, 1]])[0])


def test_it_is_fitted_with_its_policy_and_members_do_not_meet():
    def fitted(seeds, places):
        random = Generators(seeds)
        whole = Sighted(Sight(SHAPE, random, **SIZES), HetStat(6, 2, random, (8,), features=4))
        shown = pictures(2, 30)[places].half().half()
        action = (shown[..., :2].float() / 255 * 2 - 1) * 0.5
        before = faithful_loss(whole, shown, action).detach()
        assert not bool(Cloning(batch=16).fit(whole, shown, action, random, 60).any())
        return whole, before, faithful_loss(whole, shown, action).detach()

    both, before, after = fitted([0, 1], [0, 1])
    assert bool((after < before - 0.1).all())
    alone, *_ = fitted([1], [1])
    for one, other in zip(both.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one[1:], other, rtol=1e-3, atol=1e-5)


def test_the_deviation_moves_no_kernel():
    random = Generators([0])
    whole = Sighted(Sight(SHAPE, random, **SIZES), HetStat(6, 2, random, (8,), features=4))
    whole(pictures(1, 3), faithful=True)[1].sum().backward()
    assert all(kernel.grad is None or not kernel.grad.any() for kernel in whole.sight.parameters())
    whole(pictures(1, 3))[1].sum().backward()
    assert bool(whole.sight.kernels[0].grad.any())


def test_a_frozen_copy_stays():
    random = Generators([0])
    mine, shown = Sighted(Sight(SHAPE, random, **SIZES), HetStat(6, 2, random, (8,), features=4)), pictures(1, 3)
    frozen, before = mine.frozen(), mine(shown)[1].detach()
    with torch.no_grad():
        mine.sight.bias += 1
    assert torch.equal(frozen(shown)[1], before)
    assert not frozen(shown)[1].requires_grad


@pytest.mark.parametrize(
    "wrong",
    [{"shape": (2, 15, 20)}, {"shape": (0, 20, 20)}, {"channels": (3, 4)}, {"channels": (3, 0, 4)}, {"width": 0}],
)
def test_sizes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="16 pixels at least"):
        Sight(random=Generators([0]), **({"shape": SHAPE} | SIZES | wrong))
