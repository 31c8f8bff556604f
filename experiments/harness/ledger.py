"""The ledger: one entry per claim of the four documents, decided from what lies in the results folder."""

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.harness import catalogue, result
from experiments.harness.claim import INCONCLUSIVE, NOT_IN_FRAME, NOT_RUN, SCALES, VERDICTS, Claim, Verdict
from experiments.harness.result import Result
from experiments.harness.schema import BadInputError

COLUMNS = [
    *("id", "source", "location", "statement", "printed"),
    *("measured", "low", "high", "verdict", "scale", "experiment", "note", "measures"),
]


@dataclass(frozen=True)
class Entry:
    """A claim with its verdict, and the folder of the document it belongs to."""

    folder: str
    id: str
    source: str
    location: str
    statement: str
    printed: float | str | None
    verdict: Verdict
    scale: str = ""
    experiment: str = ""
    measures: str = ""

    def row(self) -> dict[str, str]:
        """The entry as a row of claims.csv."""
        decided = {key: number(getattr(self.verdict, key)) for key in ("measured", "low", "high")}
        names = ("id", "source", "location", "statement", "scale", "experiment", "measures")
        texts = {key: getattr(self, key) for key in names}
        return {
            **texts,
            **decided,
            "printed": number(self.printed),
            "verdict": self.verdict.verdict,
            "note": self.verdict.note,
        }


def number(value: float | str | None) -> str:
    """A number as the ledger and the report show it: six significant digits, nothing for None or NaN.

    Six digits are the same on every processor; the last bits of a float are not.
    """
    if isinstance(value, str):
        return value
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def counts(rows: list[Entry]) -> dict[str, int]:
    """How many entries have each verdict, all verdicts included."""
    counted = Counter(entry.verdict.verdict for entry in rows)
    return {verdict: counted[verdict] for verdict in VERDICTS}


def spread(verdict: Verdict) -> str:
    """The interval as people read it: "low to high", "no spread" where it is one value, nothing without one."""
    low, high = number(verdict.low), number(verdict.high)
    if not low or not high:
        return ""
    return "no spread" if verdict.low == verdict.high else f"{low} to {high}"


def load(results: Path) -> dict[str, Result]:
    """The result that decides each experiment's claims."""
    return deciding(every(results))


def every(results: Path) -> dict[str, list[Result]]:
    """Each experiment's results, the largest scale first."""
    return {name: result.every(results, name) for name in catalogue.experiments()}


def deciding(found: dict[str, list[Result]]) -> dict[str, Result]:
    """Of each experiment's results the one that decides its claims: the largest complete scale."""
    chosen = {name: result.largest(each) for name, each in found.items()}
    return {name: measured for name, measured in chosen.items() if measured is not None}


def entries(measured: dict[str, Result], results: Path | None = None) -> list[Entry]:
    """All claims by document: those with an experiment in its order, then the planned ones.

    Args:
        results: where the measured ones were read, to say why others are missing there.
    """
    found = []
    for folder in catalogue.SOURCES:
        document = catalogue.source(folder)
        for name in catalogue.experiments():
            if name.startswith(folder + "/"):
                why = result.problem(results, name) if results and name not in measured else ""
                found += [_entry(folder, claim, name, measured.get(name), why) for claim in catalogue.claims(name)]
        for id, (location, statement) in document.planned.items():
            unmeasured = Verdict(NOT_RUN, note="No experiment decides this yet.")
            found.append(Entry(folder, id, document.citation, location, statement, None, unmeasured))
    return found


def _entry(folder: str, claim: Claim, experiment: str, measured: Result | None, why: str) -> Entry:
    if measured is None:
        return _stated(folder, claim, Verdict(NOT_RUN, note=why), "", experiment)
    if not measured.is_stale:
        with named(f"the decision of {claim.id} on {experiment} at {measured.scale} scale"):
            verdict = claim.verdict(measured.frame, measured.scale)
    else:
        missing = Verdict(NOT_RUN, note="What this needs is not in the frame.")
        verdict = _if_possible(claim, measured.frame, measured.scale, missing)
        verdict = verdict._replace(note=f"{verdict.note} The code changed since this was measured.".strip())
    return _stated(folder, claim, verdict, measured.scale, experiment)


def of_run(experiment: str, scale: str, frame: pd.DataFrame) -> list[Entry]:
    """The verdicts on any run's frame: for one that is not canonical they are shown, never written to the ledger."""
    folder, missing = experiment.split("/")[0], Verdict(INCONCLUSIVE, note="What this needs was not run.")
    return [
        _stated(folder, claim, _if_possible(claim, frame, scale, missing), scale, experiment)
        for claim in catalogue.claims(experiment)
    ]


def _if_possible(claim: Claim, frame: pd.DataFrame, scale: str, otherwise: Verdict) -> Verdict:
    """The decision, or `otherwise` on a frame without the columns or conditions that it looks at."""
    try:
        return claim.verdict(frame, scale)
    except NOT_IN_FRAME:
        return otherwise


@contextmanager
def named(what: str) -> Iterator[None]:
    """An error of a claim's decision or of a figure, in one line that says whose it is.

    Raises:
        BadInputError: that line.
    """
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        rest = "what was measured is kept, and `make figures` reports it once this is mended"
        raise BadInputError(f"{what}: failed: {reason}; {rest}") from error


def _stated(folder: str, claim: Claim, verdict: Verdict, scale: str, experiment: str) -> Entry:
    return Entry(
        folder=folder,
        id=claim.id,
        source=claim.source,
        location=claim.location,
        statement=claim.statement,
        printed=claim.printed,
        verdict=verdict,
        scale=scale,
        experiment=experiment,
        measures=claim.measures,
    )


def deciding_scale(entry: Entry) -> str:
    """The smallest scale, from the laptop's on, that can decide an entry of an experiment."""
    needed = {claim.id: claim.smallest_scale for claim in catalogue.claims(entry.experiment)}.get(entry.id, "laptop")
    return max("laptop", needed, key=SCALES.index)


def as_csv(rows: list[Entry]) -> str:
    """The text of claims.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(entry.row() for entry in rows)
    return text.getvalue()
