"""The joint energy's slices, the buffer's shares and stationary moments, its members, and a training that goes on."""

import copy

import pytest
import torch

from imitation.ebm.langevin import Langevin, gradient_of
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.replay import JointLearner, ReplayBuffer, anchored, of_pairs
from imitation.nn.optimiser import cosine
from imitation.population import Generators, normal_like, uniform_like

BOX = (-1.1, 1.1)


def network(seeds=(0, 1), std=0.5):
    return MLPEnergy(3, 2, Generators(list(seeds)), (16, 8), members=len(seeds), std=std)


def points(*shape, seed=9):
    random = torch.Generator().manual_seed(seed)
    return uniform_like(torch.empty(*shape, dtype=torch.float64), random, -1.0, 1.0)


def buffer(seeds=(0, 1), rows=64, samples=2, **changes):
    values = {"kernel": Langevin("true", 1.0, 0.5, BOX), "step_sizes": [0.01] * 3, "fresh": 0.05} | changes
    return ReplayBuffer(5, Generators(list(seeds)), rows, samples, BOX, **values)


class Gaussian(MLPEnergy):
    """The energy of N(mean, covariance), as a sampler sees one."""

    mean = torch.tensor([0.3, -0.2], dtype=torch.float64)
    covariance = torch.tensor([[0.04, 0.03], [0.03, 0.09]], dtype=torch.float64)

    def action_gradient(self, observation, precision=None):
        mean, inverse = self.mean.float(), self.covariance.inverse().float()
        return lambda pair: (pair - mean) @ inverse


# ---- the joint energy ----


def test_energies_of_pairs_are_those_of_actions_under_observations():
    energy = network().double()
    observation, action = points(2, 5, 3), points(2, 5, 4, 2)
    pairs = torch.cat([observation[:, :, None].expand(-1, -1, 4, -1), action], -1)
    torch.testing.assert_close(
        of_pairs(energy)(observation[..., :0], pairs), energy(observation, action), rtol=0, atol=1e-13
    )


def test_the_gradient_in_both_is_autograds_and_its_slice_that_in_the_action():
    energy = network().double()
    observation, action = points(2, 5, 3), points(2, 5, 4, 2)
    pairs = torch.cat([observation[:, :, None].expand(-1, -1, 4, -1), action], -1)
    joint = of_pairs(energy).action_gradient(observation[..., :0])(pairs)

    def written_out(pair):  # one observation for each pair, as the sampler moves both
        x, y = pair.flatten(1, 2).split([3, 2], -1)
        return energy(x, y[:, :, None])

    torch.testing.assert_close(joint, gradient_of(written_out)(pairs), rtol=0, atol=1e-12)
    torch.testing.assert_close(joint[..., 3:], energy.action_gradient(observation)(action), rtol=0, atol=1e-12)
    assert joint[..., :3].abs().max() > 1e-3


def test_both_views_have_the_same_weights():
    energy = network()
    pairs = of_pairs(energy)
    assert all(one is other for one, other in zip(energy.parameters(), pairs.parameters(), strict=True))
    assert (energy.observation_dim, energy.action_dim) == (3, 2)
    assert (pairs.observation_dim, pairs.action_dim) == (0, 5)


def test_the_anchored_loss_is_du_and_mordatchs():
    ours, theirs = torch.tensor([1.0, -2.0]), torch.tensor([[3.0, 5.0], [0.0, 1.0]])
    expected = torch.tensor([1 - 4 + 0.1 * (1 + 17), -2 - 0.5 + 0.1 * (4 + 0.5)])
    torch.testing.assert_close(anchored(0.1)(ours, theirs), expected)


def test_the_anchor_limits_the_distance_of_energies():
    # d/dE+ = 1 + 2 w E+ and d/dE- = -1 + 2 w E-: least at -1/(2w) and 1/(2w).
    energies = torch.tensor([-5.0, 5.0], requires_grad=True)
    anchored(0.1)(energies[0], energies[1:]).backward()
    assert energies.grad is not None
    torch.testing.assert_close(energies.grad, torch.zeros(2), rtol=0, atol=1e-6)


# ---- the buffer ----


