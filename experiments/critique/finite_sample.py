"""Critique, Section 3 with finitely many demonstrations: whose error vanishes, whose has a floor, who needs fewer?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize.elementwise import find_root
from scipy.special import expit

from experiments.critique import _two_state as example
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, below, equivalent, holds, jointly, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.harness.stats import Interval, bootstrap_interval

SHARD_AXES = ("seeds",)
# The parameter set is compact: with few demonstrations all actions may agree, and the likelihood has no maximum.
# How often an estimate lies on its edge is recorded.
LOWEST, HIGHEST = -6.0, 8.0
LARGE = 1000  # from this many demonstrations on, rates and ratios are compared with large-sample theory


@dataclass
class Config:
    """k: slope; d2: the expert's visits to s2 besides the well-specified value; n: demonstrated pairs."""

    k: float = bounded(-10, 10)
    d2: list[float] = bounded(0.001, 0.999)
    n: list[int] = bounded(2, 10_000_000)
    repetitions: int = bounded(1, 100_000)
    seeds: list[int] = seed_list()


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Mean squared error of both estimators over `repetitions` data sets per seed, case and number of pairs."""
    frames = []
    for done, seed in enumerate(cfg.seeds):
        frames.append(context.piece(f"seed {seed}", lambda seed=seed: _one_seed(cfg, seed, context)))
        context.progress(done + 1, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True).assign(k=cfg.k)


def _one_seed(cfg: Config, seed: int, context: Context) -> pd.DataFrame:
    rng = context.rng(seed)
    right = float(example.consistent_visits(torch.tensor(cfg.k, dtype=torch.float64)))
    cases = [("well specified", right), *((f"misspecified, {d2:g}", d2) for d2 in cfg.d2)]
    n, d2 = np.array(cfg.n)[:, None, None], np.array([value for _, value in cases])[:, None]
    visits2 = rng.binomial(n, d2, size=(len(cfg.n), len(cases), cfg.repetitions))
    taken1 = rng.binomial(n - visits2, expit(example.EXPERT))
    taken2 = rng.binomial(visits2, expit(cfg.k * example.EXPERT))
    estimates = _estimates(n, visits2, taken1 + cfg.k * taken2, cfg.k)
    rows = [
        {
            "case": case,
            "d2": value,
            "n": cfg.n[i],
            "method": method,
            "mse": float(((estimate[i, j] - example.EXPERT) ** 2).mean()),
            "at_edge": float(((estimate[i, j] <= LOWEST) | (estimate[i, j] >= HIGHEST)).mean()),
        }
        for method, estimate in estimates.items()
        for i in range(len(cfg.n))
        for j, (case, value) in enumerate(cases)
    ]
    return pd.DataFrame(rows).assign(seed=seed, repetitions=cfg.repetitions)


def _estimates(n: np.ndarray, visits2: np.ndarray, feature: np.ndarray, k: float) -> dict[str, np.ndarray]:
    """Maximum likelihood of log pi(a|s) and of log p(s, a); `feature` sums a1 on s1 and k a1 on s2 over the data."""

    def cloning(theta: np.ndarray, n: np.ndarray, visits2: np.ndarray, feature: np.ndarray) -> np.ndarray:
        return (feature - (n - visits2) * expit(theta) - visits2 * k * expit(k * theta)) / n

    def joint(theta: np.ndarray, n: np.ndarray, visits2: np.ndarray, feature: np.ndarray) -> np.ndarray:
        one, other = np.exp(theta), np.exp(k * theta)
        return feature / n - (one + k * other) / (2 + one + other)

    arguments = np.broadcast_arrays(n.astype(float), visits2.astype(float), feature)
    return {"cloning": _maximum(cloning, arguments), "edm": _maximum(joint, arguments)}


def _maximum(slope: Callable[..., np.ndarray], arguments: Sequence[np.ndarray]) -> np.ndarray:
    """Where a falling slope is zero within [LOWEST, HIGHEST], else the edge that it points to."""
    found = find_root(slope, (LOWEST, HIGHEST), args=tuple(arguments)).x
    at_low = slope(np.full_like(arguments[0], LOWEST), *arguments) <= 0
    at_high = slope(np.full_like(arguments[0], HIGHEST), *arguments) >= 0
    return np.where(at_low, LOWEST, np.where(at_high, HIGHEST, found))


def errors(frame: pd.DataFrame, case: str, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of pairs n, shape (N,), and mean squared errors by seed, shape (seeds, N)."""
    rows = frame[(frame.case == case) & (frame.method == method)]
    table = rows.pivot_table(index="seed", columns="n", values="mse")
    return table.columns.to_numpy(), table.to_numpy()


