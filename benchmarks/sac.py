"""How fast our soft actor-critic learns beside stable-baselines3's, in one run: steps per second, and returns.

    python benchmarks/sac.py --repetitions 9 --curve-steps 100000 --seeds 3

One thread on one core, HalfCheetah-v5, the same networks, batches and rates, one update per environment step. A
repetition times both before the next begins, and ratios divide times of the same repetition. The curves say whether
both learn alike: returns of the mode along trainings of the same length, with intervals over seeds. They are not timed,
and so trained side by side, on a core each; a training that is in the file of curves already is not repeated, so that
they go on after a run that was cut off. Times are taken anew.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
from _peers import control, environments
from _peers.environments import HERE
from _peers.worker import Worker
from langevin import PEERS, ROOT, Options, show, spread, worded, write
from scipy.stats import t as student

WARM_UP, MEASURE, PATIENCE = 3.0, 3.0, 36_000.0  # seconds
OURS, PEER = "ours", "stable-baselines3"
HOMES = {OURS: ("sac_ours", ""), PEER: ("sac_sb3", "stable_baselines3")}
BAR = 1.3


def start(contestant: str, sizes: str) -> Worker:
    """The contestant's process.

    Raises:
        RuntimeError: it cannot be installed or started; one line.
    """
    name, home = HOMES[contestant]
    PEERS.mkdir(parents=True, exist_ok=True)
    python = environments.make(home, PEERS) if home else sys.executable
    core = max(os.sched_getaffinity(0))
    return Worker(name, python, Path(sizes), core, PEERS / f"{name}.log", None if home else ROOT)


def times(workers: dict[str, Worker], repetitions: int) -> dict[str, list[float]]:
    """Seconds per environment step of every contestant, one per repetition."""
    found: dict[str, list[float]] = {name: [] for name in workers}
    for repetition in range(repetitions + 1):
        for name, worker in workers.items():
            seconds = worker.run("block", MEASURE if repetition else WARM_UP)["seconds"] / control.BLOCK
            if repetition:
                found[name].append(seconds)
    return found


class Curves:
    """The file of all trainings' returns: a row per evaluation of each.

    Args:
        path: the file; it need not exist.
        steps: of every training.
    """

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps, self.lock = path, steps, Lock()
        words = dict.fromkeys(["contestant", "version", "engine", "code"], str)  # a hash may look like a number
        self.rows = pd.read_csv(path, dtype=words) if path.exists() else pd.DataFrame()

    def measure(self, name: str, worker: Worker, seeds: int) -> np.ndarray:
        """The contestant's returns (seeds, evaluations), from the file where it has them; writes every new training."""
        place = {"contestant": name, "version": worker.version, "engine": worker.engine, "code": code(name)}
        place["steps"] = self.steps
        return np.array([self._one(worker, place | {"seed": seed}) for seed in control.curve_seeds(seeds)])

    def _one(self, worker: Worker, place: dict[str, str | int]) -> list[float]:
        rows = self.rows  # of this moment: the other contestant's thread may put a longer table in its place
        if len(rows):
            known = rows[(rows[list(place)] == pd.Series(place)).all(axis=1)]
            if len(known):
                return known["return"].tolist()
        found = worker.run(f"curve/{place['seed']}", 1e-9, PATIENCE)["values"]
        along = [self.steps // control.EVALUATIONS * (number + 1) for number in range(len(found))]
        table = pd.DataFrame({"step": along, "return": found}).assign(**place)[[*place, "step", "return"]]
        with self.lock:
            self.rows = pd.concat([self.rows, table], ignore_index=True)
            write(self.rows, self.path)
        return found


def code(name: str) -> str:
    """The files of this tree that the contestant's returns may depend on, as a hash: another one trains anew."""
    files = [HERE / "control.py", HERE / f"run_{HOMES[name][0]}.py"]
    if name == OURS:
        files += sorted((ROOT / "imitation").rglob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def curves(workers: dict[str, Worker], seeds: int, file: Curves) -> dict[str, np.ndarray]:
    """Returns (seeds, evaluations) of every contestant, which train side by side; each has one thread, to be moved.

    Raises:
        RuntimeError: one of them failed; told when the others have ended, whose trainings are kept.
    """
    for worker, core in zip(workers.values(), cycle(os.sched_getaffinity(0))):
        os.sched_setaffinity(worker.process.pid, {core})
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = {name: pool.submit(file.measure, name, worker, seeds) for name, worker in workers.items()}
        return {name: job.result() for name, job in jobs.items()}


def difference(found: dict[str, np.ndarray]) -> str:
    """Area under our curves less the peer's, and the last return, means over seeds with Welch's 95 %, in words."""
    along = _apart(*(found[name].mean(1) for name in (OURS, PEER)))
    last = _apart(*(found[name][:, -1] for name in (OURS, PEER)))
    return f"mean return along the curve, ours less theirs: {along}; at its end: {last}"


def _apart(ours: np.ndarray, theirs: np.ndarray) -> str:
    parts = [one.var(ddof=1) / len(one) for one in (ours, theirs)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(ours) - 1) for part in parts)
    half = student.ppf(0.975, freedom) * sum(parts) ** 0.5
    center = ours.mean() - theirs.mean()
    return f"{center:.0f} [{center - half:.0f}, {center + half:.0f}]"


def tabulate(workers: dict[str, Worker], seconds: dict[str, list[float]], found: dict[str, np.ndarray],
             steps: int) -> pd.DataFrame:  # fmt: skip
    """A line per contestant for its step, and one for its returns."""
    lines = []
    for name, worker in workers.items():
        line: dict[str, str | float] = {"workload": "soft actor-critic step", "form": control.ENVIRONMENT}
        line |= {"contestant": name, "version": worker.version} | spread("seconds", seconds[name])
        ratios = [one / ours for one, ours in zip(seconds[name], seconds[OURS], strict=True)]
        returns = found[name]
        pairs = zip(returns.mean(0), returns.std(0, ddof=1), strict=True)
        along = ", ".join(f"{mean:.0f} +- {deviation:.0f}" for mean, deviation in pairs)
        said = f"{worker.engine}; {1 / np.median(seconds[name]):.0f} steps/s"
        if returns.size:
            said += f"; returns along {steps} steps, mean and spread over {len(returns)} seeds: {along}"
        lines.append(line | spread("ratio", ratios) | {"repetitions": len(ratios), "note": said})
    columns = ["median_seconds", "low_seconds", "high_seconds", "ratio_to_ours", "ratio_low", "ratio_high"]
    return pd.DataFrame(lines)[["workload", "form", "contestant", "version", *columns, "repetitions", "note"]]


def options() -> argparse.Namespace:
    """The command line, checked before anything is measured."""
    parser = Options(description="Time our soft actor-critic beside stable-baselines3's.")
    parser.add_argument("--repetitions", type=int, default=9, help="how often both are timed, at least 1")
    parser.add_argument("--curve-steps", type=int, default=100_000, help="of a training whose returns are compared")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each, at least 2")
    default = ROOT / "results" / "benchmarks" / "sac.csv"
    parser.add_argument("--output", type=Path, default=default, help="the CSV file; the curves lie beside it")
    chosen = parser.parse_args()
    if chosen.repetitions < 1 or chosen.seeds < 2 or chosen.curve_steps < control.EVALUATIONS:
        parser.error(f"repetitions at least 1, seeds at least 2, curve-steps at least {control.EVALUATIONS}")
    return chosen


def main() -> None:
    """Measure, write and show."""
    chosen = options()
    workers = {name: start(name, f"{chosen.curve_steps},{chosen.seeds}") for name in HOMES}
    try:
        seconds = times(workers, chosen.repetitions)
        file = Curves(chosen.output.with_stem(f"{chosen.output.stem}_curves"), chosen.curve_steps)
        found = curves(workers, chosen.seeds, file)
    finally:
        for worker in workers.values():
            worker.close()
    table = tabulate(workers, seconds, found, chosen.curve_steps)
    write(table, chosen.output)
    ratios = np.array(seconds[PEER]) / np.array(seconds[OURS])
    reached = "reached" if np.median(ratios) >= BAR else "missed"
    aim = f"steps/s, aim {BAR}: {worded(np.array([np.median(ratios), ratios.min(), ratios.max()]), 2)}, {reached}"
    print(show(table), aim, difference(found), sep="\n")


if __name__ == "__main__":
    main()
