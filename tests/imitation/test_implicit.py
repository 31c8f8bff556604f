"""Training: a step written out, the population, what diverges, going on from a state, and refused data."""

import copy
import math

import pytest
import torch
from torch import nn

from imitation.ebm import losses
from imitation.ebm.implicit import Learner, Objective
from imitation.ebm.inference import DerivativeFree
from imitation.ebm.langevin import Langevin
from imitation.ebm.marginal import MarginalSampler
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import LongChain, Proposal, ShortChains, Uniform
from imitation.ebm.schedules import polynomial
from imitation.nn.optimiser import cosine, stepwise
from imitation.population import Generators

BOUNDS = (-1.1, 1.1)
KERNEL = Langevin("ibc", 0.1, clip=0.5, bounds=BOUNDS)
SHORT = ShortChains(4, BOUNDS, KERNEL, polynomial(1.0, 1e-3, 5))


class Given(Proposal):
    """The same negatives at every step."""

    def __init__(self, negatives):
        self.negatives = negatives

    def draw(self, energy, observation, positive, random):
        return self.negatives


def data(members=1, rows=30, dtype=torch.float32, seed=0):
    random = torch.Generator().manual_seed(seed)
    shapes = (members, rows, 3), (members, rows, 2)
    return [torch.rand(shape, generator=random, dtype=dtype) * 2 - 1 for shape in shapes]


def learner(proposal=SHORT, seeds=(0,), dtype=torch.float32, objective=None, schedule=None, batch=16, index=None):
    """A population; with `index` its members of these places, alone."""
    energy = MLPEnergy(3, 2, Generators(list(seeds)), (32, 16), members=len(seeds), std=0.5).to(dtype)
    demonstrations = [one if index is None else one[index] for one in data(max(3, len(seeds)), dtype=dtype)]
    demonstrations = demonstrations if index is not None else [one[: len(seeds)] for one in demonstrations]
    random = Generators([100 + seed for seed in seeds])
    return Learner(energy, *demonstrations, proposal, random, schedule or stepwise(1e-3, 0.9, 2), batch, objective)


def marginal(seeds=(0,), dtype=torch.float32, **options):
    energy = MLPEnergy(0, 2, Generators(list(seeds)), (16,), members=len(seeds), std=0.3).to(dtype)
    return MarginalSampler(energy, stepwise(1e-3, 1.0, 1), 4, BOUNDS, KERNEL, polynomial(1.0, 1e-3, 5), **options)


def plain_network(energy):
    """The first member as torch's own layers, (N, Dx + Dy) -> (N, 1)."""
    layers = []
    for weight, bias in zip(energy.weights, energy.biases, strict=True):
        linear = nn.Linear(*weight.shape[1:], dtype=weight.dtype)
        linear.load_state_dict({"weight": weight[0].T.detach().clone(), "bias": bias[0, 0].detach().clone()})
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain_energies(network, observation, action):
    """Energies (B, M) of actions (B, M, Dy)."""
    return network(torch.cat([observation[:, None].expand(-1, action.shape[1], -1), action], -1))[..., 0]


def plain_loss(network, observation, candidates, objective):
    """Cross-entropy of the first candidate with logits -E, the anchor, and the penalty by a double backward."""
    energies = plain_energies(network, observation, candidates)
    first = torch.zeros(len(energies), dtype=torch.long)
    loss = nn.functional.cross_entropy(-energies, first) + objective.anchor * energies[:, 0].square().mean()
    if objective.penalty:
        action = candidates[:, 1:].detach().requires_grad_()
        energy = plain_energies(network, observation, action).sum()
        slopes = torch.autograd.grad(energy, action, create_graph=True)[0]
        loss = loss + objective.penalty * (slopes.abs().amax(-1) - 1).clamp(min=0).square().mean()
    return loss


