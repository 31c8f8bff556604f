"""What bfloat16, narrower networks and smaller batches cost CSIL in return (csil.economies); `benchmarks/csil.py` has
what they buy.

Each rung of the ladder has the economies of those above it, but bfloat16, which stands alone at the published sizes and
last with all the others. Its sizes' clones, coherent reward and policies are its own, from the same demonstrations and
seeds; cloning is in float32 on every rung. Of CSIL's gain over the strongest clone, both of the published sizes, a rung
must keep more than half, as in `csil/features`. From one evaluation to the next a policy's score moves by a tenth, so
that the mean over the last quarter of the updates decides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _scores, _study
from experiments.csil._study import Task, Unrivalled
from experiments.harness import style
from experiments.harness.claim import INCONCLUSIVE, REPRODUCED, Claim, Verdict
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentSoftImitation
from imitation.control.csil_bfloat16 import HalvedImitation
from imitation.policies import HetStat

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
KEPT = 0.5  # share of the gain at the published sizes that a rung must keep
LATE = 0.25  # share of the updates, the last, over whose evaluations a score is the mean
PUBLISHED, HALVED, ALL = "as published", "bfloat16", "and bfloat16"
LADDER = (PUBLISHED, HALVED, "narrow features", "and narrow layers", "and small batches", ALL)
LIKE = {HALVED: PUBLISHED, ALL: "and small batches"}  # of those in bfloat16, the rung whose clones they start from
CSIL, BC = "CSIL, {}", "BC, {}"


@dataclass
class Small:
    """features: HetStat's, even. hidden: widths of all networks. batch: demonstrated rows, and as many replayed."""

    features: int = bounded(2, 4096)
    hidden: list[int] = bounded(1, 4096)
    batch: int = bounded(1, 100_000)


@dataclass
class Config(Unrivalled):
    """small: what is made of `features`, `hidden` and `batch`, none of it larger."""

    small: Small = bounded()

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = len(self.small.hidden) == len(self.hidden) and all(map(int.__le__, self.small.hidden, self.hidden))
        rest = self.small.features <= self.features and self.small.batch <= self.batch
        if not (layers and rest) or self.small.features % 2:
            given = f"small.features={self.small.features}, small.hidden={self.small.hidden}"
            rule = "must be at most features, hidden (layer by layer) and batch, and features even"
            raise BadInputError(f"{given}, small.batch={self.small.batch}: {rule}")


class Rung(NamedTuple):
    """The sizes of one, and whether its updates are in bfloat16."""

    cfg: Config
    halved: bool = False


