"""Stationarity: distances by brute force, a real fit on the line, and policies and features that do not return."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.csil import stationary as experiment
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.control import experts
from imitation.policies import HetStat, TanhNormalMLP, hetstat

SMOKE = catalogue.canonical("csil/stationary", "smoke")
LAPTOP = catalogue.canonical("csil/stationary", "laptop")
SHORT = dataclasses.replace(LAPTOP, rows=200, hidden=[32, 32], features=64, steps=800)


def on_the_line(monkeypatch, config=SHORT):
    monkeypatch.setattr(experiment, "TASKS", ())
    return experiment.run(config, Context())


def decided(frame, tasks=(experiment.LINE,)):
    return experiment.decide_tasks(frame, tasks).verdict


def made_up(hetstat_away: float, mlp_away: float, seeds: int = 6) -> pd.DataFrame:
    """Divergence 1 on the data, and so much away from it, with a spread of 10 % between seeds."""
    rows = [
        {"part": "divergence", "task": task, "policy": policy, "seed": seed, "x": x, "value": value, "count": 10}
        for task in experiment.TASKS
        for policy, away in (("HetStat", hetstat_away), ("MLP", mlp_away))
        for seed in range(seeds)
        for x, value in ((0.0, 1.0), (1.0, 1.0), (8.0, away * (1 + 0.1 * np.sin(seed))), (4.0, 9.0))
    ]
    return pd.DataFrame(rows)


def test_smoke_decides_the_exact_part_alone():
    frame = experiment.run(SMOKE, Context())
    verdicts = [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS]
    assert verdicts == [INCONCLUSIVE, CORRECTED, INCONCLUSIVE]
    assert set(frame[frame.part == "divergence"].task) == {experiment.LINE, *experiment.TASKS}
    assert frame[frame.part == "divergence"].value.notna().all()
    assert len(experiment.figure(frame).axes) == 6


def test_the_policies_on_the_line(monkeypatch):
    frame = on_the_line(monkeypatch)
    assert decided(frame) == REPRODUCED
    names = {"HetStat": "MLP", "MLP": "HetStat"}
    assert decided(frame.assign(policy=frame.policy.map(names))) == REFUTED


@pytest.mark.parametrize("wave", ["relu", None])
def test_a_policy_without_periodic_features_does_not_return(monkeypatch, wave):
    def build(cfg, policy, observation_dim, action_dim, random):
        if wave is None or policy == "MLP":
            return TanhNormalMLP(observation_dim, action_dim, random, tuple(cfg.hidden))
        sizes = tuple(cfg.hidden), cfg.bottleneck, cfg.features
        return HetStat(observation_dim, action_dim, random, *sizes, wave=wave)

    monkeypatch.setattr(experiment, "build", build)
    assert decided(on_the_line(monkeypatch)) in (REFUTED, INCONCLUSIVE)


@pytest.mark.parametrize(
    ("hetstat_away", "mlp_away", "verdict"),
    [(0.2, 2.0, REPRODUCED), (0.5, 2.0, INCONCLUSIVE), (0.8, 2.0, REFUTED), (0.2, 0.3, REFUTED)],
)
def test_the_rule_on_made_up_divergences(hetstat_away, mlp_away, verdict):
    assert decided(made_up(hetstat_away, mlp_away), experiment.TASKS) == verdict


def test_one_task_that_does_not_return_is_enough():
    frame = made_up(0.2, 2.0)
    hopper = (frame.task == "Hopper-v5") & (frame.policy == "HetStat") & (frame.x == 8)
    assert decided(frame.assign(value=frame.value.where(~hopper, 1.0)), experiment.TASKS) == REFUTED


def test_a_seed_that_diverged_is_never_dropped():
    frame = made_up(0.2, 2.0)
    frame.loc[(frame.seed == 3) & (frame.policy == "HetStat"), "value"] = np.nan
    assert decided(frame, experiment.TASKS) == INCONCLUSIVE


@pytest.mark.parametrize(("wave", "by"), [("sine", "relu"), ("sine", "triangle"), ("triangle", "sine")])
def test_other_features_correct_nothing(monkeypatch, wave, by):
    # Where the sine is not stationary the sentence is false; where the triangle is, it needs no correction.
    monkeypatch.setitem(hetstat.WAVES, wave, hetstat.WAVES[by])
    assert experiment.decide_features(experiment._kernels()).verdict == REFUTED


def test_distances_by_brute_force():
    rng = np.random.default_rng(0)
    data, places = rng.normal(size=(40, 3)) * [1, 10, 0.1], rng.normal(size=(15, 3)) * [2, 5, 1]
    a, b = data / data.std(0), places / data.std(0)
    between = np.linalg.norm(a[:, None] - a, axis=2) + np.where(np.eye(40) > 0, np.inf, 0)
    expected = np.linalg.norm(b[:, None] - a, axis=2).min(1) / np.median(between.min(1))
    np.testing.assert_allclose(experiment.distances(data, places), expected)


def test_rollouts_are_the_same_for_a_seed_and_differ_between_seeds():
    config = dataclasses.replace(SMOKE, rows=30)
    first, again = (experiment._rollouts(config, "Hopper-v5") for _ in range(2))
    assert torch.equal(first.places, again.places)
    assert not torch.equal(first.observations[0], first.observations[1])
    assert float(first.actions.abs().max()) <= 1
    held_out = first.distances[:, :15]
    assert np.median(held_out) < experiment.ON
    assert first.distances.max() > experiment.AWAY


def test_bins_hold_their_places():
    frame = experiment._binned([5], np.array([[1.0, 3.0, 7.0]]), np.array([[0.5, 0.9, 100.0]]))
    assert frame[["seed", "x", "value", "count"]].to_numpy().tolist() == [[5, 0, 2, 2], [5, 32, 7, 1]]


def test_the_demonstrator_is_the_kept_expert():
    data = experiment._rollouts(dataclasses.replace(SMOKE, rows=30), "Hopper-v5")
    expected = experts.load("Hopper-v5").act(data.observations.flatten(0, 1)[None])[0]
    torch.testing.assert_close(data.actions.flatten(0, 1), expected, rtol=0, atol=1e-5)
    assert [path.name for path in experiment.inputs(SMOKE)] == ["HalfCheetah-v5.safetensors", "Hopper-v5.safetensors"]
