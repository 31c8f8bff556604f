"""MaxEnt IRL's dual: verdicts of real runs, and variants that match moments without maximal entropy."""

import numpy as np
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import dual as experiment
from experiments.lecture._printed import PRINTED_WITH_DESCENT
from imitation.mdp.maxent import REWARD

SMOKE = catalogue.canonical("lecture/dual", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_verdicts_of_the_real_run(frame):
    assert [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS] == [REPRODUCED, CORRECTED]


def test_experts_that_are_no_best_response_have_less_entropy(frame):
    rows = experiment.last(frame)
    assert (rows[rows.expert == experiment.ANY].more_than_expert > 0.1).all()
    # A soft-optimal expert is the one policy with its moments and maximal entropy.
    assert rows[rows.expert == experiment.SOFT].more_than_expert.abs().max() < 1e-9


def test_the_printed_recursion_with_descent_is_caught_by_its_entropy(monkeypatch):
    monkeypatch.setattr(experiment, "CONVENTIONS", {"reward": PRINTED_WITH_DESCENT, "cost": PRINTED_WITH_DESCENT})
    broken = experiment.run(SMOKE, Context())
    assert experiment.last(broken).gap.max() < experiment.GAP_TOLERANCE  # the trap: the moments do match
    assert experiment.decide_dual(broken).verdict == REFUTED
    # Even with the right multipliers the missing entropy alone refutes.
    right = broken.assign(to_convex=0.0, to_expert=broken.to_expert.where(broken.to_expert.isna(), 0.0))
    assert experiment.decide_dual(right).verdict == REFUTED


def test_one_convention_twice_with_the_wrong_direction_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "CONVENTIONS", {"reward": REWARD, "cost": REWARD._replace(direction=1)})
    broken = experiment.run(SMOKE, Context())
    assert [claim.decide(broken).verdict for claim in experiment.CLAIMS] == [REFUTED, REFUTED]


@pytest.mark.parametrize("column", ["gap", "deficit", "to_convex", "to_expert", "convex_gap"])
def test_every_check_refutes_alone_and_a_nan_counts(frame, column):
    for value in (1e-3, np.nan):
        broken = frame.copy()
        place = (broken.iteration == broken.iteration.max()) & (broken.seed == 1) & (broken.expert == experiment.SOFT)
        broken.loc[place, column] = value
        assert experiment.decide_dual(broken).verdict == REFUTED


@pytest.mark.parametrize("column", ["multiplier_1", "multiplier_3", "policies"])
def test_conventions_that_differ_in_any_multiplier_or_policy_are_refuted(frame, column):
    for value in (0.5, np.nan):
        broken = frame.copy()
        broken.loc[(broken.convention == "cost") & (broken.seed == 1), column] = value
        assert experiment.decide_signs(broken).verdict == REFUTED


def test_too_few_iterations_are_refuted(frame):
    assert experiment.decide_dual(frame[frame.iteration <= 8]).verdict == REFUTED
