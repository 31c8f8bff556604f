"""Lecture, Fig. 18.1: two policies with the same cloning loss, one linear in the horizon and one quadratic?

Both slip from s1 to s2 with probability e and differ only in s2, where the expert never is: they come back with
probability q there (pi_1: q = 1, pi_2: q = 0). With steps h = 1..H, s_1 = s0 and reward 1 in s1 the expert's lead is

    e / (e + q) [(H - 1) - (1 - (1 - q - e)^(H - 1)) / (e + q)].

For q = 0 and e H << 1 this is e (H - 1)(H - 2) / 2, and it never exceeds H - 1. For q > 0 it is about e H / (e + q)
once (e + q) H >> 1.

e is imposed: a table that clones a deterministic expert whose states are all in the data has e = 0, so that a quadratic
loss needs an e that the class or the data leave (Foster, Block and Misra 2024, arXiv 2407.15007).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture import _diagram
from imitation.mdp.horizon import occupancies, policy_value, repeated
from imitation.mdp.lecture import compounding, compounding_policy
from imitation.mdp.rollouts import rollouts

SHARD_AXES = ("seeds",)
EXAMPLE = compounding()
EXACT, CLOSED, SIMULATED = "dynamic programming", "closed form", "Monte Carlo"
GAP_TOLERANCE = 1e-9  # returns reach 1000 and carry rounding errors of 1e-13
LOSS_TOLERANCE = 1e-12
# Where the order shows: the slope in log H is off by about 3 / H and e H / 3, below a tenth in this window.
SHORTEST, SMALL = 50, 0.1
ORDER_TOLERANCE = 0.1
SATURATED = 10.0  # e H from which pi_2's slope must be back near 1, H / (H - 1 / e) = 1.11 or less
SATURATED_SLOPE = 1.2
# A lead of e H / (e + q) has forgotten its start once (e + q) H >> 1: it misses by about 1 / ((e + q) H) + 1 / H.
MIXED, MIXED_TOLERANCE = 50.0, 0.05
COUNTED = 100  # slips that Monte Carlo must have seen for its mean to be roughly normal
FALSE_ALARM = 0.01  # of all Monte Carlo cells together


@dataclass
class Config:
    """epsilons: e; recoveries: q, 1 for pi_1 and 0 for pi_2; episodes: of the simulation per seed and policy."""

    seeds: list[int] = seed_list()
    epsilons: list[float] = bounded(1e-6, 0.5)
    recoveries: list[float] = bounded(0, 1)
    horizons: list[int] = bounded(2, 10_000)
    episodes: int = bounded(1, 1_000_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per method, e, q and horizon (and seed, if simulated): the expert's lead and, if exact, the loss.

    `loss` is E_expert[-log prod_h pi(a_h|s_h)] in nats; `slips` counts the simulated episodes that left s1.
    """
    epsilon, recovery = torch.meshgrid(_tensor(cfg.epsilons), _tensor(cfg.recoveries), indexing="ij")
    index = pd.MultiIndex.from_product(
        [cfg.horizons, cfg.epsilons, cfg.recoveries], names=["horizon", "epsilon", "recovery"]
    )
    horizon = _tensor(cfg.horizons)[:, None, None]
    exact = {"gap": _exact_gap(cfg, epsilon, recovery), "loss": _cloning_loss(cfg, epsilon, recovery)}
    tables = [
        pd.DataFrame({name: values.numpy().ravel() for name, values in exact.items()}, index).assign(method=EXACT),
        pd.DataFrame({"gap": closed_form(epsilon, recovery, horizon).numpy().ravel()}, index).assign(method=CLOSED),
    ]
    frames = [table.reset_index() for table in tables]
    for number, seed in enumerate(cfg.seeds):
        frames.append(_simulated(cfg, context.rng(seed)).assign(seed=seed, method=SIMULATED))
        context.progress(number + 1, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _tensor(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def closed_form(epsilon: Tensor, recovery: Tensor, horizon: Tensor) -> Tensor:
    """The expert's lead J(pi_E) - J(pi)."""
    both = epsilon + recovery
    return epsilon / both * ((horizon - 1) - (1 - (1 - both) ** (horizon - 1)) / both)


def _exact_gap(cfg: Config, epsilon: Tensor, recovery: Tensor) -> Tensor:
    """One backward pass over the longest horizon gives them all: V with h steps to go, (horizons, E, Q)."""
    longest = max(cfg.horizons)
    reward = repeated(EXAMPLE.rewards[..., 0], longest)
    values = [
        policy_value(EXAMPLE.mdp, reward, repeated(compounding_policy(slip, recovery), longest))[..., 0]
        for slip in (torch.zeros_like(epsilon), epsilon)
    ]
    expert, learner = (value.flip(0)[cfg.horizons] for value in values)
    return expert - learner


def _cloning_loss(cfg: Config, epsilon: Tensor, recovery: Tensor) -> Tensor:
    nothing = torch.zeros((), dtype=torch.float64)
    expert = occupancies(EXAMPLE.mdp, repeated(compounding_policy(nothing, nothing), max(cfg.horizons)))
    visits = expert.cumsum(0)[[horizon - 1 for horizon in cfg.horizons]]  # (horizons, S, A)
    policy = compounding_policy(epsilon, recovery)
    return -torch.special.xlogy(visits[:, None, None], policy).sum((-2, -1))


def _simulated(cfg: Config, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    steps = np.array(cfg.horizons)
    for epsilon in cfg.epsilons:
        for recovery in cfg.recoveries:
            policy = compounding_policy(*_tensor([epsilon, recovery]))
            states = rollouts(EXAMPLE.mdp, repeated(policy, max(cfg.horizons)), cfg.episodes, rng).states.numpy()
            earned = (states == 1).cumsum(1)[:, steps - 1].mean(0)
            slips = (states == 2).cumsum(1)[:, steps - 1].astype(bool).sum(0)
            values = {"horizon": steps, "gap": steps - 1 - earned, "slips": slips}
            rows.append(pd.DataFrame(values).assign(epsilon=epsilon, recovery=recovery))
    return pd.concat(rows, ignore_index=True)


def slopes(frame: pd.DataFrame, recovery: float) -> list[float]:
    """The log-log slope of the lead against H for every e, fitted where H >= `SHORTEST` and e H <= `SMALL`."""
    rows = frame[(frame.method == EXACT) & np.isclose(frame.recovery, recovery) & (frame.horizon >= SHORTEST)]
    fitted = []
    for _, group in rows[rows.epsilon * rows.horizon <= SMALL * (1 + 1e-9)].groupby("epsilon"):
        if len(group) >= 2:
            fitted.append(float(np.polyfit(np.log(group.horizon), np.log(group.gap), 1)[0]))
    return fitted


def _last_slopes(frame: pd.DataFrame) -> list[float]:
    """pi_2's slope between neighbouring horizons with e H >= `SATURATED`."""
    rows = frame[(frame.method == EXACT) & (frame.recovery == 0) & (frame.epsilon * frame.horizon >= SATURATED)]
    steps = [
        np.diff(np.log(group.gap)) / np.diff(np.log(group.horizon))
        for _, group in rows.sort_values("horizon").groupby("epsilon")
    ]
    return [float(slope) for parts in steps for slope in parts]


def mixed_error(frame: pd.DataFrame) -> float:
    """How far the lead is from e H / (e + q) where q > 0 and (e + q) H >= `MIXED`: the largest share missed."""
    rows = frame[(frame.method == EXACT) & (frame.recovery > 0)]
    both = rows.epsilon + rows.recovery
    rows, both = (part[both * rows.horizon >= MIXED * (1 - 1e-9)] for part in (rows, both))
    return float((rows.gap * both / (rows.epsilon * rows.horizon) - 1).abs().max(skipna=False))


def tossed_once(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows as of a learner who tosses one coin for all visits of s2: the mean of the leads with q = 0 and q = 1."""
    exact = frame[(frame.method == EXACT) & frame.recovery.isin([0, 1])]
    leads = [exact[exact.recovery == q].set_index(["epsilon", "horizon"]).gap for q in (0, 1)]
    return ((leads[0] + leads[1]) / 2).reset_index().assign(method=EXACT, recovery=0.0)


def _simulation_agrees(frame: pd.DataFrame) -> tuple[bool, int]:
    """Whether every cell's interval has the exact lead in it, at a level that all cells share; and how many cells."""
    keys = ["epsilon", "recovery", "horizon"]
    cells = []
    for key, group in frame[frame.method == SIMULATED].groupby(keys):
        if group.slips.sum() >= COUNTED or group.gap.isna().any():
            cells.append((key, group.gap))
    exact = frame[frame.method == EXACT].set_index(keys).gap
    level = 1 - FALSE_ALARM / max(len(cells), 1)
    inside = []
    for key, gaps in cells:
        _, low, high = stats.mean_interval(gaps, level)
        inside.append(low <= exact[key] <= high)
    return bool(cells) and all(inside), len(cells)


def _have_slope(found: list[float], expected: float) -> bool:
    return bool(found) and bool(np.all(np.abs(np.array(found) - expected) <= ORDER_TOLERANCE))


def decide(frame: pd.DataFrame) -> Verdict:
    """Equal losses; slopes 1 (q = 1, 1/2) and 2 while e H is small, then e H / (e + q) and saturation; one result."""
    exact, closed = (frame[frame.method == method].reset_index() for method in (EXACT, CLOSED))
    error = float((exact.gap - closed.gap).abs().max(skipna=False))
    losses = exact.groupby(["epsilon", "horizon"]).loss.agg(["min", "max"])
    spread = float((losses["max"] - losses["min"]).max(skipna=False))
    first, second, last = slopes(frame, 1), slopes(frame, 0), _last_slopes(frame)
    simulated, cells = _simulation_agrees(frame)
    bounded_by = bool((exact.gap <= exact.horizon - 1 + GAP_TOLERANCE).all())
    coin, uniform, mixed = slopes(tossed_once(frame), 0), slopes(frame, 0.5), mixed_error(frame)
    true = {
        "the computations agree": error <= GAP_TOLERANCE and simulated,
        "the losses are equal": spread <= LOSS_TOLERANCE and bool((exact.loss > 0).all()),
        "pi_1 is linear": _have_slope(first, 1),
        "uniform actions in s2 are linear": _have_slope(uniform, 1),
        "pi_2 is quadratic": _have_slope(second, 2),
        "one coin for all visits is quadratic": _have_slope(coin, 2),
        "a lead with a way back is e H / (e + q)": mixed <= MIXED_TOLERANCE,
        "it saturates": bounded_by and bool(last) and max(last) <= SATURATED_SLOPE,
    }
    wrong = [sentence for sentence, fine in true.items() if not fine]
    slope = float(np.mean(second)) if second else float("nan")
    if wrong:
        return holds(False, slope, f"Does not hold: {'; '.join(wrong)}.")
    ratio = exact[exact.recovery == 0]
    share = float((ratio.gap / (ratio.epsilon * ratio.horizon**2)).max())
    audited = ratio[np.isclose(ratio.epsilon, 0.1) & (ratio.horizon == 10)]  # the audit's example
    example = f" ({audited.gap.iloc[0]:.4g}, not 10, at eps = .1, H = 10)" if len(audited) else ""
    note = (
        f"pi_2's slope in log H; pi_1's is {np.mean(first):.2f}. The orders hold, the printed equations do not: pi_2 "
        f"loses at most {share:.2f} eps H^2{example}, and beyond eps H = 1 the slope falls "
        f"to {min(last):.2f}. What is done in the unseen state decides: coming back with probability q > 0 costs "
        f"eps H / (eps + q) once (eps + q) H >> 1 (within {mixed:.1%} from {MIXED:g} on), linear in H; uniform actions "
        f"have the slope {np.mean(uniform):.2f}. Never coming back, or by a coin tossed once for all visits "
        f"({np.mean(coin):.2f}), is quadratic. "
        f"Monte Carlo agrees in {cells} cells, the closed form to {error:.0e}. eps is imposed: a tabular clone with "
        "data of all the expert's states has eps = 0 (Foster, Block and Misra 2024, arXiv 2407.15007)."
    )
    return Verdict("reproduced", slope, min(second), max(second)).as_corrected(note)


CLAIMS = [
    Claim(
        id="lecture.fig-18-1",
        source="Lecture 18",
        location="Fig. 18.1",
        statement="Two policies with equal cloning loss lose order eps H and order eps H^2.",
        measures="log-log slope of pi_2's loss of return against H, eps H small; mean and range over eps",
        decide=decide,
        printed="J(pi_E) - J(pi_2) = eps H^2",
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) the process; (b) the lead against H at one e; (c) all e on one curve against e H, up to saturation."""
    drawing, axes = style.panels(1, 3, height=2.5, width_ratios=[1, 1.25, 1.15])
    _draw_process(axes[0])
    _draw_horizons(axes[1], frame)
    _draw_saturation(axes[2], frame)
    return drawing


def _draw_process(axis) -> None:
    places = {"s0": (0.0, 1.5), "s1": (0.0, 0.0), "s2": (1.3, 0.0)}
    arrow = _diagram.Arrow
    _diagram.draw(
        axis,
        places,
        [
            arrow("s0", "s1", "$a_1$", (-0.2, 0.8)),
            arrow("s1", "s1", "$a_2$", (0, -0.62), bend=-1),
            arrow("s1", "s2", r"$a_1$: $\epsilon$", (0.65, 0.46), style.VERMILION, bend=-0.35),
            arrow("s2", "s1", "$a_1$: $q$\n" r"($\pi_1$: $q = 1$)", (0.72, -0.55), style.BLUE, bend=-0.35),
            arrow("s2", "s2", "$a_2$: $1 - q$\n" r"($\pi_2$: $q = 0$)", (1.4, 0.82), style.ORANGE),
        ],
        rewarded=["s1"],
    )
    axis.set(xlim=(-0.45, 1.9), ylim=(-0.95, 1.85), title="the process; reward 1 in $s_1$")


LOOKS = {1.0: style.BLUE, 0.5: style.GREEN, 0.01: style.PURPLE, 0.0: style.ORANGE}
NAMES = {1.0: r"$q = 1$ ($\pi_1$)", 0.5: "$q = 1/2$ (uniform)", 0.0: r"$q = 0$ ($\pi_2$)"}


def _shown(frame: pd.DataFrame) -> float:
    """The e whose orders and whose turn both lie within the horizons: nearest to 10 over the longest."""
    values = frame.epsilon.unique()
    return float(values[np.argmin(np.abs(np.log(values * frame.horizon.max() / 10)))])


def _draw_horizons(axis, frame: pd.DataFrame) -> None:
    epsilon = _shown(frame)
    rows = frame[np.isclose(frame.epsilon, epsilon)]
    grid = _tensor(np.unique(np.geomspace(3, frame.horizon.max(), 200).round()).tolist())  # steps are whole
    for recovery, colour in LOOKS.items():
        group = rows[np.isclose(rows.recovery, recovery) & (rows.horizon >= 3)]
        if group.empty:
            continue
        axis.plot(grid, closed_form(_tensor([epsilon]), _tensor([recovery]), grid), color=colour, linewidth=1)
        exact = group[group.method == EXACT]
        label = NAMES.get(recovery, f"$q = {recovery:g}$")
        axis.plot(exact.horizon, exact.gap, "o", color=colour, markersize=3.5, markerfacecolor="white", label=label)
        _draw_simulation(axis, group, colour)
    axis.plot(grid, epsilon * grid, ":", color=style.GREY, zorder=0, label=r"printed: $\epsilon H$, $\epsilon H^2$")
    axis.plot(grid, epsilon * grid**2, ":", color=style.GREY, zorder=0)
    axis.set(xscale="log", yscale="log", xlabel="horizon $H$ (steps)", ylabel=r"$J(\pi_E) - J(\pi)$ (reward)")
    axis.set_ylim(epsilon, 30 * frame.horizon.max())
    axis.set_title(rf"$\epsilon$ = {epsilon:g}: closed form (line), exact" "\n" r"($\circ$), simulated (bars: 95 %)")
    axis.legend(loc="upper left", fontsize=6, handlelength=1.2)


def _draw_simulation(axis, group: pd.DataFrame, colour: str) -> None:
    simulated = group[(group.method == SIMULATED)].groupby("horizon").filter(lambda one: one.slips.sum() >= COUNTED)
    if simulated.empty or simulated.seed.nunique() < 2:
        return
    intervals = np.array([stats.mean_interval(one.gap) for _, one in simulated.groupby("horizon")])
    center, low, high = intervals.T
    places = np.sort(simulated.horizon.unique())
    axis.errorbar(places, center, [center - low, high - center], fmt="_", color=colour, markersize=5, linewidth=0.8)


def _draw_saturation(axis, frame: pd.DataFrame) -> None:
    rows = frame[(frame.method == EXACT) & (frame.horizon >= 10)]
    markers = dict(zip(sorted(rows.epsilon.unique()), "osD^v<>", strict=False))
    for recovery in (1.0, 0.0):
        for epsilon, marker in markers.items():
            group = rows[np.isclose(rows.recovery, recovery) & (rows.epsilon == epsilon)]
            axis.plot(
                group.epsilon * group.horizon,
                group.gap / (group.horizon - 1),
                marker,
                color=LOOKS[recovery],
                markersize=3,
            )
    x = np.geomspace(1e-3, 100, 200)
    axis.plot(
        x, 1 + np.expm1(-x) / x, color=style.BLACK, linewidth=0.8, label=r"$1 - (1 - e^{-x})/x$, $x = \epsilon H$"
    )
    axis.plot(x[x < 5], x[x < 5], ":", color=style.GREY, label=r"printed for $\pi_2$: $x$")
    for epsilon, marker in markers.items():
        axis.plot([], [], marker, color=style.BLACK, markersize=3, label=rf"$\epsilon$ = {epsilon:g}")
    axis.set(xscale="log", yscale="log", xlabel=r"$\epsilon H$", ylabel="lost share of the return")
    axis.set_ylim(4e-5, 200)
    axis.set_title(r"$\pi_2$ (orange) saturates, $\pi_1$" "\n" r"(blue) loses $\epsilon$ whatever $H$")
    axis.legend(loc="upper left", fontsize=6, handlelength=1.4, ncols=2, columnspacing=0.8)
