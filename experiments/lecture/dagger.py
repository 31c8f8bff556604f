"""Lecture, Sections 18.2.2.1 and 18.4.1: interaction (DAgger) brings an error linear in the horizon.

On a path along a cliff every policy of the class slips with probability eps in each state, so that eps is imposed and
equal for both learners. The expert never slips, and its demonstrations do not show the way back up. Where it has no
data the clone tosses a coin; DAgger asks the expert in the states where the learner is. With a way back of d steps
DAgger loses about eps d H; the coin needs 2^(d + 1) - 2 steps, which for horizons below that is as good as for ever:
eps H^2 / 2. Where there is no way back (the control) no learner with this eps can do better, DAgger included: its bound
is linear only if the expert recovers from one mistake at a cost that does not grow with H (Ross et al. 2011).

Sampled rounds have to come across the fall before the expert can be asked there: what DAgger still loses with few
episodes a round is measured, and the claim is decided at the most.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, above, equivalent, holds, jointly, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.mdp import lecture
from imitation.mdp.horizon import occupancies, repeated, returns
from imitation.mdp.learners import cloned, dagger
from imitation.mdp.rollouts import rollouts, step_counts

SHARD_AXES = ("seeds",)
CLONING, DAGGER = "cloning", "DAgger"
BACK, NONE = "a way back", "no way back"
EXACT, SAMPLED = "exact laws", "sampled"
# In this window the slopes in log H are off by about d / H, the first way up, and e H / 3, a path already lost.
SHORTEST, SMALL = 100, 0.1
ORDER_TOLERANCE = 0.15


@dataclass
class Config:
    """epsilons: of the exact laws; epsilon, budgets, rounds: of the sampled ones, budgets in episodes per round."""

    seeds: list[int] = seed_list()
    depth: int = bounded(1, 30)
    epsilons: list[float] = bounded(1e-6, 0.2)
    horizons: list[int] = bounded(2, 10_000)
    epsilon: float = bounded(1e-6, 0.2)
    budgets: list[int] = bounded(1, 10_000)
    rounds: int = bounded(2, 1000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per learner, cliff, e, horizon and data (if sampled, seed and budget): the expert's exact lead.

    With exact laws two rounds suffice. Sampled cloning sees as many episodes of the expert as DAgger of all kinds.
    `mistakes` is the largest probability of a slip on the expert's own states.
    """
    rows = []
    for escape, kind in ((True, BACK), (False, NONE)):
        example = lecture.cliff(cfg.depth, escape)
        for horizon in cfg.horizons:
            for epsilon in cfg.epsilons:
                rows += [one | {"cliff": kind, "data": EXACT} for one in _exact(example, horizon, epsilon)]
            for seed in cfg.seeds:
                rows += [
                    one | {"cliff": kind, "data": SAMPLED, "seed": seed, "episodes": episodes}
                    for episodes in cfg.budgets
                    for one in _sampled(example, horizon, episodes, cfg, context.rng(seed, horizon, episodes))
                ]
        context.progress(1 if escape else 2, 2)
    return pd.DataFrame(rows)


def _exact(example: lecture.Example, horizon: int, epsilon: float) -> list[dict]:
    def visit(policy: Tensor) -> Tensor:
        """Expected visits of every state over an episode, (S, A) -> (S,)."""
        return occupancies(example.mdp, repeated(policy, horizon)).sum((0, -1))

    learned = dagger(lecture.expert(example), visit, lambda labels: cloned(labels, floor=epsilon), rounds=2)
    return _judged(example, learned.policies[0], learned.policies[-1], horizon, epsilon)


def _sampled(example: lecture.Example, horizon: int, budget: int, cfg: Config, rng: np.random.Generator) -> list[dict]:
    def visit(policy: Tensor, episodes: int = budget) -> Tensor:
        """Counted visits of every state over all episodes, (S, A) -> (S,)."""
        seen = rollouts(example.mdp, repeated(policy, horizon), episodes, rng)
        return step_counts(seen, example.mdp.states, example.mdp.actions).sum((0, -1))

    def fit(labels: Tensor) -> Tensor:
        """The clone of the labels that slips with eps everywhere, (S, A) -> (S, A)."""
        return cloned(labels, floor=cfg.epsilon)

    expert = lecture.expert(example)
    clone = fit(visit(expert, budget * cfg.rounds)[:, None] * expert)
    learned = dagger(expert, visit, fit, cfg.rounds)
    return _judged(example, clone, learned.policies[-1], horizon, cfg.epsilon)


def _judged(example: lecture.Example, clone: Tensor, interactive: Tensor, horizon: int, epsilon: float) -> list[dict]:
    reward = repeated(example.rewards[..., 0], horizon)
    policies = torch.stack([lecture.expert(example), clone, interactive])
    best, *earned = returns(example.mdp, reward[:, None], repeated(policies, horizon))[-1].tolist()
    return [
        {
            "learner": name,
            "horizon": horizon,
            "epsilon": epsilon,
            "gap": best - value,
            "mistakes": float(policy[0, 1]),
        }
        for name, value, policy in zip((CLONING, DAGGER), earned, policies[1:], strict=True)
    ]


