"""The record of a run: where it lies, whether it is current, and how it is written and read."""

import json
import os
import platform
import shlex
import subprocess
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.harness import catalogue
from experiments.harness.files import dumps, sha256, write_whole
from experiments.harness.source import source_hash


@dataclass(frozen=True)
class Plan:
    """One run that was asked for: its checked configuration and the folder that this decides."""

    experiment: str
    scale: str
    config: Any
    results: Path
    device: str
    force: bool

    @cached_property
    def changed(self) -> dict[str, Any]:
        """Keys in which the configuration differs from the canonical one of this scale."""
        canonical = asdict(catalogue.canonical(self.experiment, self.scale))
        return {key: value for key, value in asdict(self.config).items() if value != canonical[key]}

    @property
    def is_shard(self) -> bool:
        """Whether this is a part of the canonical run: fewer items on one axis that the experiment may be split along.

        A part of two axes would fit together with no others.
        """
        if len(self.changed) != 1:
            return False
        ((axis, items),) = self.changed.items()
        whole = getattr(catalogue.canonical(self.experiment, self.scale), axis)
        axes = getattr(catalogue.module(self.experiment), "SHARD_AXES", ())
        return axis in axes and items == [item for item in whole if item in items]

    @property
    def folder(self) -> Path:
        """Where the run writes: a function of the configuration alone, never of the clock."""
        if not self.changed:
            return self.results / self.experiment / self.scale
        label = ",".join(f"{key}={_label(value)}" for key, value in self.changed.items())
        if self.is_shard:
            return self.results / self.experiment / self.scale / "shards" / _short(label)
        return catalogue.ROOT / "outputs" / self.experiment / self.scale / _short(label)

    @property
    def is_canonical(self) -> bool:
        """Whether the run belongs into the results and so into the ledger."""
        return not self.changed or self.is_shard

    def hashes(self) -> dict[str, Any]:
        """What decides whether a record is current: configuration, source code and input files."""
        return {
            "configuration_hash": sha256(dumps(asdict(self.config))),
            "source_hash": source_hash(self.experiment),
            "input_hashes": {_place(path): sha256(path.read_bytes()) for path in inputs(self.experiment, self.config)},
        }

    def is_current(self) -> bool:
        """Whether this very run was measured in this checkout and lies there whole."""
        mark = self.folder / ".measured"
        record = read_record(self.folder)
        if record is None or not mark.exists() or mark.read_text() != record["metrics_hash"]:
            return False
        hashes = self.hashes()
        return hashes.pop("source_hash") in codes(record) and all(record[key] == hashes[key] for key in hashes)


def codes(record: dict[str, Any]) -> list[str]:
    """Hashes of the codes that the record stands for: of what measured it, and of those it was carried over to."""
    return [one["source_hash"] for one in (record, *record.get("carried", []))]


def inputs(experiment: str, config: Any) -> list[Path]:
    """The files that a run with this configuration reads.

    Raises:
        BadInputError: one of them, or something else that the configuration names, is not there.
    """
    return getattr(catalogue.module(experiment), "inputs", lambda _: [])(config)


def inputs_changed(record: dict[str, Any]) -> bool:
    """Whether a file that a run read is no longer there or no longer the same."""
    files = {catalogue.ROOT / name: kept for name, kept in record["input_hashes"].items()}
    return any(not path.is_file() or sha256(path.read_bytes()) != kept for path, kept in files.items())


def _place(path: Path) -> str:
    """Within the project, so that a record means the same on every machine; a file from outside is named in full."""
    whole = path.resolve()
    return whole.relative_to(catalogue.ROOT).as_posix() if whole.is_relative_to(catalogue.ROOT) else str(whole)


def _label(value: Any) -> str:
    if isinstance(value, list):
        whole = len(value) > 2 and all(type(item) is int for item in value)
        consecutive = whole and value == list(range(value[0], value[0] + len(value)))
        return f"{value[0]}-{value[-1]}" if consecutive else "+".join(map(str, value))
    return str(value)


def _short(label: str) -> str:
    safe = "".join(c if c.isalnum() or c in "=,.+-" else "_" for c in label)
    return safe if safe == label and len(label) <= 80 else f"{safe[:60]}-{sha256(label)[:10]}"


REQUIRED = frozenset(
    "experiment scale configuration departures configuration_hash source_hash input_hashes metrics_hash commit dirty "
    "versions device threads wall_seconds peak_memory_mb seeds command".split()
)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The run.json of a folder whose metrics.csv is the one it was written for; None if there is no such pair."""
    try:
        record = json.loads((folder / "run.json").read_text())
        content = (folder / "metrics.csv").read_bytes()
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not record.keys() >= REQUIRED:
        return None
    return record if sha256(content) == record["metrics_hash"] else None


def write(plan: Plan, content: bytes, measured: dict[str, Any]) -> None:
    """Write metrics.csv (its bytes), then run.json, which makes it a record, then the mark of this checkout.

    Args:
        measured: the plan's hashes and the environment when it began, its cost, seeds and command.

    Figures of an earlier frame are deleted first: a picture in the folder is always one of its metrics.csv.
    """
    joined = plan.folder.parents[1]
    drawn_in = joined if plan.is_shard and read_record(joined) is None else plan.folder
    for picture in drawn_in.glob("figure.*"):
        picture.unlink()
    write_whole(plan.folder / "metrics.csv", content)
    record = {
        "experiment": plan.experiment,
        "scale": plan.scale,
        "configuration": asdict(plan.config),
        "departures": catalogue.departures(plan.experiment, plan.scale),
        "metrics_hash": sha256(content),
        **measured,
    }
    write_whole(plan.folder / "run.json", dumps(record))
    write_whole(plan.folder / ".measured", record["metrics_hash"])


def environment(device: str) -> dict[str, Any]:
    """What the numbers were measured with: code, versions, processor, threads and command."""
    import torch

    packages = "torch numpy scipy pandas matplotlib gymnasium mujoco box2d hydra-core omegaconf".split()
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!results", ":!README.md")),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor(),
        "threads": torch.get_num_threads(),
    }


@cache
def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=catalogue.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def command(plan: Plan) -> str:
    """The command that repeats this run."""
    device = [] if plan.device == "cpu" else [f"device={plan.device}"]
    changes = [shlex.quote(f"{key}={json.dumps(value, separators=(',', ':'))}") for key, value in plan.changed.items()]
    arguments = [f"experiment={plan.experiment}", f"scale={plan.scale}", *device, *changes]
    return " ".join(["python", "-m", "experiments", *arguments])