def _rmse(squared: np.ndarray) -> np.ndarray:
    """Root of the mean over seeds, the axis before the last: (..., seeds, N) -> (..., N)."""
    return np.sqrt(squared.mean(-2))


def _large_sample(frame: pd.DataFrame, case: str) -> dict[str, float]:
    """Large-sample theory of one case: cloning's and EDM's sd times sqrt(n), and EDM's floor |theta* - 1|.

    Cloning has the information of the actions given the states; EDM, a misspecified likelihood, the sandwich V / J^2.
    """
    row = frame[frame.case == case].iloc[0]
    k, d2 = (torch.tensor([value], dtype=torch.float64) for value in (row.k, row.d2))
    optimum = torch.from_numpy(example.root(example.joint_slope, k, d2))
    feature = torch.tensor([[0.0, 1.0], [0.0, float(row.k)]], dtype=torch.float64)

    def variance(law: torch.Tensor) -> float:
        mean = (law * feature).sum()
        return float((law * (feature - mean) ** 2).sum())

    model = example.logits(optimum, k)[0].flatten().softmax(0).reshape(2, 2)
    expert = example.weights(k, d2)[0]
    # The variance of a1 given the state, weighted by the feature's size there and by the visits.
    chosen = expert / expert.sum(-1, keepdim=True)
    given_state = float((expert.sum(-1) * feature[:, 1] ** 2 * chosen.prod(-1)).sum())
    return {
        "cloning": given_state**-0.5,
        "edm": variance(expert) ** 0.5 / variance(model),
        "floor": abs(float(optimum) - example.EXPERT),
    }


def _slope(frame: pd.DataFrame, case: str) -> Interval:
    """Slope of cloning's log RMSE against log n for n >= LARGE."""
    n, squared = errors(frame, case, "cloning")
    x = np.log(n[n >= LARGE])
    centred = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return bootstrap_interval(squared[:, n >= LARGE], lambda sample: np.log(_rmse(sample)) @ centred)


def decide_cloning(frame: pd.DataFrame) -> Verdict:
    """Cloning's error falls as n^(-1/2) in every case."""
    checks = [equivalent(_slope(frame, case), -0.5, 0.03) for case in frame.case.unique()]
    note = f"Slope of log RMSE against log n from n = {LARGE}, the case furthest from -1/2; edge solutions counted."
    return weakest(checks, expected=-0.5)._replace(note=note)


def decide_floor(frame: pd.DataFrame) -> Verdict:
    """At the largest n EDM's error is what large-sample theory says, nearly all of it the floor |theta* - 1|."""
    checks, floors = [], []
    for case in _misspecified(frame):
        n, squared = errors(frame, case, "edm")
        theory = _large_sample(frame, case)
        expected = float(np.hypot(theory["floor"], theory["edm"] / n[-1] ** 0.5))
        floors.append(f"{theory['floor']:.3f}")
        if theory["floor"] < 0.9 * expected:
            return holds(False, theory["floor"], f"{case}: no floor that {n[-1]} pairs could show.")
        ratio = bootstrap_interval(squared[:, -1:], lambda sample, full=expected: _rmse(sample)[:, 0] / full)
        checks.append(equivalent(ratio, 1.0, 0.02))
    note = f"n = {frame.n.max()}, floors |theta* - 1| of {', '.join(floors)}; the case furthest from 1."
    return weakest(checks, expected=1.0)._replace(note=note)


