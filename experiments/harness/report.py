"""Redraw and decide everything from the committed CSVs: figures, claims.csv, the scoreboard and the page.

python -m experiments.harness.report            write what the CSVs give (`make figures`)
python -m experiments.harness.report --check    fail if a committed file is not what the CSVs give
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from experiments.harness import catalogue, ledger
from experiments.harness.files import CannotWriteError, write_whole
from experiments.harness.page import page
from experiments.harness.readme import updated as readme_with
from experiments.harness.record import read_record
from experiments.harness.result import Result
from experiments.harness.schema import BadInputError
from experiments.harness.scoreboard import scoreboard
from experiments.harness.style import rendered

RESULTS = catalogue.ROOT / "results"


def figures(measured: Iterable[Result]) -> dict[Path, bytes]:
    """The results' pictures, each drawn from its frame: path -> content.

    A stale result keeps the pictures it has: the drawing may ask for columns that its frame does not have.
    """
    drawn = {}
    for result in measured:
        if not result.is_stale:
            with ledger.named(f"the figure of {result.experiment} at {result.scale} scale"):
                pictures = rendered(catalogue.module(result.experiment).figure(result.frame))
            drawn |= {result.folder / name: content for name, content in pictures.items()}
    return drawn


def summaries(results: Path, rows: list[ledger.Entry], measured: dict[str, Result]) -> dict[Path, str]:
    """claims.csv, README.md and index.html as these results give them, and the project's README: path -> text."""
    texts = {
        results / "claims.csv": ledger.as_csv(rows),
        results / "README.md": scoreboard(rows, measured),
        results / "index.html": page(rows, measured),
    }
    if results == RESULTS:
        readme = catalogue.ROOT / "README.md"
        texts[readme] = readme_with(readme.read_text(), rows, measured, results)
    return texts


def write(results: Path, redraw: bool = False) -> list[ledger.Entry]:
    """Bring the ledger, the scoreboard and the page up to date, on wish the figures too; returns the entries.

    Raises:
        CannotWriteError: the folder cannot be written.
        BadInputError: a decision or a figure fails.
    """
    with FileLock(results / ".lock"):  # two that report at once would mix what they read
        return _write(results, redraw)


def _write(results: Path, redraw: bool) -> list[ledger.Entry]:
    found = ledger.every(results)
    measured = ledger.deciding(found)
    due = [one for each in found.values() for one in each if redraw or _needs_drawing(one)]
    for path, content in figures(due).items():
        write_whole(path, content)
    rows = ledger.entries(measured, results)
    for path, text in summaries(results, rows, measured).items():
        write_whole(path, text)
    return rows


def _needs_drawing(result: Result) -> bool:
    """A picture is missing, or shards lie there: joined, they may have replaced what was drawn."""
    return not (result.folder / "figure.png").exists() or (result.folder / "shards").is_dir()


def differences(results: Path) -> list[Path]:
    """Files that are not what the CSVs in `results` give."""
    found = ledger.every(results)
    measured = ledger.deciding(found)
    texts = summaries(results, ledger.entries(measured, results), measured)
    drawn = figures(one for each in found.values() for one in each)
    expected = {path: text.encode() for path, text in texts.items()} | drawn
    return [path for path, content in expected.items() if not _same(path, content)]


def _same(committed: Path, content: bytes) -> bool:
    if not committed.exists():
        return False
    if committed.read_bytes() == content:
        return True
    # Another processor may round the last bit of a coordinate differently: that is the same picture.
    if committed.suffix == ".svg":
        return _same_numbers(committed.read_text(), content.decode())
    return committed.suffix == ".png" and _same_picture(committed, content)


def _same_numbers(left: str, right: str, tolerance: float = 0.01) -> bool:
    number = re.compile(r"-?\d+\.\d+")
    if number.sub("#", left) != number.sub("#", right):
        return False
    pairs = zip(number.findall(left), number.findall(right), strict=True)
    return all(abs(float(a) - float(b)) <= tolerance for a, b in pairs)


def _same_picture(committed: Path, content: bytes) -> bool:
    from matplotlib.testing.compare import compare_images

    with tempfile.TemporaryDirectory() as folder:
        for name, picture in (("committed.png", committed.read_bytes()), ("drawn.png", content)):
            Path(folder, name).write_bytes(picture)
        return compare_images(f"{folder}/committed.png", f"{folder}/drawn.png", tol=0.5) is None


def main() -> int:
    """Entry point of `make figures` and of the check in `make test`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    results = (catalogue.ROOT / options.results).resolve()
    folders = [*results.glob("*/*/*/"), *results.glob("*/*/*/shards/*/")]
    broken = [folder for folder in folders if _is_broken(folder)]
    for folder in broken:
        print(f"{folder}: metrics.csv is not what run.json was written for; measure it again", file=sys.stderr)
    if broken or not results.is_dir():
        print(f"error: {results}: must be a folder of whole results", file=sys.stderr)
        return 2
    try:
        if options.check:
            wrong = differences(results)
            for path in wrong:
                print(f"{path}: not what the committed CSVs give; run `make figures`", file=sys.stderr)
            return 1 if wrong else 0
        rows = write(results, redraw=True)
    except (BadInputError, CannotWriteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(rows)} claims; page: {results / 'index.html'}")
    return 0


def _is_broken(folder: Path) -> bool:
    return (folder / "metrics.csv").exists() and read_record(folder) is None


if __name__ == "__main__":
    sys.exit(main())
