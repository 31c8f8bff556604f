"""DAgger against cloning on the cliff: closed forms of both losses, and variants that must not be reproduced."""

import dataclasses

import numpy as np
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import dagger as experiment
from experiments.lecture.dagger import BACK, CLONING, DAGGER, EXACT, NONE, SAMPLED

SMOKE = catalogue.canonical("lecture/dagger", "smoke")
CONFIG = dataclasses.replace(
    catalogue.canonical("lecture/dagger", "laptop"), seeds=[0, 1, 2], epsilons=[1e-5, 1e-4],
    horizons=[100, 300, 1000], budgets=[1, 20],
)  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def test_the_verdict(frame):
    assert experiment.decide(frame).verdict == CORRECTED


def test_smoke_is_too_small():
    frame = experiment.run(SMOKE, Context())
    assert experiment.CLAIMS[0].verdict(frame, "smoke").verdict == INCONCLUSIVE


def lost(climb: float, escape: float, epsilon: float, depth: int, horizon: int) -> float:
    """Expected steps off the path, by the law of the state alone; below the path a step up has chance `climb`."""
    law, total = np.eye(depth + 1)[0], 0.0
    for _ in range(horizon):
        total += 1 - law[0]
        up = law[1:] * np.r_[np.full(depth - 1, climb), escape]
        law = np.r_[law[0] * (1 - epsilon), np.zeros(depth)] + np.r_[up, 0]
        law[depth] += 1 - law.sum()
    return total


@pytest.mark.parametrize(("learner", "climb"), [(CLONING, 0.5), (DAGGER, None)])
def test_the_exact_losses_by_another_recursion(frame, learner, climb):
    for epsilon in CONFIG.epsilons:
        for cliff in (BACK, NONE):
            chance = 1 - epsilon if climb is None else climb
            rows = frame[(frame.data == EXACT) & (frame.epsilon == epsilon) & (frame.cliff == cliff)]
            gap = rows[(rows.learner == learner) & (rows.horizon == 300)].gap.iloc[0]
            expected = lost(chance, chance if cliff == BACK else 0.0, epsilon, CONFIG.depth, 300)
            assert gap == pytest.approx(expected, abs=1e-10)


def test_both_learners_slip_with_the_same_probability(frame):
    np.testing.assert_allclose(frame.mistakes, frame.epsilon, rtol=0, atol=1e-12)


def test_a_dagger_that_never_asks_is_refuted(monkeypatch):
    real = experiment.dagger
    monkeypatch.setattr(experiment, "dagger", lambda expert, visit, fit, rounds: real(expert, visit, fit, 1))
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict == REFUTED


def test_a_dagger_that_asks_only_in_the_experts_states_is_refuted(monkeypatch):
    real = experiment.dagger

    def blind(expert, visit, fit, rounds):
        return real(expert, lambda policy: visit(expert), fit, rounds)

    monkeypatch.setattr(experiment, "dagger", blind)
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict == REFUTED


def test_a_class_without_mistakes_decides_nothing(monkeypatch):
    monkeypatch.setattr(
        experiment, "cloned", lambda labels, floor: experiment.lecture.expert(experiment.lecture.cliff(12))
    )
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict == REFUTED


def test_unequal_mistakes_are_refuted(frame):
    favoured = frame.mistakes.where(frame.learner != DAGGER, 0.5 * frame.mistakes)
    assert experiment.decide(frame.assign(mistakes=favoured)).verdict == REFUTED


def test_where_dagger_is_linear_without_a_way_back_too_nothing_is_to_correct(frame):
    easy = frame[frame.cliff == BACK]
    both = easy.assign(cliff=NONE)
    assert experiment.decide(experiment.pd.concat([easy, both], ignore_index=True)).verdict == REPRODUCED


def test_sampled_rounds_that_grow_quadratically_are_refuted(frame):
    square = frame.gap * frame.horizon / 100
    broken = frame.assign(gap=square.where((frame.data == SAMPLED) & (frame.learner == DAGGER), frame.gap))
    assert experiment.decide(broken).verdict == REFUTED


def test_the_most_episodes_decide_and_fewer_are_told(frame):
    assert experiment.left(frame, 100, 1)[0] > 0.9  # too few fall within 100 steps for the expert to be asked below
    assert experiment.left(frame, 1000, 1)[0] < 0.1
    assert f"{experiment.left(frame, 100, 1)[0]:.2f} with 1," in experiment.decide(frame).note
    assert experiment.decide(frame[frame.episodes != 20]).verdict == REFUTED


def test_a_seed_that_diverged_is_never_dropped(frame):
    diverged = (frame.seed == 1) & (frame.learner == DAGGER)
    assert experiment.decide(frame.assign(gap=frame.gap.where(~diverged))).verdict == INCONCLUSIVE


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 3
