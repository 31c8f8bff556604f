"""The soft actor-critic core: against torch's own layers and distributions, a plain second writing, members, replay."""

import copy
from dataclasses import replace

import pytest
import torch
from small_csil import cloned
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from imitation.control.absorbing import AbsorbingActorCritic
from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.control.dac import AdversarialSettings, DiscriminatorActorCritic
from imitation.control.networks import Actor, Critics, Perceptron
from imitation.control.ppil import ProximalPoint, ProximalPointSettings
from imitation.control.replay import Replay, Transitions
from imitation.control.sac import Settings, SoftActorCritic
from imitation.population import Generators

SMALL = Settings(hidden=(16, 16))


def some_rows(members=1, batch=32, observation_dim=3, action_dim=2, seed=5):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(members, batch, *shape, generator=random)

    ends = (torch.rand(members, batch, generator=random) < 0.3).float()
    return Transitions(normal(observation_dim), normal(action_dim).tanh(), normal(), normal(observation_dim), ends)


def test_a_network_is_torchs_own():
    network = Perceptron([3, 16, 16, 2], Generators([0, 1]), copies=2)
    value = torch.randn(4, 10, 3, generator=torch.Generator().manual_seed(1))
    for member in range(4):
        layers = []
        for weight, bias in zip(network.weights, network.biases, strict=True):
            one = nn.Linear(weight.shape[1], weight.shape[2])
            one.weight.data, one.bias.data = weight[member].T.detach(), bias[member, 0].detach()
            layers += [one, nn.ReLU()]
        torch.testing.assert_close(network(value)[member], nn.Sequential(*layers[:-1])(value[member]))


def test_frozen_critics_pass_gradients_to_the_action_only():
    critics, rows = Critics(3, 2, Generators([0]), [16, 16]), some_rows()
    action = rows.action.requires_grad_()
    free = torch.autograd.grad(critics(rows.observation, action).sum(), action)[0]
    value = critics(rows.observation, action, frozen=True)
    value.sum().backward()
    torch.testing.assert_close(action.grad, free)
    assert all(one.grad is None for one in critics.parameters())


def test_the_log_density_is_that_of_a_normal_squashed_by_tanh():
    actor, rows = Actor(3, 2, Generators([0]), [16]).double(), some_rows()
    observation = rows.observation.double()
    action, density = actor.sample(observation, Generators([7]))
    mean, log_deviation = actor(observation)
    base = Independent(Normal(mean, log_deviation.exp()), 1)
    expected = TransformedDistribution(base, TanhTransform(cache_size=0)).log_prob(action)
    torch.testing.assert_close(density, expected, rtol=1e-9, atol=1e-9)


def test_the_log_density_stays_finite_where_tanh_rounds_to_one():
    actor = Actor(1, 1, Generators([0]), [4])
    with torch.no_grad():
        actor.network.biases[-1][..., 0] = 40.0
    action, density = actor.sample(torch.zeros(1, 5, 1), Generators([0]))
    assert (action == 1).all()
    assert density.isfinite().all()


def test_the_log_deviation_stays_within_its_limits():
    actor = Actor(1, 2, Generators([0]), [4])
    with torch.no_grad():
        actor.network.biases[-1][..., 2:] = torch.tensor([-100.0, 100.0])
    assert torch.equal(actor(torch.zeros(1, 5, 1))[1], torch.tensor([-20.0, 2.0]).expand(1, 5, 2))


def test_exploring_draws_from_the_policy():
    learner, observation = SoftActorCritic(3, 2, Generators([0]), SMALL), some_rows().observation
    state = learner.random.members[0].get_state()
    first, second = learner.explore(observation), learner.explore(observation)
    assert not torch.equal(first, second)
    learner.random.members[0].set_state(state)
    for found in (first, second):
        assert torch.equal(found, learner.actor.sample(observation, learner.random)[0])


