"""Reading a result: the record of a canonical run, or the shards of a sweep that together make one."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.harness import catalogue
from experiments.harness.files import dumps
from experiments.harness.frames import read_frame
from experiments.harness.record import codes, inputs_changed, read_record
from experiments.harness.source import source_hash


@dataclass(frozen=True)
class Result:
    """What was measured for an experiment at a scale: by a whole run, or by the runs in the folders `shards`."""

    experiment: str
    scale: str
    folder: Path
    frame: pd.DataFrame
    record: dict[str, Any]
    shards: tuple[Path, ...] = ()

    @cached_property
    def is_stale(self) -> bool:
        """Whether the measuring code, the configuration or a file that it reads changed since."""
        return (
            source_hash(self.experiment) not in codes(self.record)
            or _canonical(self.experiment, self.scale) != self.record["configuration"]
            or inputs_changed(self.record)
        )


def every(results: Path, experiment: str) -> list[Result]:
    """The results at all complete scales, the largest first."""
    each = [read(results, experiment, scale) for scale in reversed(catalogue.scales(experiment))]
    return [one for one in each if one is not None]


def largest(found: list[Result]) -> Result | None:
    """Of an experiment's results the largest that the present code measured, or else the largest; or None."""
    return next((one for one in found if not one.is_stale), found[0] if found else None)


def read(results: Path, experiment: str, scale: str) -> Result | None:
    """The result at one scale: the whole record, or complete shards where there is no record of the present code.

    Of stale ones too, the whole before the shards; shards of more than one version of code or inputs are no result.
    Shards that are too many, as those of a trial, are left out.
    """
    folder = results / experiment / scale
    record = read_record(folder)
    whole = Result(experiment, scale, folder, read_frame(folder / "metrics.csv"), record) if record else None
    if whole is not None and not whole.is_stale:
        return whole
    shards, canonical = _shards(folder), _canonical(experiment, scale)
    complete = _cover(_current(shards, experiment), canonical)
    if not complete and whole is None:
        older = [_cover(same, canonical) for same in _by_code(shards)]
        complete = next((found for found in older if found and _alike(found)), [])
    return _joined(complete, folder, experiment, scale) if complete else whole


def problem(results: Path, experiment: str) -> str:
    """Why there is no result, as a sentence for the ledger."""
    for scale in reversed(catalogue.scales(experiment)):
        folder = results / experiment / scale
        if (folder / "metrics.csv").exists() and read_record(folder) is None:
            return f"{experiment}/{scale}/metrics.csv is not what its run.json was written for: measure again."
        if list(folder.glob("shards/*/")):
            return shortfall(results, experiment, scale)
    return "No complete result at any scale."


def shortfall(results: Path, experiment: str, scale: str) -> str:
    """What keeps the shards at this scale from being a result, as a sentence."""
    canonical = _canonical(experiment, scale)
    axes = _by_axis(_current(_shards(results / experiment / scale), experiment), canonical)
    if not axes:
        return f"No shards at {scale} scale that split one axis, measured by the present code from the present inputs."
    axis, shards = max(axes.items(), key=lambda one: len(one[1]))
    items = [item for _, record in shards for item in record["configuration"][axis]]
    if absent := [item for item in canonical[axis] if item not in items]:
        return f"Shards at {scale} scale lack {axis}={absent}."
    twice = sorted({item for item in items if items.count(item) > 1})
    return f"Shards at {scale} scale overlap at {axis}={twice}: delete those that are too many."


Shard = tuple[Path, dict[str, Any]]


def _shards(folder: Path) -> list[Shard]:
    found = [(shard, read_record(shard)) for shard in sorted(folder.glob("shards/*/"))]
    return [(shard, record) for shard, record in found if record is not None]


def _current(shards: list[Shard], experiment: str) -> list[Shard]:
    """Those that the present code measured, or was shown to measure the same, from the present inputs."""
    if not shards:
        return []
    source = source_hash(experiment)
    return [one for one in shards if source in codes(one[1]) and not inputs_changed(one[1])]


