"""results/index.html: all claims on one page that needs no network; without JavaScript it only cannot filter."""

import base64
import json
import math
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from experiments.harness import catalogue
from experiments.harness.claim import MEANINGS, NOT_RUN, READING, VERDICTS
from experiments.harness.ledger import Entry, counts, deciding_scale, number, spread
from experiments.harness.result import Result

SYMBOLS: dict[str, str] = dict(zip(VERDICTS, "✓Δ✗?○", strict=True))
_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}
_LONG = 8  # a list with more items is shown by its ends; run.json has all of it


def page(rows: list[Entry], measured: dict[str, Result]) -> str:
    """The page's text, the same for the same entries and result folders."""
    return Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8")).substitute(
        total=len(rows),
        bar=_bar(rows),
        meanings="\n".join(f"<dt>{SYMBOLS[verdict]} {verdict}<dd>{text}" for verdict, text in MEANINGS.items()),
        reading=escape(READING),
        filters="\n".join(_filter(verdict, count) for verdict, count in counts(rows).items()),
        contents="\n".join(_link(f"#{name}", catalogue.source(name).citation) for name in catalogue.SOURCES),
        sources="\n".join(_source(name, rows, measured) for name in catalogue.SOURCES),
        figures="\n".join(_stored_picture(name, measured[name]) for name in sorted(measured)),
    )


def _in_words(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counted.items() if count)


def _bar(rows: list[Entry]) -> str:
    counted = counts(rows)
    parts = "".join(
        f'<span data-verdict="{verdict}" style="flex-grow:{count}">{SYMBOLS[verdict]} {count}</span>'
        for verdict, count in counted.items()
        if count
    )
    return f'<div class="bar" role="img" aria-label="{_in_words(counted)}">{parts}</div>'


def _filter(verdict: str, count: int) -> str:
    label = f"<b>{SYMBOLS[verdict]}</b> {verdict} <small>{count}</small>"
    return f'<button type="button" data-verdict="{verdict}" aria-pressed="false" disabled>{label}</button>'


def _link(target: str, text: str) -> str:
    return f'<a href="{escape(quote(target, safe="/#"))}">{escape(text)}</a>'


def _source(folder: str, rows: list[Entry], measured: dict[str, Result]) -> str:
    document, own = catalogue.source(folder), [entry for entry in rows if entry.folder == folder]
    claims = "\n".join(_claim(entry, measured.get(entry.experiment)) for entry in own)
    return f"""<section id="{folder}">
<h2>{escape(document.title)}</h2>
<p class="about">{escape(document.citation)}. {len(own)} claims: {_in_words(counts(own)) or "none"}.</p>
{claims}
</section>"""


def _claim(entry: Entry, result: Result | None) -> str:
    """One claim: its row, which opens to everything that is known about it."""
    verdict = entry.verdict
    note = f'<p class="note">{escape(verdict.note)}</p>' if verdict.note else ""
    if result is None or verdict.verdict == NOT_RUN:
        making = _command_to_come(entry)
    else:
        making = _table(entry, result) + _figure(result) + _making(result)
    return f"""<details id="{escape(entry.id)}" data-verdict="{verdict.verdict}">
<summary><span class="verdict"><b>{SYMBOLS[verdict.verdict]}</b> {verdict.verdict}</span>
<span class="statement">{escape(entry.statement)}</span>
<span class="where">{escape(entry.location)} <code>{escape(entry.id)}</code></span>
{_brief("printed", entry.printed)}{_brief("measured", verdict.measured)}</summary>
<div class="body">{note}<dl>{_numbers(entry)}</dl>{making}</div></details>"""


def _brief(name: str, value: float | str | None) -> str:
    shown = escape(number(value))
    return f'<span class="{name}"><small>{name}</small> {shown}</span>' if shown else ""


def _terms(terms: dict[str, str]) -> str:
    return "".join(f"<dt>{name}<dd>{value}" for name, value in terms.items())


def _numbers(entry: Entry) -> str:
    verdict = entry.verdict
    terms = {"Location": f"{escape(entry.source)}, {escape(entry.location)}"}
    terms["Printed"] = escape(number(entry.printed)) or "no single number"
    if number(verdict.measured):
        what = f" <small>{escape(entry.measures)}</small>" if entry.measures else ""
        terms |= {"Measured": number(verdict.measured) + what, "Interval": (spread(verdict) or "none") + _drawn(entry)}
    return _terms(terms)


def _drawn(entry: Entry) -> str:
    """Printed against measured on one axis; nothing for exact values, whose difference no scale would show fairly."""
    verdict = entry.verdict
    values = [entry.printed, verdict.measured, verdict.low, verdict.high]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values) or values[2] == values[3]:
        return ""
    left, width = min(values), max(values) - min(values)
    printed, measured, low, high = (f"{8 + 284 * (value - left) / width:.1f}" for value in values)
    return f"""<svg viewBox="0 0 300 24" aria-hidden="true"><path d="M0 12H300"/>
<path class="spread" d="M{low} 12H{high}"/><circle cx="{measured}" cy="12" r="4.5"/>
<path class="tick" d="M{printed} 2v20"/></svg>
<small class="key"><i>●</i> measured with interval <i class="tick">|</i> printed</small>"""


