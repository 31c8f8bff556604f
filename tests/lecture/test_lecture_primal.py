"""The primal game: its bound, its rate, its equilibrium, and players that do not learn."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import primal as experiment
from experiments.lecture._random_games import random_games
from imitation.mdp.games import dual_maxent, primal_game
from imitation.mdp.maxent import REWARD

SMOKE = catalogue.canonical("lecture/primal", "smoke")
CONFIG = dataclasses.replace(SMOKE, seeds=[0, 1, 2, 3], iterations=[128, 1024, 4096])


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def decided(frame):
    return [claim.decide(frame).verdict for claim in experiment.CLAIMS]


def test_smoke_decides_the_exact_part_alone():
    frame = experiment.run(SMOKE, Context())
    assert [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS] == [
        INCONCLUSIVE,
        INCONCLUSIVE,
        CORRECTED,
    ]


def test_the_gap_is_within_its_bound_and_falls(frame):
    rows = frame[frame.method == experiment.PLAIN]
    assert (rows.gap <= rows.bound).all()
    assert (rows.gap >= 0).all()
    assert experiment.decide_same(frame).verdict == CORRECTED


def test_a_dual_that_ascends_where_it_must_descend_is_refuted(monkeypatch):
    wrong = REWARD._replace(direction=1)
    monkeypatch.setattr(experiment, "dual_maxent", functools.partial(dual_maxent, convention=wrong))
    config = dataclasses.replace(SMOKE, seeds=[0, 1], regularised=8)
    assert experiment.decide_same(experiment.run(config, Context())).verdict == REFUTED


def test_kept_policies_have_the_moments_of_their_iteration():
    game = random_games(Context(), [0, 1], 5, 3, 2, 4, 1.0).game
    path = primal_game(game, 0.5, 0.1, float("inf"), 6, temperature=1.0, keep=[1, 4, 6])
    for count, log_policy in zip([1, 4, 6], path.kept, strict=True):
        torch.testing.assert_close(game.moments(log_policy), path.moments[count - 1], rtol=0, atol=1e-13)
    for wrong in ([0], [7], [4, 1], [2, 2]):
        with pytest.raises(ValueError, match=r"^keep=[^\n]*must increase and lie between 1 and 6$"):
            primal_game(game, 0.5, 0.1, 1.0, 6, keep=wrong)


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
        for seed in range(10) for count in (16, 256, 1024, 4096)
    ]  # fmt: skip
    return experiment.pd.DataFrame(rows)


@pytest.mark.parametrize(("slope", "verdict"), [(-0.5, REPRODUCED), (-0.2, REFUTED), (0.0, REFUTED)])
def test_the_rate_decides(slope, verdict):
    assert experiment.decide_rate(made_up(slope)).verdict == verdict


@pytest.mark.parametrize(("slope", "verdict"), [(-0.5, REPRODUCED), (-0.1, REPRODUCED), (0.1, REFUTED)])
def test_a_gap_that_no_longer_falls_tends_nowhere(slope, verdict):
    frame = made_up(slope)
    assert experiment.decide(frame).verdict == verdict


def test_what_is_left_of_the_start_does_not_tilt_the_rate():
    """A gap that falls as 1 / T at first and then stands still is steep over all T, and flat over the largest."""
    frame = made_up(-1.0)
    stuck = frame.assign(gap=frame.gap.where(frame.iteration <= 256, 0.01 / 256))
    assert experiment.decide_rate(stuck).verdict == REFUTED


def test_leaving_the_bound_or_staying_at_the_start_is_no_reproduction():
    frame = made_up(-0.5)
    assert experiment.decide(frame.assign(gap=frame.gap.where(frame.seed != 3, 11.0))).verdict == REFUTED
    assert experiment.decide(frame.assign(gap=frame.gap.where(frame.seed != 3))).verdict == REFUTED  # a NaN counts
    assert experiment.decide(frame.assign(start=frame.gap)).verdict == REFUTED


def test_a_policy_that_does_not_learn_is_no_reproduction(monkeypatch):
    monkeypatch.setattr(
        experiment, "primal_game", lambda game, policy, *rest, **more: primal_game(game, policy * 1e-9, *rest, **more)
    )
    assert REPRODUCED not in decided(experiment.run(SMOKE, Context()))
    assert CORRECTED not in decided(experiment.run(SMOKE, Context()))


@pytest.mark.parametrize("method", [experiment.REGULARISED, experiment.DUAL])
def test_another_policy_with_entropy_is_refuted(frame, method):
    for wrong in (1e-3, np.nan):
        broken = frame.assign(to_dual=frame.to_dual.where(frame.method != method, wrong))
        assert experiment.decide_same(broken).verdict == REFUTED
    assert experiment.decide_same(frame[frame.method != method]).verdict == REFUTED
    # Without other equilibria of the plain game the printed sentence would stand uncorrected.
    assert experiment.decide_same(frame[frame.method != experiment.OTHER]).verdict == REPRODUCED
