"""The quadratic penalty: the geometry of misspecified moments, known rates and bounds, and broken penalties."""

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import quadratic_penalty as experiment
from experiments.lecture._random_games import random_games
from imitation.mdp.games import dual_maxent

SMOKE = catalogue.canonical("lecture/quadratic_penalty", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_verdict_of_the_real_run(frame):
    assert experiment.CLAIMS[0].verdict(frame, "smoke").verdict == REPRODUCED


def test_the_offset_is_the_distance_to_what_policies_reach():
    # The vertex is reached; along u no policy goes farther, so nothing is nearer than the offset.
    game = random_games(Context(), [0, 1, 2], 5, 3, 2, 4, 1.0).game
    u = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2)))
    far, near = (experiment.beyond_vertex(game, u, offset) for offset in (0.5, 0.0))
    torch.testing.assert_close((far - near).norm(dim=-1), torch.full((3,), 0.5, dtype=torch.float64))
    unit = u / u.norm(dim=-1, keepdim=True)
    for seed in range(20):
        logits = 3 * torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 3, 5, 3)))
        assert bool(((game.moments(logits.log_softmax(-1)) - near) * unit).sum(-1).max() <= 1e-12)


def test_a_penalty_that_is_not_applied_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "dual_maxent", lambda game, step, count, _: dual_maxent(game, step, count))
    assert experiment.decide(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_a_penalty_of_another_size_is_refuted(monkeypatch):
    monkeypatch.setattr(
        experiment, "dual_maxent", lambda game, step, count, rho: dual_maxent(game, step / 2, count, 2 * rho)
    )
    assert experiment.decide(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_moments_that_policies_reach_do_not_count_as_misspecified(monkeypatch):
    right = experiment.beyond_vertex
    monkeypatch.setattr(experiment, "beyond_vertex", lambda game, u, offset: 0.5 * (right(game, u, 0.0) + game.expert))
    assert experiment.decide(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_a_multiplier_that_leaves_its_bound_on_the_way_is_refuted(frame):
    first = (frame.penalty > 0) & (frame.case == experiment.OUTSIDE) & (frame.iteration < frame.iteration.max())
    broken = frame.assign(multipliers=frame.multipliers.where(~first, 1.01 * frame.start / frame.penalty))
    assert experiment.decide(broken).verdict == REFUTED


def test_a_nan_counts(frame):
    broken = frame.assign(multipliers=frame.multipliers.where(frame.seed != 1))
    assert experiment.decide(broken).verdict == REFUTED
