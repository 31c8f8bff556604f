"""One verdict from several: a claim about all conditions is as good as the condition that speaks most against it."""

from collections.abc import Sequence

from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED, Verdict

_FROM_WORST = (REFUTED, INCONCLUSIVE, REPRODUCED)


def weakest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that holds of all: the worst one, and among equals the one measured farthest from zero.

    An intersection of tests at one level keeps that level, so intervals need no correction for their number.
    """
    return min(verdicts, key=lambda one: (_FROM_WORST.index(one.verdict), -abs(one.measured or 0.0)))
