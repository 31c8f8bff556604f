"""DAC: slope and penalty against autograd, the discriminator's optimum, rewards, members, resuming, a run."""

import copy
from dataclasses import replace
from math import log, nan

import pytest
import torch
from torch import nn

from imitation.control.dac import AdversarialSettings, DiscriminatorActorCritic
from imitation.control.networks import Perceptron
from imitation.control.replay import Transitions
from imitation.population import Generators

SMALL = AdversarialSettings(hidden=(16, 16))


def learner(seeds=(0,), settings=SMALL):
    return DiscriminatorActorCritic(3, 2, Generators(seeds), settings)


def plain(network, index=0):
    layers = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        one = nn.Linear(weight.shape[1], weight.shape[2])
        one.weight.data, one.bias.data = weight[index].T.detach().clone(), bias[index, 0].detach().clone()
        layers += [one, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_the_slope_of_a_network_is_autograds(exact):
    network = Perceptron([5, 16, 24, 1], Generators([0, 1]))
    value = torch.randn(2, 20, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    output, slope = network.with_slope(value)
    torch.testing.assert_close(output, network(value))
    torch.testing.assert_close(slope, torch.autograd.grad(network(value).sum(), value)[0])


def test_the_loss_and_its_gradient_are_a_plain_writings(exact, some_rows):
    one, rows = learner(), some_rows()
    state = one.random.members[0].get_state()
    loss = one.discriminator_loss(rows)
    loss.sum().backward()
    other, random = plain(one.discriminator), torch.Generator()
    random.set_state(state)
    pairs = torch.cat([rows.observation, rows.action], -1)[0]
    shown, met = pairs[:16], pairs[16:]
    share = torch.rand(16, 1, generator=random)
    between = (share * shown + (1 - share) * met).requires_grad_()
    gradient = torch.autograd.grad(other(between).sum(), between, create_graph=True)[0]
    logits = torch.cat([other(shown), other(met)])[:, 0]
    labels = torch.cat([torch.ones(16), torch.zeros(16)])
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    expected = entropy + 10 * (gradient.square().sum(1).sqrt() - 1).square().mean()
    expected.backward()
    torch.testing.assert_close(loss[0], expected)
    for number, weight in enumerate(one.discriminator.weights):
        torch.testing.assert_close(weight.grad[0].T, other[2 * number].weight.grad)
    torch.testing.assert_close(one.discriminator.biases[0].grad[0, 0], other[0].bias.grad)


def test_the_penalty_pulls_the_slopes_length_to_one(some_rows):
    one, rows = learner(settings=replace(SMALL, discriminator_rate=1e-2)), some_rows(batch=64)
    pairs = torch.cat([rows.observation, rows.action], -1)
    before = one.penalty(pairs).item()
    for _ in range(100):
        one._descend("discriminator", one.penalty(pairs))
    assert before > 0.5
    assert one.penalty(pairs).item() < 0.05


def test_the_reward_is_the_log_ratio_of_the_densities():
    """Demonstrated and replayed actions +-.5, in shares 3:1 and 1:3: the best logit is +-log 3."""
    settings = replace(SMALL, discriminator_rate=5e-3, penalty=0.0)
    one, zero = DiscriminatorActorCritic(1, 1, Generators([0]), settings), torch.zeros(1, 64, 1)
    action = torch.tensor([0.5] * 24 + [-0.5] * 8 + [0.5] * 8 + [-0.5] * 24)[None, :, None]
    rows = Transitions(zero, action, zero[..., 0], zero, torch.ones(1, 64))
    for _ in range(400):
        one._descend("discriminator", one.discriminator_loss(rows))
    expected = torch.where(action[..., 0] > 0, log(3), -log(3))
    torch.testing.assert_close(one.reward(rows), expected, rtol=0, atol=0.02)
    one.adversarial = replace(settings, form="gail")
    # -log(1 - D) of D = 3/4 and 1/4
    torch.testing.assert_close(one.reward(rows), torch.where(action[..., 0] > 0, log(4), log(4 / 3)), rtol=0, atol=0.02)


def test_every_network_steps_once_in_an_update(some_rows):
    one = learner()
    one.update(some_rows())
    steps = {name: {int(s["step"]) for s in optimiser.state.values()} for name, optimiser in one.optimisers.items()}
    assert steps == {"critic": {1}, "actor": {1}, "temperature": {1}, "discriminator": {1}}


def test_a_member_is_its_single_run_and_a_state_goes_on(exact, some_rows):
    together, alone = learner((4, 8)), learner((8,))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        together.update(rows)
        alone.update(Transitions(*(value[1:] for value in rows)))
    for ours, theirs in zip(together.discriminator.parameters(), alone.discriminator.parameters(), strict=True):
        torch.testing.assert_close(ours[1:], theirs)
    for ours, theirs in zip(together.actor.parameters(), alone.actor.parameters(), strict=True):
        torch.testing.assert_close(ours[1:], theirs, rtol=1e-6, atol=1e-8)
    state, other = copy.deepcopy(together.state_dict()), learner((1, 2))
    other.load_state_dict(state)
    for one in (together, other):
        one.update(some_rows(members=2))
    for ours, theirs in zip(together.actor.parameters(), other.actor.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(together.discriminator.parameters(), other.discriminator.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_on_pendulum(on_pendulum):
    one = DiscriminatorActorCritic(3, 1, Generators([0]), SMALL)
    on_pendulum(one).run(lambda _: None)
    assert not bool(one.diverged().any())


@pytest.mark.parametrize(
    "wrong",
    [{"discriminator_rate": 0.0}, {"penalty": -1.0}, {"form": "airl"}, {"discriminator_rate": nan}, {"penalty": nan}],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="discriminator_rate must be positive, penalty not negative, both finite"):
        replace(SMALL, **wrong)
