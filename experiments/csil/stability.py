"""CSIL, Section 5 (csil.stability): is CSIL spared the instability of adversarial imitation?

CSIL and DAC learn from the same demonstrations, as many updates and as many environment steps, on the same core. Here
DAC has absorbing states (Kostrikov et al. 2019), so that its rewards do not make ending best. Two numbers per seed
tell instability: the largest fall of the score below its best so far, and how far the last score is from the median
over seeds (as in Brown and Forsythe's test of equal spread). CSIL's must be smaller in both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.csil import _scores, _study, mujoco
from experiments.csil._study import Study, Task
from experiments.harness import style
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
LEARNT = 0.5  # below such a best score there is nothing to fall from


@dataclass
class Config(Study):
    """As the study's."""


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`; "expert" and "random" are what returns are normalised by, "BC" the clones by their steps."""
    parts = []
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        clones, rows = _study.cloned(task, BC, context, cfg.cloning)
        parts += [task.references(), rows]
        for place, method in enumerate(METHODS):
            before, total = number * len(METHODS) + place, len(cfg.env) * len(METHODS)
            done = partial(_progress, context, before, total)
            train = partial(_trained, task, method, clones[cfg.start], context, done)
            parts.append(context.piece(f"{name} {method}", train))
    return pd.concat(parts, ignore_index=True)


def _progress(context: Context, before: int, total: int, share: float) -> None:
    context.progress(before + share, total)


def _trained(task: Task, method: str, clone: HetStat, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    return _study.train(task, method, learner(task, method, clone), context, done)


def learner(task: Task, method: str, clone: HetStat) -> SoftActorCritic:
    """A method's learner before its first update."""
    random = task.generators(2)
    if method == CSIL:
        return CoherentSoftImitation(clone, random, task.cfg.coherent())
    return AbsorbingActorCritic(*task.sizes, random, AdversarialSettings(**task.cfg.sizes()))


# ---- decision ----


def falls(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """Largest fall of each member's score below its best so far, laid out as `_scores.final`."""
    rows = _scores.scores(frame)
    mine = rows[rows.method == method].sort_values("update")
    members = mine.groupby(["env", "demonstrations", "seed"]).score
    return _scores.best(mine.assign(score=members.cummax() - mine.score), method)


def deviations(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """How far each member's last score is from the median over its seeds, laid out as `_scores.final`."""
    last = _scores.final(_scores.scores(frame), method)
    return (last - last.median()).abs()


def decide(frame: pd.DataFrame) -> Verdict:
    """CSIL's falls and deviations are both smaller than DAC's, which must have learnt something to fall from."""
    rows = _scores.scores(frame)
    looks = {method: (falls(frame, method), deviations(frame, method)) for method in METHODS}
    note = f"{'; '.join(_told(rows, method, *both) for method, both in looks.items())}. {_scores.scope(frame)}"
    (own_falls, own_deviations), (other_falls, other_deviations) = looks[CSIL], looks[DAC]
    checks = [_scores.lead(other_falls, own_falls), _scores.lead(other_deviations, own_deviations)]
    verdict = jointly(checks, f"{note} The spread's difference {_interval(other_deviations - own_deviations)}.")
    learnt = _scores.average(_scores.best(rows, DAC))[1] > LEARNT
    return verdict if learnt else verdict._replace(verdict=INCONCLUSIVE, note=f"{DAC} did not learn. {note}")


def _told(rows: pd.DataFrame, method: str, falls: pd.DataFrame, deviations: pd.DataFrame) -> str:
    last, best = (_interval(pick(rows, method)) for pick in (_scores.final, _scores.best))
    apart = f"from the median over seeds {_interval(deviations)}"
    return f"{method}: last score {last}, best {best}, largest fall {_interval(falls)}, last score's distance {apart}"


def _interval(table: pd.DataFrame) -> str:
    center, low, high = _scores.average(table)
    return f"{center:.2f} [{low:.2f}, {high:.2f}]"


CLAIMS = [
    Claim(
        id="csil.stability",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3",
        statement="CSIL has no adversarial instability.",
        measures="largest falls of the score, DAC's less CSIL's",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]


# ---- figure ----

LOOKS = {"largest fall": falls, "last score's distance\nfrom the seeds' median": deviations}


def figure(frame: pd.DataFrame) -> Figure:
    """Learning curves by environment and number of demonstrations; falls and deviations of each seed."""
    rows = _scores.scores(frame)
    conditions = rows[["env", "demonstrations"]].drop_duplicates()
    drawing, axes = style.panels(1, len(conditions) + len(LOOKS), height=2.6)
    for axis, (name, count) in zip(axes, conditions.itertuples(index=False), strict=False):
        mujoco.draw_curves(axis, rows[(rows.env == name) & (rows.demonstrations == count)])
        axis.set_title(f"{name}, {count} demonstration{'s' * (count > 1)}")
    axes[0].set_ylabel("score (0 random, 1 expert)")
    for axis, (title, measure) in zip(axes[-len(LOOKS) :], LOOKS.items(), strict=True):
        _draw_members(axis, {method: measure(frame, method) for method in METHODS})
        axis.set_title(title)
    axes[-len(LOOKS)].set_ylabel("score, mean and 95 %")
    handles = [
        Line2D([], [], color=mujoco.COLOURS[name], label=mujoco.LABELS.get(name, name),
               linestyle="--" if name == BC else "-")
        for name in (*METHODS, BC)
    ]  # fmt: skip
    drawing.legend(handles=handles, loc="outside lower center", ncols=3)
    return drawing


def _draw_members(axis: Axes, tables: dict[str, pd.DataFrame]) -> None:
    """Each seed a dot, the mean with its interval beside them."""
    for place, (method, table) in enumerate(tables.items()):
        values, colour = table.mean(axis=1).to_numpy(), mujoco.COLOURS[method]
        axis.plot(place + np.linspace(-0.12, 0.12, len(values)), values, ".", color=colour, markersize=4, alpha=0.5)
        center, low, high = _scores.average(table)
        axis.errorbar(place + 0.27, center, yerr=[[center - low], [high - center]], fmt="o", markersize=4, color=colour)
    axis.set_xticks(range(len(tables)), list(tables))
    axis.set(xlim=(-0.5, len(tables) - 0.3), ylim=(min(0, axis.get_ylim()[0]), None))
