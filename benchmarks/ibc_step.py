"""How fast our training step of implicit behavioural cloning is beside plain autograd and DI-engine, in one run.

    python benchmarks/ibc_step.py --repetitions 9

One thread, the same demonstrations, batches, starting weights and chains; sizes are in `_peers/training.py` and
`_peers/problem.py`. The variants between plain autograd and ours have one idea more each. As in langevin.py, a
repetition times every contestant once before the next begins, and ratios divide times of the same repetition. First of
all every contestant trains from the start, and its losses must be those of plain autograd.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _peers import environments, problem, training
from _peers.worker import Worker
from langevin import PEERS, ROOT, Contestant, Options, show, spread, worded, write

ONCE, WARM_UP, MEASURE = 1e-9, 0.5, 1.0  # seconds a contestant runs at least
ENVIRONMENTS = {"step_ours": "", "step_ding": "ding"}  # of each worker; ours is the one that runs this
WORKLOADS = {"plain": "training step", "penalty": "training step, penalty", "ideas": "training step, ideas"}
OURS, HALF, PLAIN, PEER = "ours", "ours, bfloat16 sampler", "plain autograd", "DI-engine"
IDEAS = (
    "+ gradient by hand",
    "+ observation's share once",
    "+ oneDNN in the sampler",
    "+ our layers in training",
    "+ fused Adam",
)
BARS = ((PLAIN, OURS, 1.4), (PLAIN, HALF, 2.5), (PEER, OURS, 5.0), (PEER, HALF, 5.0))

# Same numbers drawn, so only rounding separates the losses, and what it grows to in a training: float32's, or that of
# a sampler in bfloat16. DI-engine draws numbers of its own: there the mean loss is compared, of 20 x 512 rows.
ROUNDING, HALF_ROUNDING, SAMPLING = 1e-3, 0.05, 0.05


def field_of_contestants() -> list[Contestant]:
    """All rows, in the order of a repetition."""
    rows = [Contestant("step_ours", "product", "-", label) for label in ("torch", "oneDNN")]
    rows += [Contestant("step_ours", "step", "plain", label) for label in (OURS, HALF, PLAIN)]
    rows.append(Contestant("step_ding", "step", "plain", PEER))
    rows += [Contestant("step_ours", "step", "ideas", label) for label in IDEAS]
    rows += [Contestant("step_ours", "step", "penalty", label) for label in (OURS, HALF)]
    return [*rows, Contestant("step_ding", "step", "penalty", PEER)]


def start_all(rows: list[Contestant], data: Path) -> dict[str, Worker]:
    """All workers that start; the rows of the others say why theirs did not."""
    PEERS.mkdir(parents=True, exist_ok=True)
    workers, core = {}, max(os.sched_getaffinity(0))
    for name, home in ENVIRONMENTS.items():
        print(f"starting {name}", file=sys.stderr)
        try:
            python = environments.make(home, PEERS) if home else sys.executable
            workers[name] = Worker(name, python, data, core, PEERS / f"{name}.log", None if home else ROOT)
        except RuntimeError as error:
            for row in rows:
                row.trouble = f"not run: {error}" if row.worker == name else row.trouble
    return workers


def asked(row: Contestant, worker: Worker, name: str, at_least: float) -> dict:
    """The worker's answer, or nothing and the row says why."""
    try:
        return worker.run(name, at_least)
    except RuntimeError as error:
        row.trouble = f"not run: {error}"
        return {}


def check(rows: list[Contestant], workers: dict[str, Worker]) -> dict[str, float]:
    """Train every contestant from the start; the largest difference of its losses to the same training's by autograd.

    For DI-engine, the difference of mean losses. With a penalty the reference is our own training, of which the tests
    say that it is autograd's.
    """
    found: dict[str, np.ndarray] = {}
    for row in rows:
        if row.workload == "step" and not row.trouble:
            print(f"checking {row.form}/{row.label}", file=sys.stderr)
            answer = asked(row, workers[row.worker], f"losses/{row.form}/{row.label}", ONCE)
            found |= {row.name: np.array(answer["values"])} if answer else {}
    differences = {}
    for row in rows:
        if row.name in found:
            reference = found.get(f"step/penalty/{OURS}" if row.form == "penalty" else f"step/plain/{PLAIN}")
            away = np.inf if reference is None else found[row.name] - reference
            differences[row.name] = float(abs(np.mean(away)) if row.label == PEER else np.max(np.abs(away)))
            allowed = {PEER: SAMPLING, HALF: HALF_ROUNDING}.get(row.label, ROUNDING)
            if not differences[row.name] <= allowed:
                row.trouble = f"wrong losses: {differences[row.name]:.2g} from plain autograd's"
    return differences


def measure(rows: list[Contestant], workers: dict[str, Worker], repetitions: int) -> None:
    """Warm every contestant up, then run all of them once per repetition."""
    for repetition in range(repetitions + 1):
        print(f"repetition {repetition} of {repetitions}" if repetition else "warm-up", file=sys.stderr)
        for row in rows:
            if not row.trouble:
                answer = asked(row, workers[row.worker], row.name, MEASURE if repetition else WARM_UP)
                if answer and repetition:
                    row.seconds.append(answer["seconds"])


