"""results/README.md: the scoreboard as people read it on a code host."""

from experiments.harness import catalogue
from experiments.harness.claim import MEANINGS, READING
from experiments.harness.ledger import Entry, counts, number, spread
from experiments.harness.result import Result

_HEADER = """# Scoreboard

Made by `make figures` from the committed `metrics.csv` files; do not edit. The same with figures, intervals and
commands: `index.html`. The same as data: `claims.csv`.
"""

_COLUMNS = "| claim | statement | printed | measured | interval | verdict | figure | time |\n"


def scoreboard(rows: list[Entry], measured: dict[str, Result]) -> str:
    """The Markdown text: counts, then one table per document."""
    meanings = "\n".join(f"- **{verdict}**: {text}" for verdict, text in MEANINGS.items())
    parts = [_HEADER, _in_words(rows), f"{meanings}\n\n{READING}\n"]
    for folder in catalogue.SOURCES:
        document = catalogue.source(folder)
        parts.append(f"## {document.title} ({document.citation})\n")
        parts.append(_COLUMNS + "|---" * 8 + "|")
        parts.append("\n".join(_row(entry, measured) for entry in rows if entry.folder == folder) + "\n")
    return "\n".join(parts)


def _in_words(rows: list[Entry]) -> str:
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts(rows).items())
    own = sum(entry.statement.startswith(("(Asked", "(Found")) for entry in rows)
    return f"{listed}; {len(rows)} claims, {own} of them asked or found here.\n"


def _row(entry: Entry, measured: dict[str, Result]) -> str:
    verdict, result = entry.verdict, measured.get(entry.experiment)
    figure = f"[{entry.scale}]({entry.experiment}/{entry.scale}/figure.png)" if result else ""
    cells = (
        f"`{entry.id}`",
        plain(entry.statement) + _aside(verdict.note),
        plain(number(entry.printed)),
        number(verdict.measured) + _aside(entry.measures if number(verdict.measured) else ""),
        spread(verdict),
        f"**{verdict.verdict}**",
        figure,
        f"{result.record['wall_seconds']:.1f} s" if result else "",
    )
    return "| " + " | ".join(cells) + " |"


def _aside(text: str) -> str:
    return f"<br><small>{plain(text)}</small>" if text else ""


def plain(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in "\\`*_|[]" else character for character in escaped)
