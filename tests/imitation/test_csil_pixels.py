"""CSIL from pixels: it starts as its clone, whose eyes prior, reward and critic keep, while its own learn."""

from copy import deepcopy

import pytest
import torch

from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.control.csil_pixels import PixelCoherentImitation
from imitation.control.pictured import packed, unpacked
from imitation.control.replay import Transitions
from imitation.policies import HetStat
from imitation.policies.sight import Sight, Sighted
from imitation.population import Generators

SHAPE, TOLD, SIZES = (1, 16, 16), 4, {"hidden": (8, 8), "pretraining": 0}
WIDTH = TOLD + 64


def clone() -> Sighted:
    random = Generators([0, 1])
    return Sighted(Sight(SHAPE, random, (2, 2, 2), TOLD), HetStat(TOLD, 2, random, (8,), features=4)).frozen()


def seen(cloned: Sighted, rows: int, seed: int = 0) -> torch.Tensor:
    """What is observed: as the clone's sight tells it, and the pictures, packed."""
    drawn = torch.Generator().manual_seed(seed)
    pictures = torch.randint(256, (2, rows, 16 * 16), generator=drawn).to(torch.uint8)
    return torch.cat([cloned.sight(pictures), packed(pictures)], -1)


def transitions(cloned: Sighted, rows: int) -> Transitions:
    action = torch.rand(2, rows, 2, generator=torch.Generator().manual_seed(5)) * 1.8 - 0.9
    source = torch.cat([torch.ones(2, rows // 2), torch.zeros(2, rows // 2)], 1)
    return Transitions(seen(cloned, rows), action, source, seen(cloned, rows, 1), torch.zeros(2, rows))


@pytest.fixture
def learner() -> PixelCoherentImitation:
    return PixelCoherentImitation(clone(), WIDTH, Generators([2, 3]), CoherentSettings(**SIZES))


def test_it_starts_as_its_clone(learner):
    cloned = clone()
    observation = seen(cloned, 6)
    mean, deviation = cloned(unpacked(observation[..., TOLD:]))
    for mine in (learner.actor(observation), learner.cloned(observation), learner.rewarder(observation)):
        torch.testing.assert_close(mine[0], mean)
        torch.testing.assert_close(mine[1], deviation)


def test_an_update_moves_the_actors_sight_and_no_other(learner):
    before = deepcopy(learner.actor.policy.sighted.sight.state_dict())
    rows = transitions(clone(), 8)
    learner.update(rows)
    learner.update(rows)
    for name, value in learner.actor.policy.sighted.sight.state_dict().items():
        assert not torch.equal(value, before[name]), name
        assert torch.equal(before[name], clone().sight.state_dict()[name])
    assert not any(one.requires_grad for one in learner._start.sight.parameters())


def test_values_prior_and_reward_are_those_of_csil_on_what_the_clone_sees(learner):
    cloned, rows = clone(), transitions(clone(), 8)
    plain = CoherentSoftImitation(cloned.policy, Generators([2, 3]), CoherentSettings(**SIZES))
    told = rows._replace(observation=rows.observation[..., :TOLD], following=rows.following[..., :TOLD])
    torch.testing.assert_close(learner.reward(rows), plain.reward(told))
    torch.testing.assert_close(learner.note(rows), plain.note(told))
    values = learner.critics(rows.observation, rows.action)
    torch.testing.assert_close(values, plain.critics(told.observation, rows.action))
    for mine, theirs in zip(
        learner.critics.with_slope(rows.observation, rows.action, 4),
        plain.critics.with_slope(told.observation, rows.action, 4),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)
    learner.random, plain.random = Generators([7, 8]), Generators([7, 8])
    first, second = learner.update(rows), plain.update(told)  # before their actors part
    for name in first.diagnostics:
        torch.testing.assert_close(first.diagnostics[name], second.diagnostics[name], rtol=1e-3, atol=1e-5)


def test_it_goes_on_exactly_from_its_state(learner):
    rows = transitions(clone(), 8)
    learner.update(rows)
    state = deepcopy(learner.state_dict())
    other = PixelCoherentImitation(clone(), WIDTH, Generators([9, 9]), CoherentSettings(**SIZES))
    other.load_state_dict(state)
    for one in (learner, other):
        one.random = Generators([4, 5])
        one.update(rows)
    for mine, theirs in zip(learner._values(), other._values(), strict=True):
        assert torch.equal(mine, theirs)
