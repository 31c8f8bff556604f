"""CSIL offline (csil.offline): demonstrations beside data of graded quality, and no step of its own.

The data are the expert's with a share of its actions replaced by uniform ones. CSIL's policy starts from a clone of
demonstrations and data, half and half; that clone, fitted on to the demonstrations alone, is the prior and the reward.
What CSIL makes of the data must be above the clones of the demonstrations and of both, whatever their numbers of steps,
and above the policy that recorded the data. A control starts from the same policy and has demonstrations with shuffled
actions. The last evaluation decides.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from experiments.csil import _scores, _study
from experiments.csil._study import Study, Task
from experiments.harness import style
from experiments.harness.claim import NOT_RUN, Claim, Verdict, weakest
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control import experts
from imitation.control.csil import CoherentSoftImitation
from imitation.control.imitation_rows import DemonstrationRows
from imitation.control.offline import OfflineTraining, coherent_learner, mixture, noisy, record
from imitation.control.training import Plan
from imitation.envs.control import Environments
from imitation.policies import Cloning, HetStat

SHARD_AXES = ("env", "seeds", "noise")
RECORDING = 5_000_000  # where the seeds of recorded episodes begin
CSIL, SHUFFLED, BC, MIXED, DATA = "CSIL offline", "shuffled actions", "BC", "BC of both", "data"
RIVALS = (BC, MIXED, DATA)


@dataclass
class Config(Study):
    """noise: shares of uniform actions in the data. recorded: streams of data, each of `length` steps.

    Nothing is stepped in training: of the study's values `copies` and `warmup` have no meaning here.
    """

    noise: list[float] = bounded(0, 1, unique=True)
    recorded: int = bounded(1, 100_000)
    length: int = bounded(1, 100_000)


def inputs(cfg: Config) -> list[Path]:
    """As the study's, and the experts whose actions the data are made of."""
    try:
        kept = [experts.FOLDER / f"{experts.load(name).card['environment']}.safetensors" for name in cfg.env]
    except ValueError as error:
        raise BadInputError(f"env={cfg.env}: {error}") from None
    return list(dict.fromkeys([*_study.inputs(cfg), *kept]))


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study` with the data's `noise`; nothing is stepped, so that `steps` are updates here."""
    parts, total = [], 2 * len(cfg.env) * len(cfg.noise)
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        _, rows = _study.cloned(task, BC, context, cfg.cloning)
        for place, noise in enumerate(cfg.noise):
            found = [task.references(), rows]
            data, level = recorded(task, noise)
            both = replace(task, rows=mixture(task.rows, data))
            mixed, again = _study.cloned(both, f"{MIXED} {noise}", context, cfg.cloning)
            found += [level, again.assign(method=MIXED)]
            for control, (method, of) in enumerate([(CSIL, task), (SHUFFLED, task.shuffled())]):
                clone = tuned(of, mixed[cfg.start], f"{method} {noise}", context)
                done = _study.share_of(context, 2 * (number * len(cfg.noise) + place) + control, total)
                train = partial(_trained, method, of, data, (clone, mixed[cfg.start]), context, noise, done)
                found.append(context.piece(f"{name} {method} {noise}", train))
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


def tuned(task: Task, start: HetStat, key: str, context: Context) -> HetStat:
    """The clone of both, fitted on as long again to the demonstrations alone."""
    cfg, random, rows = task.cfg, task.generators(5), task.rows.rows
    policy = deepcopy(start).requires_grad_(True)
    if state := context.kept(f"{task.name} {key}"):
        policy.load_state_dict(state)
    else:
        Cloning(batch=cfg.batch).fit(policy, rows.observation, rows.action, random, cfg.start, task.rows.counts)
        context.keep(f"{task.name} {key}", policy.state_dict())
    return policy.frozen()


def _act(expert: experts.Expert, observation: Tensor) -> Tensor:
    """One expert's actions (P, E, Da) for the observations (P, E, Do) of all members."""
    return expert.act(observation.flatten(0, 1)[None])[0].unflatten(0, observation.shape[:2])


def _trained(
    method: str,
    task: Task,
    data: DemonstrationRows,
    clones: tuple[HetStat, HetStat],
    context: Context,
    noise: float,
    done: Callable[[float], None],
) -> pd.DataFrame:
    """Train to the end, from the last checkpoint if there is one, and measure at every evaluation."""
    cfg, key, rows, written = task.cfg, f"{task.name} {method} {noise} training", [], time.monotonic()
    learner = coherent_learner(*clones, task.generators(2), cfg.coherent())
    plan = Plan(cfg.updates, batch=cfg.batch, every=cfg.updates // cfg.evaluations)
    training = OfflineTraining(learner, task.rows, data, plan)

    def measure(updates: int) -> None:
        rows.extend(task.frame(method, updates, _measured(task, learner), updates))
        done(updates / cfg.updates)

    def keep(state: dict[str, Any]) -> None:
        nonlocal written
        if time.monotonic() - written >= _study.KEEP_SECONDS:
            context.keep(key, {"training": state, "rows": rows})
            written = time.monotonic()

    if state := context.kept(key):
        training.load_state_dict(state["training"])
        rows = state["rows"]
    else:
        learner.pretrain(task.rows, cfg.batch)
        measure(0)
    training.run(measure, keep)
    return pd.DataFrame(rows)


def _measured(task: Task, learner: CoherentSoftImitation) -> dict[str, np.ndarray]:
    """Returns, which members diverged, and what would show a collapse, once an update was made."""
    bad = learner.diverged().cpu().numpy()
    looks = {
        name: learner.diagnostics[name].cpu().numpy() for name in _study.DIAGNOSTICS if name in learner.diagnostics
    }
    returns = np.where(bad, np.nan, task.returns(learner.actor.mode))
    return {"return": returns, "diverged": bad.astype(float)} | looks


# ---- decision ----


def tables(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Last scores by method, of each clone those at its best number of steps; a column per environment and noise."""
    rows = _scores.scores(_by_condition(frame))
    clones = {name: _scores.strongest(rows, name) for name in (BC, MIXED)}
    found = clones | {name: _scores.final(rows, name) for name in (DATA, CSIL, SHUFFLED)}
    return {name: table.sort_index(axis=1) for name, table in found.items()}


def _by_condition(frame: pd.DataFrame) -> pd.DataFrame:
    """An environment with data of one quality counts as an environment."""
    return frame.assign(env=[f"{env}, {noise:.0%} noise" for env, noise in zip(frame.env, frame.noise, strict=True)])


def decide(frame: pd.DataFrame) -> Verdict:
    """CSIL is above the clone of the demonstrations, that of both and the data: the check that speaks most against it.

    And above its control: what a reward of shuffled actions teaches as well, it has not learnt from the demonstrations.
    """
    found = tables(frame)
    told = ", ".join(f"{name} {_scores.told(table)}" for name, table in found.items())
    note = f"Mean scores: {told}. {_scores.scope(frame)}"
    checks = [_scores.lead(found[CSIL], found[name], note) for name in (*RIVALS, SHUFFLED)]
    return weakest(checks, expected=np.inf)


def decide_hopper(frame: pd.DataFrame) -> Verdict:
    """The same for one environment."""
    mine = frame[frame.env == "Hopper-v5"]
    return Verdict(NOT_RUN, note="Hopper-v5 was not run.") if mine.empty else decide(mine)


def _claim(suffix: str, statement: str, decide: Callable[[pd.DataFrame], Verdict]) -> Claim:
    return Claim(
        id=f"csil.offline{suffix}", source="Watson et al. 2023", location="Section 5", statement=statement,
        measures="CSIL's score less that of the nearest: its clones, the data, its control", decide=decide,
        smallest_scale="overnight", refuted_from="paper",
    )  # fmt: skip


CLAIMS = [
    _claim("", "The offline variant learns from sub-optimal data.", decide),
    _claim(".hopper", "It does on Hopper.", decide_hopper),
]


# ---- figure ----

LOOKS = {
    CSIL: (style.BLUE, "o"), SHUFFLED: (style.VERMILION, "x"), BC: (style.BLACK, "s"), MIXED: (style.GREEN, "^"),
    DATA: (style.GREY, "D"),
}  # fmt: skip
LABELS = {CSIL: CSIL, SHUFFLED: "reward of shuffled actions", BC: "clone of the demonstrations",
          MIXED: "clone of both", DATA: "the data's policy"}  # fmt: skip


def figure(frame: pd.DataFrame) -> Figure:
    """By environment: last scores over the data's noise, and the scores of CSIL and its control over updates."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(len(environments), 2, height=2.6 * len(environments))
    for (left, right), name in zip(np.reshape(axes, (-1, 2)), environments, strict=True):
        mine = frame[frame.env == name]
        _draw_levels(left, mine)
        _draw_curves(right, mine)
        left.set_ylabel(f"last score, {name}\n(0 random, 1 expert; mean, 95 %)")
    return drawing


def _draw_levels(axis: Axes, frame: pd.DataFrame) -> None:
    """Means over seeds with their intervals, over the share of uniform actions in the data."""
    noises = sorted(set(frame.noise))
    for number, (name, (colour, marker)) in enumerate(LOOKS.items()):
        each = [_scores.average(tables(frame[frame.noise == noise])[name]) for noise in noises]
        center, low, high = np.array(each).T
        places = np.arange(len(noises)) + 0.09 * (number - (len(LOOKS) - 1) / 2)
        bars = np.nan_to_num([center - low, high - center])
        axis.errorbar(places, center, bars, fmt=marker, markersize=4, color=colour, label=LABELS[name])
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set_xticks(range(len(noises)), [f"{noise:.0%}" for noise in noises])
    axis.set(xlabel="uniform actions in the data", xlim=(-0.5, len(noises) - 0.5))
    axis.legend()


def _draw_curves(axis: Axes, frame: pd.DataFrame) -> None:
    """Mean scores over updates, of CSIL and of its control, a line style per quality of the data."""
    rows = _scores.scores(_by_condition(frame))
    for method in (CSIL, SHUFFLED):
        for noise, line in zip(sorted(set(frame.noise)), cycle(style.DASHES)):
            curve = rows[(rows.method == method) & (rows.noise == noise)].groupby("update").score.mean()
            label = f"{noise:.0%} uniform actions" if method == CSIL else None
            axis.plot(curve.index, curve, linestyle=line, color=LOOKS[method][0], label=label)
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="updates", ylabel="score, mean over seeds")
    axis.legend()
