"""How fast our training step of implicit behavioural cloning is beside plain autograd and DI-engine, in one run.

    python benchmarks/ibc_step.py --repetitions 9

One thread, the same demonstrations, batches, starting weights and chains; sizes are in `_peers/training.py` and
`_peers/problem.py`. The variants between plain autograd and ours have one idea more each. As in langevin.py, a
repetition times every contestant once before the next begins, and ratios divide times of the same repetition. First of
all everyone's negatives and losses are checked: ours must be plain autograd's to rounding.
"""

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
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

# Our contestants draw the same numbers as plain autograd, so only rounding separates them: a unit that it moves across
# zero sends a chain elsewhere, which is rare in float32. The losses of a training from the start differ by up to .03 if
# other numbers are drawn, their mean by .006, and by .2 at half the learning rate. DI-engine draws other numbers; with
# a penalty its mean loss is .05 above, because it applies it to the positives as well.
SAME, APART = 1e-4, 2e-3  # two negatives are the same; the share of negatives that may not be
ROUNDING = 0.01
LOSSES_WITHIN = {("plain", HALF): 0.02, ("penalty", HALF): 0.02, ("plain", PEER): 0.03, ("penalty", PEER): 0.1}


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


@dataclass
class Beginning:
    """What a contestant does first: its first negatives, their moments, and the losses of a training."""

    negatives: np.ndarray
    moments: list[problem.Moments]
    losses: np.ndarray


def beginning(row: Contestant, worker: Worker) -> Beginning | None:
    """Ask for it; nothing if the worker died, and the row says why."""
    print(f"checking {row.form}/{row.label}", file=sys.stderr)
    drawn = asked(row, worker, f"network/{row.form}/{row.label}", ONCE)
    trained = asked(row, worker, f"losses/{row.form}/{row.label}", ONCE)
    if row.trouble:
        return None
    moments = [problem.Moments(*values) for values in drawn["moments"]]
    return Beginning(np.array(drawn["values"]), moments, np.array(trained["values"]))


def compare(row: Contestant, found: Beginning, reference: Beginning) -> str:
    """What agrees, for the table; what does not is the row's trouble."""
    within = LOSSES_WITHIN.get((row.form, row.label), ROUNDING)
    exact = within == ROUNDING
    apart = float(np.mean(np.abs(found.negatives - reference.negatives) > SAME))
    difference = found.losses - reference.losses
    away = abs(difference.mean()) if row.label == PEER else np.abs(difference).max()
    if exact and not apart <= APART:
        row.trouble = f"wrong negatives: {apart:.1%} are not the reference's"
    elif not away <= within:
        row.trouble = f"wrong losses: {away:.1g} from the reference's"
    same = f"{1 - apart:.2%} of the first negatives are the reference's, " if exact else ""
    what = "the mean loss" if row.label == PEER else "the losses"
    return f"{same}{what} of {training.BATCHES} steps to {away:.0e}"


def check(rows: list[Contestant], workers: dict[str, Worker], data: Path) -> dict[str, str]:
    """Compare everyone's first negatives with their law, and these and the losses of a training with plain autograd's.

    With a penalty the reference is our own training, of which the tests say that it is autograd's. Returns what agrees,
    row by row.
    """
    law = problem.network_law(data, "ibc")
    steps = [row for row in rows if row.workload == "step" and not row.trouble]
    begun = {row.name: beginning(row, workers[row.worker]) for row in steps}
    agreement = {}
    for row in steps:
        found = begun[row.name]
        reference = begun.get(f"step/penalty/{OURS}" if row.form == "penalty" else f"step/plain/{PLAIN}")
        if found and not problem.agrees(found.moments, law):
            row.trouble = "wrong negatives: not of their law"
        elif found and reference is None:
            row.trouble = "not run: nothing to compare with"
        elif found and reference:
            agreement[row.name] = compare(row, found, reference)
    return agreement


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


def tabulate(rows: list[Contestant], workers: dict[str, Worker], agreement: dict[str, str]) -> pd.DataFrame:
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
        line["note"] = row.trouble or "; ".join(notes(row, found, worker.engine if worker else "", agreement))
        lines.append(line)
    times, share = ["median_seconds", "low_seconds", "high_seconds"], ["ratio_to_ours", "ratio_low", "ratio_high"]
    columns = ["workload", "form", "contestant", "version", *times, *share, "repetitions", "note"]
    return pd.DataFrame(lines, columns=columns)


def notes(row: Contestant, found: dict[str, Contestant], engine: str, agreement: dict[str, str]) -> list[str]:
    """What computed; the rate of a product; how near the losses are; what an idea brought; the share of the rate."""
    if row.workload == "product":
        rate = statistics.median(product_operations() / time for time in row.seconds)
        return [engine, f"{rate / 1e9:.0f} GFLOP/s in float32 products of 4096 x 256 by 256 x 256"]
    said = [engine, agreement[row.name]]
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
        problem.write(data)
        training.extend(data, problem.ACTION_DIM)
        workers = start_all(rows, data)
        try:
            agreement = check(rows, workers, data)
            measure(rows, workers, chosen.repetitions)
        finally:
            for worker in workers.values():
                worker.close()
    table = tabulate(rows, workers, agreement)
    write(table, chosen.output)
    print(show(table), *verdicts(rows), f"load average {os.getloadavg()[0]:.1f}", sep="\n")


if __name__ == "__main__":
    main()