def decide_efficiency(frame: pd.DataFrame) -> Verdict:
    """Where d_E(s2) is the well-specified value EDM's RMSE over cloning's is below 1, and what theory says it is."""
    n, edm = errors(frame, "well specified", "edm")
    both = np.stack([edm, errors(frame, "well specified", "cloning")[1]], -1)[:, n >= LARGE]
    ratio = bootstrap_interval(both, lambda part: np.exp(np.log(_rmse(part[..., 0]) / _rmse(part[..., 1])).mean(-1)))
    theory = _large_sample(frame, "well specified")
    expected = theory["edm"] / theory["cloning"]
    note = (
        f"Geometric mean over n >= {LARGE}; large-sample theory: {expected:.4f}. There the marginal is right, and EDM "
        "uses the information in it."
    )
    return jointly([below(ratio, 1.0), equivalent(ratio, expected, 0.02)], note)


def decide_crossover(frame: pd.DataFrame) -> Verdict:
    """In each misspecified case cloning has the smaller error at the largest n; from which n on is reported.

    Only numbers of pairs at which no estimate lies on the parameter set's edge count: else the bounds would decide.
    """
    cases = _misspecified(frame)
    ends = [below(bootstrap_interval(_clean(frame, case)[1], lambda part: _gap(part)[:, -1]), 0.0) for case in cases]
    crossings = [bootstrap_interval(*_crossing(frame, case)) for case in cases]
    listed = "; ".join(
        f"{case.split()[-1]}: {value:.0f} ({low:.0f} to {high:.0f})"
        for case, (value, low, high) in zip(cases, crossings, strict=True)
    )
    latest = max(crossings, key=lambda crossing: np.nan_to_num(crossing[0], nan=np.inf))
    note = f"Pairs from which cloning is better, by d_E(s2): {listed}; EDM has the smaller error before."
    return Verdict(weakest(ends).verdict, *latest, note)


