"""The closed form of the soft best response, and printed or broken forms that must not pass."""

import numpy as np
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import soft_value_iteration as experiment
from experiments.lecture._printed import PRINTED_WITH_DESCENT, printed_response
from imitation.mdp.maxent import COST, soft_best_response_to_cost

SMOKE = catalogue.canonical("lecture/soft_value_iteration", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def decided(frame):
    return [claim.decide(frame).verdict for claim in experiment.CLAIMS]


def test_verdicts_of_the_real_run(frame):
    assert [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS] == [CORRECTED, CORRECTED]


def test_the_printed_recursion_matches_moments_all_the_same(frame):
    # The trap that the check of causal entropy is there for.
    rows = experiment.at(frame, "matching", "printed")
    assert rows.gap.max() < experiment.GAP_TOLERANCE
    assert rows.deficit.max() > 1e-3


def test_the_printed_form_in_place_of_the_corrected_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "FORMS", {"corrected": printed_response, "printed": printed_response})
    monkeypatch.setattr(experiment, "MATCHING", {"corrected": PRINTED_WITH_DESCENT, "printed": PRINTED_WITH_DESCENT})
    assert decided(experiment.run(SMOKE, Context())) == [REFUTED, REFUTED]


def test_if_the_printed_form_were_right_it_would_say_so(monkeypatch):
    right = {"corrected": soft_best_response_to_cost, "printed": soft_best_response_to_cost}
    monkeypatch.setattr(experiment, "FORMS", right)
    monkeypatch.setattr(experiment, "MATCHING", {"corrected": COST, "printed": COST})
    assert decided(experiment.run(SMOKE, Context())) == [REPRODUCED, REPRODUCED]


@pytest.mark.parametrize("value", [1e-6, np.nan])
def test_one_problem_off_the_minimum_is_refuted(frame, value):
    broken = frame.copy()
    broken.loc[(broken.part == "process") & (broken.form == "corrected") & (broken.seed == 1), "excess"] = value
    broken.loc[(broken.part == "matching") & (broken.form == "corrected") & (broken.seed == 1), "deficit"] = value
    assert decided(broken) == [REFUTED, REFUTED]
