"""CSIL: its identities, the slope by hand against autograd, a plain second writing of its update, members, resuming."""

import copy
from dataclasses import replace
from itertools import pairwise
from math import log, pi

import numpy as np
import pytest
import torch
from _peers.plain_csil import PlainCSIL, smooth_network
from torch import nn

from imitation.control.csil import CLIPPED_REWARD, CoherentSettings, CoherentSoftImitation
from imitation.control.imitation_rows import (
    DemonstrationRows,
    ImitationTraining,
    Noted,
    NotedReplay,
    Steps,
    some,
    whole,
)
from imitation.control.networks import SmoothCritics, SmoothPerceptron
from imitation.control.replay import Replay, Transitions
from imitation.control.training import Plan
from imitation.demonstrations import Demonstrations, Episode
from imitation.demonstrations.transitions import subsample
from imitation.envs.control import Environments
from imitation.policies import Cloning, HetStat, tanh_normal
from imitation.population import Generators, normal_like

SMALL = CoherentSettings(hidden=(16, 16), pretraining=0)


def cloned(seeds=(0,), observation_dim=3, action_dim=2, size=0.3):
    """A policy with noise on every parameter, each member's own, so that nothing is zero."""
    dtype = torch.get_default_dtype()
    policy = HetStat(observation_dim, action_dim, Generators(seeds), (16,), 5, 64, dtype=dtype)
    random = Generators([seed + 100 for seed in seeds])
    with torch.no_grad():
        for value in policy.parameters():
            value += size * normal_like(value, random)
    return policy


def learner(seeds=(0,), settings=SMALL, **of_policy):
    return CoherentSoftImitation(cloned(seeds, **of_policy), Generators(seeds), settings)


def some_rows(members=1, batch=32, seed=5, observation_dim=3, action_dim=2):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(members, batch, *shape, generator=random)

    ends = (torch.rand(members, batch, generator=random) < 0.3).to(torch.get_default_dtype())
    action = (2 * normal(action_dim)).tanh()  # a few are beyond .999
    return Transitions(normal(observation_dim), action, normal(), normal(observation_dim), ends)


def close(one, other, rtol=1e-9, atol=1e-9):
    torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


# ---- the critic ----


@pytest.mark.parametrize("hidden", [(16,), (16, 24), (16, 24, 8)])
def test_a_smooth_network_and_its_slope_are_torchs_own_twice_differentiated(exact, hidden):
    network = SmoothPerceptron([5, *hidden, 1], Generators([0, 1]), copies=2)
    with torch.no_grad():
        for one in network.parameters():
            one += 0.3 * torch.randn(one.shape, generator=torch.Generator().manual_seed(2))
    value = torch.randn(4, 20, 5, generator=torch.Generator().manual_seed(1))
    output, slope = network.with_slope(value, rows=17)
    (output.square().mean() + slope.square().sum(-1).mean().sqrt()).backward()
    close(network(value), output)
    close(network(value, frozen=True), output)
    penalty, squares = 0, 0
    plain = [smooth_network(network, index) for index in range(4)]
    for index, one in enumerate(plain):
        inputs = value[index].clone().requires_grad_()
        result = one(inputs)
        close(result, output[index])
        gradient = torch.autograd.grad(result.sum(), inputs, create_graph=True)[0][:17]
        close(gradient, slope[index])
        penalty, squares = penalty + gradient.square().sum(-1).mean() / 4, squares + result.square().mean() / 4
    (squares + penalty.sqrt()).backward()
    for index, one in enumerate(plain):
        close(network.weights[0].grad[index], one[0].weight.grad.T)
        close(network.gain.grad[index, 0], one[1].weight.grad)
        close(network.offset.grad[index, 0], one[1].bias.grad)
        close(network.weights[-1].grad[index], one[-1].weight.grad.T)


def test_frozen_smooth_critics_pass_gradients_to_the_action_only(exact):
    critics, rows = SmoothCritics(3, 2, Generators([0]), [16, 16], 1), some_rows()
    action = rows.action.clone().requires_grad_()
    critics(rows.observation, action, frozen=True).sum().backward()
    assert all(one.grad is None for one in critics.parameters())
    slope = critics.with_slope(rows.observation, rows.action, 32)[1][:, 0]
    close(action.grad, slope)
    for weight in critics.network.weights:
        small = weight if weight.shape[1] <= weight.shape[2] else weight.mT
        close(small @ small.mT, torch.eye(small.shape[1]).expand_as(small @ small.mT))