def _crossing(frame: pd.DataFrame, case: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Data and statistic of the n at which the two RMSE curves last cross, linear between points in log n.

    The smallest n if cloning is better at every one, NaN if it is not at the largest.
    """
    n, both = _clean(frame, case)
    log_n = np.log(n)

    def statistic(sample: np.ndarray) -> np.ndarray:
        """The crossover of each resample of the seeds."""
        gap = _gap(sample)
        last = gap.shape[-1] - 1 - np.argmax(gap[:, ::-1] >= 0, axis=-1)  # the last n at which EDM is not worse
        row, following = np.arange(len(gap)), (last + 1).clip(max=gap.shape[-1] - 1)
        before, after = gap[row, last], gap[row, following]
        part = np.divide(before, before - after, out=np.zeros_like(before), where=before != after)
        crossing = np.exp(log_n[last] + part * (log_n[following] - log_n[last]))
        crossing = np.where((gap >= 0).any(-1), crossing, n[0])
        return np.where(gap[:, -1] < 0, crossing, np.nan)

    return both, statistic


def _clean(frame: pd.DataFrame, case: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of pairs (N,) without an estimate on the edge; errors there of cloning and EDM, (seeds, N, 2)."""
    clean = frame[frame.case == case].groupby("n").at_edge.max().to_numpy() == 0
    both = np.stack([errors(frame, case, method)[1] for method in ("cloning", "edm")], -1)
    return errors(frame, case, "edm")[0][clean], both[:, clean]


def _gap(sample: np.ndarray) -> np.ndarray:
    """Log of cloning's RMSE over EDM's, (resamples, seeds, N, 2) -> (resamples, N): negative, cloning is better."""
    return np.log(_rmse(sample[..., 0])) - np.log(_rmse(sample[..., 1]))


def _misspecified(frame: pd.DataFrame) -> list[str]:
    return [case for case in frame.case.unique() if case != "well specified"]


CLAIMS = [
    Claim(
        id="critique.finite-sample.cloning",
        source="Swamy et al. 2021",
        location="Section 3",
        statement="(Asked here) With n demonstrations behavioural cloning's error vanishes, as n^(-1/2).",
        measures="slope of log RMSE against log n",
        decide=decide_cloning,
        smallest_scale="laptop",
    ),
    Claim(
        id="critique.finite-sample.floor",
        source="Swamy et al. 2021",
        location="Section 3",
        statement="(Asked here) EDM's error has a floor, its optimum's distance from the expert, whatever n.",
        measures="EDM's RMSE at the largest n over theory's",
        decide=decide_floor,
        smallest_scale="laptop",
    ),
    Claim(
        id="critique.finite-sample.efficiency",
        source="Swamy et al. 2021",
        location="Section 3 (the other side, found here)",
        statement="(Found here) Where the model's marginal is right EDM is the more efficient estimator.",
        measures="RMSE of EDM over cloning's",
        decide=decide_efficiency,
        smallest_scale="laptop",
    ),
    Claim(
        id="critique.finite-sample.crossover",
        source="Swamy et al. 2021",
        location="Section 3",
        statement="(Asked here) Where it is not, cloning is better from some number of demonstrations on.",
        measures="demonstrated pairs n",
        decide=decide_crossover,
        smallest_scale="laptop",
    ),
]

_COLOURS = {"cloning": style.BLUE, "edm": style.VERMILION}
_LABELS = {"cloning": "behavioural cloning, 95 % over seeds", "edm": "EDM, 95 % over seeds"}


def figure(frame: pd.DataFrame) -> Figure:
    """One panel per case: RMSE against the number of pairs, with 95 % intervals over seeds and large-sample theory."""
    cases = list(frame.case.unique())
    drawing, axes = style.panels(1, len(cases), sharey=True)
    for axis, case in zip(axes, cases, strict=True):
        theory = _large_sample(frame, case)
        for method, _colour in _COLOURS.items():
            _draw_curve(axis, frame, case, method)
            n = np.geomspace(frame.n.min(), frame.n.max(), 200)
            expected = np.hypot(theory[method] / np.sqrt(n), theory["floor"] if method == "edm" else 0)
            axis.plot(n, expected, "--", color=style.BLACK, linewidth=0.8, zorder=3)
        if case != "well specified":
            _draw_crossing(axis, *_crossing(frame, case))
        d2, kind = frame[frame.case == case].d2.iloc[0], case.split(",")[0]
        axis.set(xscale="log", yscale="log", xlabel="demonstrated pairs $n$", title=f"$d_E(s_2) = {d2:.3g}$:\n{kind}")
    axes[0].plot([], [], "--", color=style.BLACK, linewidth=0.8, label="large-sample theory")
    axes[0].axvspan(1, 1, color=style.GREY, alpha=0.3, label="crossover, 95 %")
    axes[0].set_ylabel(r"root mean squared error of $\theta$")
    axes[0].set_xlim(left=frame.n.min() / 1.6)
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, columnspacing=1)
    return drawing


def _draw_crossing(axis, both: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> None:
    _, low, high = bootstrap_interval(both, statistic)
    if np.isfinite([low, high]).all():
        axis.axvspan(low, high, color=style.GREY, alpha=0.3, linewidth=0)


def _draw_curve(axis, frame: pd.DataFrame, case: str, method: str) -> None:
    n, squared = errors(frame, case, method)
    intervals = np.array([bootstrap_interval(squared[:, [i]], lambda part: _rmse(part)[:, 0]) for i in range(len(n))])
    value, low, high = intervals.T
    bars = np.nan_to_num(np.stack([value - low, high - value]))
    axis.errorbar(n, value, bars, fmt="o-", color=_COLOURS[method], markersize=3, label=_LABELS[method])
