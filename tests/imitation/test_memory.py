"""Memories: torch's own GRU cell, where episodes begin, and what the last frames hold."""

import pytest
import torch

from imitation.policies.memory import GatedMemory, LastFrames
from imitation.population import Generators


def gated(seeds=(0, 1), observation_dim=3, units=4) -> GatedMemory:
    return GatedMemory(observation_dim, Generators(list(seeds)), units)


@pytest.mark.usefixtures("exact")
def test_the_gated_memory_is_torchs_cell_and_the_observation():
    memory = gated()
    random = torch.Generator().manual_seed(3)
    observation, before = torch.randn(2, 5, 3, generator=random), torch.randn(2, 5, 7, generator=random)
    found = memory.step(observation, before)
    for member in range(2):
        cell = torch.nn.GRUCell(3, 4)
        values = (memory.inwards, memory.onwards, memory.inward_bias, memory.onward_bias)
        for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), values, strict=True):
            getattr(cell, name).data = value.detach()[member].mT.squeeze(-1)
        expected = cell(observation[member], before[member, :, :4])
        torch.testing.assert_close(found[member], torch.cat([expected, observation[member]], -1))


def test_a_member_remembers_as_it_would_alone():
    observation, before = torch.randn(2, 5, 3), torch.randn(2, 5, 7)
    both = gated((0, 1)).step(observation, before)
    alone = gated((1,)).step(observation[1:], before[1:])
    torch.testing.assert_close(both[1:], alone)


@pytest.mark.parametrize("memory", [gated(), LastFrames(3, 2)], ids=["gated", "frames"])
def test_an_episode_that_begins_forgets_what_was_before(memory):
    observation, before = torch.randn(2, 1, 6, 3), torch.randn(2, 1, memory.width)
    fresh = torch.zeros(2, 1, 6, dtype=torch.bool)
    fresh[0, :, 4] = True
    states = memory.unroll(observation, fresh, before)
    none = torch.zeros_like(before)
    torch.testing.assert_close(states[0, :, 4], memory.step(observation[:, :, 4], none)[0])
    onwards = before
    for time in range(6):
        onwards = memory.step(observation[:, :, time], onwards)
    torch.testing.assert_close(states[1, :, 5], onwards[1])
    went_on = memory.step(observation[:, :, 4], states[:, :, 3])
    assert not torch.allclose(states[0, :, 4], went_on[0])


def test_the_last_frames_come_newest_first_with_none_before_the_episode():
    observation = torch.arange(1.0, 9.0).reshape(1, 1, 4, 2)
    fresh = torch.tensor([[[True, False, False, False]]])
    states = LastFrames(2, 3).unroll(observation, fresh, torch.ones(1, 1, 6))
    expected = [[1, 2, 0, 0, 0, 0], [3, 4, 1, 2, 0, 0], [5, 6, 3, 4, 1, 2], [7, 8, 5, 6, 3, 4]]
    assert states[0, 0].tolist() == expected


@pytest.mark.parametrize("make", [lambda: LastFrames(2, 0), lambda: gated(units=0)])
def test_sizes_must_be_positive(make):
    with pytest.raises(ValueError, match="must be positive"):
        make()
