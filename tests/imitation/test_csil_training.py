"""CSIL as a population in training: members alone, divergence, notes in the replay, resuming."""

from dataclasses import replace

import numpy as np
import torch
from small_csil import SMALL, chain, close, learner, some_rows

from imitation.control.csil import CoherentSoftImitation
from imitation.control.imitation_rows import (
    DemonstrationRows,
    ImitationTraining,
    Noted,
    NotedReplay,
    whole,
)
from imitation.control.replay import Replay, Transitions
from imitation.control.training import Plan
from imitation.demonstrations import Demonstrations, Episode
from imitation.envs.control import Environments
from imitation.policies import Cloning, HetStat
from imitation.population import Generators


def run(one, members, steps=4, part=slice(None)):
    for step in range(steps):
        rows = some_rows(members=members, seed=step)
        info = one.update(Transitions(*(value[part] for value in rows)))
    return info


def test_a_member_is_its_single_run_whatever_its_settings(exact):
    varied = replace(SMALL, alpha=(0.3, 0.8), temperature=(0.02, 0.05), prior=(1.0, 0.5), jacobian=(0.0, 1.5),
                     refinement_rate=(0.0, 2e-3))  # fmt: skip
    together = learner((4, 8), varied)
    first = run(together, 2)
    rows = DemonstrationRows([whole(chain((4, 3))), whole(chain((2,), seed=1))])
    together.coherent = replace(varied, pretraining=3)
    together.pretrain(rows, 8)
    for member, seed in enumerate((4, 8)):
        names = ("alpha", "temperature", "prior", "jacobian", "refinement_rate")
        alone = learner((seed,), replace(varied, **{name: getattr(varied, name)[member] for name in names}))
        info = run(alone, 2, part=slice(member, member + 1))
        for ours, theirs in zip(first, info, strict=True):
            close(ours[member : member + 1], theirs, 1e-7, 1e-9)
        for name, value in info.diagnostics.items():
            close(first.diagnostics[name][member : member + 1], value, 1e-7, 1e-9)
        alone.coherent = replace(alone.coherent, pretraining=3)
        alone.pretrain(DemonstrationRows([whole(chain((4, 3)) if member == 0 else chain((2,), seed=1))]), 8)
        for ours, theirs in zip(together._values(), alone._values(), strict=True):
            close(ours[member : member + 1], theirs, 1e-7, 1e-9)


def test_a_member_that_diverges_leaves_the_others_as_they_are():
    one, reference = learner((4, 8)), learner((4, 8))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        reference.update(rows)
        rows.observation[0, 0] = torch.nan
        one.update(rows)
    assert one.diverged().tolist() == [True, False]
    probe = some_rows(members=2).observation
    assert torch.equal(one.actor.mode(probe)[1], reference.actor.mode(probe)[1])


def test_notes_kept_in_the_replay_change_nothing(exact):
    kept, fresh = learner(), learner()
    replay = NotedReplay(1, 3, 2, 64, kept.note, 8)
    for start in range(0, 48, 3):
        rows = some_rows(batch=48)
        replay.add(Transitions(*(value[:, start : start + 3] for value in rows)))
    for step in range(3):
        batch = replay.sample(16, Generators([step]))
        assert isinstance(batch, Noted)
        kept.update(batch)
        fresh.update(Transitions(*batch))
    for ours, theirs in zip(kept._values(), fresh._values(), strict=True):
        close(ours, theirs, 1e-8, 1e-10)
    kept.cloned = None  # nothing asks it again
    kept.update(replay.sample(16, Generators([0])))


def test_many_rows_are_noted_in_blocks(exact):
    one, rows = learner(), some_rows(batch=3000)
    note = one.note(rows)
    mean, deviation = one.cloned(rows.following)
    close(note[..., 4:], torch.cat([mean, deviation], -1))


def test_a_ring_of_notes_stays_with_its_rows_and_resumes(exact):
    def note(rows):
        return rows.reward[..., None].expand(-1, -1, 2)

    ring = NotedReplay(1, 3, 2, 10, note, 2)
    for seed in range(6):
        ring.add(some_rows(batch=4, seed=seed))
    other = NotedReplay(1, 3, 2, 10, note, 2)
    other.load_state_dict(ring.state_dict())
    for one in (ring, other):
        rows = one.sample(100, Generators([0]))
        assert torch.equal(rows.note[..., 0], rows.reward)
    assert torch.equal(ring.notes, other.notes)


