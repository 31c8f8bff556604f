"""CSIL offline (csil.offline): demonstrations beside data of graded quality, and no step of its own.

The data are the expert's with a share of its actions replaced by uniform ones; those of Watson et al. 2023 are replays
of trainings. CSIL's policy starts from a clone of demonstrations and data, half and half; that clone, fitted on to the
demonstrations alone, is the prior and the reward. What CSIL makes of the data must be above the clones of the
demonstrations and of both, each at the better of its numbers of steps, above the one that was fitted on, and above the
policy that recorded the data. A control has all of this but the reward. The last evaluation decides.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from experiments.csil import _scores, _study
from experiments.csil._study import Task, Unrivalled
from experiments.harness import style
from experiments.harness.claim import NOT_RUN, Claim, Verdict, weakest
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control import experts
from imitation.control.csil import CoherentActor
from imitation.control.imitation_rows import DemonstrationRows
from imitation.control.offline import OfflineTraining, coherent_learner, mixture, noisy, record
from imitation.envs.control import Environments
from imitation.nn.diverged import diverged
from imitation.policies import Cloning, HetStat
from imitation.policies.cloning import Fit

SHARD_AXES = ("env", "seeds", "noise")
RECORDING = 5_000_000  # where the seeds of recorded episodes begin
CSIL, NOTHING, BC, MIXED, TUNED, DATA = "CSIL offline", "no reward", "BC", "BC of both", "BC of both, fitted on", "data"
RIVALS = (BC, MIXED, TUNED, DATA, NOTHING)
REWARDS = {CSIL: None, NOTHING: _study.NO_REWARD}  # alpha: as published, and next to none


@dataclass
class Config(Unrivalled):
    """noise: shares of uniform actions in the data. recorded: streams of data, each of `length` steps.

    Nothing is stepped in training: of the study's values `copies` and `warmup` have no meaning here.
    """

    noise: list[float] = bounded(0, 1, unique=True)
    recorded: int = bounded(1, 100_000)
    length: int = bounded(1, 100_000)


def inputs(cfg: Config) -> list[Path]:
    """As the study's, and the experts whose actions the data are made of."""
    found = _study.inputs(cfg)
    for name in cfg.env:
        try:
            experts.load(name)
        except ValueError as error:
            raise BadInputError(f"env={name}: {error}; the data are made of its actions") from None
    return list(dict.fromkeys([*found, *(experts.FOLDER / f"{name}.safetensors" for name in cfg.env)]))


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study` with the data's `noise`; nothing is stepped, so that `steps` are updates here."""
    parts, total = [], len(REWARDS) * len(cfg.env) * len(cfg.noise)
    for name in cfg.env:
        task = _study.task(cfg, name, context.device)
        _, rows = _study.cloned(task, BC, context, cfg.cloning)
        for noise in cfg.noise:
            data, level = recorded(task, noise)
            both = replace(task, rows=mixture(task.rows, data))
            stages, mixed = _study.cloned(both, f"{MIXED} {noise}", context, cfg.cloning)
            clone, fitted = tuned(task, stages[cfg.start], context, noise)
            found = [task.references(), rows, level, mixed.assign(method=MIXED), fitted]
            for number, method in enumerate(REWARDS):
                done = _study.share_of(context, len(parts) * len(REWARDS) + number, total)
                settings = cfg.coherent(alpha=REWARDS[method])
                learner = coherent_learner(clone, stages[cfg.start], task.generators(2), settings)
                offline = partial(OfflineTraining, learner, task.rows, data)
                train = partial(_study.train, task, f"{method} {noise}", learner, context, done, offline)
                found.append(context.piece(f"{name} {method} {noise}", train).assign(method=method))
            parts.append(pd.concat(found).assign(noise=noise))
    return pd.concat(parts, ignore_index=True)


def recorded(task: Task, noise: float) -> tuple[DemonstrationRows, pd.DataFrame]:
    """Each member's data, and the returns of what recorded them."""
    cfg = task.cfg
    assert isinstance(cfg, Config)
    environments = Environments(task.name, [RECORDING + seed for _, seed in task.members], cfg.recorded)
    policy = noisy(partial(_act, experts.load(task.name)), noise, task.generators(4))
    data = record(policy, environments, cfg.length)
    return data, pd.DataFrame(task.frame(DATA, 0, {"return": task.returns(policy)}))


def tuned(task: Task, start: HetStat, context: Context, noise: float) -> tuple[HetStat, pd.DataFrame]:
    """A clone of both fitted on to the demonstrations alone, for as long again, with its returns.

    Goes on from the last checkpoint if there is one.
    """
    cfg, rows = task.cfg, task.rows.rows
    policy, random = deepcopy(start).requires_grad_(True), task.generators(5)
    fit = Fit(Cloning(batch=cfg.batch), policy, rows.observation, rows.action, random, task.rows.counts)

    def measure() -> list[dict]:
        returns = _study.returns(task, CoherentActor(policy).mode, diverged(policy))
        return task.frame(TUNED, 2 * cfg.start, returns)

    _, found = _study.fitted(fit, f"{task.name} {TUNED} {noise}", context, [cfg.start], measure)
    return policy.frozen(), found


def _act(expert: experts.Expert, observation: Tensor) -> Tensor:
    """One expert's actions (P, E, Da) for the observations (P, E, Do) of all members."""
    return expert.act(observation.flatten(0, 1)[None])[0].unflatten(0, observation.shape[:2])


# ---- decision ----


def tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Last scores by method, of each clone those at its best number of steps; a column per environment and noise."""
    rows = _scores.scores(_by_condition(frame))
    clones = {name: _scores.strongest(rows, name) for name in (BC, MIXED)}
    found = clones | {name: _scores.final(rows, name) for name in (TUNED, DATA, CSIL, NOTHING)}
    return {name: table.sort_index(axis=1) for name, table in found.items()}


def _by_condition(frame: pd.DataFrame) -> pd.DataFrame:
    """An environment with data of one quality counts as an environment."""
    return frame.assign(
        env=[f"{env}, {100 * noise:g} % noise" for env, noise in zip(frame.env, frame.noise, strict=True)]
    )


def decide(frame: pd.DataFrame) -> Verdict:
    """CSIL is above its clones, the data and itself without reward: the check that speaks most against it."""
    found = tables(frame)
    told = ", ".join(f"{name} {_scores.told(table)}" for name, table in found.items())
    note = f"Mean scores: {told}. {_scope(frame)}"
    return weakest([_scores.lead(found[CSIL], found[name], note) for name in RIVALS], expected=np.inf)


def _scope(frame: pd.DataFrame) -> str:
    """What was run, in words."""
    each = frame[frame.metric == "diverged"].groupby(["env", "noise", "method", "demonstrations", "seed"]).value
    names, noises = sorted(set(frame.env)), [f"{100 * noise:g}" for noise in sorted(set(frame.noise))]
    counts = ", ".join(map(str, sorted(set(frame.demonstrations))))
    data = f"{counts} demonstrations, {', '.join(noises)} % uniform actions in the data"
    return f"{', '.join(names)}; {data}; diverged: {int(each.last().sum())}."


def decide_hopper(frame: pd.DataFrame) -> Verdict:
    """The same for one environment."""
    mine = frame[frame.env == "Hopper-v5"]
    return Verdict(NOT_RUN, note="Hopper-v5 was not run.") if mine.empty else decide(mine)


def _claim(suffix: str, location: str, statement: str, decide: Callable[[pd.DataFrame], Verdict]) -> Claim:
    return Claim(
        id=f"csil.offline{suffix}", source="Watson et al. 2023", location=location, statement=statement,
        measures="CSIL's score less that of its nearest rival: a clone, the data, itself without reward", decide=decide,
        smallest_scale="overnight", refuted_from="paper",
    )  # fmt: skip


CLAIMS = [
    _claim("", "Section 5", "The offline variant learns from sub-optimal data.", decide),
    _claim(
        ".hopper",
        "Section 5; asked here",
        "(Asked here, where a pilot had looked so) On Hopper the offline variant learns from sub-optimal data.",
        decide_hopper,
    ),
]


# ---- figure ----

LOOKS = {
    CSIL: (style.BLUE, "o"), NOTHING: (style.VERMILION, "x"), BC: (style.BLACK, "s"), MIXED: (style.GREEN, "^"),
    TUNED: (style.PURPLE, "v"), DATA: (style.GREY, "D"),
}  # fmt: skip
LABELS = {CSIL: CSIL, NOTHING: "without reward", BC: "clone of the demonstrations", MIXED: "clone of both",
          TUNED: "clone of both, fitted on", DATA: "the data's policy"}  # fmt: skip


def figure(frame: pd.DataFrame) -> Figure:
    """By environment: last scores over the data's noise, and the scores of CSIL and its control over updates."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(len(environments), 2, height=2.3, sharey="row")
    for (left, right), name in zip(np.reshape(axes, (-1, 2)), environments, strict=True):
        mine = frame[frame.env == name]
        _draw_levels(left, mine)
        _draw_curves(right, mine)
        left.set(title=name, ylabel="last score, mean, 95 %\n(0 random, 1 expert)")
        right.set(title=name, ylabel="score, mean over seeds")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="-" if name in REWARDS else "", label=LABELS[name])
        for name, (colour, marker) in LOOKS.items()
    ]
    drawing.legend(handles=handles, loc="outside upper center", ncols=3)
    return drawing


def _draw_levels(axis: Axes, frame: pd.DataFrame) -> None:
    """Means over seeds with their intervals, over the share of uniform actions in the data."""
    noises = sorted(set(frame.noise))
    for number, (name, (colour, marker)) in enumerate(LOOKS.items()):
        each = [_scores.average(tables(frame[frame.noise == noise])[name]) for noise in noises]
        center, low, high = np.array(each).T
        places = np.arange(len(noises)) + 0.12 * (number - (len(LOOKS) - 1) / 2)
        bars = np.nan_to_num([center - low, high - center])
        axis.errorbar(places, center, bars, fmt=marker, markersize=4, color=colour)
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set_xticks(range(len(noises)), [f"{100 * noise:g} %" for noise in noises])
    axis.set(xlabel="uniform actions in the data", xlim=(-0.5, len(noises) - 0.5))


def _draw_curves(axis: Axes, frame: pd.DataFrame) -> None:
    """Mean scores over updates, of CSIL and of its control, a line style per quality of the data."""
    rows = _scores.scores(_by_condition(frame))
    styles = dict(zip(sorted(set(frame.noise)), cycle(style.DASHES)))
    for method in REWARDS:
        for noise, line in styles.items():
            curve = rows[(rows.method == method) & (rows.noise == noise)].groupby("update").score.mean()
            axis.plot(curve.index, curve, linestyle=line, color=LOOKS[method][0])
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="updates", ylim=(None, 1.45))  # room for the legend
    axis.legend(
        handles=[
            Line2D([], [], color=style.BLACK, linestyle=line, label=f"{100 * noise:g} %")
            for noise, line in styles.items()
        ],
        title="uniform actions", loc="upper center", ncols=len(styles),
    )  # fmt: skip
