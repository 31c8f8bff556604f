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
    assert experiment.decide_indexed_gap(frame).verdict == REPRODUCED


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
    for decide in (experiment.decide_indexed, experiment.decide_indexed_gap):
        assert decide(same).verdict in (INCONCLUSIVE, REFUTED)


def made_up(game, clone):
    """Gaps that fall as (scale / n) with a little noise, the same scale for both experts."""
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "expert": expert, "seed": seed, "n": n, "residual": 0.0,
         "gap": scale / n * rng.uniform(0.9, 1.1)}
        for method, scale in ((experiment.GAME, game), (experiment.INDEXED, clone))
        for expert in experiment.EXPERTS for seed in range(20) for n in (1, 10, 100)
    ]  # fmt: skip
    return experiment.pd.DataFrame(rows)


@pytest.mark.parametrize(("game", "clone", "verdict"), [(0.1, 0.4, REPRODUCED), (0.4, 0.1, REFUTED)])
def test_the_demonstrations_needed_decide(game, clone, verdict):
    assert experiment.decide_indexed(made_up(game, clone)).verdict == verdict


def test_demonstrations_are_read_off_the_line_in_log_n_and_bounded_by_the_data():
    n, target = np.array([1.0, 10.0, 100.0]), 0.05
    curves = np.array([[0.15, 0.06, 0.04], [0.04, 0.2, 0.2], [0.4, 0.3, 0.2], [0.4, np.nan, 0.0]])
    found = experiment.demonstrations_needed(curves, n, target) / np.log(10)
    np.testing.assert_allclose(found, [1.5, 0, 2, np.nan])


def test_a_game_that_never_comes_down_to_the_gap_does_not_win(frame):
    assert experiment.decide_indexed(made_up(1e3, 0.4)).verdict == REFUTED


def test_a_seed_that_diverged_is_never_dropped(frame):
    broken = frame.copy()
    broken.loc[(broken.seed == 3) & (broken.method == experiment.GAME), "gap"] = np.nan
    assert experiment.decide_indexed(broken).verdict == INCONCLUSIVE
    assert experiment.decide_indexed_gap(broken).verdict == INCONCLUSIVE