class Plain:
    """One update of one learner, written out with torch's own modules and distributions."""

    def __init__(self, learner):
        def layers(network, index):
            parts = []
            for weight, bias in zip(network.weights, network.biases, strict=True):
                one = nn.Linear(weight.shape[1], weight.shape[2])
                one.weight.data, one.bias.data = weight[index].T.detach().clone(), bias[index, 0].detach().clone()
                parts += [one, nn.ReLU()]
            return nn.Sequential(*parts[:-1])

        self.settings = learner.settings
        self.actor = layers(learner.actor.network, 0)
        self.critics = nn.ModuleList(layers(learner.critics.network, k) for k in range(2))
        self.targets = copy.deepcopy(self.critics)
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), 3e-4)
        self.critic_adam = torch.optim.Adam(self.critics.parameters(), 3e-4)
        self.alpha_adam = torch.optim.Adam([self.log_alpha], 3e-4)

    def sample(self, observation, random):
        mean, log_deviation = self.actor(observation).chunk(2, -1)
        base = Normal(mean, log_deviation.clamp(-20, 2).exp())
        raw = mean + base.stddev * torch.randn(mean.shape, generator=random)
        density = base.log_prob(raw) - torch.log1p(-raw.tanh().square() + 1e-12)
        return raw.tanh(), density.sum(-1)

    def update(self, rows, random):
        s, a, r, after, end = (value[0] for value in rows)
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            action, density = self.sample(after, random)
            both = [q(torch.cat([after, action], -1))[:, 0] for q in self.targets]
            target = r + 0.99 * (1 - end) * (torch.minimum(*both) - alpha * density)
        loss = sum(0.5 * (q(torch.cat([s, a], -1))[:, 0] - target).square().mean() for q in self.critics)
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()
        action, density = self.sample(s, random)
        both = [q(torch.cat([s, action], -1))[:, 0] for q in self.critics]
        self.actor_adam.zero_grad()
        (alpha * density - torch.minimum(*both)).mean().backward()
        self.actor_adam.step()
        self.alpha_adam.zero_grad()
        (-self.log_alpha * (density.detach() - 2.0).mean()).backward()
        self.alpha_adam.step()
        with torch.no_grad():
            for slow, fast in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                slow.mul_(1 - 0.005).add_(0.005 * fast)