@pytest.mark.parametrize("objective", [Objective(), Objective(anchor=0.1), Objective(penalty=1.0)])
def test_steps_are_autograds_on_a_plain_network_with_torchs_adam(objective):
    negatives = torch.rand(1, 16, 4, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * 2 - 1
    ours = learner(Given(negatives), dtype=torch.float64, objective=objective)
    network = plain_network(ours.energy)
    adam = torch.optim.Adam(network.parameters(), foreach=False)
    (observations, actions), random = [one[0] for one in data(3, dtype=torch.float64)], torch.Generator()
    random.manual_seed(100)
    for step in range(4):
        chosen = torch.randint(30, (16,), generator=random)
        candidates = torch.cat([actions[chosen, None], negatives[0]], 1)
        adam.param_groups[0]["lr"] = 1e-3 * 0.9 ** (step // 2)
        adam.zero_grad()
        plain_loss(network, observations[chosen], candidates, objective).backward()
        adam.step()
        ours.step()
    for mine, theirs in zip(plain_network(ours.energy).parameters(), network.parameters(), strict=True):
        # InfoNCE has no slope in the last bias; Adam divides what rounding leaves of it by 1e-8.
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
    start = learner(dtype=torch.float64).energy.weights[0]
    assert (ours.energy.weights[0] - start).abs().mean() > 1e-3
    assert ours.steps == 4


def test_the_objectives_terms_each_change_the_step():
    """So that the comparison above sees them."""
    ends = []
    for objective in (Objective(), Objective(anchor=0.1), Objective(penalty=1.0), Objective(losses.mcmc)):
        one = learner(objective=objective)
        one.step()
        one.step()  # the first moves every weight by the rate, whatever the slope is
        ends.append(one.energy.weights[0].detach())
    assert all(not torch.allclose(ends[a], ends[b], atol=1e-5) for a in range(4) for b in range(a))


def test_what_a_step_tells_is_what_it_saw():
    negatives = torch.rand(1, 16, 4, 2, generator=torch.Generator().manual_seed(7)) * 2 - 1
    ours = learner(Given(negatives), objective=Objective(anchor=5.0))
    network = plain_network(ours.energy)
    chosen = torch.randint(30, (16,), generator=torch.Generator().manual_seed(100))
    observation, positive = (one[0, chosen] for one in data(3))
    info = ours.step()
    energies = plain_energies(network, observation, torch.cat([positive[:, None], negatives[0]], 1))
    away = (positive[:, None] - negatives[0]).square().sum(-1).sqrt()
    expected = (
        nn.functional.cross_entropy(-energies, torch.zeros(16, dtype=torch.long)),
        energies[:, 0].mean(),
        energies[:, 1:].mean(),
        away.mean(),
        away.min(1).values.mean(),
    )
    for found, wanted in zip(info, expected, strict=True):
        assert found.shape == (1,)
        assert not found.requires_grad
        torch.testing.assert_close(found[0], wanted, rtol=1e-5, atol=1e-5)


LONG = LongChain(4, BOUNDS, KERNEL, [0.1] * 8)


MAKE = [lambda *_: SHORT, lambda *_: LONG, lambda *_: Uniform(4, BOUNDS), marginal]


@pytest.mark.parametrize("make", MAKE)
def test_a_member_is_the_same_run_alone(make):
    """In float64: in float32 the products of one member and of three round differently, and Adam enlarges that."""
    seeds, dtype = (3, 8, 5), torch.float64
    together = learner(make(seeds, dtype), seeds, dtype)
    infos = [together.step() for _ in range(5)]
    for place, seed in enumerate(seeds):
        alone = learner(make((seed,), dtype), (seed,), dtype, index=slice(place, place + 1))
        for info in infos:
            for one, other in zip(info, alone.step(), strict=True):
                torch.testing.assert_close(one[place : place + 1], other, rtol=0, atol=1e-9)
        for one, other in zip(together.energy.parameters(), alone.energy.parameters(), strict=True):
            torch.testing.assert_close(one[place : place + 1], other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("make", [lambda seeds: SHORT, marginal])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_diverged_member_is_reported_and_disturbs_no_other(make, layer):
    seeds = (0, 1, 2)
    healthy, ill = learner(make(seeds), seeds), learner(make(seeds), seeds)
    assert not ill.diverged.any()
    with torch.no_grad():
        ill.energy.weights[layer][1, 0, 0] = torch.nan
    for _ in range(4):
        expected, found = healthy.step(), ill.step()
        assert found.loss.isnan().tolist() == [False, True, False]
        assert torch.equal(found.loss[::2], expected.loss[::2])
    assert ill.diverged.tolist() == [False, True, False]
    for one, other in zip(healthy.energy.parameters(), ill.energy.parameters(), strict=True):
        assert torch.equal(one[::2], other[::2])


def test_a_step_of_the_learner_is_one_of_its_marginal_sampler_too():
    one = learner(marginal())
    before = [weight.detach().clone() for weight in one.proposal.energy.weights]
    one.step()
    assert one.proposal._adam.steps == 1
    for weight, start in zip(one.proposal.energy.weights, before, strict=True):
        assert (weight != start).any()


PROPOSALS = {
    "short chains": lambda: SHORT,
    "bfloat16": lambda: ShortChains(4, BOUNDS, KERNEL, [0.1] * 5, torch.bfloat16),
    "marginal": marginal,
    "maximum entropy": lambda: marginal(maximum_entropy=True, anchor=0.1),
}


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_training_goes_on_from_a_file_as_if_never_stopped(name, tmp_path):
    whole, first = learner(PROPOSALS[name]()), learner(PROPOSALS[name]())
    for _ in range(20):
        expected = whole.step()
    for _ in range(10):
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = learner(PROPOSALS[name]())
    second.step()  # whatever it did before is forgotten
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.steps == 10
    for _ in range(10):
        found = second.step()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    ends = whole.state_dict(), second.state_dict()
    assert flat(ends[0]).keys() == flat(ends[1]).keys()
    for path, value in flat(ends[0]).items():
        other = flat(ends[1])[path]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, path


def flat(state, path=()):
    """Leaves of a nested state by their path."""
    children = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    if isinstance(state, (dict, list)):
        return {key: leaf for name, one in children for key, leaf in flat(one, (*path, name)).items()}
    return {path: state}


def test_a_state_is_a_copy():
    """Kept in memory, the state of the best step so far must not go on with the training."""
    one = learner(marginal())
    one.step()
    state = one.state_dict()
    before = copy.deepcopy(flat(state))
    for _ in range(2):
        one.step()
        one.load_state_dict(state)
    other = learner(marginal())
    other.load_state_dict(state)
    other.step()
    for path, value in flat(state).items():
        assert torch.equal(value, before[path]) if isinstance(value, torch.Tensor) else value == before[path], path


def spoilt(place, value):
    demonstrations = data()
    demonstrations[place][0, 0, 0] = value
    return demonstrations


REFUSED = {
    "not a number": (spoilt(0, torch.nan), "not finite"),
    "infinite": (spoilt(1, torch.inf), "not finite"),
    "outside": (spoilt(1, -1.2), "must lie in .* the largest is 1.2"),
    "rows": ([data()[0], data()[1][:, 1:]], "do not fit 1 models of 3 and 2"),
    "members": ([one.expand(2, -1, -1) for one in data()], "do not fit 1 models"),
    "observations": ([data()[1], data()[1]], "do not fit"),
    "actions": ([data()[0], data()[0]], "do not fit"),
    "empty": ([one[:, :0] for one in data()], "empty"),
    "type": ([one.double() for one in data()], "float64 and torch.float64 data for torch.float32 models"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused_in_one_line(name):
    demonstrations, message = REFUSED[name]
    energy = MLPEnergy(3, 2, Generators([0]), (8,))
    # Without the check of annotations, which is there in tests alone.
    bare = object.__new__(Learner)
    with pytest.raises(ValueError, match=message) as caught:
        Learner.__init__.__wrapped__(bare, energy, *demonstrations, SHORT, Generators([0]), cosine(1e-3, 10))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("generators", "batch"), [(2, 16), (1, 0)])
def test_generators_and_batches_that_do_not_fit_are_refused(generators, batch):
    energy = MLPEnergy(3, 2, Generators([0]), (8,))
    with pytest.raises(ValueError, match=f"{generators} generators and batch={batch}"):
        Learner(energy, *data(), SHORT, Generators([0] * generators), cosine(1e-3, 10), batch)


@pytest.mark.parametrize("options", [{"anchor": -1.0}, {"penalty": -1.0}, {"anchor": math.nan}])
def test_negative_weights_are_refused(options):
    with pytest.raises(ValueError, match="must not be negative"):
        Objective(**options)


class Positives(Proposal):
    """Broken: what was demonstrated is what is told from it."""

    def draw(self, energy, observation, positive, random):
        return positive[:, :, None].expand(-1, -1, 4, -1).contiguous()


def error(proposal):
    """Mean distance of the action of least energy from .5 sin 3x after 300 steps."""
    x = torch.linspace(-1, 1, 400)[None, :, None]
    energy = MLPEnergy(1, 1, Generators([0]), (64, 64), std=0.1)
    one = Learner(energy, x, 0.5 * (3 * x).sin(), proposal, Generators([1]), cosine(3e-3, 300), 128)
    for _ in range(300):
        one.step()
    found = DerivativeFree(256, BOUNDS, deviation=0.1)(energy, x, Generators([2]))
    return (found - 0.5 * (3 * x).sin()).abs().mean().item()


@pytest.mark.parametrize("proposal", [SHORT, Uniform(16, BOUNDS)])
def test_it_learns_a_function(proposal):
    assert error(proposal) < 0.08


def test_it_learns_nothing_if_negatives_are_the_positives():
    assert error(Positives()) > 0.3
