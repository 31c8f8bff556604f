"""Actions of least energy: known minima, the law of resampling, units, blocks and refusals."""

import pytest
import torch

from imitation.ebm import inference
from imitation.ebm.inference import DerivativeFree, ImplicitPolicy, LangevinMinimiser
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.schedules import polynomial
from imitation.policies.scaling import Scaling
from imitation.population import Generators

BOUNDS = (-1.0, 1.0)
LANGEVIN = LangevinMinimiser(64, BOUNDS, Langevin("ibc", 0.01, clip=0.5, bounds=BOUNDS), polynomial(0.1, 0.01, 60))
DERIVATIVE_FREE = DerivativeFree(4096, BOUNDS)


class Valleys(MLPEnergy):
    """10 |y - c|^2 |y + c|^2 + 2 |y - c|^2 with c = .6 x: a lower valley at c and another near -c."""

    def __init__(self, members=1):
        super().__init__(2, 2, torch.Generator().manual_seed(0), (1,), members)

    def forward(self, observation, action):
        centre = 0.6 * observation[:, :, None]
        near, far = ((action - sign * centre).square().sum(-1) for sign in (1, -1))
        return 10 * near * far + 2 * near

    def action_gradient(self, observation, precision=None):
        def gradient(action):
            with torch.enable_grad():
                action = action.detach().requires_grad_()
                return torch.autograd.grad(self(observation, action).sum(), action)[0]

        return gradient


def observations(members=2, rows=20):
    return torch.rand(members, rows, 2, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.6


@pytest.mark.parametrize(("minimiser", "tolerance"), [(LANGEVIN, 0.02), (DerivativeFree(256, BOUNDS), 0.03)])
def test_the_lower_of_two_valleys_is_found(minimiser, tolerance):
    seen = observations()
    found = minimiser(Valleys(2), seen, Generators([0, 1]))
    assert found.shape == (2, 20, 2)
    assert not found.requires_grad
    assert (found - 0.6 * seen).abs().max() < tolerance


@pytest.mark.parametrize("minimiser", [LANGEVIN, DERIVATIVE_FREE])
def test_another_sample_than_the_lowest_misses_it(minimiser, monkeypatch):
    chosen = inference._chosen
    monkeypatch.setattr(inference, "_chosen", lambda actions, index: chosen(actions, (index + 1) % actions.shape[2]))
    seen = observations()
    assert (minimiser(Valleys(2), seen, Generators([0, 1])) - 0.6 * seen).abs().max() > 0.1


@pytest.mark.parametrize("minimiser", [LANGEVIN, DERIVATIVE_FREE])
def test_what_is_returned_is_no_worse_than_a_uniform_search(minimiser):
    """On a network, whose minimum nobody knows: best of 20 000 uniform actions."""
    energy = MLPEnergy(2, 2, Generators([0, 1]), (32, 32), members=2, std=0.5)
    seen = observations(rows=4)
    found = minimiser(energy, seen, Generators([0, 1]))
    with torch.no_grad():
        grid = torch.cartesian_prod(*2 * [torch.linspace(-1, 1, 141)]).expand(2, 4, -1, -1)
        least, largest = energy(seen, grid).aminmax(dim=-1)
        excess = (energy(seen, found[:, :, None])[..., 0] - least) / (largest - least)
    assert excess.max() < 0.01


@pytest.mark.parametrize("minimiser", [LANGEVIN, DERIVATIVE_FREE])
def test_a_member_acts_as_it_would_alone(minimiser):
    energies = [MLPEnergy(2, 2, Generators(seeds), (16,), members=len(seeds), std=0.5) for seeds in ([0, 1], [1])]
    seen = observations()
    together = minimiser(energies[0], seen, Generators([0, 1]))[1:]
    torch.testing.assert_close(together, minimiser(energies[1], seen[1:], Generators([1])), rtol=0, atol=1e-4)


def test_resampling_draws_by_the_weights_exp_of_minus_energy():
    energies = torch.tensor([0.0, 1.0, -1.0, 3.0, 500.0])
    members, rows, samples = 2, 400, 500
    actions = torch.arange(5.0).repeat(samples // 5)[:, None].expand(members, rows, -1, -1)
    found = inference._resampled(actions, energies[actions[..., 0].long()], Generators([0, 1]))
    weights = torch.softmax(-energies, 0)
    count = members * rows * samples
    share = found.flatten().long().bincount(minlength=5) / count
    assert found.shape == actions.shape
    assert ((share - weights).abs() <= 4 * (weights * (1 - weights) / count).sqrt()).all()


def test_resampling_keeps_to_its_observation():
    actions = torch.arange(6.0).reshape(1, 3, 2, 1)
    found = inference._resampled(actions, torch.zeros(1, 3, 2), Generators([0]))
    assert (found.flatten(1).reshape(3, 2) // 2).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_blocks_of_samples_do_not_change_energies(monkeypatch):
    energy = MLPEnergy(2, 2, Generators([0, 1]), (16,), members=2).double()
    seen, actions = observations(rows=7).double(), torch.rand(2, 7, 5, 2, dtype=torch.float64)
    whole = inference._energies(energy, seen, actions)
    monkeypatch.setattr(inference, "ROWS", 12)
    torch.testing.assert_close(inference._energies(energy, seen, actions), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(whole, energy(seen, actions), rtol=0, atol=1e-14)


def test_a_policy_speaks_the_environments_units():
    """Least energy at .6 x in scaled units; observations come and actions go in the demonstrations' units."""
    seen = observations()
    ends = torch.tensor([[[0.0, 10.0], [4.0, 30.0]]]).expand(2, -1, -1)
    scaling = Scaling.min_max(ends)
    policy = ImplicitPolicy(Valleys(2), LANGEVIN, scaling, scaling, Generators([0, 1]))
    acted = policy.act(scaling.unscaled(seen).double())
    assert acted.dtype == torch.float64
    error = (scaling.scaled(acted) - 0.6 * seen).abs()
    assert error.max() < 0.02


def test_a_policy_keeps_to_the_range_of_actions():
    wide = LangevinMinimiser(64, (-2.0, 2.0), Langevin("ibc", 0.01, clip=0.2), [0.01] * 80)
    scaling = Scaling(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
    seen = torch.full((1, 3, 2), 2.0)  # the minimum lies at 1.2
    policy = ImplicitPolicy(Valleys(), wide, scaling, scaling, Generators([0]))
    assert wide(Valleys(), seen, Generators([0])).min() > 1.1
    assert (policy.act(seen) == 1).all()


@pytest.mark.parametrize(
    "options",
    [{"samples": 0}, {"bounds": (1.0, 1.0)}, {"iterations": 0}, {"deviation": 0.0}, {"shrink": float("nan")}],
)
def test_bad_searches_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DerivativeFree(**{"samples": 4, "bounds": BOUNDS} | options)
    if options.keys() <= {"samples", "bounds"}:
        with pytest.raises(ValueError, match=next(iter(options))):
            LangevinMinimiser(**{"samples": 4, "bounds": BOUNDS, "kernel": Langevin(), "step_sizes": [0.1]} | options)