def operations() -> float:
    """Floating-point operations that a training step cannot do without; as `network_operations` in langevin.py.

    Per iteration and negative, the hidden layer and the action's share of the first, forwards and backwards. Per
    candidate of the loss, the same and the last layer forwards, and for the backward pass the weights' slopes of all
    three and the values' slopes of all but the first. The observation's share: once for the sampler, and forwards and
    backwards in the weights for the loss.
    """
    first, second = problem.HIDDEN
    negatives = problem.OBSERVATIONS * problem.NEGATIVES
    candidates = problem.OBSERVATIONS * (problem.NEGATIVES + 1)
    hidden, entry, share = first * second, problem.ACTION_DIM * first, problem.OBSERVATION_DIM * first
    sampler = problem.NETWORK_STEPS * negatives * 2 * (hidden + entry)
    training_pass = candidates * (2 * (entry + hidden + second) + hidden + second)
    return 2.0 * (sampler + training_pass + 3 * problem.OBSERVATIONS * share)


def product_operations() -> float:
    """Of the hidden layer's product for all negatives."""
    first, second = problem.HIDDEN
    return 2.0 * problem.OBSERVATIONS * problem.NEGATIVES * first * second


def ratios(above: Contestant | None, below: Contestant | None) -> list[float]:
    """How many times as long one takes as the other, one number per repetition; none if either was not measured."""
    if above is None or below is None or above.trouble or below.trouble:
        return []
    return [time / other for time, other in zip(above.seconds, below.seconds, strict=True)]


def ranged(values: list[float], digits: int = 2) -> str:
    """A median with its range."""
    return worded(np.array([statistics.median(values), min(values), max(values)]), digits)


def tabulate(rows: list[Contestant], workers: dict[str, Worker], differences: dict[str, float]) -> pd.DataFrame:
    """One line per contestant; times are medians with the range over repetitions."""
    found = {row.name: row for row in rows}
    lines = []
    for row in rows:
        worker = workers.get(row.worker)
        line: dict[str, str | float] = {"workload": WORKLOADS.get(row.form, row.workload), "contestant": row.label}
        line["form"] = "ibc" if row.workload == "step" else "-"
        line["version"] = worker.version if worker and row.workload == "step" else ""
        if not row.trouble:
            line |= spread("seconds", row.seconds)
        ours = found.get(f"step/{'penalty' if row.form == 'penalty' else 'plain'}/{OURS}")
        if row.workload == "step" and ratios(row, ours):
            line |= spread("ratio", ratios(row, ours))
        line["repetitions"] = 0 if row.trouble else len(row.seconds)
        line["note"] = row.trouble or "; ".join(notes(row, found, worker.engine if worker else "", differences))
        lines.append(line)
    times, share = ["median_seconds", "low_seconds", "high_seconds"], ["ratio_to_ours", "ratio_low", "ratio_high"]
    columns = ["workload", "form", "contestant", "version", *times, *share, "repetitions", "note"]
    return pd.DataFrame(lines, columns=columns)


def notes(row: Contestant, found: dict[str, Contestant], engine: str, differences: dict[str, float]) -> list[str]:
    """What computed; the rate of a product; how near the losses are; what an idea brought; the share of the rate."""
    if row.workload == "product":
        rate = statistics.median(product_operations() / time for time in row.seconds)
        return [engine, f"{rate / 1e9:.0f} GFLOP/s in float32 products of 4096 x 256 by 256 x 256"]
    said = [engine, f"losses within {differences[row.name]:.1g} of the reference"]
    if row.form == "ideas":
        before = IDEAS[: IDEAS.index(row.label)]
        above = found[f"step/ideas/{before[-1]}" if before else f"step/plain/{PLAIN}"]
        if gained := ratios(above, row):
            said.append(f"{ranged(gained)} times as fast as {'the row above' if before else PLAIN}")
    best = [one.seconds for one in found.values() if one.workload == "product" and not one.trouble]
    if row.name == f"step/plain/{OURS}" and best:
        fastest = [product_operations() / min(times) for times in zip(*best, strict=True)]
        shares = [operations() / time / rate for time, rate in zip(row.seconds, fastest, strict=True)]
        said.append(f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%}) of the products' rate")
    return said


def verdicts(rows: list[Contestant]) -> list[str]:
    """What was aimed at and what was reached, one line each."""
    found = {row.label: row for row in rows if row.form == "plain"}
    said = []
    for slower, faster, bar in BARS:
        reached = ratios(found[slower], found[faster])
        words = f"{ranged(reached)}, {'reached' if statistics.median(reached) >= bar else 'missed'}" if reached else "?"
        said.append(f"{slower} / {faster}, aim {bar:g}: {words}")
    return said


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked before anything is measured."""
    parser = Options(description="Time our training step beside plain autograd and DI-engine.")
    parser.add_argument("--repetitions", type=int, default=9, help="how often every contestant is timed, at least 1")
    default = ROOT / "results" / "benchmarks" / "ibc_step.csv"
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
    """Check, measure, write and show."""
    chosen = options()
    rows = field_of_contestants()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "training.npz"
        sizes = problem.OBSERVATION_DIM, problem.ACTION_DIM, problem.HIDDEN, problem.OBSERVATIONS
        training.write(data, *sizes)
        workers = start_all(rows, data)
        try:
            differences = check(rows, workers)
            measure(rows, workers, chosen.repetitions)
        finally:
            for worker in workers.values():
                worker.close()
    table = tabulate(rows, workers, differences)
    write(table, chosen.output)
    print(show(table), *verdicts(rows), f"load average {os.getloadavg()[0]:.1f}", sep="\n")


if __name__ == "__main__":
    main()
