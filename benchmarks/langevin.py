"""How fast our Langevin sampler is beside the peers': one thread, same energies, all in one run.

    python benchmarks/langevin.py --repetitions 7

Workloads and sizes are in `_peers/problem.py`. Each peer runs in a virtual environment of its own, made on the first
call under `outputs/peers/`. A repetition times every contestant once before the next begins, so that a slow spell of
the machine falls on all of them; ratios divide times of the same repetition. Every contestant's samples are checked.
"""

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
from _peers import environments, problem
from _peers.worker import Worker

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "outputs" / "peers"
WARM_UP, MEASURE = 0.05, 0.25  # seconds a contestant runs at least


@dataclass
class Contestant:
    """One row of the table: who runs what, and what was measured."""

    worker: str
    workload: str
    form: str
    label: str
    seconds: list[float] = field(default_factory=list)
    trouble: str = ""

    @property
    def name(self) -> str:
        """How the worker knows it."""
        return f"{self.workload}/{self.form}/{self.label}"


def field_of_contestants() -> list[Contestant]:
    """All rows, in the order of a repetition; ratios refer to the row "ours" of the same workload and form."""
    true = [("ours", "ours"), ("ours", "ours, autograd"), ("blackjax", "blackjax"), ("torchebm", "torchebm")]
    ibc = [("ours", "ours"), ("ours", "ours, autograd"), ("ding", "DI-engine")]
    rows = [Contestant("ours", "matmul", "-", "torch"), Contestant("blackjax", "matmul", "-", "jax")]
    for workload in ("gaussian", "network"):
        rows += [Contestant(worker, workload, "true", label) for worker, label in true]
        rows += [Contestant(worker, workload, "ibc", label) for worker, label in ibc]
    # torchebm's default next to the gradient written out; DI-engine and blackjax know one way only.
    rows.append(Contestant("torchebm", "gaussian", "true", "torchebm, autograd"))
    return sorted(rows, key=lambda row: (row.workload != "matmul", row.workload, row.form == "ibc"))


def start(name: str, data: Path) -> Worker:
    """The worker of that name, its environment made if need be."""
    PEERS.mkdir(parents=True, exist_ok=True)
    ours = name == "ours"
    python = sys.executable if ours else environments.make(name, PEERS)
    core = max(os.sched_getaffinity(0))
    return Worker(name, python, data, core, PEERS / f"{name}.log", ROOT if ours else None)


def start_all(rows: list[Contestant], data: Path) -> dict[str, Worker]:
    """All workers that start; the rows of the others say why theirs did not."""
    workers = {}
    for name in dict.fromkeys(row.worker for row in rows):
        print(f"starting {name}", file=sys.stderr)
        try:
            workers[name] = start(name, data)
        except RuntimeError as error:
            for row in rows:
                row.trouble = f"not run: {error}" if row.worker == name else row.trouble
    return workers


def measure(rows: list[Contestant], workers: dict[str, Worker], data: Path, repetitions: int) -> None:
    """Warm every contestant up, then run all of them once per repetition, and check each sample."""
    laws = {("gaussian", form): problem.gaussian_law(form) for form in ("true", "ibc")}
    laws |= {("network", form): problem.network_law(data, form) for form in ("true", "ibc")}
    for repetition in range(repetitions + 1):
        print(f"repetition {repetition} of {repetitions}" if repetition else "warm-up", file=sys.stderr)
        for row in rows:
            if row.trouble:
                continue
            try:
                answer = workers[row.worker].run(row.name, MEASURE if repetition else WARM_UP)
            except RuntimeError as error:
                row.trouble = f"not run: {error}"
                continue
            moments = [problem.Moments(*values) for values in answer["moments"]]
            if not problem.agrees(moments, laws.get((row.workload, row.form), [])):
                row.trouble = "wrong samples"
            elif repetition:
                row.seconds.append(answer["seconds"])


def tabulate(rows: list[Contestant], workers: dict[str, Worker]) -> pd.DataFrame:
    """One line per contestant; times are medians with the range over repetitions."""
    found = {row.name: row for row in rows}
    lines = []
    for row in rows:
        worker = workers.get(row.worker)
        line: dict[str, str | float] = {"workload": row.workload, "form": row.form, "contestant": row.label}
        line["version"] = worker.version if worker and row.workload != "matmul" else ""
        if not row.trouble:
            line |= spread("seconds", row.seconds)
            ours = found.get(f"{row.workload}/{row.form}/ours")
            if ours and not ours.trouble:
                line |= spread("ratio", [time / own for time, own in zip(row.seconds, ours.seconds, strict=True)])
        line["repetitions"] = 0 if row.trouble else len(row.seconds)
        line["note"] = row.trouble or note(row, best_product(rows), worker.engine if worker else "")
        lines.append(line)
    times, ratios = ["median_seconds", "low_seconds", "high_seconds"], ["ratio_to_ours", "ratio_low", "ratio_high"]
    columns = ["workload", "form", "contestant", "version", *times, *ratios, "repetitions", "note"]
    return pd.DataFrame(lines, columns=columns)