def ladder(cfg: Config) -> dict[str, Rung]:
    """All that are measured, by name; one in bfloat16 comes after its like in float32."""
    narrow = replace(cfg, features=cfg.small.features)
    layers = replace(narrow, hidden=cfg.small.hidden)
    batches = replace(layers, batch=cfg.small.batch)
    sizes = Rung(cfg), Rung(cfg, True), Rung(narrow), Rung(layers), Rung(batches), Rung(batches, True)
    return dict(zip(LADDER, sizes, strict=True))


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`: of each rung's clones and of its CSIL."""
    parts, total = [], len(cfg.env) * len(LADDER)
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        parts.append(task.references())
        clones: dict[int, HetStat] = {}
        for place, (rung, (sizes, halved)) in enumerate(ladder(cfg).items()):
            sized = replace(task, cfg=sizes)
            if not halved:
                clones, rows = _study.cloned(sized, BC.format(rung), context, cfg.cloning)
                parts.append(rows)
            done = _study.share_of(context, number * len(LADDER) + place, total)
            train = partial(_trained, sized, rung, halved, clones[cfg.start], context, done)
            parts.append(context.piece(f"{name} {rung}", train))
    return pd.concat(parts, ignore_index=True)


def _trained(
    task: Task, rung: str, halved: bool, clone: HetStat, context: Context, done: Callable[[float], None]
) -> pd.DataFrame:
    make = HalvedImitation if halved else CoherentSoftImitation
    learner = make(clone, task.generators(2), task.cfg.coherent())
    return _study.train(task, CSIL.format(rung), learner, context, done)


# ---- decision ----


def late(frame: pd.DataFrame, rung: str) -> pd.DataFrame:
    """CSIL's mean scores over the last of its updates: a line per seed, a column per environment and number."""
    rows = _scores.scores(frame)
    mine = rows[rows.method == CSIL.format(rung)]
    if mine.empty:
        raise LookupError(f"{rung}: was not run")
    last = mine[mine["update"] > (1 - LATE) * mine["update"].max()]
    return last.pivot_table(index="seed", columns=["env", "demonstrations"], values="score")


def clones(frame: pd.DataFrame, rung: str) -> pd.DataFrame:
    """Scores of the strongest clone of a rung's sizes, laid out as `late`."""
    return _scores.strongest(_scores.scores(frame), BC.format(rung))


def marks(frame: pd.DataFrame) -> pd.DataFrame:
    """What a rung must be above: the published sizes' clone and the kept share of CSIL's gain on it."""
    clone = clones(frame, PUBLISHED)
    return clone + KEPT * (late(frame, PUBLISHED) - clone)


def decide(frame: pd.DataFrame, rung: str) -> Verdict:
    """Whether a rung keeps its share of the gain, on average and clearly less in no condition."""
    own = late(frame, PUBLISHED)
    every = {name: late(frame, name) for name in LADDER}
    told = ", ".join(f"{name} {_scores.told(table)}" for name, table in every.items())
    less = ", ".join(f"{name} {_scores.told(table - own)}" for name, table in every.items() if name != PUBLISHED)
    note = (
        f"Mean scores over the last {LATE:.0%} of the updates: {told}; strongest clone "
        f"{_scores.told(clones(frame, PUBLISHED))}. Less that as published: {less}. {_scores.scope(frame)}"
    )
    verdict = _scores.lead(every[rung], marks(frame), note)
    if _scores.lead(own, clones(frame, PUBLISHED)).verdict != REPRODUCED:
        return verdict._replace(verdict=INCONCLUSIVE, note=f"No clear gain to keep as published. {note}")
    return verdict


def _claim(suffix: str, what: str, rung: str) -> Claim:
    return Claim(
        id=f"csil.economies{suffix}", source="Watson et al. 2023", location="Appendix; asked here",
        statement=f"(Asked here) In the updates of this run CSIL {what} keeps over half of its gain on clones.",
        measures="score less the clone's and half of the gain, both as published", decide=partial(decide, rung=rung),
        smallest_scale="overnight",
    )  # fmt: skip


CLAIMS = [
    _claim("", "in bfloat16, with features, layers and batches a quarter as large,", ALL),
    _claim(".bfloat16", "in bfloat16", HALVED),
]


# ---- figure ----


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every rung's late score, what it costs, the strongest clone of its own sizes and the gain on that one."""
    found = []
    for rung in LADDER:
        own, clone = late(frame, rung), clones(frame, LIKE.get(rung, rung))
        costs = _scores.told(late(frame, PUBLISHED) - own) if rung != PUBLISHED else ""
        found.append((rung, _scores.told(own), costs, _scores.told(clone), _scores.told(own - clone)))
    return pd.DataFrame(found, columns=["sizes", "late score", "cost", "strongest own clone", "gain on it"])


COLOURS = dict(
    zip(LADDER, (style.BLUE, style.SKY, style.PURPLE, style.GREEN, style.ORANGE, style.VERMILION), strict=True)
)


def figure(frame: pd.DataFrame) -> Figure:
    """Scores along the updates, means over members; late scores by rung with its clones', and what it must be above."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(len(environments), 2, height=2.6)
    for row, name in enumerate(environments):
        _draw_curves(axes[2 * row], frame[frame.env == name], name)
        _draw_levels(axes[2 * row + 1], frame[frame.env == name])
    return drawing


def _draw_curves(axis: Axes, frame: pd.DataFrame, name: str) -> None:
    rows = _scores.scores(frame)
    for rung, line in zip(LADDER, style.DASHES, strict=True):
        mine = rows[rows.method == CSIL.format(rung)].groupby("update").score.mean()
        axis.plot(mine.index / 1000, mine, color=COLOURS[rung], linestyle=line)
    axis.set(xlabel="thousand updates", ylabel="mean score", title=name)


def _draw_levels(axis: Axes, frame: pd.DataFrame) -> None:
    """Each seed a dot, the rung's own clones a square; the published sizes' clone dashed, the mark dotted."""
    for place, rung in enumerate(LADDER):
        table = late(frame, rung)
        center, low, high = _scores.average(table)
        axis.errorbar(
            center, place, xerr=np.nan_to_num([[center - low], [high - center]]), fmt="o", color=COLOURS[rung],
            markersize=4,
        )  # fmt: skip
        clone = _scores.average(clones(frame, LIKE.get(rung, rung)))[0]
        axis.plot(clone, place, "s", color=style.BLACK, markersize=4, fillstyle="none")
        members = table.mean(axis=1)
        axis.plot(members, np.full(len(members), place + 0.25), ".", color=COLOURS[rung], markersize=3, alpha=0.6)
    for table, line in ((clones(frame, PUBLISHED), "--"), (marks(frame), ":")):
        axis.axvline(_scores.average(table)[0], color=style.BLACK, linestyle=line, linewidth=1)
    axis.set_yticks(range(len(LADDER)), LADDER)
    axis.set(ylim=(len(LADDER) - 0.5, -0.5), xlabel="score, mean, 95 %\n(0 random, 1 expert)")
    axis.set_title(
        f"last {LATE:.0%} of the updates; squares: own clone\n(published clone dashed, {KEPT:g} of the gain dotted)"
    )
