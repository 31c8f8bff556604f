"""Which of several checks decides a claim about all of them, and what a scale makes of a decision."""

from math import inf

import pandas as pd
import pytest

from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED, Claim, Verdict, weakest


def checks(*measured: float | None, verdict: str = REPRODUCED) -> list[Verdict]:
    return [Verdict(verdict, value) for value in measured]


def test_the_worst_verdict_comes_first():
    assert weakest([*checks(0.1), *checks(0.9, verdict=REFUTED), *checks(0.0, verdict=INCONCLUSIVE)]).verdict == REFUTED


def test_among_equals_the_farthest_from_what_was_expected():
    assert weakest(checks(0.2, -0.3, 0.1)).measured == -0.3
    assert weakest(checks(0.2, 1.3, 0.9), expected=1.0).measured == 0.2


def test_of_leads_the_smallest():
    assert weakest(checks(0.5, 0.2, 0.9), expected=inf).measured == 0.2
    assert weakest(checks(0.5, -0.2, None), expected=inf).measured == -0.2


@pytest.mark.parametrize(
    ("decided", "smoke", "laptop", "paper"),
    [
        (REPRODUCED, INCONCLUSIVE, REPRODUCED, REPRODUCED),
        (REFUTED, INCONCLUSIVE, INCONCLUSIVE, REFUTED),
        (NOT_RUN, NOT_RUN, NOT_RUN, NOT_RUN),  # of what was not measured no scale knows anything
    ],
)
def test_a_scale_too_small_decides_nothing(decided, smoke, laptop, paper):
    claim = Claim("a.b", "a", "b", "c", "d", lambda _: Verdict(decided), smallest_scale="laptop", refuted_from="paper")
    found = [claim.verdict(pd.DataFrame(), scale).verdict for scale in ("smoke", "laptop", "paper")]
    assert found == [smoke, laptop, paper]
