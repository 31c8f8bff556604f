"""What a learner sees of tasks in pictures: the same in the environments as in what was recorded there."""

import numpy as np
import pytest
import torch

from imitation.control.imitation_rows import DemonstrationRows, Steps
from imitation.control.pictured import PicturedEnvironments, packed, pictured, sighted, unpacked
from imitation.control.replay import Replay, Transitions
from imitation.envs.pictures import SideView
from imitation.policies.sight import Sight
from imitation.population import Generators

NAME, PIXELS, FRAMES = "Hopper-v5", 16, 3


@pytest.fixture(scope="module")
def sight() -> Sight:
    return Sight((FRAMES, PIXELS, PIXELS), Generators([0, 1]), (4, 4, 4), 5).requires_grad_(False)


def as_rows(actions: torch.Tensor, steps: list, before: torch.Tensor) -> DemonstrationRows:
    """The steps as demonstrations: which action followed is not known at the end of an episode."""
    members = []
    for member in range(2):
        taken = actions[:, member, 0].numpy()
        next_action = np.concatenate([taken[1:], taken[:1]])
        next_action[[bool(step.finished[member, 0]) for step in steps]] = np.nan
        following = torch.stack([step.following[member, 0] for step in steps]).numpy()
        members.append(Steps(before[member, 0].numpy(), taken, following, np.zeros(len(steps)), next_action))
    return DemonstrationRows(members)


def same(live: torch.Tensor, record: torch.Tensor) -> None:
    """What the sight says, and the pictures but for a shade of 255: places are summed in another order."""
    torch.testing.assert_close(live[:, :5], record[:, :5], atol=1e-3, rtol=0)
    near = unpacked(live[:, 5:]).int() - unpacked(record[:, 5:]).int()
    assert int(near.abs().max()) <= 1


def test_what_is_seen_in_the_environments_is_what_is_seen_of_the_record(sight, hoppers):
    actions, steps, _ = hoppers
    finished = torch.stack([step.finished[:, 0] for step in steps], 1)
    assert bool(finished[:, :-1].any(1).all())  # each member began anew at least once
    rows, view = as_rows(*hoppers), SideView(NAME, PIXELS)
    told = sighted(rows, pictured(rows, view, FRAMES), sight).rows

    environments = PicturedEnvironments(sight, view, NAME, [3, 4])
    assert environments.observation_dim == 5 + FRAMES * PIXELS**2 // 4
    environments.reset()
    for number, (action, step) in enumerate(zip(actions, steps, strict=True)):
        same(environments.observation[:, 0], told.observation[:, number])
        found = environments.step(action)
        same(found.following[:, 0], told.following[:, number])
        for name in ("reward", "terminated", "finished"):
            assert torch.equal(getattr(found, name), getattr(step, name)), name


def test_stacks_hold_the_last_pictures_and_begin_with_copies_of_the_first(hoppers):
    _, steps, before = hoppers
    rows, view = as_rows(*hoppers), SideView(NAME, PIXELS)
    found = pictured(rows, view, FRAMES)
    stacks, after = (value.unflatten(-1, (FRAMES, PIXELS, PIXELS)) for value in found)
    for member in range(2):
        first, place = 0, 0.0
        for row in range(len(steps)):
            fresh = row == 0 or bool(steps[row - 1].finished[member, 0])
            first, observation = row if fresh else first, before[member, 0, row]
            place = 0.0 if fresh else place + view.seconds * float(view.speed(observation))
            newest = view.draw(observation[None], torch.tensor([place]))[0]
            near = (stacks[member, row, -1].int() - newest.int()).abs()
            assert int(near.max()) <= 1  # sums in another order
            assert torch.equal(stacks[member, row, 0], stacks[member, max(row - 2, first), -1])
            assert torch.equal(stacks[member, row, 1], stacks[member, max(row - 1, first), -1])
            assert torch.equal(after[member, row, :-1], stacks[member, row, 1:])
            if row + 1 < len(steps) and not bool(steps[row].finished[member, 0]):
                near = (after[member, row, -1].int() - stacks[member, row + 1, -1].int()).abs()
                assert int(near.max()) <= 1


def test_resets_show_what_their_number_and_the_seed_say(sight):
    first, second = (PicturedEnvironments(sight, SideView(NAME, PIXELS), NAME, [3, 4], 2) for _ in range(2))
    first.reset()
    first.step(torch.zeros(2, 2, 3))
    second.rounds = 1  # as after a kill
    for one in (first, second):
        one.reset()
    for _ in range(5):
        for one in (first, second):
            one.step(torch.ones(2, 2, 3))
        assert torch.equal(first.observation, second.observation)


def test_packed_pictures_come_through_a_replay_and_a_file_as_they_are(tmp_path):
    shades = torch.randint(256, (2, 40, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    shades[0, :2], shades[1, 0, :4] = 255, torch.tensor([1, 0, 128, 127], dtype=torch.uint8)  # bits of no number
    held = packed(shades)
    assert held.shape == (2, 40, 16)
    assert bool(held.isnan().any())
    replay = Replay(2, 16, 1, 40)
    replay.add(Transitions(held, torch.zeros(2, 40, 1), torch.zeros(2, 40), held, torch.zeros(2, 40)))
    torch.save(replay.state_dict(), tmp_path / "state")
    again = Replay(2, 16, 1, 40)
    again.load_state_dict(torch.load(tmp_path / "state"))
    places = torch.arange(40).expand(2, -1)
    rows = again.at(places)
    assert torch.equal(unpacked(torch.cat([rows.observation, held], 1)[:, :40]), shades)
    assert torch.equal(unpacked(rows.following), shades)


def test_pictures_that_cannot_be_packed_are_refused():
    with pytest.raises(ValueError, match="9 pixels: must be a multiple of four"):
        packed(torch.zeros(1, 9, dtype=torch.uint8))
