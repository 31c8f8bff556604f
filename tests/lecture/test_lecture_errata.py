"""The errata: numbers of the audit, and places where the correction, or the misprint, is not one."""

import numpy as np
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import errata as experiment

SMOKE = catalogue.canonical("lecture/errata", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_every_place_is_corrected(frame):
    assert {claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS} == {CORRECTED}
    assert experiment.decide_all(frame).measured == len(experiment.PLACES) == 14


@pytest.mark.parametrize(
    ("place", "case", "form", "value"),
    [
        ("Fig. 18.1, pi_2", "eps = 0.1, H = 10", "corrected", 2.87420),
        ("Fig. 18.1, pi_2", "eps = 0.1, H = 10", "printed", 10),
        ("(18.11)", "m = (0, 1)", "corrected", -0.3133),
        ("(18.11)", "m = (0, 1)", "printed", 0.1489),
        ("range after (18.1)", "largest, f in [-1, 1], H = 10", "corrected", 20),
        ("range after (18.1)", "least, f in [0, 1], H = 10", "corrected", -10),
    ],
)
def test_the_audits_numbers(frame, place, case, form, value):
    row = frame[(frame.place == place) & (frame.case == case) & (frame.form == form)]
    assert row.value.item() == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("place", experiment.PLACES)
def test_a_wrong_correction_is_refuted_and_a_right_print_reproduced(frame, place):
    wrong = frame.copy()
    chosen = (wrong.place == place) & (wrong.form == "corrected")
    wrong.loc[wrong.index[chosen][-1:], ["value", "error"]] = [99.0, 99.0]
    assert experiment.decide_place(place, wrong).verdict == REFUTED
    assert experiment.decide_all(wrong).verdict == REFUTED
    lost = frame.assign(error=frame.error.where(~((frame.place == place) & (frame.form == "corrected")), np.nan))
    assert experiment.decide_place(place, lost).verdict == REFUTED
    right = frame.assign(error=frame.error.where(frame.place != place, 0.0))
    assert experiment.decide_place(place, right).verdict == REPRODUCED


def test_the_augmented_lagrangian_meets_the_moments_and_the_penalty_does_not(frame):
    rows = frame[(frame.place == "Footnote 1") & (frame.form == "printed")]
    assert rows.value.max() < 1e-8
    assert rows.truth.min() > experiment.CLEARLY


def test_the_printed_recursion_in_place_of_the_corrected_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "soft_best_response_to_cost", experiment.printed_response)
    frame = experiment.run(SMOKE, Context())
    assert experiment.decide_place("(18.13)", frame).verdict == REFUTED
    assert experiment.decide_all(frame).verdict == REFUTED


def test_the_table_has_every_place_with_a_counterexample(frame):
    table = experiment.table(frame)
    assert list(table.place) == list(experiment.PLACES)
    assert (table["as printed"] != table["true"]).all()
    row = table[table.place == "(18.11)"].iloc[0]
    assert (row["printed"], row["corrected"]) == ("exp(+m)", "exp(-m)")
    assert float(row["as printed"]) == pytest.approx(0.1489, abs=5e-5)
    assert float(row["true"]) == pytest.approx(-0.3133, abs=5e-5)
