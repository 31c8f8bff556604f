"""The primal game: its bound, its rate, its equilibrium, and players that do not learn."""

import dataclasses

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import primal as experiment
from experiments.lecture._random_games import random_games
from imitation.mdp.games import primal_game

SMOKE = catalogue.canonical("lecture/primal", "smoke")
CONFIG = dataclasses.replace(SMOKE, seeds=[0, 1, 2, 3], iterations=[128, 1024, 4096])


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def decided(frame):
    return [claim.decide(frame).verdict for claim in experiment.CLAIMS]


def test_smoke_decides_the_exact_part_alone():
    frame = experiment.run(SMOKE, Context())
    assert [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS] == [INCONCLUSIVE, CORRECTED]


def test_the_gap_is_within_its_bound_and_falls(frame):
    rows = frame[frame.method == experiment.PLAIN]
    assert (rows.gap <= rows.bound).all()
    assert (rows.gap >= 0).all()
    assert experiment.decide_same(frame).verdict == CORRECTED


def test_an_equilibrium_has_no_gap():
    game = random_games(Context(), [0, 1], 5, 3, 2, 4, 1.0).game
    gap = experiment.exploitability(game, game.expert, torch.zeros_like(game.expert))
    assert float(gap.abs().max()) < 1e-12


def made_up(slope):
    """Gaps that fall as T^slope with a little noise, far below the bound."""
    rng = np.random.default_rng(0)
    rows = [
        {"method": experiment.PLAIN, "seed": seed, "iteration": count,
         "gap": 0.01 * count**slope * rng.uniform(0.95, 1),
         "start": 10.0, "bound": 10.0, "moment_gap": 0.0, "to_dual": 0.0}
        for seed in range(10) for count in (16, 256, 4096)
    ]  # fmt: skip
    return experiment.pd.DataFrame(rows)


@pytest.mark.parametrize(("slope", "verdict"), [(-0.5, REPRODUCED), (-0.2, REFUTED), (0.0, REFUTED)])
def test_the_rate_decides(slope, verdict):
    assert experiment.decide_rate(made_up(slope)).verdict == verdict


def test_leaving_the_bound_or_staying_at_the_start_is_no_reproduction():
    frame = made_up(-0.5)
    assert experiment.decide_rate(frame.assign(gap=frame.gap.where(frame.seed != 3, 11.0))).verdict == REFUTED
    assert experiment.decide_rate(frame.assign(gap=frame.gap.where(frame.seed != 3))).verdict == REFUTED  # a NaN counts
    assert experiment.decide_rate(frame.assign(start=frame.gap)).verdict == REFUTED


def test_a_policy_that_does_not_learn_is_no_reproduction(monkeypatch):
    monkeypatch.setattr(
        experiment, "primal_game", lambda game, policy, *rest, **more: primal_game(game, policy * 1e-9, *rest, **more)
    )
    assert REPRODUCED not in decided(experiment.run(SMOKE, Context()))
    assert CORRECTED not in decided(experiment.run(SMOKE, Context()))


def test_another_policy_with_entropy_is_refuted(frame):
    broken = frame.assign(to_dual=frame.to_dual.where(frame.method != experiment.REGULARISED, 1e-3))
    assert experiment.decide_same(broken).verdict == REFUTED
    # Without other equilibria of the plain game the printed sentence would stand uncorrected.
    assert experiment.decide_same(frame[frame.method != experiment.OTHER]).verdict == REPRODUCED
