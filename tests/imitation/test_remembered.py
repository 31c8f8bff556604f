"""What a learner sees of flickering tasks: the same states in the environments as in what was recorded there."""

from copy import copy

import numpy as np
import pytest
import torch

from imitation.control.imitation_rows import DemonstrationRows, Steps
from imitation.control.remembered import RememberedEnvironments, beginnings, flickering, remembered, shown
from imitation.control.replay import Transitions
from imitation.policies.memory import GatedMemory, LastFrames
from imitation.population import Generators

NAME, WIDTH = "Hopper-v5", 11
SHARE = 0.5


def seen_of(states: torch.Tensor, memory) -> torch.Tensor:
    """What the newest observation in a memory's states was shown as."""
    return states[..., memory.units :] if isinstance(memory, GatedMemory) else states[..., : WIDTH + 1]


@pytest.mark.parametrize("memory", [GatedMemory(WIDTH + 1, Generators([0, 1]), 4), LastFrames(WIDTH + 1, 3)])
def test_states_in_the_environments_are_those_of_what_was_recorded(memory, hoppers):
    actions, steps, before = hoppers
    environments = RememberedEnvironments(memory, SHARE, NAME, [3, 4])
    environments.reset()
    states, after = [], []
    for action, step in zip(actions, steps, strict=True):
        states.append(environments.observation)
        found = environments.step(action)
        after.append(found.following)
        for name in ("reward", "terminated", "finished"):
            assert torch.equal(getattr(found, name), getattr(step, name)), name

    found_states = torch.stack(states, 2)
    flicker = seen_of(found_states, memory)
    seen = flicker[..., -1].bool()
    assert torch.equal(flicker, shown(before, seen))  # what is seen is the environment's own, what is not is zero
    assert 0.3 < float(seen.float().mean()) < 0.7

    finished = torch.stack([one.finished for one in steps], 2)
    assert bool(finished[..., :-1].any(2).all())  # each member began anew at least once
    fresh = torch.cat([torch.ones_like(finished[..., :1]), finished[..., :-1]], 2)
    expected = memory.unroll(flicker, fresh, torch.zeros(2, 1, memory.width))
    torch.testing.assert_close(found_states, expected)
    goes_on = ~finished[..., :-1]
    assert torch.equal(torch.stack(after, 2)[:, :, :-1][goes_on], found_states[:, :, 1:][goes_on])
    last = seen_of(torch.stack(after, 2), memory)[finished]  # of an episode that ended, not of the one that begins
    truth = torch.stack([one.following for one in steps], 2)[finished]
    assert torch.equal(last, shown(truth, last[..., -1].bool()))


def test_resets_show_what_their_number_and_the_seed_say():
    memory = LastFrames(WIDTH + 1)
    first, second = (RememberedEnvironments(memory, SHARE, NAME, [3, 4], 2) for _ in range(2))
    first.reset()
    first.step(torch.zeros(2, 2, 3))
    second.rounds = 1  # as after a kill
    for one in (first, second):
        one.reset()
    for _ in range(5):
        for one in (first, second):
            one.step(torch.zeros(2, 2, 3))
        assert torch.equal(first.observation, second.observation)


def test_what_is_seen_depends_on_member_copy_and_round_and_on_no_neighbour():
    memory, stay = LastFrames(WIDTH + 1), torch.zeros(2, 2, 3)

    def seen(environments: RememberedEnvironments) -> torch.Tensor:
        environments.reset()
        shows = []
        for _ in range(8):
            environments.step(stay[-len(environments.seeds) :])
            shows.append(environments.observation[..., -1])
        return torch.stack(shows, -1)

    both, alone = (RememberedEnvironments(memory, SHARE, NAME, seeds, 2) for seeds in ([3, 4], [4]))
    first, second = seen(both), seen(both)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[:, 0], first[:, 1])
    assert torch.equal(first[1:], seen(alone))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_is_not_negative_and_below_one(share):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        RememberedEnvironments(LastFrames(WIDTH + 1), share, NAME, [3])
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        flickering(rows(), share, Generators([0, 1]))


def rows() -> DemonstrationRows:
    """Of one member two episodes of 3 and 2 steps, of another one episode of 2."""
    random = np.random.default_rng(0)

    def steps(*lengths: int) -> Steps:
        parts = []
        for length in lengths:
            seen, action = random.normal(size=(length + 1, 4)), random.uniform(-1, 1, (length, 2))
            next_action = np.concatenate([action[1:], np.full((1, 2), np.nan)])
            parts.append((seen[:-1], action, seen[1:], np.zeros(length), next_action))
        return Steps(*map(np.concatenate, zip(*parts, strict=True)))

    return DemonstrationRows([steps(3, 2), steps(2)])


def test_beginnings_are_where_the_episodes_begin():
    found = beginnings(rows())
    assert found[0].tolist() == [True, False, False, True, False]
    assert found[1, :2].tolist() == [True, False]


def test_remembered_rows_hold_the_states_before_and_after_each_step():
    known, memory = rows(), LastFrames(4, 2)
    seen, after = known.rows.observation[0].clone(), known.rows.following[0]
    found = remembered(known, memory)
    none = torch.zeros(4)
    expected = [(seen[0], none), (seen[1], seen[0]), (seen[2], seen[1]), (seen[3], none), (seen[4], seen[3])]
    assert torch.equal(found.rows.observation[0], torch.stack([torch.cat(pair) for pair in expected]))
    assert torch.equal(found.rows.following[0], torch.cat([after, seen], -1))
    assert torch.equal(found.rows.action, known.rows.action)
    assert torch.equal(known.rows.observation[0], seen)  # the rows that were given stay as they are


def test_flickering_rows_show_each_observation_once_wherever_it_stands():
    known = rows()
    for seed in range(5):
        found = flickering(known, SHARE, Generators([seed, seed + 50]))
        seen, after = found.rows.observation[..., -1].bool(), found.rows.following[..., -1].bool()
        assert torch.equal(found.rows.observation, shown(known.rows.observation, seen))
        assert torch.equal(found.rows.following, shown(known.rows.following, after))
        for row in (0, 1, 3):  # the third row ends an episode
            assert torch.equal(found.rows.following[0, row], found.rows.observation[0, row + 1])


def test_a_members_demonstrations_flicker_as_they_would_alone():
    known = rows()
    both = flickering(known, SHARE, Generators([0, 1])).rows
    shorter = copy(known)
    shorter.rows, shorter.counts = Transitions(*(value[1:, :2] for value in known.rows)), known.counts[1:]
    shorter.following_action = known.following_action[1:, :2]
    alone = flickering(shorter, SHARE, Generators([1])).rows
    assert torch.equal(both.observation[1:, :2], alone.observation)
    assert torch.equal(both.following[1:, :2], alone.following)


def test_without_a_share_all_is_seen_and_with_one_that_share_is_not():
    known = rows()
    whole = flickering(known, 0.0, Generators([0, 1]))
    assert torch.equal(whole.rows.observation[..., :-1], known.rows.observation)
    assert bool((whole.rows.observation[..., -1] == 1).all())
    seen = [flickering(known, 0.25, Generators([k, k + 500])).rows.observation[0, :, -1].mean() for k in range(200)]
    assert float(torch.stack(seen).mean()) == pytest.approx(0.75, abs=0.04)
