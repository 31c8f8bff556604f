"""P2IL: the loss against an independent writing, what descends, the reward's optimum, members, resuming, a run."""

import copy
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest
import torch

from imitation.control.ppil import ProximalPoint, ProximalPointSettings
from imitation.control.replay import Transitions
from imitation.population import Generators

SMALL = ProximalPointSettings(hidden=(16, 16), temperature=0.3, temperature_rate=0.0, critic_updates=3)


def learner(seeds=(0,), settings=SMALL):
    return ProximalPoint(3, 2, Generators(seeds), settings)


def terms(one, rows, drawn, density, future):
    """The loss in numpy, from the networks' outputs alone."""
    with torch.no_grad():
        r = one.reward(rows)[0].numpy()
        q = one.critics(rows.observation, rows.action)[0, 0].numpy()
        v = one.critics(rows.observation[:, :16], drawn)[0, 0].numpy() - 0.3 * density[0].numpy()
    d = np.abs(r + future[0].numpy() - q)
    w = np.exp(one.proximal.sharpness * d)
    return -r[:16].mean() + (r**2).mean() / 2 + (w / w.sum() * d).sum() + 0.01 * v.mean()


@pytest.mark.parametrize("sharpness", [0.0, 0.08, 50.0])
def test_the_loss_is_an_independent_writings(exact, sharpness, some_rows):
    one, rows = learner(settings=replace(SMALL, sharpness=sharpness)), some_rows()
    drawn, density = (value.detach() for value in one.actor.sample(rows.observation[:, :16], Generators([3])))
    future = 0.99 * (1 - rows.terminated) * torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    loss, _ = one.proximal_loss(rows, future, drawn, density)
    assert float(loss.detach()) == pytest.approx(terms(one, rows, drawn, density, future))


def test_gradients_stop_where_the_published_code_stops_them(exact, some_rows):
    """The reward has none from the Bellman error, the weights none at all."""
    one, rows = learner(), some_rows()
    drawn, density = (value.detach() for value in one.actor.sample(rows.observation[:, :16], Generators([3])))
    future = torch.zeros(1, 32)
    one.proximal_loss(rows, future, drawn, density)[0].sum().backward()
    reward = one.reward(rows)
    fit = reward.square().mean() / 2 - reward[:, :16].mean()
    for parameter, slope in zip(one.rewarder.parameters(), torch.autograd.grad(fit, list(one.rewarder.parameters())),
                                strict=True):  # fmt: skip
        torch.testing.assert_close(parameter.grad, slope)
    error = reward.detach() - one.critics(rows.observation, rows.action)[:, 0]
    weight = torch.softmax(0.08 * error.detach().abs(), -1)
    value = one.critics(rows.observation[:, :16], drawn).mean()
    expected = torch.autograd.grad((weight * error.abs()).sum() + 0.01 * value, list(one.critics.parameters()))
    for parameter, slope in zip(one.critics.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, slope)
    assert all(parameter.grad is None for parameter in one.actor.parameters())


def test_the_reward_is_twice_the_chance_that_a_row_was_demonstrated():
    """Its part of the loss alone, on shares 3:1 and 1:3: r = d / ((d + e) / 2) of the densities."""
    one, zero = ProximalPoint(1, 1, Generators([0]), replace(SMALL, reward_rate=1e-2)), torch.zeros(1, 64, 1)
    action = torch.tensor([0.5] * 24 + [-0.5] * 8 + [0.5] * 8 + [-0.5] * 24)[None, :, None]
    rows = Transitions(zero, action, zero[..., 0], zero, torch.ones(1, 64))
    for _ in range(60):
        one.critic_step(rows)
    expected = torch.where(action[..., 0] > 0, 1.5, 0.5)
    torch.testing.assert_close(one.reward(rows).detach(), expected, rtol=0, atol=0.03)


def test_every_step_has_the_same_future_and_the_same_draws_at_demonstrated_states(exact, monkeypatch, some_rows):
    one, rows, seen = learner(), some_rows(), []
    with torch.no_grad():
        for value in one.targets.parameters():
            value += 0.1  # so that target and critic differ
    state, loss = one.random.members[0].get_state(), one.proximal_loss
    monkeypatch.setattr(one, "proximal_loss", lambda *given: seen.append(given) or loss(*given))
    one.critic_step(rows)
    one.random.members[0].set_state(state)
    with torch.no_grad():
        action, density = one.actor.sample(rows.following, one.random)
        value = one.targets(rows.following, action)[:, 0] - 0.3 * density
        expected = 0.99 * (1 - rows.terminated) * value, *one.actor.sample(rows.observation[:, :16], one.random)
    assert len(seen) == 3
    for given in seen:
        for ours, theirs in zip(given[1:], expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_critic_and_reward_step_as_often_as_said_and_the_actor_once(some_rows):
    one = learner()
    one.update(some_rows())
    steps = {name: {int(s["step"]) for s in optimiser.state.values()} for name, optimiser in one.optimisers.items()}
    assert steps == {"critic": {3}, "reward": {3}, "actor": {1}, "temperature": set()}


def test_a_member_is_its_single_run_and_a_state_goes_on(exact, some_rows):
    together, alone = learner((4, 8)), learner((8,))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        together.update(rows)
        alone.update(Transitions(*(value[1:] for value in rows)))
    pairs = [(together._values(), alone._values()), (together.rewarder.parameters(), alone.rewarder.parameters())]
    for some, others in pairs:
        for ours, theirs in zip(some, others, strict=True):
            torch.testing.assert_close(ours[1:], theirs, rtol=1e-6, atol=1e-8)
    other = learner((1, 2))
    other.load_state_dict(copy.deepcopy(together.state_dict()))
    for one in (together, other):
        one.update(some_rows(members=2))
    for ours, theirs in zip(together._values(), other._values(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(together.rewarder.parameters(), other.rewarder.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_on_pendulum(on_pendulum):
    one = ProximalPoint(3, 1, Generators([0]), SMALL)
    on_pendulum(one).run(lambda _: None)
    assert not bool(one.diverged().any())


@pytest.mark.parametrize(
    "wrong",
    [{"reward_rate": 0.0}, {"critic_updates": 0}, {"sharpness": -1.0}, {"reward_rate": nan}, {"sharpness": inf}],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="must be positive, sharpness not negative, all finite"):
        replace(SMALL, **wrong)