# ---- identities ----


class ExactCritic(nn.Module):
    """Q = r: the soft values of the coherent reward (Theorem 1)."""

    def __init__(self, policy, alpha):
        super().__init__()
        self.policy, self.alpha = policy, alpha

    def forward(self, observation, action, frozen=False):
        mean, deviation = self.policy(observation)
        ratio = tanh_normal.log_prob(mean, deviation, action) + action.shape[-1] * log(2)
        return (self.alpha * ratio)[:, None]


def test_the_clone_is_optimal_for_its_reward_at_the_rewards_own_temperature(exact):
    """With Q = r, beta = alpha and a uniform prior, V is 0 at every state and the actor's loss alpha KL(pi || q)."""
    one = learner(settings=replace(SMALL, temperature=0.5, alpha=0.5, prior=0.0))
    rows = some_rows(batch=64)
    one.critics = one.targets = ExactCritic(one.cloned, 0.5)
    close(one.following_value(rows), torch.zeros(1, 64), atol=1e-7)
    close(one.target(rows), one.reward(rows), atol=1e-7)
    loss, divergence = one.actor_loss(rows)
    close(loss, torch.zeros(1), atol=1e-7)
    assert float(divergence.detach()) > 0  # from the uniform prior
    with torch.no_grad():
        one.actor.policy.mean_weights *= 4
        assert float(torch.stack([one.actor_loss(rows)[0] for _ in range(50)]).mean()) > 0.01


def test_without_values_nothing_moves_the_policy_from_the_clone(exact):
    one = learner()
    one.critics = one.targets = ExactCritic(one.cloned, 0.0)
    rows = some_rows(batch=4000)
    loss, divergence = one.actor_loss(rows)
    assert torch.equal(divergence, torch.zeros(1))
    loss.sum().backward()
    slope = torch.cat([value.grad.flatten() for value in one.actor.parameters()])
    # Samples of a gradient of mean zero: it falls as one over the root of the rows.
    assert slope.norm().item() < 0.05 * 0.01 * len(slope) ** 0.5
    moved = copy.deepcopy(one)
    with torch.no_grad():
        moved.actor.policy.mean_weights *= 4
        assert float(moved.actor_loss(rows)[1]) > 0.01


def test_the_reward_at_the_clones_mode(exact):
    one, rows = learner(settings=replace(SMALL, alpha=0.7)), some_rows()
    mean, deviation = one.cloned(rows.observation)
    reward = one.reward(rows._replace(action=mean.tanh()))
    slope = (1 - mean.tanh().square()).log()
    close(reward, 0.7 * (-(deviation * (2 * pi) ** 0.5).log() - slope + log(2)).sum(-1))
    close(learner().reward(rows), one.reward(rows) / 0.7 / 2)  # alpha = 1 / |A|


def test_the_value_of_what_follows_is_clipped_from_above(exact):
    rows, bound = some_rows(), CLIPPED_REWARD / (1 - 0.99)
    for sign, clip in ((1, True), (-1, True), (1, False)):
        one = learner(settings=replace(SMALL, clip=clip))
        with torch.no_grad():
            one.targets.network.biases[-1].fill_(sign * 1e6)
        value = one.following_value(rows)
        if sign > 0 and clip:
            close(value, torch.full_like(value, bound))
            close(one.target(rows), one.reward(rows) + 0.99 * (1 - rows.terminated) * bound)
        else:
            assert bool((value.abs() > 9e5).all())
    assert bound == pytest.approx(644.96, rel=1e-4)


def refinement(ratio, alpha):
    return learner(settings=replace(SMALL, alpha=alpha)).refinement_loss(ratio)


