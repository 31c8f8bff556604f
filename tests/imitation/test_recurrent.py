"""Cloning with a memory: known limits, the stored states, a task that needs memory, and what may not change a fit."""

import pytest
import torch

from imitation.policies import Cloning, HetStat
from imitation.policies.cloning import Fit
from imitation.policies.memory import GatedMemory, LastFrames, Memory
from imitation.policies.recurrent import RecurrentFit
from imitation.population import Generators

EPISODE, CUED = 8, 5  # the action of time CUED is the cue shown at time 0


def cued(members=2, episodes=40):
    """Episodes whose first observation is a cue of +-1 that the actions repeat later; all other numbers are 0."""
    random = torch.Generator().manual_seed(7)
    cue = (torch.rand(members, episodes, generator=random) > 0.5).float() * 2 - 1
    observations, actions = torch.zeros(2, members, episodes, EPISODE)
    observations[..., 0] = cue
    actions[..., CUED:] = 0.8 * cue[..., None]
    fresh = torch.zeros(members, episodes, EPISODE, dtype=torch.bool)
    fresh[..., 0] = True
    return observations.flatten(1)[..., None], actions.flatten(1)[..., None], fresh.flatten(1)


def recurrent(seeds=(0, 1), windows=4, length=8, memory: Memory | None = None, **changed) -> RecurrentFit:
    random = Generators(list(seeds))
    data = zip(DATA, cued(), strict=True)
    observations, actions, fresh = (changed.pop(name, value[: len(seeds)]) for name, value in data)
    memory = memory or GatedMemory(1, random, 8)
    policy = HetStat(memory.width, 1, random, (16,), features=8)
    return RecurrentFit(memory, policy, observations, actions, fresh, random, windows, length, **changed)


DATA = ("observations", "actions", "fresh")


def mean_error(fit: RecurrentFit) -> torch.Tensor:
    """Mean squared error (P,) of the actions that repeat the cue."""
    none = fit.stored.new_zeros(len(fit.stored), 1, fit.memory.width)
    with torch.no_grad():
        states = fit.memory.unroll(fit.observations[:, None], fit.fresh[:, None], none)[:, 0]
        error = (fit.policy(states)[0].tanh() - fit.actions).square()[..., 0]
    return error.unflatten(1, (-1, EPISODE))[..., CUED:].mean((1, 2))


def test_a_memory_learns_what_the_last_frame_cannot_tell():
    fit, blind = recurrent(learning_rate=5e-3), recurrent(memory=LastFrames(1), learning_rate=5e-3)
    for one in (fit, blind):
        while one.steps < 500:
            one.step()
    assert float(mean_error(fit).max()) < 0.02
    assert float(mean_error(blind).min()) > 0.5  # the cue's variance is .64


def test_windows_of_one_step_of_the_last_frame_are_plain_cloning():
    fit = recurrent(memory=LastFrames(1), windows=16, length=1)
    random = Generators([0, 1])
    policy = HetStat(1, 1, random, (16,), features=8)
    plain = Fit(Cloning(batch=16), policy, fit.observations, fit.actions, random)
    for _ in range(5):
        fit.step()
        plain.step()
    for name, value in policy.state_dict().items():
        assert torch.equal(fit.policy.state_dict()[name], value), name


def test_stored_states_become_those_of_the_memory_as_it_is():
    fit = recurrent(windows=8, learning_rate=1e-30)  # nothing is learnt: the memory stays as it is
    while fit.steps < 400:
        fit.step()
    none = fit.stored.new_zeros(2, 1, fit.memory.width)
    states = fit.memory.unroll(fit.observations[:, None], fit.fresh[:, None], none)[:, 0]
    torch.testing.assert_close(fit.stored, states.detach())


def test_every_row_of_a_member_is_visited_equally_often_and_no_other():
    number = torch.arange(320.0).expand(2, -1)[..., None] / 1000
    fit = recurrent(rows=[24, 320], windows=16, memory=LastFrames(1), observations=number, learning_rate=1e-30)
    visited, policy = [], fit.policy.forward
    fit.policy.forward = lambda states, faithful: visited.append(states[0]) or policy(states, faithful)
    while fit.steps < 400:
        fit.step()
    visits = torch.bincount((torch.cat(visited)[:, 0] * 1000).round().int())
    assert len(visits) == 24
    torch.testing.assert_close(visits / visits.float().mean(), torch.ones(24), atol=0.1, rtol=0)


@pytest.mark.usefixtures("exact")
def test_gradients_through_a_window_are_differences():
    random = Generators([0])
    memory, observation = GatedMemory(2, random, 3), torch.randn(1, 1, 5, 2, generator=random.members[0])
    fresh = torch.zeros(1, 1, 5, dtype=torch.bool)
    before = torch.randn(1, 1, 5, generator=random.members[0], requires_grad=True)
    parameters = [before, *memory.parameters()]

    def last(*values: torch.Tensor) -> torch.Tensor:
        names = [name for name, _ in memory.named_parameters()]
        given = dict(zip(names, values[1:], strict=True))
        return torch.func.functional_call(_Unrolled(memory), {f"memory.{k}": v for k, v in given.items()},
                                          (observation, fresh, values[0]))[:, :, -1]  # fmt: skip

    assert torch.autograd.gradcheck(last, parameters)


class _Unrolled(torch.nn.Module):
    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
        return self.memory.unroll(*arguments)


def test_a_member_is_fitted_as_it_would_be_alone():
    observations, actions, fresh = cued()
    both, alone = recurrent((0, 1)), recurrent(
        (1,), observations=observations[1:], actions=actions[1:], fresh=fresh[1:]
    )  # fmt: skip
    for one in (both, alone):
        while one.steps < 10:
            one.step()
    for name, value in alone.memory.state_dict().items():
        torch.testing.assert_close(both.memory.state_dict()[name][1:], value)
    torch.testing.assert_close(both.stored[1:], alone.stored)


def test_a_fit_that_was_killed_goes_on_to_the_same_end():
    whole, first, second = recurrent(), recurrent(), recurrent((8, 9))
    for _ in range(6):
        whole.step()
    for _ in range(3):
        first.step()
    kept = first.state_dict()
    first.step()  # what comes after does not change what was kept
    second.load_state_dict(kept)
    for _ in range(3):
        second.step()
    ends = (dict(one.memory.state_dict()) | dict(one.policy.state_dict()) for one in (whole, second))
    for mine, theirs in zip(*(each.values() for each in ends), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(whole.stored, second.stored)


def test_a_member_that_diverges_is_stopped_and_the_other_goes_on():
    fit, healthy = recurrent((0, 1)), recurrent((0, 1))
    with torch.no_grad():
        fit.memory.onwards[1] = torch.inf
    for one in (fit, healthy):
        while one.steps < 3:
            one.step()
    assert fit.diverged.tolist() == [False, True]
    assert not bool(fit.memory.inwards[1].isfinite().any())
    torch.testing.assert_close(fit.memory.inwards[0], healthy.memory.inwards[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": [0, 320]}, "at least one row each"),
        ({"rows": [320, 321]}, "must agree"),
        ({"windows": 0}, "must be positive"),
        ({"fresh": torch.zeros(2, 320, dtype=torch.bool)}, "must begin an episode"),
        ({"actions": torch.full((2, 320, 1), 1.5)}, "in \\[-1, 1\\]"),
        ({"observations": torch.full((2, 320, 1), torch.nan)}, "finite"),
    ],
)
def test_bad_input_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        recurrent(**changed)
