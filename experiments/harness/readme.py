"""The generated parts of the project's README: claims, benchmarks and kept experts, between their markers."""

import csv
import json
from pathlib import Path

from experiments.harness.claim import NOT_RUN
from experiments.harness.ledger import Entry, deciding_scale, number
from experiments.harness.result import Result
from experiments.harness.scoreboard import plain
from imitation.control import experts
from imitation.demonstrations import classic

_CLAIMS = "| claim | says | verdict | figure and command | time, memory |\n|---|---|---|---|---|"
_BENCHMARKS = ("langevin", "ibc_step", "sac", "csil", "maxent_irl")
_EXPERTS = "| expert | return over fresh episodes | wanted | environment steps |\n|---|---|---|---|"
_SPEED = "| workload | form | contestant | milliseconds | times ours | besides |\n|---|---|---|---|---|---|"


def updated(text: str, rows: list[Entry], measured: dict[str, Result], results: Path) -> str:
    """The README with its generated parts made anew.

    Args:
        text: the README as it is; each part stands between `<!-- name -->` and `<!-- /name -->`.
        results: where `benchmarks/*.csv` lie.

    Raises:
        ValueError: a marker is missing.
    """
    parts = {"claims": _claims(rows, measured), "experts": _experts(), "speed": _speed(results / "benchmarks")}
    for name, part in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if start not in text or end not in text:
            raise ValueError(f"README.md: the markers {start} and {end} are missing")
        text = text[: text.index(start) + len(start)] + f"\n{part}\n" + text[text.index(end) :]
    return text


def _claims(rows: list[Entry], measured: dict[str, Result]) -> str:
    lines = [_CLAIMS]
    for entry in rows:
        result = measured.get(entry.experiment)
        if result is not None:
            command, cost = _making(entry, result)
            cells = (f"`{entry.id}`", plain(entry.statement), f"**{entry.verdict.verdict}**", command, cost)
            lines.append("| " + " | ".join(cells) + " |")
    waiting = [f"`{entry.id}`" for entry in rows if entry.verdict.verdict == NOT_RUN]
    return "\n".join([*lines, "", f"Not run: {', '.join(waiting)}." if waiting else "Every claim has a result."])


def _making(entry: Entry, result: Result) -> tuple[str, str]:
    """The figure and the command behind a verdict, with what it took; of what was not run the command alone."""
    waits = entry.verdict.verdict == NOT_RUN
    size = deciding_scale(entry) if waits else entry.scale
    command = f"`make reproduce EXPERIMENT={entry.experiment}{'' if size == 'laptop' else f' SCALE={size}'}`"
    if waits:
        return f"{entry.experiment}<br>{command}", ""
    figure = f"results/{entry.experiment}/{entry.scale}/figure.png"
    record = result.record
    cost = f"{record['wall_seconds']:.1f} s, {record['peak_memory_mb']} MB"
    return f"[{entry.experiment}]({figure})<br>{command}", cost


def _experts() -> str:
    """The experts that may be trained, and what the cards say of those that are kept."""
    lines = [_EXPERTS]
    for kind in (experts, classic):
        for name, wanted in kind.WANTED.items():
            path = kind.FOLDER / f"{name}.json"
            cells = ["none kept yet", ""]
            if path.exists():
                card = json.loads(path.read_text())
                cells = ["{mean:.0f} ± {sd:.0f}".format(**card["return"]), f"{card['environment_steps']:,}"]
            lines.append(f"| {name} | {cells[0]} | {wanted} | {cells[1]} |")
    return "\n".join(lines)


def _speed(folder: Path) -> str:
    """The benchmarks as one table, the samplers' first, or a sentence if none was run."""
    paths = [path for name in _BENCHMARKS if (path := folder / f"{name}.csv").exists()]
    if not paths:
        return "Not run: `make bench`."
    lines = [_SPEED]
    for row in (row for path in paths for row in csv.DictReader(path.read_text().splitlines())):
        if row["ratio_to_ours"]:
            times = [f"{1000 * float(row[key]):.1f}" for key in ("median_seconds", "low_seconds", "high_seconds")]
            ratios = [number(round(float(row[key]), 2)) for key in ("ratio_to_ours", "ratio_low", "ratio_high")]
            version = "" if row["version"] == "this tree" else f" {row['version']}"
            cells = (row["workload"], row["form"], f"{row['contestant']}{version}")
            spread = [f"{value} ({low} to {high})" for value, low, high in (times, ratios)]
            besides = row["note"].partition("; ")[2]  # after the engine's version
            lines.append("| " + " | ".join([*cells, *spread, besides]) + " |")
    return "\n".join(lines)
