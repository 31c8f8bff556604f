"""What a claim is, and the verdicts that a measured frame can give it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import pandas as pd

REPRODUCED, CORRECTED, REFUTED = "reproduced", "corrected", "refuted"
INCONCLUSIVE, NOT_RUN = "inconclusive", "not run"
VERDICTS = (REPRODUCED, CORRECTED, REFUTED, INCONCLUSIVE, NOT_RUN)
MEANINGS: dict[str, str] = {
    REPRODUCED: "The measurement agrees with the claim, within the tolerance or margin fixed before the run.",
    CORRECTED: "It holds with the correction that the note states.",
    REFUTED: "The measurement contradicts it.",
    INCONCLUSIVE: "The interval, or the scale that was run, is too coarse to tell.",
    NOT_RUN: "Nothing has been measured for it here.",
}
# How to read the ledger, beside the meanings.
READING = (
    "Intervals are 95 % over seeds. What a short training has not learnt may still come: at a small scale it can "
    "reproduce a claim, not refute it, and a miss is inconclusive. Statements that begin with (Asked here) or (Found "
    "here) are this suite's own."
)
SCALES = ("smoke", "laptop", "overnight", "paper")
# What a decision or a figure raises on a frame without the conditions that it looks at.
NOT_IN_FRAME = (LookupError, AttributeError, ValueError)


class Verdict(NamedTuple):
    """A decision: the verdict, the measured value with its interval, and one sentence."""

    verdict: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def as_corrected(self, note: str) -> "Verdict":
        """The same measurement where the printed sentence needs the correction that `note` states.

        Only a check that held can be a correction; any other verdict stays, with its own note.
        """
        return self._replace(verdict=CORRECTED, note=note) if self.verdict == REPRODUCED else self


@dataclass(frozen=True)
class Claim:
    """One sentence of a paper and the rule that decides it, fixed before the run.

    Args:
        id: stable name, `<source>.<name>`.
        source: the document, as people cite it.
        location: where it stands there.
        statement: the claim in one sentence.
        measures: what the measured number is, in a few words.
        decide: from the frame of `metrics.csv` to a verdict; reads nothing else.
        printed: the number or formula that the document prints, if any.
        smallest_scale: the smallest scale that can decide it; `smoke` for exact claims.
        refuted_from: the smallest scale that can refute it, where what a short training lacks may still come.
    """

    id: str
    source: str
    location: str
    statement: str
    measures: str
    decide: Callable[[pd.DataFrame], Verdict]
    printed: float | str | None = None
    smallest_scale: str = "smoke"
    refuted_from: str = "smoke"

    def verdict(self, frame: pd.DataFrame, scale: str) -> Verdict:
        """The decision on a frame measured at `scale`, `inconclusive` if that scale is too small for it.

        What was not run stays so at every scale.
        """
        decision = self.decide(frame)
        if decision.verdict == NOT_RUN:
            return decision
        if SCALES.index(scale) < SCALES.index(self.smallest_scale):
            note = f"The {scale} scale is too small to decide this. {decision.note}".strip()
            return decision._replace(verdict=INCONCLUSIVE, note=note)
        if decision.verdict == REFUTED and SCALES.index(scale) < SCALES.index(self.refuted_from):
            note = f"Not so at {scale} scale, which is too small to refute it. {decision.note}"
            return decision._replace(verdict=INCONCLUSIVE, note=note)
        return decision


def equals(measured: float, expected: float, tolerance: float, note: str = "") -> Verdict:
    """Exact claims: reproduced if |measured - expected| <= tolerance, else refuted (NaN refutes)."""
    verdict = REPRODUCED if abs(measured - expected) <= tolerance else REFUTED
    return Verdict(verdict, measured, measured, measured, note)


def holds(condition: bool, measured: float, note: str = "") -> Verdict:
    """Exact claims that are no single number: reproduced if the condition holds, else refuted."""
    return Verdict(REPRODUCED if condition else REFUTED, measured, measured, measured, note)


def equivalent(interval: tuple[float, float, float], expected: float, margin: float, note: str = "") -> Verdict:
    """Statistical "is": the whole interval lies within `margin` of `expected`.

    Args:
        interval: estimate, low, high, as the functions of `stats` return it.

    Returns:
        reproduced if the interval is inside, refuted if it is outside on one side, else inconclusive.
    """
    estimate, low, high = interval
    if abs(low - expected) <= margin and abs(high - expected) <= margin:
        return Verdict(REPRODUCED, estimate, low, high, note)
    outside = low > expected + margin or high < expected - margin
    return Verdict(REFUTED if outside else INCONCLUSIVE, estimate, low, high, note)


def below(interval: tuple[float, float, float], limit: float, note: str = "") -> Verdict:
    """Statistical "is less than": reproduced if the whole interval is below `limit`, refuted if above."""
    estimate, low, high = interval
    if high < limit:
        return Verdict(REPRODUCED, estimate, low, high, note)
    return Verdict(REFUTED if low > limit else INCONCLUSIVE, estimate, low, high, note)


def above(interval: tuple[float, float, float], limit: float, note: str = "") -> Verdict:
    """Statistical "is more than": reproduced if the whole interval is above `limit`, refuted if below."""
    estimate, low, high = interval
    if low > limit:
        return Verdict(REPRODUCED, estimate, low, high, note)
    return Verdict(REFUTED if high < limit else INCONCLUSIVE, estimate, low, high, note)


_FROM_WORST = (REFUTED, INCONCLUSIVE, REPRODUCED)


def jointly(checks: Sequence[Verdict], note: str = "") -> Verdict:
    """A claim that stands only if all checks hold: the worst verdict, with the first check's measurement."""
    return checks[0]._replace(verdict=min((check.verdict for check in checks), key=_FROM_WORST.index), note=note)


def weakest(checks: Sequence[Verdict], expected: float = 0.0) -> Verdict:
    """A claim about all conditions: the check that speaks most against it, among equals the farthest from `expected`.

    With `expected` infinite the farthest is the smallest number. Without a number a check counts as 0.
    An intersection of tests at one level keeps that level, so that reproducing needs no correction for their number;
    refuting, for which one of many is enough, has none either, and more often errs the more there are.
    """

    def strength(check: Verdict) -> tuple[int, float]:
        measured = check.measured or 0.0
        return _FROM_WORST.index(check.verdict), measured if expected == inf else -abs(measured - expected)

    return min(checks, key=strength)