def spread(what: str, values: list[float]) -> dict[str, float]:
    """The columns of a median and a range."""
    middle = "ratio_to_ours" if what == "ratio" else f"median_{what}"
    low, high = (f"{what}_low", f"{what}_high") if what == "ratio" else (f"low_{what}", f"high_{what}")
    return {middle: statistics.median(values), low: min(values), high: max(values)}


def best_product(rows: list[Contestant]) -> list[float]:
    """Seconds of the fastest library's matrix product, one per repetition: what this core is known to reach."""
    products = [row.seconds for row in rows if row.workload == "matmul" and not row.trouble]
    return [min(times) for times in zip(*products, strict=True)]


def note(row: Contestant, product: list[float], engine: str) -> str:
    """What computed, and for matrix products the rate; for our network the share of it that is attained."""
    operations = 2 * problem.MATRIX**3
    if row.workload == "matmul":
        rate = statistics.median(operations / time for time in row.seconds)
        return f"{engine}; {rate / 1e9:.0f} GFLOP/s in float32 products of {problem.MATRIX} x {problem.MATRIX}"
    if row.workload != "network" or row.label != "ours" or not product:
        return engine
    pairs = zip(row.seconds, product, strict=True)
    shares = [network_operations() / time / (operations / best) for time, best in pairs]
    middle, low, high = statistics.median(shares), min(shares), max(shares)
    return f"{engine}; {middle:.0%} ({low:.0%} to {high:.0%}) of the rate of the fastest matrix product"


def network_operations() -> float:
    """Floating-point operations that the network workload cannot do without.

    Per step the hidden layer forwards and backwards and the action's share of the first layer forwards and backwards;
    once, the observation's share. The last layer's slope is a constant and its value is not needed.
    """
    rows = problem.OBSERVATIONS * problem.NEGATIVES
    first, second = problem.HIDDEN
    step = 2 * 2 * rows * (first * second + problem.ACTION_DIM * first)
    return problem.NETWORK_STEPS * step + 2 * problem.OBSERVATIONS * problem.OBSERVATION_DIM * first


def write(table: pd.DataFrame, output: Path) -> None:
    """The table as CSV; the file appears whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=output.parent, prefix=".", suffix=".tmp", delete=False) as file:
        table.to_csv(file, index=False, float_format="%.6g", lineterminator="\n")
        file.flush()
        os.fsync(file.fileno())
    os.chmod(file.name, 0o644)
    os.replace(file.name, output)


def show(table: pd.DataFrame) -> str:
    """The table for a reader: milliseconds and ratios, each with its range."""
    brief = table[["workload", "form", "contestant", "version"]].copy()
    for title, first, scale, digits in (("milliseconds", 4, 1e3, 1), ("times ours", 7, 1.0, 2)):
        spans = table.iloc[:, first : first + 3].to_numpy() * scale
        brief[title] = ["" if np.isnan(span[0]) else worded(span, digits) for span in spans]
    brief["note"] = table["note"]
    return brief.to_string(index=False)


def worded(span: np.ndarray, digits: int) -> str:
    """A median with its range."""
    middle, low, high = (f"{value:.{digits}f}" for value in span)
    return f"{middle} ({low} to {high})"


class Options(argparse.ArgumentParser):
    """An option parser that refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Name what is wrong and stop with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def repeated(description: str, name: str, repetitions: int) -> argparse.Namespace:
    """The command line of a benchmark that has nothing else to choose, checked before anything is measured.

    Args:
        name: of the CSV file in results/benchmarks.
        repetitions: unless others are asked for.
    """
    parser = Options(description=description)
    parser.add_argument("--repetitions", type=int, default=repetitions, help="how often everyone is timed, at least 1")
    default = ROOT / "results" / "benchmarks" / f"{name}.csv"
    parser.add_argument("--output", type=Path, default=default, help="the CSV file")
    chosen = parser.parse_args()
    if chosen.repetitions < 1:
        parser.error(f"--repetitions={chosen.repetitions}: must be at least 1")
    return chosen


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked before anything is measured."""
    parser = Options(description="Time our Langevin sampler against its peers.")
    parser.add_argument("--repetitions", type=int, default=7, help="how often every contestant is timed, at least 1")
    default = ROOT / "results" / "benchmarks" / "langevin.csv"
    parser.add_argument("--output", type=Path, default=default, help="the CSV file")
    chosen = parser.parse_args(words)
    if chosen.repetitions < 1:
        parser.error(f"--repetitions={chosen.repetitions}: must be at least 1")
    try:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--output={chosen.output}: {error.strerror}")
    return chosen


def main() -> None:
    """Measure, write and show."""
    chosen = options()
    rows = field_of_contestants()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "network.npz"
        problem.write(data)
        workers = start_all(rows, data)
        try:
            measure(rows, workers, data, chosen.repetitions)
        finally:
            for worker in workers.values():
                worker.close()
    table = tabulate(rows, workers)
    write(table, chosen.output)
    print(show(table))


if __name__ == "__main__":
    main()
