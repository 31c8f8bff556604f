"""Which of several checks decides a claim about all of them."""

from math import inf

from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED, Verdict, weakest


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