def test_short_runs_add_up_to_a_long_one():
    """From uniform starts, 2 iterations a step, the buffer comes to sample the Gaussian; one step alone does not."""
    kernel, size, rows = Langevin("true"), 0.002, 4000
    one = ReplayBuffer(2, Generators([3]), rows, 4, (-1.0, 1.0), kernel, [size] * 2, fresh=0.0)
    random, positive = Generators([4]), torch.empty(1, 500, 2)
    first = one.draw(Gaussian(0, 2, torch.Generator()), positive[..., :0], positive, random)[0].reshape(-1, 2).double()
    for _ in range(1000):
        one.draw(Gaussian(0, 2, torch.Generator()), positive[..., :0], positive, random)
    found = one.rows[0].double()
    # Four standard errors of independent rows, and the bias of the step, lambda / 4 of the smallest variance's ratio.
    spread = Gaussian.covariance.diagonal().sqrt()
    assert ((found.mean(0) - Gaussian.mean).abs() < 4 * spread / rows**0.5).all()
    torch.testing.assert_close(found.T.cov(), Gaussian.covariance, rtol=4 * (2 / rows) ** 0.5 + 0.02, atol=0.005)
    assert (first.T.cov() - Gaussian.covariance).abs().max() > 0.1


def test_shares_of_fresh_rows():
    one = buffer(rows=4000, fresh=0.05)
    one.rows.fill_(7.0)  # outside the box: what lies in it is fresh
    _, start = one.take(4000, Generators([5, 6]))
    shares = (start.abs() <= 1.1).all(-1).double().mean(-1)
    assert ((start == 7) | (start.abs() <= 1.1)).all()
    assert ((shares - 0.05).abs() < 4 * (0.05 * 0.95 / 4000) ** 0.5).all()
    for fresh in (0.0, 1.0):
        one.fresh = fresh
        assert ((one.take(4000, Generators([5, 6]))[1] == 7).double().mean() == 1 - fresh).all()


def test_chains_go_on_from_where_they_were_and_every_row_is_taken_once():
    one, energy = buffer(fresh=0.0, kernel=Langevin("true", 0.0), step_sizes=[1e-9]), of_pairs(network())
    before, positive = one.rows.clone(), torch.empty(2, 32, 5)
    drawn = one.draw(energy, positive[..., :0], positive, Generators([5, 6]))  # all 64 rows, and none moves
    torch.testing.assert_close(one.rows, before)
    torch.testing.assert_close(drawn.flatten(1, 2).sort(1).values, before.sort(1).values)
    index, _ = one.take(64, Generators([5, 6]))
    assert all(len(set(member.flatten().tolist())) == 64 for member in index)


def test_rows_that_are_not_drawn_stay():
    one, energy = buffer(), of_pairs(network())
    before, positive = one.rows.clone(), torch.empty(2, 4, 5)
    drawn = one.draw(energy, positive[..., :0], positive, Generators([5, 6]))
    assert ((one.rows != before).any(-1).sum(1) == 8).all()
    for member, rows in zip(drawn.flatten(1, 2), one.rows, strict=True):
        assert all((row == rows).all(-1).any() for row in member)


@pytest.mark.parametrize(
    "wrong", [{"rows": 0}, {"samples": 0}, {"fresh": 1.5}, {"fresh": -0.1}, {"fresh": float("nan")}]
)
def test_a_buffer_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be|need"):
        buffer(**wrong)


def test_a_buffer_too_small_for_its_batch_is_refused():
    with pytest.raises(ValueError, match="64 rows is too small for 66"):
        buffer().take(66, Generators([5, 6]))


# ---- the learner ----


def learner(seeds=(0, 1), anchor=0.01, steps=20):
    random = Generators(list(seeds))
    energy = MLPEnergy(3, 2, random, (16, 8), members=len(seeds))
    rows = ReplayBuffer(5, random, 64, 2, BOX, Langevin("true", 1.0, 0.5, BOX), [0.01] * 3)
    each = [torch.Generator().manual_seed(seed + 50) for seed in seeds]
    data = torch.stack([torch.rand(30, 5, generator=one) for one in each])
    return JointLearner(energy, data[..., :3], data[..., 3:], rows, random, cosine(1e-2, steps), 8, anchor)


