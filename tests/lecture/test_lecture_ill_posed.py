"""The game without the learner's value: linear programs against closed forms, and variants that must be refuted."""

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import ill_posed as experiment
from experiments.lecture.ill_posed import BOX, CENTRED, CONSTANT

SMOKE = catalogue.canonical("lecture/ill_posed", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_the_verdict(frame):
    verdict = experiment.decide(frame)
    assert verdict.verdict == REPRODUCED
    assert verdict.measured > 0.1


def test_the_linear_programs_have_their_closed_forms():
    slope = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 4, 2)))
    assert experiment.worst(slope, BOX) == pytest.approx(-float(slope.abs().sum()), abs=1e-9)
    assert experiment.worst(slope, CONSTANT) == pytest.approx(float(slope.sum()), abs=1e-12)
    # Mean 0 with an even number of entries: +1 on the smaller half, -1 on the larger one.
    ordered = slope.flatten().sort().values
    assert experiment.worst(slope, CENTRED) == pytest.approx(float(ordered[:12].sum() - ordered[12:].sum()), abs=1e-9)


def test_the_payoff_with_the_learner_goes_beyond_minus_h(frame):
    """The range printed after (18.1), [-H, H], is too small for rewards in [-1, 1]: it is [-2H, 2H]."""
    rows = frame[frame.rewards == BOX]
    assert bool((rows.with_learner >= -2 * rows.horizon).all())
    assert float((rows.with_learner / rows.horizon).min()) < -1


def test_a_payoff_that_depends_on_the_policy_is_refuted(frame):
    assert experiment.decide(frame.assign(without=frame.with_learner)).verdict == REFUTED
    nudged = frame.without.where(frame.index != 0, frame.without + 1e-6)
    assert experiment.decide(frame.assign(without=nudged)).verdict == REFUTED


def test_a_game_that_sees_the_learner_where_it_must_not_is_refuted(monkeypatch):
    right = experiment.game_slope
    monkeypatch.setattr(experiment, "game_slope", lambda pi, home, with_learner: right(pi, home, True))
    broken = experiment.run(SMOKE, Context())
    assert broken.groupby(["seed", "rewards"]).without.agg(np.ptp).max() > 0.1
    assert experiment.decide(broken).verdict == REFUTED


def test_a_constant_that_does_not_attain_the_minimum_is_refuted(frame):
    assert experiment.decide(frame.assign(constant=0.5 * frame.constant)).verdict == REFUTED


def test_a_reward_under_which_policies_differ_is_refuted(frame):
    assert experiment.decide(frame.assign(regret=frame.gap)).verdict == REFUTED


def test_a_full_game_that_is_as_blind_is_refuted(frame):
    assert experiment.decide(frame.assign(with_learner=0.0)).verdict == REFUTED
    assert experiment.decide(frame.assign(with_learner=0.0, distance=0.0)).verdict == REFUTED


def test_policies_that_are_all_the_expert_decide_nothing(frame):
    assert experiment.decide(frame[frame.share == 1]).verdict == REFUTED


def test_a_value_that_is_no_number_is_refuted(frame):
    for column in ("without", "regret", "with_learner", "gap"):
        assert experiment.decide(frame.assign(**{column: frame[column].where(frame.index != 1)})).verdict == REFUTED


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 2
