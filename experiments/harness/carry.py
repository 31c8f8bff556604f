"""Carry a result over a change of the code that leaves what it computes the same.

python -m experiments.harness.carry --since=REVISION experiment=csil/ant scale=overnight updates=40 evaluations=1

A result is stale once the code that measured it changes, even where the change only tidies up or speeds up. To measure
for hours again is one way out; this is the other: the same run, with fewer steps and nothing else changed, is made with
the code of that revision, which must be the code of the result, and with that of the last commit. If both give the same
`metrics.csv` to the byte, the record says so and its result counts as current; else nothing is written. Trainings
amplify the last bit of a number, so a difference shows after a few steps; what the first steps do not reach, such as
the time limit of an episode in training, is not compared: whoever chooses the lengths sees to it that what changed is
reached. A shard is named by its values, as when it was run.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness import arguments, catalogue, runner
from experiments.harness.files import CannotWriteError, dumps, sha256, write_whole
from experiments.harness.frames import read_frame
from experiments.harness.record import Plan, codes, command, environment, inputs_changed, read_record
from experiments.harness.schema import BadInputError
from experiments.harness.source import source_hash

# What says how long a run is, and may be made smaller; all other values stay as they are.
LENGTHS = (
    *("updates", "warmup", "pretraining", "cloning", "start", "evaluations"),
    *("steps", "explicit_steps", "overfit_steps", "validations", "inference_iterations", "repetitions"),
)
_OUTPUTS = "results=outputs/carry"  # both runs keep away from the results


def carry(short: Plan, overrides: list[str], revision: str) -> Path | None:
    """Make the shorter run with both codes and mark the record; its folder, or None where it is current.

    Raises:
        BadInputError: one line; the record is not there or not stale by its code alone, the run is not merely shorter,
            the code is not committed or not that of the record, a run failed, or the two differ.
    """
    whole = _whole(short)
    record = _read(whole)
    present = source_hash(short.experiment)
    if present in codes(record):
        return None
    if environment(short.device)["dirty"]:
        raise BadInputError("the code has changes that are not committed: a record could not name what carried it")
    revisions = [_git("rev-parse", "--verify", "--end-of-options", f"{one}^{{commit}}") for one in (revision, "HEAD")]
    since, head = (one.decode().strip() for one in revisions)
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch, "old"), Path(scratch, "new")
        _export(since, old)
        _export(head, new)
        if _ask(old, short.experiment) not in codes(record):
            raise BadInputError(f"{revision}: is not the code of {runner.shown(whole.folder)}")
        before, after = (_measured(tree, short, overrides) for tree in (old, new))
    if after["source_hash"] != present:
        raise BadInputError("HEAD moved meanwhile: nothing is carried")
    now = _surroundings(after)
    for key, value in _surroundings(record).items():
        if now.get(key) != value:
            raise BadInputError(f"{key}: {now.get(key)}, but the result was measured with {value}")
    if before["configuration_hash"] != after["configuration_hash"]:
        raise BadInputError(f"{short.experiment}: the two codes have different configurations; measure it again")
    if before["metrics_hash"] != after["metrics_hash"]:
        raise BadInputError(f"{short.experiment}: the two codes give different metrics.csv; measure it again")
    kept = {key: after[key] for key in ("source_hash", "metrics_hash")}
    step = {"since": since, "commit": head, "command": command(short), **kept}
    with runner.locked(whole.folder):
        if read_record(whole.folder) != record:
            raise BadInputError(f"{runner.shown(whole.folder)}: changed meanwhile; nothing is carried")
        write_whole(whole.folder / "run.json", dumps(record | {"carried": [*record.get("carried", []), step]}))
    return whole.folder


def _whole(short: Plan) -> Plan:
    """The run as long as it was: the canonical one, or a shard of it.

    Raises:
        BadInputError: the given one is not shorter, or differs in more.
    """
    axes = getattr(catalogue.module(short.experiment), "SHARD_AXES", ())
    canonical = catalogue.canonical(short.experiment, short.scale)
    values = {key: np.asarray(value) for key, value in asdict(canonical).items()}
    lengths = [key for key in LENGTHS if key in values and values[key].dtype.kind == "i"]
    for key, value in short.changed.items():
        if key not in axes and key not in lengths:
            raise BadInputError(f"{key}: may not be changed; allowed: {', '.join((*lengths, *axes))}")
        if key in lengths and np.max(value) >= values[key].max():
            raise BadInputError(f"{key}={value}: must be less than {getattr(canonical, key)}")
    if not short.changed.keys() & set(lengths):
        raise BadInputError(f"nothing makes the run shorter; allowed: {', '.join(lengths)}")
    parts = {key: value for key, value in short.changed.items() if key in axes}
    return replace(short, config=replace(canonical, **parts))


def _read(whole: Plan) -> dict[str, Any]:
    """The record of that run.

    Raises:
        BadInputError: there is none, or more than its code changed since.
    """
    record = read_record(whole.folder)
    if record is None:
        raise BadInputError(f"{runner.shown(whole.folder)}: has no record; shards are named by their values")
    if record["configuration_hash"] != sha256(dumps(asdict(whole.config))) or inputs_changed(record):
        raise BadInputError(f"{runner.shown(whole.folder)}: its configuration or inputs changed; measure it again")
    return record


def _surroundings(record: dict[str, Any]) -> dict[str, Any]:
    """What numbers may depend on besides the code."""
    return {key: record[key] for key in ("device", "threads", "input_hashes")} | record["versions"]


def _export(commit: str, folder: Path) -> None:
    """The project's files as they were then."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        archive.extractall(folder, filter="data")


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=catalogue.ROOT, capture_output=True)
    if done.returncode:
        raise BadInputError(f"git {' '.join(arguments)}: {_last(done.stderr.decode())}")
    return done.stdout


