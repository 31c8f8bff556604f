"""CSIL's update: its identities, the slope by hand against autograd, a plain second writing, switches."""

import copy
from dataclasses import replace
from math import log, pi

import numpy as np
import pytest
import torch
from _peers.plain_csil import PlainCSIL, PlainPolicy, smooth_network
from small_csil import SMALL, close, demonstrated, learner, some_rows
from torch import nn

from imitation.control.csil import CLIPPED_REWARD
from imitation.control.networks import SmoothCritics, SmoothPerceptron
from imitation.policies import tanh_normal
from imitation.population import Generators

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


@pytest.mark.parametrize(("alpha", "share"), [(None, 1.0), (0.3, 0.6)])
def test_the_value_of_what_follows_is_clipped_from_above(exact, alpha, share):
    """By the discounted sum of rewards of 6.45 per action coordinate and alpha."""
    rows, bound = some_rows(), share * CLIPPED_REWARD / (1 - 0.99)
    for sign, clip in ((1, True), (-1, True), (1, False)):
        one = learner(settings=replace(SMALL, clip=clip, alpha=alpha))
        close(one.bound, torch.full((1, 1), bound))
        with torch.no_grad():
            one.targets.network.biases[-1].fill_(sign * 1e6)
        value = one.following_value(rows)
        if sign > 0 and clip:
            close(value, torch.full_like(value, bound))
            close(one.target(rows), one.reward(rows) + 0.99 * (1 - rows.terminated) * bound)
        else:
            assert bool((value.abs() > 9e5).all())
    assert bound == pytest.approx(share * 644.96, rel=1e-4)


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
        ours.update(rows)
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


def looks(plain, rows, random):
    """What the diagnostics of the next update should be, by the plain writing."""
    s, a = rows.observation[0], rows.action[0]
    shown = a[:16].clone().requires_grad_()
    slope = torch.autograd.grad(plain.critic(torch.cat([s[:16], shown], -1)).sum(), shown)[0]
    reward = plain.alpha * (PlainPolicy.density(plain.rewarder(s), a) + 2 * log(2))
    base = plain.actor(s)
    torch.randn(32, 2, generator=random)  # for what follows
    drawn = (base.mean + base.stddev * torch.randn(32, 2, generator=random)).tanh()
    value = plain.critic(torch.cat([s, a], -1)).abs().max()
    found = {"at_limits": (drawn.abs() > 0.999).double().mean(), "value_share": value * 0.01 / log(2 / 1e-5**0.5),
             "demonstrated": reward[:16].mean(), "replayed": reward[16:].mean(), "largest": reward.max(),
             "slope": slope.square().sum(-1).mean().sqrt()}  # fmt: skip
    return {name: one.detach()[None] for name, one in found.items()}


def test_diagnostics_are_those_of_a_plain_writing(exact):
    ours = learner()
    with torch.no_grad():
        ours.actor.policy.mean_weights *= 20  # so that some actions are at the limits
    for step in range(3):
        rows, random, plain = some_rows(seed=step), torch.Generator(), PlainCSIL(ours)
        random.set_state(ours.random.members[0].get_state())
        expected, found = looks(plain, rows, random), ours.update(rows).diagnostics
        assert set(found) == set(expected)
        assert all(abs(float(one)) > 1e-3 for one in expected.values())  # so that none is zero on both sides
        for name, value in expected.items():
            close(found[name], value)


def test_the_first_actions_are_the_policys_own(exact):
    one, observation = learner(), some_rows().observation
    state = one.random.members[0].get_state()
    found = one.first_actions(observation)
    one.random.members[0].set_state(state)
    assert torch.equal(found, one.actor.sample(observation, one.random)[0])


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


@pytest.mark.parametrize("wrong", [{"alpha": 0.0}, {"prior": 1.5}, {"refinement_rate": -1.0}, {"jacobian": (1.0, -1.0)},
                                   {"temperature_rate": 0.1}, {"pretraining": -1}, {"pretraining_rate": 0.0},
                                   {"alpha": torch.nan}, {"jacobian": (1.0, torch.inf)},
                                   {"pretraining_rate": torch.nan},
                                   {"temperature": (0.1, 0.0)}])  # fmt: skip
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="must"):
        replace(SMALL, **wrong)
    with pytest.raises(ValueError, match="one for each"):
        learner((0, 1), replace(SMALL, alpha=(0.1, 0.2, 0.3)))