def weights(one):
    return torch.cat([each.detach().flatten(1) for each in one.conditional.parameters()], 1)


def rows(one):
    return one.proposal.state_dict()["rows"]


def test_a_member_equals_the_same_training_alone():
    together, alone = learner(seeds=(4, 2, 7)), learner(seeds=(2,))
    many, single = [[one.step() for _ in range(5)][-1] for one in (together, alone)]
    torch.testing.assert_close(torch.stack(many)[:, 1:2], torch.stack(single), rtol=0, atol=1e-4)
    torch.testing.assert_close(weights(together)[1:2], weights(alone), rtol=0, atol=1e-4)
    torch.testing.assert_close(rows(together)[1:2], rows(alone), rtol=0, atol=1e-4)


def test_a_training_goes_on_bit_for_bit():
    straight = learner()
    for _ in range(4):
        straight.step()
    state = copy.deepcopy(straight.state_dict())
    other = learner()
    other.load_state_dict(state)
    assert other.steps == 4
    for _ in range(4):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(straight.step(), other.step(), strict=True))
    assert torch.equal(weights(straight), weights(other))
    assert torch.equal(rows(straight), rows(other))


def test_a_state_is_not_changed_by_later_steps():
    one = learner()
    kept = one.proposal.state_dict()["rows"]
    before = kept.clone()
    one.step()
    assert torch.equal(kept, before)


def test_a_step_goes_down_the_anchored_loss_of_the_pairs(monkeypatch):
    one = learner(anchor=0.3)
    monkeypatch.setattr(one.proposal, "draw", lambda energy, observation, positive, random: rows)
    rows, pairs = points(2, 8, 2, 5, seed=3).float(), points(2, 8, 5, seed=4).float()
    monkeypatch.setattr(one, "_draw", lambda: (pairs[..., :0], pairs))
    energies = one.conditional(pairs[..., :3], pairs[:, :, None, 3:])[..., 0]
    x, y = rows.flatten(1, 2).split([3, 2], -1)
    theirs = one.conditional(x, y[:, :, None])[..., 0]
    expected = energies.mean(1) - theirs.mean(1) + 0.3 * (energies.square().mean(1) + theirs.square().mean(1))
    torch.testing.assert_close(one.step().loss, expected.detach())
    assert energies[0, 0].item() != one.conditional(pairs[..., :3], pairs[:, :, None, 3:])[0, 0, 0].item()


def test_it_learns_the_density_of_pairs():
    """Data in one corner: its energy falls below that of every other corner, of x as well as of y."""
    random = Generators([0])
    energy = MLPEnergy(1, 1, random, (32, 32))
    data = 0.5 + 0.05 * normal_like(torch.empty(1, 200, 2), Generators([1]))
    rows = ReplayBuffer(2, random, 500, 2, BOX, Langevin("true", 1.0, 0.5, BOX), [0.01] * 10)
    one = JointLearner(energy, data[..., :1], data[..., 1:], rows, random, cosine(3e-3, 300), 32, 1e-3)
    for _ in range(300):
        one.step()
    corners = torch.tensor([[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]])[None]
    with torch.no_grad():
        energies = energy(corners[..., :1], corners[:, :, None, 1:])[0, :, 0]
    assert energies[1:].min() > energies[0] + 1
    near = (rows.rows[0] - 0.5).norm(dim=-1) < 0.5
    assert near.double().mean() > 2 * 0.16  # twice the share of uniform rows


def test_what_cannot_be_trained_is_refused():
    random = Generators([0])
    energy, rows = MLPEnergy(3, 2, random), buffer(seeds=(0,))
    good, bad = torch.zeros(1, 4, 3), torch.full((1, 4, 3), 2.0)
    actions = torch.zeros(1, 4, 2)
    with pytest.raises(ValueError, match="largest observation 2"):
        JointLearner(energy, bad, actions, rows, random, cosine(1e-3, 5))
    with pytest.raises(ValueError, match="anchor=-1"):
        JointLearner(energy, good, actions, rows, random, cosine(1e-3, 5), anchor=-1.0)
