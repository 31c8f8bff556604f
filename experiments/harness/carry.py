"""Carry results over a change of the code that leaves what they compute the same.

python -m experiments.harness.carry --since REVISION experiment=csil/ant scale=overnight updates=40 ...

A result is stale once the code that measured it changes, even where the change only tidies up or speeds up. To measure
for hours again is one way out; this is the other: the same experiment, cut short by the values given, is run with the
code of that revision, which must be the code of the result, and with the present code. If both give the same
`metrics.csv` to the byte, the record says so and its result counts as current; else nothing is written. Trainings
amplify the last bit of a number, so that a difference shows after a few steps; what is cut short must still go through
all that the whole run goes through, at the same sizes.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from experiments.harness import arguments, catalogue
from experiments.harness.files import dumps, write_whole
from experiments.harness.record import Plan, command, environment, read_record, source_of
from experiments.harness.schema import BadInputError
from experiments.harness.source import source_hash


def carry(plan: Plan, overrides: list[str], revision: str) -> list[Path]:
    """Run the plan with both codes, and mark the records of its experiment and scale; returns their folders.

    Raises:
        BadInputError: one line; the plan is not cut short, the code is not committed or not that of a record, a run
            failed, or the two differ.
    """
    folders = [folder for folder, record in _records(plan) if source_of(record) != source_hash(plan.experiment)]
    if not plan.changed or plan.is_canonical:
        raise BadInputError("nothing is cut short: give values that make the run shorter, such as updates=40")
    if not folders:
        return []
    if environment(plan.device)["dirty"]:
        raise BadInputError("the code has changes that are not committed: a record could not name what carried it")
    with tempfile.TemporaryDirectory() as scratch:
        _export(revision, Path(scratch))
        before = _measured(Path(scratch), plan, overrides)
    folders = [folder for folder in folders if source_of(read_record(folder) or {}) == before["source_hash"]]
    if not folders:
        raise BadInputError(f"{revision}: is not the code of a stale result of {plan.experiment} at {plan.scale} scale")
    after = _measured(catalogue.ROOT, plan, overrides)
    if before["metrics_hash"] != after["metrics_hash"]:
        raise BadInputError(f"{plan.experiment}: the two codes give different metrics.csv; measure it again")
    step = {
        "since": _git("rev-parse", f"{revision}^{{commit}}").decode().strip(),
        **{key: after[key] for key in ("commit", "source_hash", "metrics_hash")},
        "command": command(plan),
    }
    for folder in folders:
        record: Any = read_record(folder)
        write_whole(folder / "run.json", dumps(record | {"carried": [*record.get("carried", []), step]}))
    return folders


def _records(plan: Plan) -> list[tuple[Path, dict[str, Any]]]:
    """Of the whole run at this scale, and of its shards."""
    whole = plan.results / plan.experiment / plan.scale
    found = [(folder, read_record(folder)) for folder in (whole, *sorted(whole.glob("shards/*/")))]
    return [(folder, record) for folder, record in found if record is not None]


def _export(revision: str, folder: Path) -> None:
    """The project's files as they were then."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", revision))) as archive:
        archive.extractall(folder, filter="data")


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=catalogue.ROOT, capture_output=True)
    if done.returncode:
        raise BadInputError(f"git {' '.join(arguments)}: {done.stderr.decode().strip().splitlines()[-1]}")
    return done.stdout


def _measured(tree: Path, plan: Plan, overrides: list[str]) -> dict[str, Any]:
    """The record of the run cut short by that tree's code."""
    folder = tree / plan.folder.relative_to(catalogue.ROOT)
    asked = [sys.executable, "-m", "experiments", *overrides, "force=true"]
    done = subprocess.run(asked, cwd=tree, env=_environment(tree), capture_output=True, text=True)
    record = read_record(folder)
    if done.returncode or record is None:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise BadInputError(f"{plan.experiment} could not be run at {tree}: {last}")
    return record


def _environment(tree: Path) -> dict[str, str]:
    """That tree's packages before those that are installed."""
    return os.environ | {"PYTHONPATH": str(tree)}


def main() -> int:
    """Entry point; status 1 and one line where the codes differ or the input is bad."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--since", required=True, metavar="REVISION", help="whose code measured the results")
    parser.add_argument("overrides", nargs="+", help="experiment=, scale= and the values that cut the run short")
    options = parser.parse_args()
    try:
        [plan] = arguments.plans(options.overrides, multirun=False)
        folders = carry(plan, options.overrides, options.since)
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for folder in folders:
        print(f"carried: {folder.relative_to(catalogue.ROOT)}")
    if not folders:
        print("nothing to carry: no stale result there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
