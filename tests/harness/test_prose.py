"""The prose of README and findings against the ledger: the intervals that it quotes, the verdicts that it tells."""

import csv
import re
from functools import cache

import pytest

from experiments.harness import catalogue

NUMBER = r"-?(?:\d+\.\d+|\.\d+|\d+)"
INTERVAL = re.compile(rf"(?<![\w.])({NUMBER})\s+\[({NUMBER}),\s+({NUMBER})\]")
QUESTION = re.compile(r"^\| ([^|]*\?) \|([^|]*)\|([^|]*)<!-- ([^|]*) --> \|$", re.MULTILINE)
# Intervals that the ledger does not hold: of parts of a run, of runs before, and of what was looked at afterwards.
ELSEWHERE = {
    ".05 [.01, .09]",
    ".10 [.06, .15]",
    ".03 [-.12, .18]",
    ".95 [.90, 1.00]",
    ".92 [.90, .94]",
    ".86 [.79, .93]",
    ".54 [.29, .79]",
    ".50 [.13, .88]",
    "-.04 [-.43, .35]",
    "-.10 [-.48, .28]",
    ".31 [.07, .55]",
    ".07 [-.06, .20]",
    ".31 [-.01, .62]",
    ".38 [.17, .59]",
    ".30 [.11, .48]",
    ".84 [.41, 1.27]",
    "-.07 [-.41, .26]",
    ".19 [-.06, .45]",
    ".03 [-.08, .15]",
    ".20 [.01, .40]",
    ".11 [-.07, .29]",
    "-.11 [-.36, .13]",
    ".46 [.33, .59]",
    ".00 [-.16, .17]",
    ".20 [.05, .35]",
    ".13 [-.10, .36]",
    ".29 [.21, .38]",
    ".33 [.11, .55]",
    ".20 [.01, .39]",
    ".24 [.04, .44]",
    ".06 [-.00, .13]",
    ".51 [.44, .58]",
    ".08 [.00, .16]",
    ".15 [.08, .21]",
    ".31 [.18, .45]",
}


@cache
def ledger() -> dict[str, dict[str, str]]:
    with (catalogue.ROOT / "results" / "claims.csv").open() as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def prose(name: str) -> str:
    """What people wrote of a page, without what is generated."""
    text = (catalogue.ROOT / name).read_text()
    return re.sub(r"<!-- (claims|experts|speed) -->.*?<!-- /\1 -->", "", text, flags=re.DOTALL)


def held() -> list[tuple[str, ...]]:
    """Every interval of the ledger: those that decided, and those in its notes."""
    decided = [(row["measured"], row["low"], row["high"]) for row in ledger().values() if row["low"]]
    return decided + [found for row in ledger().values() for found in INTERVAL.findall(row["note"])]


def same(quoted: str, known: str) -> bool:
    """To the digits that are quoted."""
    return abs(float(quoted) - float(known)) <= 0.5001 * 10.0 ** -len(quoted.partition(".")[2])


def agrees(quoted: tuple[str, ...], known: tuple[str, ...]) -> bool:
    """Whether one interval is the other, or its mirror image: what is behind may be told as the other's lead."""
    negated = [one.removeprefix("-") if one.startswith("-") else f"-{one}" for one in known]
    mirrored = negated[0], negated[2], negated[1]
    return any(all(map(same, quoted, every)) for every in (known, mirrored))


def unknown(text: str) -> set[str]:
    """The intervals of a text that are not the ledger's."""
    every = held()
    found = set(INTERVAL.findall(text))
    return {f"{one[0]} [{one[1]}, {one[2]}]" for one in found if not any(agrees(one, known) for known in every)}


def test_every_interval_in_the_prose_is_the_ledgers_or_said_to_be_of_elsewhere() -> None:
    assert unknown(prose("README.md") + prose("results/findings.md")) == ELSEWHERE


@pytest.mark.parametrize(
    ("quoted", "known", "agreed"),
    [
        ((".35", ".07", ".63"), ("0.348835", "0.0695413", "0.628129"), True),
        ((".14", "-.00", ".32"), ("-0.14", "-0.32", "0.004"), True),  # told as the other's lead
        ((".35", ".07", ".64"), ("0.348835", "0.0695413", "0.628129"), False),  # a bound is stale
        (("-.35", ".07", ".63"), ("0.348835", "0.0695413", "0.628129"), False),
        ((".3", ".1", "1"), ("0.3", "0.1", "1.2"), True),  # as coarse as it is quoted
    ],
)
def test_intervals_agree_to_the_digits_that_are_quoted(quoted, known, agreed) -> None:
    assert agrees(quoted, known) is agreed


def test_an_invented_interval_is_found_across_lines() -> None:
    assert unknown("It leads by .1234 [.1111,\n.5555].") == {".1234 [.1111, .5555]"}


def questions() -> list[tuple[str, str, set[str], list[str]]]:
    return [
        (question, answer, set(re.findall(r"\*([a-z ]+)\*", verdicts)), claims.split())
        for question, answer, verdicts, claims in QUESTION.findall((catalogue.ROOT / "README.md").read_text())
    ]


def test_every_question_names_the_claims_that_answer_it() -> None:
    rows = re.findall(r"^\| [^|]*\? \|", (catalogue.ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == len(questions()) > 10


@pytest.mark.parametrize(("question", "answer", "verdicts", "claims"), questions())
def test_a_questions_verdicts_and_numbers_are_its_claims(question, answer, verdicts, claims) -> None:
    rows = [ledger()[name] for name in claims]
    assert {row["verdict"] for row in rows} == verdicts
    known = [row["measured"] for row in rows] + re.findall(NUMBER, " ".join(row["note"] for row in rows))
    for number in re.findall(r"(?<![\w.])\d*\.\d+", answer):
        assert any(same(number, one) for one in known), number