def _ask(tree: Path, experiment: str) -> str:
    """The source hash of an experiment in that tree."""
    asked = f"from experiments.harness.source import source_hash; print(source_hash({experiment!r}))"
    done = _run(tree, ["-c", asked])
    if done.returncode:
        raise BadInputError(f"{experiment} is not known there: {_last(done.stderr)}")
    return done.stdout.strip()


def _measured(tree: Path, short: Plan, overrides: list[str]) -> dict[str, Any]:
    """The record of the shorter run by that tree's code.

    Raises:
        BadInputError: it failed, or measured nothing whose last bits could differ.
    """
    done = _run(tree, ["-m", "experiments", *overrides, _OUTPUTS])
    found = list((tree / "outputs" / short.experiment / short.scale).glob("*/run.json"))
    record = read_record(found[0].parent) if len(found) == 1 else None
    if done.returncode or record is None:
        raise BadInputError(f"{short.experiment} could not be run there: {_last(done.stdout + done.stderr)}")
    numbers = read_frame(found[0].with_name("metrics.csv")).select_dtypes("float").to_numpy()
    if not (np.mod(numbers[np.isfinite(numbers)], 1) > 0).any():
        raise BadInputError(f"{short.experiment}: so short a run measures whole numbers alone; make it longer")
    return record


def _run(tree: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Python in that tree, whose packages come before those that are installed."""
    paths = [str(tree), *filter(None, [os.environ.get("PYTHONPATH")])]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, *arguments], cwd=tree, env=surroundings, capture_output=True, text=True)


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def main() -> int:
    """Entry point; status 1 and one line where the codes differ or the input is bad."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--since", required=True, metavar="REVISION", help="whose code measured the result")
    parser.add_argument("overrides", nargs="+", help="experiment=, scale=, a shard's values, and smaller lengths")
    options = parser.parse_args()
    try:
        [plan] = arguments.plans(options.overrides, multirun=False)
        folder = carry(plan, options.overrides, options.since)
    except (BadInputError, CannotWriteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"carried: {runner.shown(folder)}; `make figures` tells the report" if folder else "current: nothing to carry"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
