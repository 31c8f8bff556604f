"""Reading a result: the record of a canonical run, or the shards of a sweep that together make one."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.harness import catalogue
from experiments.harness.claim import SCALES
from experiments.harness.record import read_frame, read_record
from experiments.harness.source import source_hash


@dataclass(frozen=True)
class Result:
    """What was measured for an experiment at a scale."""

    experiment: str
    scale: str
    folder: Path
    frame: pd.DataFrame
    record: dict[str, Any]

    @cached_property
    def is_stale(self) -> bool:
        """Whether the measuring code or the configuration changed since."""
        canonical = asdict(catalogue.canonical(self.experiment, self.scale))
        return (
            self.record["source_hash"] != source_hash(self.experiment)
            or json.loads(json.dumps(canonical)) != self.record["configuration"]
        )


def largest(results: Path, experiment: str) -> Result | None:
    """The result of the largest scale that is complete, None if there is none."""
    found = (read(results, experiment, scale) for scale in reversed(SCALES))
    return next((result for result in found if result is not None), None)


def read(results: Path, experiment: str, scale: str) -> Result | None:
    """The result at one scale: the canonical record, else its shards if they are complete, else None."""
    folder = results / experiment / scale
    record = read_record(folder)
    if record is not None:
        return Result(experiment, scale, folder, read_frame(folder / "metrics.csv"), record)
    return _read_shards(folder, experiment, scale)


def _read_shards(folder: Path, experiment: str, scale: str) -> Result | None:
    """Shards join if they were measured by the same code and cover every item of the axis they split exactly once."""
    parts = [(read_record(shard), shard) for shard in sorted(folder.glob("shards/*/"))]
    if not parts:
        return None
    records = [record for record, _ in parts if record is not None]
    canonical = json.loads(json.dumps(asdict(catalogue.canonical(experiment, scale))))
    axis = _split_axis(records, canonical)
    if axis is None or len({record["source_hash"] for record in records}) != 1:
        return None
    items = [item for record in records for item in record["configuration"][axis]]
    if sorted(items) != sorted(canonical[axis]):
        return None
    frames = [read_frame(shard / "metrics.csv") for record, shard in parts if record is not None]
    joined = pd.concat(frames, ignore_index=True)
    return Result(experiment, scale, folder, joined, _joined_record(records, canonical))


def _joined_record(records: list[dict[str, Any]], canonical: dict[str, Any]) -> dict[str, Any]:
    """One record for several shards: times added, the rest as in the shards, all values where they differ."""
    first = records[0]

    def all_values(key: str) -> str:
        return ", ".join(sorted({str(record[key]) for record in records}))

    return first | {
        "configuration": canonical,
        "seeds": canonical.get("seeds", []),
        "commit": all_values("commit"),
        "dirty": any(record["dirty"] for record in records),
        "device": all_values("device"),
        "wall_seconds": round(sum(record["wall_seconds"] for record in records), 2),
        "peak_memory_mb": max(record["peak_memory_mb"] for record in records),
        "command": f"python -m experiments experiment={first['experiment']} scale={first['scale']}",
    }


def _split_axis(records: list[dict[str, Any]], canonical: dict[str, Any]) -> str | None:
    """The one key in which all these records differ from the canonical configuration; None if there is not one."""
    changed = [{key for key in canonical if record["configuration"].get(key) != canonical[key]} for record in records]
    axes = set().union(*changed)
    return axes.pop() if len(axes) == 1 and all(changed) else None