def _picture(result: Result) -> Path | None:
    """The smaller of the figure's two files, the SVG if they are equal."""
    found = [path for path in (result.folder / f"figure{kind}" for kind in _MEDIA_TYPES) if path.exists()]
    return min(found, key=lambda path: path.stat().st_size, default=None)


def _stored_picture(experiment: str, result: Result) -> str:
    """The figure as inert text, once for all claims of an experiment; the script shows it where a claim is opened."""
    picture = _picture(result)
    if picture is None:
        return ""
    text = f"data:{_MEDIA_TYPES[picture.suffix]};base64,{base64.b64encode(picture.read_bytes()).decode()}"
    return f'<script type="text/plain" data-figure="{escape(experiment)}">{text}</script>'


def _figure(result: Result) -> str:
    picture, name = _picture(result), escape(result.experiment)
    if picture is None:
        return ""
    draw = catalogue.module(result.experiment).figure if result.experiment in catalogue.experiments() else None
    caption = escape((getattr(draw, "__doc__", None) or "").partition("\n\n")[0])
    unscripted = f'<img src="{name}/{result.scale}/{picture.name}" alt="Figure of {name}" loading="lazy">'
    return f"""<figure data-figure="{name}"><noscript>{unscripted}</noscript>
<figcaption>{caption}</figcaption></figure>"""


def _table(entry: Entry, result: Result) -> str:
    """What the experiment's `table` makes of its frame, where it has one: once, in the first of its claims.

    A stale frame may lack what the table is made of.
    """
    made = getattr(catalogue.module(result.experiment), "table", None) if _is_current(result) else None
    if made is None or entry.id != catalogue.claims(result.experiment)[0].id:
        return ""
    frame, caption = made(result.frame), escape((made.__doc__ or "").partition("\n\n")[0])
    head = "".join(f"<th>{escape(name)}" for name in frame.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in row) for row in frame.to_numpy())
    return f'<div class="wide"><table><caption>{caption}</caption><tr>{head}{rows}</table></div>'


def _is_current(result: Result) -> bool:
    return result.experiment in catalogue.experiments() and not result.is_stale


def _making(result: Result) -> str:
    """How the numbers were made, as the record of the run has it."""
    record = result.record
    commit = f"<code>{escape(record['commit'][:12])}</code>" if record["commit"] else "unknown"
    terms = {
        "Command": _command(record["command"]),
        "Scale": f"{result.scale}; {_departures(result)}",
        "Seeds": escape(_text(record["seeds"])),
        "Time": f"{_duration(record['wall_seconds'])}; peak memory {record['peak_memory_mb']:.0f} MB",
        "Device": f"{escape(record['device'])}; {record['threads']} thread{'s' * (record['threads'] != 1)} per process",
        "Commit": commit + (" with uncommitted changes" if record["dirty"] else ", clean"),
        "Carried": _carried(record),
        "Versions": ", ".join(f"{escape(name)} {escape(text)}" for name, text in sorted(record["versions"].items())),
        "Data": _data(result),
    }
    return f"<dl>{_terms({name: value for name, value in terms.items() if value})}</dl>"


def _carried(record: dict[str, Any]) -> str:
    """Over which changes of code the result was carried, and by which runs cut short."""
    return "<br>".join(
        f"to <code>{escape(step['commit'][:12])}</code>, whose code gave the same to the byte as that of "
        f"<code>{escape(step['since'][:12])}</code> in a run cut short: {_command(step['command'])}"
        for step in record.get("carried", [])
    )


def _command(text: str) -> str:
    """A command as it works when copied: by the environment that `make` sets up."""
    text = f".venv/bin/{text}" if text.startswith("python ") else text
    return f'<code>{escape(text)}</code> <button type="button" class="copy scripted">copy</button>'


def _command_to_come(entry: Entry) -> str:
    """The command that would decide a claim that nothing has measured, if an experiment for it exists."""
    if not entry.experiment:
        return ""
    command = f"python -m experiments experiment={entry.experiment} scale={deciding_scale(entry)}"
    return f"<dl><dt>Command<dd>{_command(command)}</dl>"


def _departures(result: Result) -> str:
    rows = "".join(
        f"<tr><th>{escape(key)}<td>{escape(_text(values['paper']))}<td>{escape(_text(values[result.scale]))}"
        for key, values in sorted(result.record["departures"].items())
    )
    table = f"<table><tr><th>key<th>paper<th>this scale{rows}</table>"
    return f"departures from the paper: {table if rows else 'none'}"


def _text(value: Any) -> str:
    if not isinstance(value, list):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    items = [_text(item) for item in value]
    if len(items) > _LONG:
        return f"{', '.join(items[:3])}, …, {items[-1]} ({len(items)} values)"
    return ", ".join(items)


def _duration(seconds: float) -> str:
    size, unit = next((pair for pair in ((3600, "h"), (60, "min")) if seconds >= 2 * pair[0]), (1, "s"))
    return f"{seconds / size:.3g} {unit}"


def _data(result: Result) -> str:
    """Links to what was measured: one file, or the shards of a sweep."""
    shards = [(shard / "metrics.csv").relative_to(result.folder).as_posix() for shard in result.shards]
    names = shards or ["metrics.csv", "run.json"]
    return ", ".join(_link(f"{result.experiment}/{result.scale}/{name}", name) for name in names)
