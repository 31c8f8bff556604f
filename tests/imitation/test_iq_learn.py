"""IQ-Learn: the loss against an independent writing, its optimum on a bandit, members, a run."""

from dataclasses import replace

import pytest
import torch

from imitation.control.iq_learn import InverseSoftQ, InverseSoftQSettings
from imitation.control.networks import SmoothCritics
from imitation.control.replay import Transitions
from imitation.population import Generators

SMALL = InverseSoftQSettings(hidden=(16, 16), temperature=0.3, temperature_rate=0.0)


@pytest.mark.parametrize("copies", [1, 2])
def test_the_loss_is_the_concave_form_row_by_row(exact, copies, some_rows):
    """sup over r of E_D[phi(r)] - E_replay[phi*(...)] with phi(r) = r - r^2/2, one row and critic at a time."""
    learner = InverseSoftQ(3, 2, Generators([0]), replace(SMALL, copies=copies))
    with torch.no_grad():
        for one in learner.targets.parameters():
            one += 0.1  # so that target and critic differ
    rows = some_rows()
    state = learner.random.members[0].get_state()
    loss, values = learner.critic_loss(rows, learner.target(rows))
    random = Generators([0])
    random.members[0].set_state(state)
    total = 0.0
    with torch.no_grad():
        after, density = learner.actor.sample(rows.following, random)
        drawn, own = learner.actor.sample(rows.observation[:, :16], random)
        future = learner.targets(rows.following, after)[0].amin(0) - 0.3 * density[0]
        q = learner.critics(rows.observation, rows.action)[0]
        at_drawn = learner.critics(rows.observation[:, :16], drawn)[0]
        for k in range(copies):
            for i in range(32):
                r = q[k, i] - 0.99 * (1 - rows.terminated[0, i]) * future[i]
                total += -(r - r**2 / 2) / 16 if i < 16 else r**2 / 2 / 16
            total += 0.01 * (at_drawn[k] - 0.3 * own[0]).mean()
    torch.testing.assert_close(loss[0], total)
    torch.testing.assert_close(values[0], q)
    loss.sum().backward()
    assert all(one.grad is None for one in learner.targets.parameters())
    assert all(one.grad is None for one in learner.actor.parameters())


def test_the_values_of_a_bandit_are_the_chi_squared_optimum():
    """Every step ends, so r = Q, and the value's weight 1 - gamma is near 0: r = d / (d + e) of the densities.

    d : e is 3 : 1 and 1 : 3.
    """
    settings = replace(SMALL, hidden=(32, 32), critic_rate=1e-2, discount=0.9999)
    learner, zero = InverseSoftQ(1, 1, Generators([0]), settings), torch.zeros(1, 64, 1)
    action = torch.tensor([0.5] * 24 + [-0.5] * 8 + [0.5] * 8 + [-0.5] * 24)[None, :, None]
    rows = Transitions(zero, action, zero[..., 0], zero, torch.ones(1, 64))
    for _ in range(200):
        learner.critic_step(rows)
    value = learner.critics(zero[:, :2], torch.tensor([[[0.5], [-0.5]]])).detach()
    torch.testing.assert_close(value[0, 0], torch.tensor([0.75, 0.25]), rtol=0, atol=0.03)


def test_a_member_is_its_single_run(exact, some_rows):
    together, alone = (InverseSoftQ(3, 2, Generators(seeds), SMALL) for seeds in ((4, 8), (8,)))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        together.update(rows)
        alone.update(Transitions(*(value[1:] for value in rows)))
    for ours, theirs in zip(together._values(), alone._values(), strict=True):
        torch.testing.assert_close(ours[1:], theirs, rtol=1e-6, atol=1e-8)


def test_a_run_on_pendulum(on_pendulum):
    one = InverseSoftQ(3, 1, Generators([0]), SMALL)
    on_pendulum(one).run(lambda _: None)
    assert not bool(one.diverged().any())


def test_defaults_are_those_of_the_comparison():
    settings = InverseSoftQSettings()
    assert (settings.temperature, settings.temperature_rate, settings.actor_rate, settings.copies) == (0.01, 0, 3e-5, 1)
    learner = InverseSoftQ(3, 2, Generators([0]), settings)
    assert isinstance(learner.critics, SmoothCritics)
    assert isinstance(learner.targets, SmoothCritics)
