"""Sources of eps: limits known by other means, and variants that must not be reproduced."""

import dataclasses

import numpy as np
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import epsilon_sources as experiment
from experiments.lecture.epsilon_sources import MISSPECIFIED, REALISABLE

SMOKE = catalogue.canonical("lecture/epsilon_sources", "smoke")
CONFIG = dataclasses.replace(
    catalogue.canonical("lecture/epsilon_sources", "laptop"),
    seeds=list(range(10)), episodes=[10, 100, 3000], steps=[0, 30, 3000],
)  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    return experiment.run(CONFIG, Context())


def test_the_verdict(frame):
    assert experiment.decide(frame).verdict == REPRODUCED


def test_smoke_is_too_small():
    frame = experiment.run(SMOKE, Context())
    assert experiment.CLAIMS[0].verdict(frame, "smoke").verdict == INCONCLUSIVE


def test_descent_ends_at_the_counted_optimum_in_both_classes(frame):
    ends = frame[frame.steps.isin([3000, np.inf]) & np.isinf(frame.episodes)]
    wide = ends.pivot_table(index=["family", "seed"], columns="steps", values="eps")
    assert float((wide[3000] - wide[np.inf]).abs().max()) < 1e-6
    assert float(wide[np.inf][REALISABLE].abs().max()) < 1e-12


def test_a_class_that_contains_the_expert_has_no_floor(frame, monkeypatch):
    monkeypatch.setattr(
        experiment,
        "_classes",
        lambda states, real=experiment._classes: dict.fromkeys(real(states), real(states)[REALISABLE]),
    )
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict == REFUTED


def test_a_class_that_never_contains_the_expert_is_refuted(monkeypatch):
    monkeypatch.setattr(
        experiment,
        "_classes",
        lambda states, real=experiment._classes: dict.fromkeys(real(states), real(states)[MISSPECIFIED]),
    )
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict == REFUTED


def test_demonstrations_of_another_expert_are_not_reproduced(monkeypatch):
    """A bias of the data, 5 % of uniform actions, is a floor that no number of demonstrations removes."""
    real = experiment._frequencies

    def biased(seen, mdp):
        joint = real(seen, mdp)
        return 0.9 * joint + 0.1 * joint.sum(-1, keepdim=True) / mdp.actions

    monkeypatch.setattr(experiment, "_frequencies", biased)
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict != REPRODUCED


def test_a_descent_too_slow_to_arrive_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "RATE", 1e-4)
    assert experiment.decide(experiment.run(CONFIG, Context())).verdict == REFUTED


def test_a_seed_that_diverged_is_never_dropped(frame):
    broken = frame.assign(eps=frame.eps.where(frame.seed != 2))
    assert experiment.decide(broken).verdict != REPRODUCED


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 2
