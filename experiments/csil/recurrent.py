"""CSIL with a recurrent policy (csil.recurrent*), where observations flicker: is a richer policy class of use?

Watson et al. 2023 leave it open. The policy sees the observation, which is blank now and then, and what a gated
recurrent unit makes of it and of those before; unit and policy are cloned together, and then the unit stays as it is.
From here on all is CSIL on the unit's states, as if they told all. Beside it CSIL on the last observations, blanks
among them, which needs no recurrence, and recurrent CSIL without reward. CSIL's last evaluation decides, and of each
clone the best.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _figures, _scores, _study
from experiments.csil._study import Task, Unrivalled
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentActor, CoherentSoftImitation
from imitation.control.remembered import RememberedEnvironments, beginnings, flickering, remembered
from imitation.envs.control import Environments
from imitation.nn.diverged import diverged
from imitation.policies import HetStat
from imitation.policies.memory import GatedMemory, LastFrames, Memory
from imitation.policies.recurrent import RecurrentFit

SHARD_AXES = ("env", "seeds")
GATED, NOTHING = "recurrent", "recurrent, no reward"
SEEN = "BC, all seen"  # a clone whose observations do not flicker: what the blanks cost


def clone_of(memory: str) -> str:
    """The method's name."""
    return f"BC, {memory}"


def last(frames: int) -> str:
    """The name of CSIL on so many observations."""
    return f"last {frames}"