def _alike(shards: list[Shard]) -> bool:
    """Whether one code stands behind all of these, and no input differs between two of them."""
    records = [record for _, record in shards]
    kept = {item for record in records for item in record["input_hashes"].items()}
    return bool(_common(records)) and len(dict(kept)) == len(kept)


def _common(records: list[dict[str, Any]]) -> list[str]:
    """Hashes of the codes that all of these stand for."""
    first = codes(records[0]) if records else []
    return [code for code in first if all(code in codes(record) for record in records)]


def _by_code(shards: list[Shard]) -> list[list[Shard]]:
    """For every code those that it stands behind."""
    every_code = dict.fromkeys(code for _, record in shards for code in codes(record))
    return [[one for one in shards if code in codes(one[1])] for code in every_code]


def _by_axis(shards: list[Shard], canonical: dict[str, Any]) -> dict[str, list[Shard]]:
    """The shards by the one key in which they differ from the canonical configuration."""
    found: dict[str, list[Shard]] = {}
    for one in shards:
        changed = [key for key in canonical if one[1]["configuration"].get(key) != canonical[key]]
        if len(changed) == 1 and isinstance(canonical[changed[0]], list):
            found.setdefault(changed[0], []).append(one)
    return found


def _cover(shards: list[Shard], canonical: dict[str, Any]) -> list[Shard]:
    """Of these the shards that hold every item of one axis exactly once, in its order; nothing if there are none."""
    axes = _by_axis(shards, canonical)
    covers = [_exact(parts, axis, canonical[axis]) for axis, parts in axes.items()]
    return next((found for found in covers if found), [])


def _exact(shards: list[Shard], axis: str, items: list[Any]) -> list[Shard] | None:
    """Of these the shards that hold the items exactly once; None if there are none."""
    if not items:
        return []
    for one in shards:
        held = one[1]["configuration"][axis]
        if items[0] in held and all(item in items for item in held):
            others = _exact(shards, axis, [item for item in items if item not in held])
            if others is not None:
                return [one, *others]
    return None


def _joined(shards: list[Shard], folder: Path, experiment: str, scale: str) -> Result:
    frames = [read_frame(shard / "metrics.csv") for shard, _ in shards]
    records = [record for _, record in shards]
    canonical = _canonical(experiment, scale)
    if "seeds" in _by_axis(shards, canonical) and "seed" in frames[0]:
        frames[1:] = [frame[frame.seed.notna()] for frame in frames[1:]]  # the others are the same in every shard
    record = _joined_record(records, canonical)
    frame, folders = pd.concat(frames, ignore_index=True), tuple(shard for shard, _ in shards)
    return Result(experiment, scale, folder, frame, record, folders)


def _canonical(experiment: str, scale: str) -> dict[str, Any]:
    """The canonical configuration as run.json holds it."""
    return json.loads(json.dumps(asdict(catalogue.canonical(experiment, scale))))


def _joined_record(records: list[dict[str, Any]], canonical: dict[str, Any]) -> dict[str, Any]:
    """One record for several shards: times added, the rest as in the shards, all values where they differ."""
    first = records[0]

    def all_values(key: str) -> str:
        return ", ".join(sorted({str(record[key]) for record in records}))

    return first | {
        "configuration": canonical,
        "departures": catalogue.departures(first["experiment"], first["scale"]),
        "seeds": canonical.get("seeds", []),
        "source_hash": _common(records)[0],
        "carried": [
            step
            for step in {dumps(step): step for record in records for step in record.get("carried", [])}.values()
            if step["source_hash"] in _common(records)
        ],
        "input_hashes": {name: kept for record in records for name, kept in record["input_hashes"].items()},
        "commit": all_values("commit"),
        "dirty": any(record["dirty"] for record in records),
        "device": all_values("device"),
        "wall_seconds": round(sum(record["wall_seconds"] for record in records), 2),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
        "command": f"python -m experiments experiment={first['experiment']} scale={first['scale']}",
    }
