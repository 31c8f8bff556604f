"""Offline imitation: data of graded quality, the half-and-half mixture, the learner's start, the loop and resuming."""

import numpy as np
import pytest
import torch

from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.control.imitation_rows import DemonstrationRows, Steps
from imitation.control.offline import OfflineTraining, coherent_learner, mixture, noisy, record
from imitation.control.training import Plan
from imitation.envs.control import Environments
from imitation.policies import HetStat
from imitation.population import Generators, normal_like

PENDULUM = "Pendulum-v1"
SMALL = CoherentSettings(hidden=(16, 16), pretraining=0)


def steady(observation):
    return 0.3 * observation[..., :1].tanh()


def rows(counts, seed=0, observation_dim=3, action_dim=1):
    random, members = np.random.default_rng(seed), []
    for count in counts:
        states, actions = random.normal(size=(2, count, observation_dim)), random.uniform(-1, 1, (count, action_dim))
        members.append(Steps(states[0], actions, states[1], np.zeros(count), np.full_like(actions, np.nan)))
    return DemonstrationRows(members)


def clone(seeds, shift):
    policy = HetStat(3, 1, Generators(seeds), (16,), 5, 16)
    random = Generators([seed + shift for seed in seeds])
    with torch.no_grad():
        for value in policy.parameters():
            value += 0.3 * normal_like(value, random)
    return policy.frozen()


def training(seeds=(3,), updates=6, every=2):
    learner = coherent_learner(clone(seeds, 10), clone(seeds, 50), Generators(list(seeds)), SMALL)
    shown, data = (DemonstrationRows.joined([rows([count])] * len(seeds)) for count in (12, 40))
    return OfflineTraining(learner, shown, data, Plan(updates, batch=8, every=every))


def parameters(one):
    return torch.cat([value.flatten(1) for value in one.learner._values()], 1)


# ---- data ----


def test_noise_replaces_whole_actions_in_its_share_of_steps():
    observation = torch.randn(2, 4000, 3, generator=torch.Generator().manual_seed(0))
    own = torch.stack([observation[..., 0].tanh(), observation[..., 1].tanh()], -1)
    for share in (0.0, 0.25, 1.0):
        found = noisy(lambda _: own, share, Generators([1, 2]))(observation)
        changed = found != own
        assert bool((changed[..., 0] == changed[..., 1]).all())  # never one coordinate alone
        assert changed[..., 0].float().mean(1).numpy() == pytest.approx(share, abs=4 * 0.43 / 4000**0.5)
    assert found.abs().max() <= 1
    assert found.mean().item() == pytest.approx(0, abs=0.03)
    assert found.var().item() == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_probability(share):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        noisy(steady, share, Generators([0]))


def test_recorded_rows_are_the_steps_of_each_copy_in_turn():
    found = record(steady, Environments(PENDULUM, [4, 7], 2), 230)  # an episode ends after 200
    assert found.counts == [460, 460]
    again = Environments(PENDULUM, [4, 7], 2)
    observation = again.reset()
    for number in range(230):
        step = again.step(steady(observation))
        for copy in range(2):
            place = 230 * copy + number
            torch.testing.assert_close(found.rows.observation[:, place], observation[:, copy])
            torch.testing.assert_close(found.rows.action[:, place], steady(observation)[:, copy])
            torch.testing.assert_close(found.rows.following[:, place], step.following[:, copy])
        observation = again.observation
    assert not found.rows.terminated.any()  # time was up, which is no end
    assert found.following_action.isnan().all()
    follows = (found.rows.following[:, :-1] == found.rows.observation[:, 1:]).all(-1)
    assert (~follows).nonzero()[:, 1].unique().tolist() == [199, 229, 429]


def test_recording_a_member_does_not_depend_on_its_neighbours():
    both, alone = (record(steady, Environments(PENDULUM, seeds, 2), 20) for seeds in ([4, 7], [7]))
    assert torch.equal(both.rows.observation[1], alone.rows.observation[0])


@pytest.mark.parametrize("counts", [[3, 5], [25, 13]])  # fewer than the data, and more
def test_the_mixture_has_as_many_rows_of_both_and_misses_none(counts):
    shown, data = rows(counts), rows([10, 10], 9)
    shown.following_action = shown.rows.action + 1
    both, most = mixture(shown, data), max(10, *counts)
    assert both.counts == [2 * most] * 2
    for member in range(2):
        for half, source in enumerate((shown, data)):
            part = slice(half * most, (half + 1) * most)
            given = source.rows.action[member, : source.counts[member]]
            times = [int((both.rows.action[member, part] == one).all(-1).sum()) for one in given]
            assert sum(times) == most  # padding is never drawn
            assert max(times) - min(times) <= 1
    assert torch.equal(both.following_action[:, :most], both.rows.action[:, :most] + 1)
    assert both.following_action[:, most:].isnan().all()


# ---- learning ----


def test_the_policy_starts_from_one_clone_and_the_reward_is_the_others():
    one, other = clone([3], 10), clone([3], 50)
    learner = coherent_learner(one, other, Generators([3]), SMALL)
    assert isinstance(learner, CoherentSoftImitation)
    sample = rows([30]).rows
    for mine, theirs in zip(learner.actor(sample.observation), other(sample.observation), strict=True):
        assert torch.equal(mine, theirs)
    reference = CoherentSoftImitation(one, Generators([3]), SMALL)
    assert torch.equal(learner.reward(sample), reference.reward(sample))
    assert torch.equal(learner.note(sample), reference.note(sample))


def test_an_update_sees_demonstrations_then_data_with_what_the_prior_says_of_them():
    one = training()
    found = one.rows()
    assert found.reward.tolist() == [[1.0] * 8 + [0.0] * 8]
    for half, source in zip(found.observation[0].chunk(2), (one.demonstrations, one.data), strict=True):
        assert all(bool((row == source.rows.observation[0]).all(-1).any()) for row in half)
    torch.testing.assert_close(found.note, one.learner.note(found))


def test_a_run_killed_and_resumed_ends_in_the_same_parameters(checkpoint):
    whole, first, second = training(), training(), training()
    whole.run(lambda _: None, lambda _: None)
    second.load_state_dict(checkpoint(first))
    assert second.learner.updates == 2
    second.run(lambda _: None, lambda _: None)
    assert torch.equal(parameters(whole), parameters(second))


def test_a_member_of_a_population_is_its_single_run():
    together, alone = training(seeds=(5, 3)), training(seeds=(3,))
    for one in (together, alone):
        one.run(lambda _: None, lambda _: None)
    torch.testing.assert_close(parameters(together)[1], parameters(alone)[0], rtol=1e-4, atol=1e-5)


def test_training_leaves_the_given_rows_as_they_were():
    learner = coherent_learner(clone([3], 10), clone([3], 50), Generators([3]), SMALL)
    shown, data = rows([12]), rows([40])
    OfflineTraining(learner, shown, data, Plan(2, batch=8, every=2))
    assert not hasattr(shown.rows, "note")
    assert not hasattr(data.rows, "note")