def test_the_refinement_loss_is_what_it_says(exact):
    ratio = torch.linspace(-30, 9, 40)[None, torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    reward = 0.25 * ratio[0].numpy()
    estimate = np.mean(np.exp(-np.maximum(reward[20:], -5)) - 1 + reward[20:])
    assert float(refinement(ratio, 0.25)) == pytest.approx(estimate - reward[:20].mean())


def test_the_refinement_loss_has_no_lower_bound(exact):
    """Below the floor it falls with the replayed rows' log-density, however low that is."""
    for low in (1e2, 1e4, 1e6):
        ratio = torch.tensor([[0.0, -low]])
        assert float(refinement(ratio, 0.25)) == pytest.approx(np.exp(5) - 1 - 0.25 * low)


def test_at_alpha_one_the_refinement_estimates_the_divergence_from_the_prior(exact):
    """Where actions are the policy's; at another alpha the reward's exponential does not have the mean one."""
    one = learner(settings=replace(SMALL, alpha=0.25), size=0.05)
    state = torch.randn(1, 1, 3, generator=torch.Generator().manual_seed(0)).expand(1, 200_000, 3)
    mean, deviation = (value.detach() for value in one.cloned(state[:, :1]))
    action, _ = tanh_normal.sample(mean.expand(1, 200_000, 2), deviation.expand(1, 200_000, 2), Generators([3]))
    ratio = tanh_normal.log_prob(mean.expand_as(action), deviation.expand_as(action), action) + 2 * log(2)
    divergence = float(tanh_normal.divergence_from_uniform(mean, deviation))
    together = torch.cat([torch.zeros_like(ratio), ratio], 1)
    # The floor takes away the uniform measure of where q is below e^-5 of it, about .01.
    assert float(refinement(together, 1.0)) == pytest.approx(divergence, abs=0.03)
    assert float(refinement(together, 0.25)) < 0.25 * divergence / 2


# ---- a plain second writing ----


def test_updates_are_those_of_a_plain_writing(exact):
    ours = learner()
    plain, random = PlainCSIL(ours), torch.Generator()
    random.set_state(ours.random.members[0].get_state())
    for step in range(4):
        rows = some_rows(seed=step)
        info = ours.update(rows)
        plain.update(rows, random)
    probe = some_rows(seed=99)
    pairs = torch.cat([probe.observation, probe.action], -1)[0]
    close(ours.critics(probe.observation, probe.action)[0, 0], plain.critic(pairs)[:, 0], 1e-7, 1e-9)
    close(ours.targets(probe.observation, probe.action)[0, 0], plain.target(pairs)[:, 0], 1e-7, 1e-9)
    for one, other in ((ours.actor.policy, plain.actor), (ours.rewarder, plain.rewarder)):
        (mean, deviation), base = one(probe.observation), other(probe.observation[0])
        assert float((mean - ours.cloned(probe.observation)[0]).detach().abs().max()) > 1e-5
        close(mean[0], base.mean, 1e-6, 1e-8)
        close(deviation[0], base.stddev, 1e-6, 1e-8)
    assert set(info.diagnostics) == {"at_limits", "value_share", "demonstrated", "replayed", "largest", "slope"}


# ---- switches ----


def test_each_ingredient_can_be_switched_off(exact):
    rows = some_rows()
    still = learner(settings=replace(SMALL, refinement_rate=0.0))
    still.update(rows)
    for one, other in zip(still.rewarder.parameters(), still.cloned.parameters(), strict=True):
        assert torch.equal(one, other)
    # Without refinement the reward is read from the notes: the same as the network's.
    mean, deviation = still.cloned(rows.observation)
    close(still.reward(rows), (tanh_normal.log_prob(mean, deviation, rows.action) + 2 * log(2)) / 2)
    flat, steep = (learner(settings=replace(SMALL, jacobian=weight)) for weight in (0.0, 2.0))
    target = torch.zeros(1, 32)
    error = (flat.critics(rows.observation, rows.action)[:, 0] - target).square().mean()
    close(flat.critic_loss(rows, target)[0], error[None])
    slope = flat.critics.with_slope(rows.observation, rows.action, 16)[1].square().sum(-1).mean().sqrt()
    close(steep.critic_loss(rows, target)[0], (error + 2 * slope)[None])
    uniform = learner(settings=replace(SMALL, prior=0.0))
    close(uniform.actor_loss(rows)[1], ratio_of_own(uniform, rows))
    before = learner()
    assert before.pretrain(demonstrated()).shape == (1, 0)
    probe = before.critics(rows.observation, rows.action)
    close(probe, learner().critics(rows.observation, rows.action))


def ratio_of_own(one, rows):
    """Mean log-ratio to the uniform prior, with the noise that a fresh learner would draw."""
    mean, deviation = one.actor(rows.observation)
    noise = torch.randn(1, 32, 2, generator=learner().random.members[0])
    return (tanh_normal.log_prob_of_value(mean, deviation, mean + deviation * noise) + 2 * log(2)).mean(1)


# ---- rows and pretraining ----


def chain(lengths=(4, 3), terminated=True, seed=0):
    """Episodes whose states are all different, actions in a box that is not [-1, 1]."""
    random = np.random.default_rng(seed)
    episodes = []
    for length in lengths:
        ends = np.zeros(length, dtype=bool)
        ends[-1] = True
        none = np.zeros(length, dtype=bool)
        actions = random.uniform(-2, 4, (length, 2))
        episodes.append(Episode(random.normal(size=(length + 1, 3)), actions, None,
                                ends if terminated else none, none if terminated else ends))  # fmt: skip
    return Demonstrations("Hopper-v5", np.full(2, -2.0), np.full(2, 4.0), episodes)


def demonstrated(*arguments, **keywords):
    return DemonstrationRows([whole(chain(*arguments, **keywords))])


def test_pairs_of_actions_never_cross_episodes():
    steps, data = whole(chain()), chain()
    actions = [(one.actions - 1) / 3 for one in data.episodes]
    np.testing.assert_allclose(steps.action, np.concatenate(actions))
    np.testing.assert_allclose(steps.following_action[[0, 1, 2, 4, 5]], np.concatenate([one[1:] for one in actions]))
    assert np.isnan(steps.following_action[[3, 6]]).all()
    assert steps.terminated.tolist() == [0, 0, 0, 1, 0, 0, 1]
    for first, second in pairwise(range(4)):
        np.testing.assert_array_equal(steps.following[first], steps.observation[second])
    few = some(subsample(data, 2, np.random.default_rng(0)), data)
    assert np.isnan(few.following_action).all()
    assert all(row in steps.action.tolist() for row in few.action.tolist())


def test_members_draw_their_own_rows_however_many():
    rows = DemonstrationRows([whole(chain((4, 3))), whole(chain((2,), seed=1))])
    assert rows.counts == [7, 2]
    batch = rows.at(rows.places(2000, Generators([0, 1])))
    assert len(torch.unique(batch.observation[0], dim=0)) == 7
    assert len(torch.unique(batch.observation[1], dim=0)) == 2
    alone = DemonstrationRows([whole(chain((2,), seed=1))])
    assert torch.equal(alone.at(alone.places(2000, Generators([1]))).action[0], batch.action[1])
    assert bool((batch.reward == 1).all())
    for wrong in ([], [whole(chain()), Steps(*(value[:0] for value in whole(chain())))]):
        with pytest.raises(ValueError, match="a step each"):
            DemonstrationRows(wrong)


def test_sarsa_targets_on_a_chain(exact):
    """Known pairs have their own target; an end has none; where the next action is unknown, the clone's is drawn."""
    for terminated in (True, False):
        one, rows = learner(), demonstrated(terminated=terminated)
        drawn = []
        original = one.targets.forward

        def spy(observation, action, frozen=False, drawn=drawn, original=original):
            drawn.append(action)
            return original(observation, action, frozen)

        one.targets.forward = spy
        settings = replace(SMALL, pretraining=1)
        one.coherent = settings
        rows.places = lambda batch, random: torch.arange(7)[None]
        loss = one.pretrain(rows, batch=7)[0, 0]
        action = drawn[0][0]
        known = [0, 1, 2, 4, 5]
        close(action[known], rows.rows.action[0, [1, 2, 3, 5, 6]])
        assert not bool(torch.isin(action[[3, 6]], rows.rows.action).any())
        fresh = learner()
        value = fresh.targets(rows.rows.following, action[None])[0, 0]
        target = fresh.reward(rows.rows)[0] + 0.99 * (1 - rows.rows.terminated[0]) * value
        values, slope = fresh.critics.with_slope(rows.rows.observation, rows.rows.action, 7)
        expected = (values[0, 0] - target).square().mean() + slope.square().sum(-1).mean().sqrt()
        close(loss, expected)


def test_pretraining_reaches_the_discounted_sums_of_a_chain(exact):
    settings = replace(SMALL, discount=0.8, smoothing=0.05, pretraining=700, pretraining_rate=1e-2, jacobian=0.0)
    one, rows = learner(settings=settings), demonstrated()
    losses = one.pretrain(rows, batch=16)
    assert float(losses[0, -100:].mean()) < float(losses[0, :10].mean()) / 100
    rewards, expected = one.reward(rows.rows)[0].tolist(), []
    for first, last in ((0, 4), (4, 7)):
        expected += [sum(0.8**k * r for k, r in enumerate(rewards[t:last])) for t in range(first, last)]
    values = one.critics(rows.rows.observation, rows.rows.action)[0, 0]
    close(values, torch.tensor(expected), rtol=0.02, atol=0.05)
    close(one.targets(rows.rows.observation, rows.rows.action)[0, 0], values)


def test_the_slope_penalty_flattens_the_critic_at_demonstrations(exact):
    slopes = {}
    for weight in (0.0, 10.0):
        one = learner(settings=replace(SMALL, pretraining=300, pretraining_rate=3e-3, jacobian=weight))
        rows = demonstrated()
        one.pretrain(rows, batch=16)
        slopes[weight] = one.critics.with_slope(rows.rows.observation, rows.rows.action, 7)[1].norm().item()
    assert slopes[10.0] < slopes[0.0] / 2


# ---- members, notes, resuming ----


def run(one, members, steps=4, part=slice(None)):
    for step in range(steps):
        rows = some_rows(members=members, seed=step)
        info = one.update(Transitions(*(value[part] for value in rows)))
    return info


def test_a_member_is_its_single_run_whatever_its_settings(exact):
    varied = replace(SMALL, alpha=(0.3, 0.8), temperature=(0.02, 0.05), prior=(1.0, 0.5), jacobian=(0.0, 1.5),
                     refinement_rate=(0.0, 2e-3))  # fmt: skip
    together = learner((4, 8), varied)
    first = run(together, 2)
    rows = DemonstrationRows([whole(chain((4, 3))), whole(chain((2,), seed=1))])
    together.coherent = replace(varied, pretraining=3)
    together.pretrain(rows, 8)
    for member, seed in enumerate((4, 8)):
        names = ("alpha", "temperature", "prior", "jacobian", "refinement_rate")
        alone = learner((seed,), replace(varied, **{name: getattr(varied, name)[member] for name in names}))
        info = run(alone, 2, part=slice(member, member + 1))
        for ours, theirs in zip(first, info, strict=True):
            close(ours[member : member + 1], theirs, 1e-7, 1e-9)
        for name, value in info.diagnostics.items():
            close(first.diagnostics[name][member : member + 1], value, 1e-7, 1e-9)
        alone.coherent = replace(alone.coherent, pretraining=3)
        alone.pretrain(DemonstrationRows([whole(chain((4, 3)) if member == 0 else chain((2,), seed=1))]), 8)
        for ours, theirs in zip(together._values(), alone._values(), strict=True):
            close(ours[member : member + 1], theirs, 1e-7, 1e-9)


def test_a_member_that_diverges_leaves_the_others_as_they_are():
    one, reference = learner((4, 8)), learner((4, 8))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        reference.update(rows)
        rows.observation[0, 0] = torch.nan
        one.update(rows)
    assert one.diverged().tolist() == [True, False]
    probe = some_rows(members=2).observation
    assert torch.equal(one.actor.mode(probe)[1], reference.actor.mode(probe)[1])


def test_notes_kept_in_the_replay_change_nothing(exact):
    kept, fresh = learner(), learner()
    replay = NotedReplay(1, 3, 2, 64, kept.note, 8)
    for start in range(0, 48, 3):
        rows = some_rows(batch=48)
        replay.add(Transitions(*(value[:, start : start + 3] for value in rows)))
    for step in range(3):
        batch = replay.sample(16, Generators([step]))
        assert isinstance(batch, Noted)
        kept.update(batch)
        fresh.update(Transitions(*batch))
    for ours, theirs in zip(kept._values(), fresh._values(), strict=True):
        close(ours, theirs, 1e-8, 1e-10)
    kept.cloned = None  # nothing asks it again
    kept.update(replay.sample(16, Generators([0])))


def test_many_rows_are_noted_in_blocks(exact):
    one, rows = learner(), some_rows(batch=3000)
    note = one.note(rows)
    mean, deviation = one.cloned(rows.following)
    close(note[..., 4:], torch.cat([mean, deviation], -1))


def test_a_ring_of_notes_stays_with_its_rows_and_resumes(exact):
    def note(rows):
        return rows.reward[..., None].expand(-1, -1, 2)

    ring = NotedReplay(1, 3, 2, 10, note, 2)
    for seed in range(6):
        ring.add(some_rows(batch=4, seed=seed))
    other = NotedReplay(1, 3, 2, 10, note, 2)
    other.load_state_dict(ring.state_dict())
    for one in (ring, other):
        rows = one.sample(100, Generators([0]))
        assert torch.equal(rows.note[..., 0], rows.reward)
    assert torch.equal(ring.notes, other.notes)


PENDULUM = "Pendulum-v1"


def pendulum(seeds=(0,), updates=20):
    """Demonstrations of an unskilled policy, cloned, with the loop around it."""
    environments = Environments(PENDULUM, list(seeds))
    random = np.random.default_rng(1)
    episodes = []
    for _ in range(2):
        states = random.normal(size=(31, 3))
        cut = np.arange(30) == 29
        episodes.append(Episode(states, np.tanh(states[:-1, :1]), None, cut & False, cut))
    data = Demonstrations(PENDULUM, np.full(1, -2.0), np.full(1, 2.0), episodes)
    rows = DemonstrationRows([whole(data)] * len(seeds))
    policy = HetStat(3, 1, Generators(seeds), (16,), 5, 64)
    generators = Generators(seeds)
    Cloning(batch=16).fit(policy, rows.rows.observation, rows.rows.action, generators, 20)
    one = CoherentSoftImitation(policy, generators, replace(SMALL, pretraining=5))
    one.pretrain(rows, 16)
    replay = NotedReplay(len(seeds), 3, 1, 1000, one.note, 4)
    return ImitationTraining(one, environments, replay, Plan(updates, 12, 16, 10), rows)


def test_a_run_on_pendulum_killed_and_resumed_ends_in_the_same_parameters(checkpoint):
    whole_run, first = pendulum(), pendulum()
    curve = []
    whole_run.run(curve.append)
    assert curve == [10, 20]

    second = pendulum(seeds=(0,))
    with torch.no_grad():  # all that matters comes from the state
        for value in (*second.learner.cloned.parameters(), *second.learner.rewarder.parameters()):
            value.zero_()
    second.load_state_dict(checkpoint(first))
    second.run(lambda _: None)
    for ours, theirs in zip(whole_run.learner._values(), second.learner._values(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(whole_run.learner.rewarder.parameters(), second.learner.rewarder.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(whole_run.replay.notes, second.replay.notes)
    assert not bool(whole_run.learner.diverged().any())


def test_the_environments_reward_is_never_shown(monkeypatch):
    training = pendulum(updates=10)
    seen = []
    original = training.learner.update
    monkeypatch.setattr(training.learner, "update", lambda rows: (seen.append(rows), original(rows))[1])
    training.run(lambda _: None)
    for rows in seen:
        assert isinstance(rows, Noted)
        assert rows.reward.tolist() == [[1.0] * 16 + [0.0] * 16]
    assert bool((training.replay.rows[0, :10, training.replay.offsets["reward"]] < 0).all())  # Pendulum's costs


def test_a_plain_replay_serves_too():
    training = pendulum(updates=10)
    training.replay = Replay(1, 3, 1, 1000)
    training.demonstrations = DemonstrationRows([whole(chain_of_pendulum())])
    training.run(lambda _: None)
    assert not bool(training.learner.diverged().any())


def chain_of_pendulum():
    states = np.random.default_rng(0).normal(size=(9, 3))
    cut = np.arange(8) == 7
    episode = Episode(states, np.tanh(states[:-1, :1]), None, cut & False, cut)
    return Demonstrations(PENDULUM, np.full(1, -2.0), np.full(1, 2.0), [episode])


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"prior": 1.5}, {"refinement_rate": -1.0}, {"jacobian": (1.0, -1.0)},
                                   {"temperature_rate": 0.1}, {"pretraining": -1},
                                   {"temperature": (0.1, 0.0)}])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="must"):
        replace(SMALL, **wrong)
    with pytest.raises(ValueError, match="one for each"):
        learner((0, 1), replace(SMALL, alpha=(0.1, 0.2, 0.3)))
