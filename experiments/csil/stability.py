"""CSIL, Section 5 (csil.stability): is CSIL spared the instability of adversarial imitation?

CSIL and DAC learn from the same demonstrations, as many updates and as many environment steps, on the same core. This
DAC has absorbing states (`imitation.control.absorbing`), so that its rewards do not make ending best. Three numbers per
seed tell instability, and CSIL's must be smaller in all: the worst and the mean drawdown, the share of the best score
so far that an evaluation is below it, once that is above one half; and the distance of the scores from the median over
seeds, on average over the second half of the evaluations (as in Brown and Forsythe's test of equal spread). The worst
drawdown cannot exceed 1, where a single bad evaluation puts it; the mean one tells how much of the time is lost.

Two things weigh against the better learner: the sooner a seed is above one half, the more evaluations its worst
drawdown is taken over; and where DAC is too unsteady to hold one half for three evaluations, nothing is compared.
"""

from collections.abc import Callable, Hashable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.csil import _scores, _study, mujoco
from experiments.csil._study import Study, Task
from experiments.harness import stats, style
from experiments.harness.claim import INCONCLUSIVE, Claim, Verdict, jointly
from experiments.harness.context import Context
from imitation.control.absorbing import AbsorbingActorCritic
from imitation.control.csil import CoherentSoftImitation
from imitation.control.dac import AdversarialSettings
from imitation.control.sac import SoftActorCritic
from imitation.policies import HetStat

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
BC, CSIL, DAC = "BC", "CSIL", "DAC"
METHODS = (CSIL, DAC)
LEARNT = 0.5  # score below which there is nothing to fall from
STEADY = 3  # evaluations running whose mean must be above that