def slopes(frame: pd.DataFrame, learner: str, cliff: str) -> list[float]:
    """Log-log slopes of the lead against H with exact laws, one per e, fitted where H is long and e H small."""
    rows = frame[(frame.data == EXACT) & (frame.learner == learner) & (frame.cliff == cliff)]
    rows = rows[(rows.horizon >= SHORTEST) & (rows.epsilon * rows.horizon <= SMALL * (1 + 1e-9))]
    groups = [group for _, group in rows.groupby("epsilon") if len(group) > 1]
    return [float(np.polyfit(np.log(group.horizon), _log(group.gap), 1)[0]) for group in groups]


def _log(values: pd.Series) -> pd.Series:
    """NaN where there is no loss, or none that is a number: no order can be read off."""
    return values.where(values > 0).apply(np.log)


def _have_slope(found: list[float], expected: float) -> bool:
    return bool(found) and bool(np.all(np.abs(np.array(found) - expected) <= ORDER_TOLERANCE))


def sampled(frame: pd.DataFrame, episodes: float | None = None) -> pd.DataFrame:
    """Rows from sampled rounds of so many episodes, the most if not given."""
    return frame[frame.episodes == (frame.episodes.max() if episodes is None else episodes)]


def left(frame: pd.DataFrame, horizon: float, episodes: float) -> stats.Interval:
    """With a way back: DAgger's loss over cloning's at one horizon, from rounds of so many episodes."""
    rows = sampled(frame, episodes)
    wide = rows[(rows.cliff == BACK) & (rows.horizon == horizon)].pivot(index="seed", columns="learner", values="gap")
    return stats.mean_interval(wide[DAGGER] / wide[CLONING])


def growth(frame: pd.DataFrame, learner: str, cliff: str) -> pd.Series:
    """Per seed: the slope of log gap against log H between the shortest and the longest of the long horizons."""
    rows = sampled(frame)
    rows = rows[(rows.learner == learner) & (rows.cliff == cliff)]
    short, long = rows[rows.horizon >= SHORTEST].horizon.min(), rows.horizon.max()
    first, last = (_log(rows[rows.horizon == horizon].set_index("seed").gap) for horizon in (short, long))
    return (last - first) / float(np.log(long / short))


def advantage(frame: pd.DataFrame, cliff: str) -> pd.Series:
    """Per seed: log of cloning's lead over DAgger's at the longest horizon."""
    rows = sampled(frame)
    rows = rows[(rows.cliff == cliff) & (rows.horizon == rows.horizon.max())]
    wide = rows.pivot_table(index="seed", columns="learner", values="gap", dropna=False)
    return _log(wide[CLONING]) - _log(wide[DAGGER])


def decide(frame: pd.DataFrame) -> Verdict:
    """With a way back DAgger is linear and cloning quadratic, exactly and sampled; without one both are quadratic."""
    found = {(learner, cliff): slopes(frame, learner, cliff) for learner in (CLONING, DAGGER) for cliff in (BACK, NONE)}
    expected = {(CLONING, BACK): 2, (DAGGER, BACK): 1, (CLONING, NONE): 2}
    equal = float((frame.mistakes - frame.epsilon).abs().max(skipna=False))
    linear = stats.mean_interval(growth(frame, DAGGER, BACK))
    better = stats.mean_interval(advantage(frame, BACK))
    met = weakest([equivalent(linear, 1.0, ORDER_TOLERANCE), above(better, np.log(2.0))])
    none = stats.mean_interval(advantage(frame, NONE))
    exact = equal <= 1e-12 and all(_have_slope(found[key], slope) for key, slope in expected.items())
    if exact and _have_slope(found[DAGGER, NONE], 1):
        return Verdict(met.verdict, *linear, "As printed: without a way back too.")
    if not exact or not _have_slope(found[DAGGER, NONE], 2):
        listed = "; ".join(f"{name} with {cliff}: {np.round(slope, 2)}" for (name, cliff), slope in found.items())
        return holds(False, linear[0], f"Slopes with exact laws: {listed}. Slips differ from eps by {equal:.0e}.")
    same = equivalent(none, 0.0, 0.1)
    slope, clones = np.mean(found[DAGGER, BACK]), np.mean(found[CLONING, BACK])
    most, reach = sampled(frame), float(frame[frame.data == SAMPLED].epsilon.max() * frame.horizon.max())
    spread = most[most.horizon >= SHORTEST].groupby(["learner", "cliff", "horizon"]).gap.nunique().max()
    short, budgets = most[most.horizon >= SHORTEST].horizon.min(), sorted(frame.episodes.dropna().unique())
    shares = ", ".join(f"{left(frame, short, budget)[0]:.2f} with {budget:g}" for budget in budgets)
    note = (
        f"DAgger's slope in log H from rounds of {budgets[-1]:g} episodes, eps H up to {reach:g}; "
        f"with exact laws {slope:.2f}, cloning's {clones:.2f}. At H = {frame.horizon.max()} cloning loses "
        f"{np.exp(better[0]):.0f} times as much with the same eps. Only where there is a way back: without one DAgger "
        f"is quadratic too ({np.mean(found[DAGGER, NONE]):.2f}) and loses {np.exp(-none[0]):.2f} times what cloning "
        f"does. At H = {short}, as a share of cloning's loss by episodes a round: {shares}; where nobody fell, the "
        f"expert is not asked. With the most episodes and H >= {SHORTEST} the seeds' losses take at most {spread} "
        f"different value{'' if spread == 1 else 's'}: seeds differ only in the states that they cover."
    )
    first = Verdict(met.verdict, *linear)
    return jointly([first, same], note).as_corrected(note)


