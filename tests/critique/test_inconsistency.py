"""Population optima: known values, and broken variants that the decisions must catch."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.critique import inconsistency
from experiments.harness import catalogue
from experiments.harness.context import Context

CLAIMS = {claim.id: claim for claim in inconsistency.CLAIMS}
GOOD = {"reproduced", "corrected"}


def measure() -> pd.DataFrame:
    return inconsistency.run(catalogue.canonical("critique/inconsistency", "smoke"), Context())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return measure()


@pytest.mark.parametrize("id", list(CLAIMS))
def test_verdicts(frame: pd.DataFrame, id: str) -> None:
    assert CLAIMS[id].verdict(frame, "smoke").verdict == "reproduced"


@pytest.mark.parametrize(
    ("k", "d2", "optimum"),
    [(0.5, 0, 2.060), (0.5, 0.25, 1.393), (0.5, 0.5, 0.808), (0.5, 0.75, 0.235), (0.5, 1, -0.389),
     (1, 0, 1.0), (1, 0.75, 1.0), (2, 0, -0.028), (2, 0.5, 0.688), (2, 1, 1.751)],
)  # fmt: skip
def test_known_optima(frame: pd.DataFrame, k: float, d2: float, optimum: float) -> None:
    row = frame[np.isclose(frame.k, k) & np.isclose(frame.d2, d2)].iloc[0]
    assert row.edm == pytest.approx(optimum, abs=5e-4)
    assert row.edm_by_ascent == pytest.approx(row.edm, abs=1e-8)


def test_not_identified_is_missing_not_a_number() -> None:
    """With k = 0 and all visits in s2 no action depends on theta, and EDM's optimum runs off to minus infinity."""
    frame = inconsistency.run(inconsistency.Config(k=[0.0], d2=[1.0], ascent_steps=1), Context())
    assert frame.iloc[0][["edm", "cloning", "decoupled"]].isna().all()


def test_k_equal_to_one_is_consistent_and_so_does_not_show_the_claim() -> None:
    frame = inconsistency.run(inconsistency.Config(k=[1.0], d2=[0.25, 0.75], ascent_steps=500), Context())
    assert CLAIMS["critique.inconsistent"].decide(frame.assign(k=0.5)).verdict not in GOOD


def test_a_free_shift_makes_the_claim_of_inconsistency_fail(frame: pd.DataFrame) -> None:
    broken = frame.assign(edm=frame.decoupled, edm_by_ascent=frame.decoupled)
    assert CLAIMS["critique.inconsistent"].decide(broken).verdict not in GOOD


def test_an_ascent_that_disagrees_is_caught(frame: pd.DataFrame) -> None:
    broken = frame.assign(edm_by_ascent=frame.edm_by_ascent + 1e-3)
    assert CLAIMS["critique.inconsistent"].decide(broken).verdict not in GOOD


def test_an_ascent_that_has_hardly_begun_shows_nothing() -> None:
    frame = inconsistency.run(
        replace(catalogue.canonical("critique/inconsistency", "smoke"), ascent_steps=3), Context()
    )
    assert CLAIMS["critique.decoupled"].decide(frame).verdict not in GOOD


def test_decoupling_without_the_shift_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inconsistency, "shift_for", lambda logits, target: 0 * logits[..., 0])
    assert CLAIMS["critique.decoupled"].decide(measure()).verdict not in GOOD