def test_updates_are_those_of_a_plain_writing():
    learner = SoftActorCritic(3, 2, Generators([0]), SMALL)
    plain, random = Plain(learner), torch.Generator()
    random.set_state(learner.random.members[0].get_state())
    for step in range(5):
        rows = some_rows(seed=step)
        learner.update(rows)
        plain.update(rows, random)
    probe = some_rows(seed=99)
    torch.testing.assert_close(learner.actor.network(probe.observation)[0], plain.actor(probe.observation[0]),
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    pairs = torch.cat([probe.observation, probe.action], -1)[0]
    values = torch.stack([q(pairs)[:, 0] for q in plain.targets])
    torch.testing.assert_close(learner.targets(probe.observation, probe.action)[0], values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(learner.log_temperature, plain.log_alpha, rtol=1e-5, atol=1e-6)


def test_a_member_is_its_single_run():
    together = SoftActorCritic(3, 2, Generators([4, 8]), SMALL)
    alone = SoftActorCritic(3, 2, Generators([8]), SMALL)
    for step in range(5):
        rows = some_rows(members=2, seed=step)
        info = together.update(rows)
        other = alone.update(Transitions(*(value[1:] for value in rows)))
    for ours, theirs in zip(info, other, strict=True):
        torch.testing.assert_close(ours[1:], theirs, rtol=1e-4, atol=1e-5)
    probe = some_rows(members=2).observation
    torch.testing.assert_close(together.actor.mode(probe)[1:], alone.actor.mode(probe[1:]), rtol=1e-4, atol=1e-5)


def test_a_member_that_diverges_leaves_the_others_as_they_are():
    learner, reference = (SoftActorCritic(3, 2, Generators([4, 8]), SMALL) for _ in range(2))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        reference.update(rows)
        rows.reward[0, 0] = torch.nan
        learner.update(rows)
    assert learner.diverged().tolist() == [True, False]
    probe = some_rows(members=2).observation
    assert torch.equal(learner.actor.mode(probe)[1], reference.actor.mode(probe)[1])


def test_nothing_follows_an_end_and_a_time_limit_is_none():
    learner, rows = SoftActorCritic(3, 2, Generators([0]), SMALL), some_rows()
    ended = learner.target(rows._replace(terminated=torch.ones(1, 32)))
    assert torch.equal(ended, rows.reward)
    assert not torch.equal(learner.target(rows._replace(terminated=torch.zeros(1, 32))), rows.reward)


def test_the_soft_optimum_of_a_bandit():
    """Each step ends the episode and r = 2 a: the best squashed normal for r + alpha H, by quadrature."""
    settings = Settings(hidden=(32, 32), temperature=0.5, temperature_rate=0.0, actor_rate=3e-3, critic_rate=3e-3)
    learner, random = SoftActorCritic(1, 1, Generators([0]), settings), torch.Generator().manual_seed(3)
    for _ in range(900):
        action = torch.rand(1, 128, 1, generator=random) * 2 - 1
        zero = torch.zeros(1, 128, 1)
        learner.update(Transitions(zero, action, 2 * action[..., 0], zero, torch.ones(1, 128)))
    mean, log_deviation = (value.item() for value in learner.actor(torch.zeros(1, 1, 1)))
    noise = Normal(0, 1).icdf(torch.linspace(0, 1, 4001, dtype=torch.float64)[1:-1])

    def objective(mean, deviation):
        raw = mean + deviation * noise
        logdet = 2 * (torch.tensor(2.0).log() - raw - nn.functional.softplus(-2 * raw))
        return (2 * raw.tanh() + 0.5 * (logdet + torch.tensor(deviation).log())).mean().item()

    best = max(objective(m / 20, d / 20) for m in range(0, 60) for d in range(5, 60))
    assert objective(mean, torch.tensor(log_deviation).exp().item()) > best - 0.02
    assert objective(0.0, 1.0) < best - 0.2  # where learning did not happen


def test_the_temperature_rises_while_the_entropy_is_too_low():
    learner = SoftActorCritic(3, 2, Generators([0]), replace(SMALL, target_entropy=5.0))
    learner.update(some_rows())
    assert learner.temperature > 1
    learner = SoftActorCritic(3, 2, Generators([0]), replace(SMALL, target_entropy=-5.0))
    learner.update(some_rows())
    assert learner.temperature < 1


def test_a_state_goes_on_to_the_same_numbers():
    learner = SoftActorCritic(3, 2, Generators([0, 1]), SMALL)
    learner.update(some_rows(members=2))
    state = copy.deepcopy(learner.state_dict())
    other = SoftActorCritic(3, 2, Generators([7, 9]), SMALL)
    other.load_state_dict(state)
    for step in range(3):
        learner.update(some_rows(members=2, seed=step))
        other.update(some_rows(members=2, seed=step))
    for one, two in zip(learner.actor.parameters(), other.actor.parameters(), strict=True):
        assert torch.equal(one, two)
    assert learner.updates == other.updates == 4


OF_ALL = {
    "SAC": lambda random: SoftActorCritic(3, 2, random, SMALL),
    "DAC": lambda random: DiscriminatorActorCritic(3, 2, random, AdversarialSettings(hidden=(16, 16))),
    "DAC, absorbing": lambda random: AbsorbingActorCritic(3, 2, random, AdversarialSettings(hidden=(16, 16))),
    "P2IL": lambda random: ProximalPoint(3, 2, random, ProximalPointSettings(hidden=(16, 16))),
    "CSIL": lambda random: CoherentSoftImitation(cloned((0, 1)), random, CoherentSettings(hidden=(16, 16))),
}


@pytest.mark.parametrize("make", OF_ALL.values(), ids=OF_ALL)
def test_a_state_is_a_copy_that_brings_back_all_that_was(make):
    learner = make(Generators([0, 1]))
    learner.update(some_rows(members=2))
    state = learner.state_dict()
    before = copy.deepcopy(state)
    learner.update(some_rows(members=2, seed=6))
    ended = numbers(learner)
    assert same(state, before)
    assert not same(learner.state_dict(), before)
    learner.load_state_dict(state)
    assert same(learner.state_dict(), before)
    learner.update(some_rows(members=2, seed=6))
    assert same(numbers(learner), ended)


def numbers(learner):
    """All that an update may change, listed by what it is and not by what a state holds."""
    modules = [one for one in vars(learner).values() if isinstance(one, nn.Module)]
    parts = [value for one in modules for value in one.state_dict().values()] + list(learner._values())
    return copy.deepcopy([value.detach() for value in parts])


def same(one, other):
    """Whether two states are equal, tensor by tensor."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("wrong", [{"hidden": (0,)}, {"copies": 0}, {"discount": 1.0}, {"smoothing": 0.0},
                                   {"actor_rate": 0.0}, {"temperature": -1.0}, {"temperature_rate": -1.0},
                                   {"critic_rate": torch.nan}, {"temperature": [0.1, torch.nan]},
                                   {"target_entropy": torch.inf}])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"must|at least"):
        Settings(**wrong)


# ---- replay ----


def numbered(first, count):
    number = torch.arange(first, first + count).float()[None]
    return Transitions(number[..., None].expand(-1, -1, 3), number[..., None].expand(-1, -1, 2), number,
                       (number + 0.5)[..., None].expand(-1, -1, 3), number % 2)  # fmt: skip


def test_the_ring_keeps_the_last_and_its_fields_stay_together():
    replay = Replay(1, 3, 2, capacity=10)
    for first in range(0, 28, 4):
        replay.add(numbered(first, 4))
    assert len(replay) == 10
    rows = replay.sample(1000, Generators([0]))
    assert sorted(set(rows.reward[0].tolist())) == list(range(18, 28))
    assert torch.equal(rows.observation, rows.reward[..., None].expand(-1, -1, 3))
    assert torch.equal(rows.action, rows.reward[..., None].expand(-1, -1, 2))
    assert torch.equal(rows.following, rows.observation + 0.5)
    assert torch.equal(rows.terminated, rows.reward % 2)


def test_samples_are_uniform_and_each_members_own():
    replay = Replay(2, 3, 2, capacity=8)
    rows = numbered(0, 8)
    replay.add(Transitions(*(torch.cat([value, value]) for value in rows)))
    both = replay.sample(40_000, Generators([0, 1])).reward
    assert torch.equal(both[1], replay.sample(40_000, Generators([5, 1])).reward[1])
    shares = torch.bincount(both[0].long(), minlength=8) / 40_000
    assert (shares - 1 / 8).abs().max() < 4 * (1 / 8 * 7 / 8 / 40_000) ** 0.5


def test_replay_refuses_and_remembers():
    with pytest.raises(ValueError, match="positive"):
        Replay(1, 3, 2, capacity=0)
    replay = Replay(1, 3, 2, capacity=3)
    with pytest.raises(ValueError, match="empty"):
        replay.sample(1, Generators([0]))
    with pytest.raises(ValueError, match="capacity"):
        replay.add(numbered(0, 4))
    for first in (0, 2):
        replay.add(numbered(first, 2))
    other = Replay(1, 3, 2, capacity=3)
    other.load_state_dict(replay.state_dict())
    for one in (replay, other):
        one.add(numbered(4, 1))
    assert torch.equal(replay.rows, other.rows)