CLAIMS = [
    Claim(
        id="lecture.dagger",
        source="Lecture 18",
        location="Sections 18.2.2.1 and 18.4.1",
        statement="(Asked here; Section 18.4.1 implies it) Interaction (DAgger) brings an error linear in the horizon.",
        measures="log-log slope of DAgger's loss of return against H",
        decide=decide,
        smallest_scale="laptop",
    ),
]

COLOURS = {CLONING: style.VERMILION, DAGGER: style.BLUE}
LENGTHS = (style.PURPLE, style.GREEN, style.SKY, style.BLACK, style.ORANGE)  # horizons from the shortest on
DASHES, MARKERS = {CLONING: "-", DAGGER: "--"}, {CLONING: "o", DAGGER: "x"}  # both stay visible where they coincide


def figure(frame: pd.DataFrame) -> Figure:
    """Loss against H, exactly and from the most episodes: (a) with a way back, (b) without; (c) with fewer episodes.

    (c) is DAgger's loss over cloning's, with a way back, against the episodes of a round.
    """
    drawing, axes = style.panels(1, 3, height=3.0)
    axes[1].sharey(axes[0])
    for axis, cliff in zip(axes, (BACK, NONE), strict=False):
        _draw(axis, frame[frame.cliff == cliff], float(frame[frame.data == SAMPLED].epsilon.iloc[0]))
        axis.set(xscale="log", yscale="log", xlabel="horizon $H$ (steps)", ylabel=r"$J(\pi_E) - J(\pi)$ (reward)")
        axis.set_title(cliff)
    _draw_budgets(axes[2], frame)
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=3, title="bars: 95 % over seeds")
    return drawing


def _draw(axis: Axes, rows: pd.DataFrame, epsilon: float) -> None:
    for learner, colour in COLOURS.items():
        mine = rows[rows.learner == learner]
        for number, (_, group) in enumerate(mine[mine.data == EXACT].groupby("epsilon")):
            label = f"{learner}, exact laws" if not number else None
            axis.plot(group.horizon, group.gap, DASHES[learner], color=colour, linewidth=1, label=label)
            if learner == CLONING:
                place = (group.horizon.iloc[-1], group.gap.iloc[-1])
                text = rf"$\epsilon$ = {group.epsilon.iloc[0]:g}"
                axis.annotate(text, place, (3, 0), textcoords="offset points", fontsize=6, annotation_clip=False)
        groups = [group for _, group in sampled(mine).groupby("horizon")]
        center, low, high = np.array([stats.mean_interval(group.gap) for group in groups]).T
        look = {
            "color": colour,
            "markersize": 3.5,
            "markerfacecolor": "white",
            "linewidth": 0.8,
            "fmt": MARKERS[learner],
        }
        label = rf"{learner}, sampled, $\epsilon$ = {epsilon:g}"
        axis.errorbar(
            [group.horizon.iloc[0] for group in groups], center, [center - low, high - center], label=label, **look
        )
    grid = np.array([rows.horizon.min(), rows.horizon.max()])
    axis.plot(grid, epsilon * grid, ":", color=style.GREY, label=r"$\epsilon H$, $\epsilon H^2$")
    axis.plot(grid, epsilon * grid**2, ":", color=style.GREY)


def _draw_budgets(axis: Axes, frame: pd.DataFrame) -> None:
    budgets = sorted(frame.episodes.dropna().unique())
    horizons = sorted(sampled(frame)[sampled(frame).horizon >= SHORTEST].horizon.unique())
    for place, horizon in enumerate(horizons):
        marker, colour = "osD^v"[place % 5], LENGTHS[place % len(LENGTHS)]
        center, low, high = np.array([left(frame, horizon, budget) for budget in budgets]).T
        bars = [center - low, high - center]
        axis.errorbar(budgets, center, bars, fmt=f"-{marker}", color=colour, markersize=3.5, linewidth=0.8,
                      label=f"$H$ = {horizon}")  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="episodes per round", ylabel="loss over cloning's", title=BACK)
    axis.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axis.minorticks_off()
    axis.set_ylim(top=4)
    axis.legend(fontsize=6, ncols=2, loc="upper center")