@dataclass
class Config(Unrivalled):
    """blank: share of the observations that are not seen. frames: how many the policies of the last ones see.

    units: of the recurrent memory. window: consecutive steps that its gradients go back. A minibatch for the recurrent
    clone is `batch` rows too, but as windows, whose rows resemble each other more than rows drawn one by one.
    """

    blank: float = bounded(0, 0.99)
    units: int = bounded(1, 4096)
    window: int = bounded(1, 1000)
    frames: list[int] = bounded(1, 100, unique=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.demonstrations.keep != 1:
            raise BadInputError(f"demonstrations.keep={self.demonstrations.keep}: a memory needs every step, must be 1")
        if self.batch % max(self.window, 1):
            raise BadInputError(f"window={self.window}: must divide batch={self.batch}")

    @property
    def memories(self) -> list[str]:
        """Names of the policy classes."""
        return [*map(last, self.frames), GATED]


inputs = _study.inputs


@dataclass(frozen=True)
class RememberedTask(Task):
    """A task whose rows and environments show a memory's states of what flickers."""

    memory: Memory

    @classmethod
    def of(cls, flicker: Task, memory: Memory) -> "RememberedTask":
        """The same with its rows, which flicker already, as the memory makes them."""
        rows = remembered(flicker.rows, memory)
        return cls(flicker.cfg, flicker.name, flicker.members, rows, flicker.expert, memory)

    def environments(self, first: int, copies: int) -> Environments:
        """Each member's, their seeds beginning at `first`."""
        assert isinstance(self.cfg, Config)
        seeds = [first + seed for _, seed in self.members]
        return RememberedEnvironments(self.memory, self.cfg.blank, self.name, seeds, copies)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`."""
    parts, methods = [], [*cfg.memories, NOTHING]
    for place, name in enumerate(cfg.env):
        whole = _study.task(cfg, name, context.device)
        flicker = replace(whole, rows=flickering(whole.rows, cfg.blank, whole.generators(6)))
        parts += [whole.references(), _study.cloned(whole, SEEN, context, cfg.cloning)[1]]
        for memory in cfg.memories:
            task, clone, rows = remembering(flicker, memory, context)
            parts.append(rows)
            for method in (GATED, NOTHING) if memory == GATED else (memory,):
                before = place * len(methods) + methods.index(method)
                done = _study.share_of(context, before, len(methods) * len(cfg.env))
                settings = cfg.coherent(alpha=_study.NO_REWARD if method == NOTHING else None)
                learner = CoherentSoftImitation(clone, task.generators(2), settings)
                train = partial(_study.train, task, method, learner, context, done)
                parts.append(context.piece(f"{name} {method}", train))
    return pd.concat(parts, ignore_index=True)


def remembering(flicker: Task, memory: str, context: Context) -> tuple[RememberedTask, HetStat, pd.DataFrame]:
    """The task as a memory shows it, the clone that CSIL starts from, and the returns of all clones."""
    cfg = flicker.cfg
    assert isinstance(cfg, Config)
    if memory == GATED:
        return _recurrent(flicker, context)
    frames = cfg.frames[cfg.memories.index(memory)]
    task = RememberedTask.of(flicker, LastFrames(flicker.sizes[0], frames))
    clones, rows = _study.cloned(task, clone_of(memory), context, cfg.cloning)
    return task, clones[cfg.start], rows


def _recurrent(flicker: Task, context: Context) -> tuple[RememberedTask, HetStat, pd.DataFrame]:
    """Memory and clone fitted together, evaluated at the same numbers of steps as the others.

    Goes on from the last checkpoint if there is one.
    """
    cfg, rows, random, (width, action_dim) = flicker.cfg, flicker.rows.rows, flicker.generators(1), flicker.sizes
    assert isinstance(cfg, Config)
    memory = GatedMemory(width, random, cfg.units).to(flicker.device)
    policy = HetStat(memory.width, action_dim, random, tuple(cfg.hidden), features=cfg.features).to(flicker.device)
    fit = RecurrentFit(
        memory, policy, rows.observation, rows.action, beginnings(flicker.rows), random,
        cfg.batch // cfg.window, cfg.window, flicker.rows.counts,
    )  # fmt: skip

    def measure() -> list[dict]:
        task = RememberedTask.of(flicker, memory.frozen())
        returns = _study.returns(task, CoherentActor(policy).mode, diverged(fit.fitted))
        return task.frame(clone_of(GATED), fit.steps, returns)

    stages, found = _study.fitted(fit, f"{flicker.name} {clone_of(GATED)}", context, cfg.cloning, measure)
    fit.fitted.load_state_dict(stages[cfg.start])
    return RememberedTask.of(flicker, memory.frozen()), policy.frozen(), found


# ---- decisions ----


def _decide(frame: pd.DataFrame, rivals: Callable[[str], bool]) -> Verdict:
    """Recurrent CSIL is above all of these."""
    return _scores.above_rivals(frame, GATED, rivals)


def decide_works(frame: pd.DataFrame) -> Verdict:
    """CSIL takes a recurrent clone further: above it, and above itself without reward."""
    return _decide(frame, (clone_of(GATED), NOTHING).__contains__)


def decide_memory(frame: pd.DataFrame) -> Verdict:
    """It is of use: above CSIL on the last observation and on the last few."""
    return _decide(frame, lambda name: name.startswith("last "))


def _claim(suffix: str, location: str, statement: str, measures: str, decide: Callable[..., Verdict]) -> Claim:
    return Claim(
        id=f"csil.recurrent{suffix}", source="Watson et al. 2023", location=location, statement=statement,
        measures=measures, decide=decide, smallest_scale="overnight", refuted_from="paper",
    )  # fmt: skip


CLAIMS = [
    _claim(
        "",
        "Open question 2",
        "The method works with a richer, recurrent policy class.",
        "score of recurrent CSIL less that of its nearest rival: its clone, itself without reward",
        decide_works,
    ),
    _claim(
        ".memory",
        "Open question 2; asked here",
        "(Asked here) Where observations flicker, a recurrent policy does better than one of the last few.",
        "score of recurrent CSIL less that of its nearest rival: CSIL on the last, on the last few",
        decide_memory,
    ),
]


# ---- figure ----

PALETTE = (style.ORANGE, style.GREEN, style.PURPLE, style.SKY)  # of the last observations: one, few, more


def looks(frame: pd.DataFrame) -> dict[str, str]:
    """Colours of CSIL's methods, those on the last observations first."""
    lasts = [name for name in dict.fromkeys(frame.method) if name.startswith("last ")]
    return dict(zip(lasts, PALETTE, strict=False)) | {GATED: style.BLUE, NOTHING: style.VERMILION}


def figure(frame: pd.DataFrame) -> Figure:
    """By environment: last scores of clones and of what CSIL made of them, and scores over the steps taken."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(len(environments), 2, height=2.9, sharey="row")
    for (left, right), name in zip(np.reshape(axes, (-1, 2)), environments, strict=True):
        mine = frame[frame.env == name]
        _draw_last(left, mine)
        _figures.curves(right, mine, looks(frame))
        left.set(title=name, ylabel="last score, mean, 95 %\n(0: random, 1: expert)")
        right.set(title=name, ylabel="score\n(seeds thin, mean thick)")
    _figures.legend(drawing, looks(frame), columns=3)
    return drawing


def _draw_last(axis: Axes, frame: pd.DataFrame) -> None:
    """Means over seeds with their intervals: clone and CSIL of each policy class side by side."""
    found, places = _scores.tables(frame), {SEEN: (0.0, style.BLACK)}
    for number, (name, colour) in enumerate(looks(frame).items(), start=1):
        beside = 0.15 * (clone_of(name) in found)
        places |= {clone_of(name): (number - beside, colour)} if beside else {}
        places |= {name: (number + beside, colour)}
    names = ["all seen", *(name.removeprefix(f"{GATED}, ") for name in looks(frame))]
    _figures.levels(axis, found, places, names)
