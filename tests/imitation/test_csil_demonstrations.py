"""CSIL and its demonstrated rows: pairs within episodes, draws, SARSA pretraining of the critic."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from small_csil import SMALL, chain, close, demonstrated, learner

from imitation.control.imitation_rows import (
    DemonstrationRows,
    Steps,
    some,
    whole,
)
from imitation.demonstrations.transitions import subsample
from imitation.population import Generators


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"action": lambda value: value[:-1]}, "arrays of"),
        ({"following": lambda value: value[:, :1]}, "arrays of"),
        ({"following_action": lambda value: np.repeat(value, 2, 1)}, "arrays of"),
        ({"observation": lambda value: value * np.nan}, "observation must be finite"),
        ({"action": lambda value: value * 3}, "action must lie in"),
        ({"following_action": lambda value: value * 3}, "following_action must lie in"),
        ({"following_action": lambda value: value * np.inf}, "following_action must lie in"),
        ({"terminated": lambda value: value + 7}, "terminated must be 0 or 1"),
    ],
)
def test_steps_that_are_none_are_refused(changed, message):
    steps = whole(chain())
    wrong = steps._replace(**{name: change(getattr(steps, name)) for name, change in changed.items()})
    with pytest.raises(ValueError, match=f"member 1: .*{message}"):
        DemonstrationRows([steps, wrong])


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


@pytest.mark.parametrize("flat", [("action", "following_action"), ("observation", "following")])
def test_rows_without_columns_are_refused(flat):
    steps = whole(chain())
    with pytest.raises(ValueError, match="arrays of shapes"):
        DemonstrationRows([steps._replace(**{name: getattr(steps, name)[:, 0] for name in flat})])
