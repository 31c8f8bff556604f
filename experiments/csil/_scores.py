"""What the MuJoCo frames of CSIL say: scores at the last evaluation and at the best, levels and leads."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from experiments.harness import stats
from experiments.harness.claim import INCONCLUSIVE, REPRODUCED, Verdict, above, weakest


def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """The returns, with `score`: 0 is a uniform policy's, 1 the demonstrations'.

    A diverged member has the lowest score of all, at most 0.
    """
    place = ["env", "demonstrations", "seed"]
    returns = frame[frame.metric == "return"]
    low, high = (returns[returns.method == one].set_index(place).value for one in ("random", "expert"))
    learnt = returns[~returns.method.isin(["random", "expert"])].set_index(place)
    score = (learnt.value - low.reindex(learnt.index)) / (high - low).reindex(learnt.index)
    return learnt.assign(score=score.fillna(min(0.0, score.min()))).reset_index()


def final(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Scores after the last update: a line per seed, a column per environment and number of demonstrations."""
    mine = rows[rows.method == method]
    if mine.empty:
        raise LookupError(f"{method}: was not run")
    return at(mine, mine.steps.max())


def at(rows: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Scores of one method after so many environment steps, laid out as `final`."""
    return _wide(rows[rows.steps == steps])


def best(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """The best evaluation of each member instead: chosen by looking, it flatters."""
    mine = rows[rows.method == method].groupby(["env", "demonstrations", "seed"])[["score"]].max()
    return _wide(mine.reset_index())


def strongest(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """As `final`, at the number of updates that is best on average for each environment and number."""
    mine = rows[rows.method == method]
    means = mine.groupby(["env", "demonstrations", "update"]).score.mean()
    at = means.groupby(["env", "demonstrations"]).idxmax()
    chosen = mine.set_index(["env", "demonstrations", "update"]).loc[list(at)]
    return _wide(chosen.reset_index())


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.pivot(index="seed", columns=["env", "demonstrations"], values="score")


def scope(frame: pd.DataFrame) -> str:
    """What was run, in words: environments, numbers of demonstrations, and the diverged members of each method."""
    members = frame[frame.metric == "diverged"].groupby(["env", "method", "demonstrations", "seed"]).value.last()
    bad = members.groupby("method", sort=False).sum()
    diverged = ", ".join(f"{count:.0f} of {method}" for method, count in bad[bad > 0].items()) or "0"
    counts = sorted(set(frame.demonstrations))
    numbers = f"{', '.join(map(str, counts))} demonstration{'s' * (counts != [1])}"
    return f"{', '.join(sorted(set(frame.env)))} with {numbers}; diverged: {diverged}."


def middle(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over seeds and conditions, (r, n, ...) -> (r,)."""
    return stats.interquartile_mean(values.reshape(len(values), -1))


def level(table: pd.DataFrame) -> stats.Interval:
    """Interquartile mean of scores, as reported; seeds are resampled, each with all its conditions.

    Not stratified, which would resample each condition by itself: one seed's share demonstrations and episodes.
    """
    return stats.bootstrap_interval(table.to_numpy(), middle)


def average(table: pd.DataFrame) -> stats.Interval:
    """Mean score over seeds, each with all its conditions, and Student's interval: what decides.

    A percentile bootstrap of so few seeds would be too narrow.
    """
    return stats.mean_interval(table.mean(axis=1))


def told(table: pd.DataFrame) -> str:
    """The mean score and its interval, in words."""
    center, low, high = average(table)
    return f"{center:.2f} [{low:.2f}, {high:.2f}]"


def short(table: pd.DataFrame) -> str:
    """The mean score, which decides, and the interquartile mean beside it, in words."""
    return f"{average(table)[0]:.2f} (IQM {level(table)[0]:.2f})"


def lead(first: pd.DataFrame, second: pd.DataFrame, about: str = "") -> Verdict:
    """Whether one method is above another on the seeds that they share, over all conditions and clearly below in none.

    Raises:
        ValueError: they were measured on other seeds or conditions.
    """
    if not (first.index.equals(second.index) and first.columns.equals(second.columns)):
        raise ValueError("two methods were measured on other seeds or conditions")
    difference = first - second
    verdict = above(average(difference), 0.0, about)
    behind = [name for name in difference if stats.mean_interval(difference[name])[2] < 0]
    if verdict.verdict == REPRODUCED and behind:
        return verdict._replace(verdict=INCONCLUSIVE, note=f"{about} Yet clearly behind in {behind}.")
    return verdict


def tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Last scores by method, of each clone (BC) those at its best number of steps."""
    rows = scores(frame)
    methods = dict.fromkeys(rows.method)
    found = {name: (strongest if name.startswith("BC") else final)(rows, name) for name in methods}
    return {name: table.sort_index(axis=1) for name, table in found.items()}


def above_rivals(frame: pd.DataFrame, method: str, rivals: Callable[[str], bool]) -> Verdict:
    """Whether a method is above all that `rivals` names: the check that speaks most against it, told with all means."""
    found = tables(frame)
    means = ", ".join(f"{name} {told(table)}" for name, table in found.items())
    note = f"Mean scores: {means}. {scope(frame)}"
    leads = [lead(found[method], table, note) for name, table in found.items() if rivals(name)]
    return weakest(leads, expected=np.inf)


def better(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Probability of improvement: that a seed of one scores more than a seed of the other, mean over conditions."""
    one, other = first.to_numpy()[:, None], second.to_numpy()[None]
    return float(((one > other) + 0.5 * (one == other)).mean())