PENDULUM = "Pendulum-v1"


def pendulum(seeds=(0,), updates=20):
    """Demonstrations of an unskilled policy, cloned, with the loop around it."""
    environments = Environments(PENDULUM, list(seeds))
    random = np.random.default_rng(1)
    episodes = []
    for _ in range(2):
        states = random.normal(size=(31, 3))
        cut = np.arange(30) == 29
        episodes.append(Episode(states, np.tanh(states[:-1, :1]), None, cut & False, cut))
    data = Demonstrations(PENDULUM, np.full(1, -2.0), np.full(1, 2.0), episodes)
    rows = DemonstrationRows([whole(data)] * len(seeds))
    policy = HetStat(3, 1, Generators(seeds), (16,), 5, 64)
    generators = Generators(seeds)
    Cloning(batch=16).fit(policy, rows.rows.observation, rows.rows.action, generators, 20)
    one = CoherentSoftImitation(policy, generators, replace(SMALL, pretraining=5))
    one.pretrain(rows, 16)
    replay = NotedReplay(len(seeds), 3, 1, 1000, one.note, 4)
    return ImitationTraining(one, environments, replay, Plan(updates, 12, 16, 10), rows)


def test_a_run_on_pendulum_killed_and_resumed_ends_in_the_same_parameters(checkpoint):
    whole_run, first = pendulum(), pendulum()
    curve = []
    whole_run.run(curve.append)
    assert curve == [10, 20]

    second = pendulum(seeds=(0,))
    with torch.no_grad():  # all that matters comes from the state
        for value in (*second.learner.cloned.parameters(), *second.learner.rewarder.parameters()):
            value.zero_()
    second.load_state_dict(checkpoint(first))
    second.run(lambda _: None)
    for ours, theirs in zip(whole_run.learner._values(), second.learner._values(), strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(whole_run.learner.rewarder.parameters(), second.learner.rewarder.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(whole_run.replay.notes, second.replay.notes)
    assert not bool(whole_run.learner.diverged().any())


def test_the_environments_reward_is_never_shown(monkeypatch):
    training = pendulum(updates=10)
    seen = []
    original = training.learner.update
    monkeypatch.setattr(training.learner, "update", lambda rows: (seen.append(rows), original(rows))[1])
    training.run(lambda _: None)
    for rows in seen:
        assert isinstance(rows, Noted)
        assert rows.reward.tolist() == [[1.0] * 16 + [0.0] * 16]
    assert bool((training.replay.rows[0, :10, training.replay.offsets["reward"]] < 0).all())  # Pendulum's costs


def test_two_trainings_on_the_same_demonstrations_keep_their_own_notes():
    """What one clone says of a row is no other's prior."""
    rows, trainings = DemonstrationRows([whole(chain_of_pendulum())]), []
    for seed in (0, 1):
        one = pendulum((seed,))
        replay = NotedReplay(1, 3, 1, 1000, one.learner.note, 4)
        trainings.append(ImitationTraining(one.learner, one.environments, replay, one.plan, rows))
    assert not isinstance(rows.rows, Noted)
    notes = [training.demonstrations.rows.note for training in trainings]
    for training, note in zip(trainings, notes, strict=True):
        assert torch.equal(note, training.learner.note(rows.rows))
    assert not torch.equal(*notes)


def test_a_plain_replay_serves_too():
    training = pendulum(updates=10)
    training.replay = Replay(1, 3, 1, 1000)
    training.demonstrations = DemonstrationRows([whole(chain_of_pendulum())])
    training.run(lambda _: None)
    assert not bool(training.learner.diverged().any())


def chain_of_pendulum():
    states = np.random.default_rng(0).normal(size=(9, 3))
    cut = np.arange(8) == 7
    episode = Episode(states, np.tanh(states[:-1, :1]), None, cut & False, cut)
    return Demonstrations(PENDULUM, np.full(1, -2.0), np.full(1, 2.0), [episode])
