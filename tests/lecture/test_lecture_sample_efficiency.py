"""Demonstrations that the game and cloning need: limits of many demonstrations, and games that do not learn."""

import dataclasses

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import sample_efficiency as experiment

SMOKE = catalogue.canonical("lecture/sample_efficiency", "smoke")
SMALL = dataclasses.replace(SMOKE, seeds=list(range(12)), states=8, horizon=8, n=[1, 3])


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMALL, Context())


def test_smoke_decides_nothing():
    frame = experiment.run(SMOKE, Context())
    assert {claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS} == {INCONCLUSIVE}


def test_with_few_demonstrations_the_game_is_better_than_a_clone_per_step(frame):
    assert experiment.decide_indexed(frame).verdict == REPRODUCED


def test_many_demonstrations_bring_the_clone_per_step_and_the_game_to_the_expert():
    config = dataclasses.replace(SMALL, seeds=[0, 1], states=3, actions=2, horizon=3, n=[20_000])
    frame = experiment.run(config, Context())
    for method in (experiment.INDEXED, experiment.GAME):
        assert abs(experiment.gaps(frame, "soft-optimal", method).to_numpy()).max() < 0.05


def test_a_game_that_ignores_the_demonstrations_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "newton_maxent", lambda game, penalty: -5 * torch.ones_like(game.expert))
    broken = experiment.run(SMALL, Context())
    assert experiment.decide_indexed(broken).verdict == REFUTED  # the dual has not converged
    settled = broken.assign(residual=0.0)
    assert {claim.decide(settled).verdict for claim in experiment.CLAIMS} <= {REFUTED, INCONCLUSIVE}


def test_equal_methods_are_not_called_better(frame):
    clone = frame[frame.method == experiment.INDEXED].assign(method=experiment.GAME, residual=0.0)
    same = experiment.pd.concat([frame[frame.method != experiment.GAME], clone])
    assert experiment.decide_indexed(same).verdict in (INCONCLUSIVE, REFUTED)


def test_a_seed_that_diverged_is_never_dropped(frame):
    broken = frame.copy()
    broken.loc[(broken.seed == 3) & (broken.method == experiment.GAME), "gap"] = np.nan
    assert experiment.decide_indexed(broken).verdict == INCONCLUSIVE
