"""Equilibria and the Pareto frontier: programme against dynamic programming, and policies that are no equilibria."""

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import pareto as experiment
from experiments.lecture._random_games import member, random_games

SMOKE = catalogue.canonical("lecture/pareto", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_verdict_of_the_real_run(frame):
    verdict = experiment.CLAIMS[0].verdict(frame, "smoke")
    assert verdict.verdict == CORRECTED
    assert verdict.measured == pytest.approx(1, abs=1e-6)


def test_the_examples_returns_are_the_audits(frame):
    rows = frame[frame.process == experiment.EXAMPLE].set_index("point")
    for name, returns in (("expert", (5, 5)), ("A", (5, 5)), ("B", (5, 6))):
        assert (rows.j1[name], rows.j2[name]) == pytest.approx(returns, abs=1e-12)
        assert rows.payoff[name] == pytest.approx(0, abs=1e-12)  # all three solve the game


def test_the_games_value_is_the_least_support_over_mixtures():
    # Minimax: max over pi of min over f equals min over w of max over pi, here on a fine grid of w.
    game = member(random_games(Context(), [0], 5, 3, 2, 4, 0.0).game, 0)
    weights = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    mixes = torch.stack([weights, 1 - weights], -1)
    least = float((experiment.support(game, mixes) - mixes @ game.expert).min())
    assert experiment.equilibrium(game)[0] == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("wrong", ["expert", "uniform", "cheapest"])
def test_a_policy_that_is_no_equilibrium_is_refuted(monkeypatch, wrong):
    right = experiment.equilibrium

    def broken(game):
        value, weight, point = right(game)
        chance = torch.full_like(game.features[..., 0], 1 / game.mdp.actions).log()
        uniform = game.moments(experiment.repeated(chance, game.horizon))
        return value, weight, {"expert": game.expert, "uniform": uniform, "cheapest": point - 0.01}[wrong]

    monkeypatch.setattr(experiment, "equilibrium", broken)
    assert experiment.decide(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_returns_that_no_policy_has_are_refused():
    game = member(random_games(Context(), [0], 5, 3, 2, 4, 0.0).game, 0)
    with pytest.raises(ValueError, match=r"^the linear programme has no solution: [^\n]+$"):
        experiment.dominated(game, game.expert + game.horizon)


def test_without_a_dominated_equilibrium_the_sentence_stands(frame):
    assert experiment.decide(frame.assign(dominated=frame.dominated.clip(upper=0.0))).verdict == REPRODUCED


def test_a_nan_counts(frame):
    assert experiment.decide(frame.assign(below=frame.below.where(frame.seed != 1, np.nan))).verdict == REFUTED
