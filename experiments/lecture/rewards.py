"""Lecture, Fig. 18.2: which of two mistakes matters depends on the reward.

From s1 the first policy changes lane (to s2) with probability e, the second crashes (to s3); neither comes back. Let a
step in s2 cost 1 - w and one in s3 cost w. Then the expert's leads are (1 - w) g and w g, with the expected number of
steps after the mistake g = (H - 1) - (1 - (1 - e)^(H - 1)) / e: the first policy is worse for w < 1/2, the second for
w > 1/2, and the cloning loss is the same. The figure's caption names no reward, and calls both policies pi_1.
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
from experiments.lecture.compounding import COUNTED, FALSE_ALARM
from imitation.mdp.horizon import moments, occupancies, repeated
from imitation.mdp.lecture import two_mistakes, two_mistakes_policy
from imitation.mdp.rollouts import rollouts

EXAMPLE = two_mistakes()
TOLERANCE = 1e-9
POLICIES = ("changes lane", "crashes")
LANE, CRASH, STAYED = range(3)  # members of R
MISTAKEN, SIMULATED = 2, "simulated"  # the first of the states s2 and s3 of a mistake


@dataclass
class Config:
    """crash_shares: w, the cost of a step in s3; a step in s2 costs 1 - w. episodes: simulated, per seed."""

    seeds: list[int] = seed_list()
    episodes: int = bounded(2, 1_000_000)
    epsilons: list[float] = bounded(1e-6, 0.5)
    horizons: list[int] = bounded(2, 10_000)
    crash_shares: list[float] = bounded(0, 1)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per policy, e, H and reward: the expert's lead, its closed form, and the cloning loss.

    `reward` is "w" for the priced mistakes (with `crash_share` w), or "in s1" for reward 1 in the expert's own state.
    Rows of the reward "simulated" hold each seed's mean number of steps after the mistake, which cost 1, in `gap`.
    """
    frames = []
    epsilon, none = torch.tensor(cfg.epsilons, dtype=torch.float64), torch.zeros(len(cfg.epsilons), dtype=torch.float64)
    policies = torch.stack([two_mistakes_policy(epsilon, none), two_mistakes_policy(none, epsilon)])  # (2, E, S, A)
    expert = two_mistakes_policy(none[0], none[0])
    for number, horizon in enumerate(cfg.horizons):
        home = occupancies(EXAMPLE.mdp, repeated(expert, horizon))
        away = occupancies(EXAMPLE.mdp, repeated(policies, horizon))
        gaps = moments(home, EXAMPLE.rewards) - moments(away, EXAMPLE.rewards)  # (2, E, K)
        loss = -torch.special.xlogy(home.sum(0), policies).sum((-2, -1))
        frames.append(_rows(cfg, gaps, loss, _steps_after(epsilon, horizon)).assign(horizon=horizon))
        context.progress(number + 1, len(cfg.horizons) + len(cfg.seeds))
    for number, seed in enumerate(cfg.seeds):
        frames.append(_simulated(cfg, policies, context.rng(seed)).assign(seed=seed, reward=SIMULATED))
        context.progress(len(cfg.horizons) + number + 1, len(cfg.horizons) + len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _simulated(cfg: Config, policies: Tensor, rng: np.random.Generator) -> pd.DataFrame:
    steps, rows = np.array(cfg.horizons), []
    for p, policy in enumerate(POLICIES):
        for e, epsilon in enumerate(cfg.epsilons):
            played = rollouts(
                EXAMPLE.mdp, repeated(policies[p, e], max(cfg.horizons)), cfg.episodes, rng
            ).states.numpy()
            after = (played >= MISTAKEN).cumsum(1)[:, steps - 1]
            values = {"horizon": steps, "gap": after.mean(0), "slips": (after > 0).sum(0)}
            rows.append(pd.DataFrame(values).assign(policy=policy, epsilon=epsilon))
    return pd.concat(rows, ignore_index=True)


def _steps_after(epsilon: Tensor, horizon: int) -> Tensor:
    return (horizon - 1) - (1 - (1 - epsilon) ** (horizon - 1)) / epsilon


def _rows(cfg: Config, gaps: Tensor, loss: Tensor, after: Tensor) -> pd.DataFrame:
    rows = []
    for p, policy in enumerate(POLICIES):
        for e, epsilon in enumerate(cfg.epsilons):
            fixed = {"policy": policy, "epsilon": epsilon, "loss": float(loss[p, e])}
            steps = float(after[e])
            rows.append(fixed | {"reward": "in s1", "gap": float(gaps[p, e, STAYED]), "closed": steps})
            for w in cfg.crash_shares:
                gap = float((1 - w) * gaps[p, e, LANE] + w * gaps[p, e, CRASH])
                closed = steps * (1 - w if p == LANE else w)
                rows.append(fixed | {"reward": "w", "crash_share": w, "gap": gap, "closed": closed})
    return pd.DataFrame(rows)


def _beside(frame: pd.DataFrame, value: str) -> pd.DataFrame:
    """The two policies' values in two columns, per reward, e and H."""
    keys = ["reward", "crash_share", "epsilon", "horizon"]
    return frame.fillna({"crash_share": -1.0}).pivot_table(index=keys, columns="policy", values=value, dropna=False)


def _simulation_agrees(frame: pd.DataFrame) -> tuple[bool, int]:
    """Whether every cell's interval has the closed form in it, at a level that all cells share; and how many cells."""
    cells = [
        (float(_steps_after(torch.tensor(epsilon, dtype=torch.float64), int(str(horizon)))), group.gap)
        for (_, epsilon, horizon), group in frame[frame.reward == SIMULATED].groupby(["policy", "epsilon", "horizon"])
        if group.slips.sum() >= COUNTED or group.gap.isna().any()
    ]
    found = [(expected, stats.mean_interval(gaps, 1 - FALSE_ALARM / len(cells))) for expected, gaps in cells]
    return bool(cells) and all(low <= expected <= high for expected, (_, low, high) in found), len(cells)


def decide(frame: pd.DataFrame) -> Verdict:
    """The first policy is the worse one exactly where w < 1/2, with equal losses; all three computations agree."""
    simulated, cells = _simulation_agrees(frame)
    frame = frame[frame.reward != SIMULATED]
    error = float((frame.gap - frame.closed).abs().max(skipna=False))
    spread = float(_beside(frame, "loss").dropna(how="all").diff(axis=1).iloc[:, 1].abs().max(skipna=False))
    gaps = _beside(frame, "gap").dropna(how="all").reset_index()
    lead = gaps[POLICIES[0]] - gaps[POLICIES[1]]
    priced, moved = gaps.reward == "w", gaps.horizon > 2  # with two steps a mistake is never lived in
    expected = np.sign(0.5 - gaps.crash_share).where(~np.isclose(gaps.crash_share, 0.5) & priced & moved, 0.0)
    right = bool((np.sign(lead.where(lead.abs() > TOLERANCE, 0.0)) == expected).all())
    both = {-1.0, 1.0} <= set(expected)
    blind = float(gaps[~priced][POLICIES[0]].sub(gaps[~priced][POLICIES[1]]).abs().max(skipna=False))
    largest = gaps[priced & (gaps.crash_share == 1) & (gaps.horizon == gaps.horizon.max())]
    cost = float(largest[POLICIES[1]].max()) if len(largest) else float("nan")
    note = (
        f"What crashing costs if only crashes cost, where changing lane costs {largest[POLICIES[0]].abs().max():.0f}; "
        f"the order turns at w = 1/2. The cloning losses differ by {spread:.1g}, the returns under reward 1 in s1 by "
        f"{blind:.1g}: neither tells the mistakes apart. Caption: the second pi_1 is pi_2, and the reward is missing. "
        f"Monte Carlo {'agrees' if simulated else 'does not agree'} in {cells} cells, the closed form to {error:.1g}."
    )
    exact = simulated and error <= TOLERANCE and spread <= TOLERANCE and blind <= TOLERANCE
    return holds(exact and right and both, cost, note)


CLAIMS = [
    Claim(
        id="lecture.fig-18-2",
        source="Lecture 18",
        location="Fig. 18.2",
        statement="Which of two mistakes matters depends on the reward.",
        measures="largest loss of return by crashing, crash cost 1 per step",
        decide=decide,
    ),
]

COLOURS = dict(zip(POLICIES, (style.BLUE, style.VERMILION), strict=True))


def figure(frame: pd.DataFrame) -> Figure:
    """(a) the process; (b) the leads against the share of the crash in the cost; (c) against H under three rewards."""
    drawing, axes = style.panels(1, 3, height=2.4)
    _draw_process(axes[0])
    epsilon = float(np.sort(frame.epsilon.unique())[len(frame.epsilon.unique()) // 2])
    rows = frame[frame.epsilon == epsilon]
    _draw_shares(axes[1], rows[(rows.reward == "w") & (rows.horizon == rows.horizon.max())], epsilon)
    _draw_horizons(axes[2], rows, epsilon)
    return drawing


def _draw_process(axis) -> None:
    places = {"s0": (0.0, 0.0), "s1": (1.1, 0.0), "s2": (2.3, 0.65), "s3": (2.3, -0.65)}
    arrow = _diagram.Arrow
    arrows = [
        arrow("s0", "s1", "", (0.5, 0.15)),
        arrow("s1", "s1", "stay", (0.8, 0.55)),
        arrow("s1", "s2", r"$\pi_1$: $\epsilon$", (1.6, 0.58), style.BLUE),
        arrow("s1", "s3", r"$\pi_2$: $\epsilon$", (1.6, -0.58), style.VERMILION),
        arrow("s2", "s2", "cost $1 - w$", (2.3, 1.27), style.BLUE),
        arrow("s3", "s3", "cost $w$", (2.3, -1.27), style.VERMILION, bend=-1),
    ]
    _diagram.draw(axis, places, arrows, rewarded=[])
    axis.annotate("lane change", (2.58, 0.65), fontsize=7, va="center")
    axis.annotate("crash", (2.58, -0.65), fontsize=7, va="center")
    axis.set(xlim=(-0.3, 3.4), ylim=(-1.5, 1.5), title="the process")


def _draw_shares(axis, rows: pd.DataFrame, epsilon: float) -> None:
    for policy, colour in COLOURS.items():
        group = rows[rows.policy == policy].sort_values("crash_share")
        axis.plot(group.crash_share, group.closed, color=colour, linewidth=1)
        axis.plot(group.crash_share, group.gap, "o", color=colour, markersize=3, markerfacecolor="white", label=policy)
    axis.axvline(0.5, ymax=0.78, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="share of the crash in the cost, $w$", ylabel=r"$J(\pi_E) - J(\pi)$ (reward)")
    axis.set_title(rf"$\epsilon$ = {epsilon:g}, $H$ = {rows.horizon.max()}: exact ($\circ$)" "\nand closed form (line)")
    axis.legend(loc="upper center")


def _draw_horizons(axis, rows: pd.DataFrame, epsilon: float) -> None:
    for policy, colour in COLOURS.items():
        group = rows[(rows.crash_share == 1) & (rows.policy == policy)].sort_values("horizon")
        axis.plot(group.horizon, group.gap, "-o", color=colour, markersize=2.5, label=f"{policy}, $w$ = 1")
    group = rows[(rows.reward == "in s1") & (rows.policy == POLICIES[0])].sort_values("horizon")
    axis.plot(group.horizon, group.gap, "x", color=style.BLACK, markersize=4, label="both, reward 1 in $s_1$")
    played = rows[(rows.reward == SIMULATED) & (rows.policy == POLICIES[1])].groupby("horizon").gap
    center, low, high = np.array([stats.mean_interval(seeds) for _, seeds in played]).T
    look = {"color": style.ORANGE, "fmt": "s", "markersize": 5, "fillstyle": "none", "label": "crashes, simulated"}
    axis.errorbar([*played.groups], center, [center - low, high - center], **look)
    axis.set(xscale="log", xlabel="horizon $H$ (steps)", ylabel=r"$J(\pi_E) - J(\pi)$ (reward)")
    axis.set_title(rf"$\epsilon$ = {epsilon:g}, exact and simulated" "\n(bars: 95 % over seeds)")
    axis.legend(loc="upper left", fontsize=6)