Config = Study


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`; "expert" and "random" are what returns are normalised by, "BC" the clones by their steps."""
    parts = []
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        clones, rows = _study.cloned(task, BC, context, cfg.cloning)
        parts += [task.references(), rows]
        for place, method in enumerate(METHODS):
            done = _study.share_of(context, number * len(METHODS) + place, len(cfg.env) * len(METHODS))
            train = partial(_trained, task, method, clones[cfg.start], context, done)
            parts.append(context.piece(f"{name} {method}", train))
    return pd.concat(parts, ignore_index=True)


def _trained(task: Task, method: str, clone: HetStat, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    return _study.train(task, method, learner(task, method, clone), context, done)


def learner(task: Task, method: str, clone: HetStat) -> SoftActorCritic:
    """A method's learner before its first update."""
    random = task.generators(2)
    if method == CSIL:
        return CoherentSoftImitation(clone, random, task.cfg.coherent())
    settings = AdversarialSettings(**task.cfg.sizes(), temperature=task.cfg.temperature)
    return AbsorbingActorCritic(*task.sizes, random, settings)


# ---- decision ----

Curves = dict[Hashable, pd.DataFrame]  # scores by environment and number: a line per evaluation, a column per seed


def curves(frame: pd.DataFrame, method: str) -> Curves:
    """A method's scores over its training, at least 0: a diverged member's are those of a uniform policy."""
    rows = _scores.scores(frame)
    mine = rows[rows.method == method]
    mine = mine.assign(score=mine.score.clip(lower=0))
    groups = mine.groupby(["env", "demonstrations"], sort=False)
    return {name: one.pivot(index="update", columns="seed", values="score") for name, one in groups}


def drawdowns(scores: pd.DataFrame) -> pd.DataFrame:
    """The share of the best score so far by which each is below it, none where that best is not above `LEARNT`."""
    best = scores.cummax()
    return ((best - scores) / best).where(best > LEARNT)


def worst_drawdown(scores: pd.DataFrame) -> pd.Series:
    """Of each seed, 1 where it held nothing to fall from."""
    return drawdowns(scores).max().fillna(1.0)


def mean_drawdown(scores: pd.DataFrame) -> pd.Series:
    """Of each seed, 1 where it held nothing to fall from."""
    return drawdowns(scores).mean().fillna(1.0)


def distance(scores: pd.DataFrame) -> pd.Series:
    """Of each seed from the median over seeds, mean over the second half of the evaluations."""
    late = scores.iloc[len(scores) // 2 :]
    return late.sub(late.median(axis=1), axis=0).abs().mean()


def learnt(scores: pd.DataFrame) -> bool:
    """Whether the best scores that lasted are above `LEARNT`, by their interval over seeds."""
    lasted = scores.rolling(STEADY).mean().max()
    return stats.mean_interval(lasted)[1] > LEARNT


MEASURES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "mean drawdown": mean_drawdown,
    "worst drawdown": worst_drawdown,
    "distance from the median seed": distance,
}


def tables(frame: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Each measure of both methods, laid out as `_scores.final`, where both have learnt."""
    both = {method: curves(frame, method) for method in METHODS}
    kept = [name for name in both[CSIL] if all(learnt(both[method][name]) for method in METHODS)]
    return {
        title: {method: pd.DataFrame({name: measure(both[method][name]) for name in kept}) for method in METHODS}
        for title, measure in MEASURES.items()
    }


def decide(frame: pd.DataFrame) -> Verdict:
    """CSIL's drawdowns and distances are all smaller than DAC's, where both have learnt something to fall from."""
    rows, found = _scores.scores(frame), tables(frame)
    note = f"Last scores: {_levels(rows)}. {_scores.scope(frame)}"
    compared = next(iter(found.values()))[CSIL].shape[1]
    if not compared:
        short = [method for method in METHODS if not any(map(learnt, curves(frame, method).values()))]
        return Verdict(INCONCLUSIVE, note=f"Not learnt enough to fall: {', '.join(short) or 'both together'}. {note}")
    checks = {title: _scores.lead(both[DAC], both[CSIL]) for title, both in found.items()}
    parts = [
        f"{title} {', '.join(f'{method} {_scores.told(table)}' for method, table in both.items())} "
        f"({checks[title].verdict})"
        for title, both in found.items()
    ]
    note = f"{note} Means over seeds: {'; '.join(parts)}. Conditions compared: {compared}."
    return jointly(list(checks.values()), note)


def decide_level(frame: pd.DataFrame) -> Verdict:
    """CSIL's last score is above DAC's."""
    rows = _scores.scores(frame)
    own, other = (_scores.final(rows, method) for method in METHODS)
    updates = rows["update"][rows.method == CSIL].max()
    note = f"After {updates} updates and {rows.steps.max()} steps online: {_levels(rows)}."
    return _scores.lead(own, other, f"{note} {_scores.scope(frame)}")


def _levels(rows: pd.DataFrame) -> str:
    return ", ".join(f"{method} {_scores.told(_scores.final(rows, method))}" for method in METHODS)


CLAIMS = [
    Claim(
        id="csil.stability",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3",
        statement="CSIL has no adversarial instability.",
        measures="mean drawdown of the score, DAC's less CSIL's",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="paper",
    ),
    mujoco.over("dac.absorbing", "DAC with absorbing states", decide_level),
    Claim(
        id="csil.one-demonstration.hopper.again",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3; asked here",
        statement="(Asked here) On other seeds too one demonstration on Hopper suffices for CSIL where cloning fails.",
        measures="CSIL's score",
        decide=mujoco.decide_one_demonstration,
        smallest_scale="overnight",
        refuted_from="paper",
    ),
]


# ---- figure ----


def figure(frame: pd.DataFrame) -> Figure:
    """Learning curves by environment and number of demonstrations; below them each seed's measures of instability."""
    rows = _scores.scores(frame)
    environments, counts = list(dict.fromkeys(rows.env)), sorted(set(rows.demonstrations))
    # Both kinds of rows have as many cells, three per number of demonstrations and one per number and measure.
    upper = [[f"{name} {count}" for count in counts for _ in MEASURES] for name in environments]
    lower = [title for title in MEASURES for _ in counts]
    drawing, axes = style.mosaic([*upper, lower], [2.2] * len(environments) + [2.3])
    for name in environments:
        for count in counts:
            axis = axes[f"{name} {count}"]
            mujoco.draw_curves(axis, rows[(rows.env == name) & (rows.demonstrations == count)])
            axis.set_title(f"{name}, {count} demonstration{'s' * (count > 1)}")
        axes[f"{name} {counts[0]}"].set_ylabel("score (0 random, 1 expert)")
    for title, both in tables(frame).items():
        _draw_members(axes[title], both)
        axes[title].set_title(title)
    axes[lower[0]].set_ylabel("each seed; mean, 95 %")
    handles = [
        Line2D([], [], color=mujoco.COLOURS[name], label=LABELS[name], linestyle="--" if name == BC else "-")
        for name in LABELS
    ]
    drawing.legend(handles=handles, loc="outside lower center", ncols=3)
    return drawing


LABELS = {CSIL: CSIL, DAC: "DAC, absorbing states", BC: mujoco.LABELS[BC]}


def _draw_members(axis: Axes, both: dict[str, pd.DataFrame]) -> None:
    """Each seed a dot, the mean with its interval beside them; nothing where nothing was learnt."""
    for place, (method, table) in enumerate(both.items()):
        values, colour = table.mean(axis=1).to_numpy(), mujoco.COLOURS[method]
        axis.plot(place + np.linspace(-0.12, 0.12, len(values)), values, ".", color=colour, markersize=4, alpha=0.5)
        if len(values):
            center, low, high = _scores.average(table)
            bars = np.nan_to_num([[center - low], [high - center]])
            axis.errorbar(place + 0.27, center, yerr=bars, fmt="o", markersize=4, color=colour)
    axis.set_xticks(range(len(both)), list(both))
    axis.set(xlim=(-0.5, len(both) - 0.3), ylim=(0, None))
