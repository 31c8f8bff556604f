"""CSIL, Fig. 3 (csil.mujoco, csil.one-demonstration): is a clone improved by CSIL?

CSIL starts from a clone of few demonstrations and goes on in the environment with the clone's coherent reward. Its
rivals learn from the same demonstrations and as many environment steps, on the same core, with an update of the policy
for each of CSIL's; but from scratch, while CSIL has a clone and a pretrained critic. Returns are normalised by those of
a uniform policy (0) and of the demonstrations (1), and the last evaluation decides; what the best one would say stands
beside it. Of the clones the strongest is the rival, whatever its number of steps: it is chosen by the very returns it
is compared by, which favours it; longer ones than these may be stronger. Rivals that learn their temperature begin
where the configuration says: with few updates most would pass until it has come down from the published 1; IQ-Learn's
is fixed. DAC has no absorbing states here: where episodes end it is a weaker rival than Kostrikov et al.'s, which
`csil/stability` has. Where rivals are compared one by one it counts only where none ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from experiments.csil import _film, _scores, _study
from experiments.csil._study import Study, Task
from experiments.harness import stats, style
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REPRODUCED, Claim, Verdict, above, below, jointly, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded
from imitation.control import experts
from imitation.control.csil import CoherentActor, CoherentSoftImitation
from imitation.control.dac import AdversarialSettings, DiscriminatorActorCritic
from imitation.control.iq_learn import InverseSoftQ, InverseSoftQSettings
from imitation.control.ppil import ProximalPoint, ProximalPointSettings
from imitation.control.sac import Settings, SoftActorCritic
from imitation.control.sqil import SoftQImitation
from imitation.demonstrations.sources import EXPERT

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
RIVALS: dict[str, tuple[Callable[..., SoftActorCritic], type[Settings]]] = {
    "SQIL": (SoftQImitation, Settings),
    "IQ-Learn": (InverseSoftQ, InverseSoftQSettings),
    "DAC": (DiscriminatorActorCritic, AdversarialSettings),
    "P2IL": (ProximalPoint, ProximalPointSettings),
}
CSIL, BC = "CSIL", "BC"
SUFFICES = 0.9  # of the demonstrations' return
ENDLESS = ("HalfCheetah-v5",)  # where no state ends an episode, and DAC needs no absorbing states


@dataclass
class Config(Study):
    """methods: beside the clones."""

    methods: list[str] = bounded(choices=(CSIL, *RIVALS), unique=True)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`; "expert" and "random" are what returns are normalised by, "BC" the clones by their steps.

    Rows of the metric `pose` hold a film strip of an episode of the expert, the clone and CSIL, see `_film`.
    """
    parts = []
    for number, name in enumerate(cfg.env):
        task = _study.task(cfg, name, context.device)
        clones, rows = _study.cloned(task, BC, context, cfg.cloning)
        clone = clones[cfg.start]
        parts += [task.references(), rows, filmed(task, BC, CoherentActor(clone).mode)]
        if cfg.demonstrations.source == EXPERT:
            parts.append(filmed(task, "expert", experts.load(name).act))
        for place, method in enumerate(cfg.methods):
            before = number * len(cfg.methods) + place
            done = _study.share_of(context, before, len(cfg.env) * len(cfg.methods))
            parts.append(context.piece(f"{name} {method}", partial(_trained, task, method, clone, context, done)))
    return pd.concat(parts, ignore_index=True)


def _trained(
    task: Task, method: str, clone: nn.Module, context: Context, done: Callable[[float], None]
) -> pd.DataFrame:
    one = learner(task, method, clone)
    curves = _study.train(task, method, one, context, done)
    return pd.concat([curves, filmed(task, CSIL, one.actor.mode)]) if method == CSIL else curves


def filmed(task: Task, method: str, act: Callable[[Tensor], Tensor]) -> pd.DataFrame:
    """An episode of the first seed with the most demonstrations, from a start of its own.

    Args:
        act: observations (P, 1, Do) -> actions (P, 1, Da), or with one member for a policy that is no population.
    """
    count, seed = max(task.cfg.demonstrations.counts), task.cfg.seeds[0]
    place = task.members.index((count, seed)) if method != "expert" else 0
    members = len(task.members) if method != "expert" else 1
    rows = _film.poses(task.name, lambda one: act(one.expand(members, -1, -1))[[place]], _study.EVALUATION + seed)
    return pd.DataFrame(rows).assign(env=task.name, method=method, demonstrations=count, seed=seed, metric="pose")


def learner(task: Task, method: str, clone: nn.Module) -> SoftActorCritic:
    """A method's learner before its first update."""
    cfg, random = task.cfg, task.generators(2)
    if method == CSIL:
        return CoherentSoftImitation(clone, random, cfg.coherent())
    make, settings = RIVALS[method]
    return make(*task.sizes, random, settings(**cfg.sizes(), **_own(cfg, method)))


def _own(cfg: Study, method: str) -> dict[str, Any]:
    """A rival's settings beside its published ones: where a temperature that is learnt begins, and SQIL's rates."""
    if method == "SQIL":
        return cfg.rates() | cfg.entropy()
    learns = RIVALS[method][1]().temperature_rate > 0
    return {"temperature": cfg.temperature} if learns else {}


# ---- decisions ----


def tables(
    frame: pd.DataFrame, pick: Callable[[pd.DataFrame, str], pd.DataFrame] = _scores.final
) -> dict[str, pd.DataFrame]:
    """Scores by method; of the clones always those of the strongest."""
    rows = _scores.scores(frame)
    names = [name for name in (CSIL, *RIVALS) if name in set(rows.method)]
    return {BC: _scores.strongest(rows, BC)} | {name: pick(rows, name) for name in names}


def decide_mujoco(frame: pd.DataFrame, methods: Sequence[str] = tuple(RIVALS)) -> Verdict:
    """CSIL is above cloning and each of these methods: the check that speaks most against it.

    Of methods that were not run nothing is known, so that without one of them nothing is reproduced.
    """
    last, top = tables(frame), tables(frame, _scores.best)
    told = [f"{name} {_scores.short(one)}, best {_scores.short(top[name])}" for name, one in last.items()]
    own, rivals = last[CSIL], {name: last[name] for name in (BC, *methods) if name in last}
    chances = [f"{name} {_scores.better(own, table):.2f}" for name, table in rivals.items()]
    about = f"Mean scores: {'; '.join(told)}. Probability of improvement over {', '.join(chances)}."
    missing = [name for name in methods if name not in last]
    absent = f" Not run: {', '.join(missing)}." if missing else ""
    about = f"{about} {_scores.scope(frame)}{absent}"
    verdict = weakest([_scores.lead(own, table, about) for table in rivals.values()], expected=np.inf)
    return verdict._replace(verdict=INCONCLUSIVE) if missing and verdict.verdict == REPRODUCED else verdict


def decide_cheetah(frame: pd.DataFrame) -> Verdict:
    """The same for one environment and SQIL."""
    mine = frame[frame.env == "HalfCheetah-v5"]
    return Verdict(NOT_RUN, note="HalfCheetah-v5 was not run.") if mine.empty else decide_mujoco(mine, ["SQIL"])


def decide_rival(frame: pd.DataFrame, rival: str) -> Verdict:
    """CSIL is above this one on average, and clearly below nowhere; above DAC, where no state ends an episode."""
    mine = frame[frame.env.isin(ENDLESS)] if rival == "DAC" else frame
    last = tables(mine) if {CSIL, rival} <= set(mine.method) else {}
    if not last:
        return Verdict(NOT_RUN, note=f"{rival} was not run.")
    own, other = last[CSIL], last[rival]
    updates = int(mine["update"][mine.method == CSIL].max())
    leads = [f"{env} ({count}) {_scores.told((own - other)[[(env, count)]])}" for env, count in own.columns]
    note = (
        f"Mean scores after {updates} updates and {int(mine.steps.max())} steps online: CSIL {_scores.told(own)}, "
        f"{LABELS.get(rival, rival)} {_scores.told(other)}. CSIL's lead, by environment (demonstrations): "
        f"{'; '.join(leads)}. {_scores.scope(mine[mine.method.isin([CSIL, rival])])}"
    )
    return _scores.lead(own, other, note)


def decide_one_demonstration(frame: pd.DataFrame) -> Verdict:
    """With one demonstration CSIL's score is above the mark, the strongest clone's below it, and CSIL's above that."""
    if 1 not in set(frame.demonstrations):
        return Verdict(NOT_RUN, note="No run with one demonstration.")
    mine = frame[frame.demonstrations == 1]
    last = tables(mine)
    level, clone = _scores.average(last[CSIL]), _scores.average(last[BC])
    gain = _scores.lead(last[CSIL], last[BC])
    return jointly([above(level, SUFFICES), below(clone, SUFFICES), gain], told(mine))


def told(frame: pd.DataFrame) -> str:
    """Mean scores of CSIL and the strongest clone with their intervals, in words."""
    last, top = tables(frame), tables(frame, _scores.best)
    own, clone, best = (_scores.average(one) for one in (last[CSIL], last[BC], top[CSIL]))
    return (
        f"Mean scores over {len(last[CSIL])} seeds after {int(frame.steps.max())} steps: CSIL {own[0]:.2f} "
        f"[{own[1]:.2f}, {own[2]:.2f}] (best {best[0]:.2f}), strongest clone {clone[0]:.2f} [{clone[1]:.2f}, "
        f"{clone[2]:.2f}]. {_scores.scope(frame)} The mark is {SUFFICES}."
    )


def _claim(
    suffix: str, statement: str, measures: str, decide: Callable[[pd.DataFrame], Verdict], scale: str = "laptop"
) -> Claim:
    return Claim(
        id=f"csil.{suffix}", source="Watson et al. 2023", location="Section 5, Fig. 3", statement=statement,
        measures=measures, decide=decide, smallest_scale=scale, refuted_from="paper",
    )  # fmt: skip


def over(suffix: str, name: str, decide: Callable[[pd.DataFrame], Verdict]) -> Claim:
    """A comparison with one rival at the budget that was run: no longer training is needed to refute it."""
    statement = (
        f"(Asked here) In the updates of this run CSIL, which starts from a clone, gets to higher returns than {name}."
    )
    claim = _claim(f"mujoco.over.{suffix}", statement, "CSIL's score less the rival's", decide, "overnight")
    return replace(claim, location="Section 5; asked here", refuted_from="overnight")


CLAIMS = [
    _claim("mujoco", "CSIL's returns on MuJoCo tasks are above those of cloning and of the other imitation learners.",
           "CSIL's score less that of the nearest rival", decide_mujoco, "paper"),
    _claim("mujoco.cheetah",
           "In the updates of this run CSIL's returns on HalfCheetah are above those of cloning and of SQIL.",
           "CSIL's score less that of the nearer rival", decide_cheetah),
    _claim("one-demonstration", "One demonstration suffices for CSIL where behavioural cloning fails.",
           "CSIL's score with one demonstration", decide_one_demonstration),
    over("bc", "the strongest clone", partial(decide_rival, rival=BC)),
    over("sqil", "SQIL", partial(decide_rival, rival="SQIL")),
    over("iq-learn", "IQ-Learn", partial(decide_rival, rival="IQ-Learn")),
    over("dac", "DAC where no episode ends early", partial(decide_rival, rival="DAC")),
    over("p2il", "P2IL", partial(decide_rival, rival="P2IL")),
]  # fmt: skip

COLOURS = {BC: style.BLACK, CSIL: style.BLUE, "SQIL": style.ORANGE, "IQ-Learn": style.GREEN, "DAC": style.VERMILION,
           "P2IL": style.PURPLE}  # fmt: skip
LABELS = {BC: "strongest clone (BC)"}
FILMED = {"expert": ("expert", style.GREY), BC: ("clone", style.BLACK), CSIL: (CSIL, style.BLUE)}
LOWER = ("levels", "profiles", "collapse")  # the panels below the curves
THRESHOLDS = np.linspace(0, 1.2, 61)  # of the score, along the performance profiles


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores by environment, demonstrations and method: at the end, spread over seeds, best, and the deepest fall.

    A fall is how far an evaluation lies below the best so far of its seed, in units of the score: means over seeds.
    """
    rows, last, top = _scores.scores(frame), tables(frame), tables(frame, _scores.best)
    found = []
    for name in (one for one in last if one != BC):
        for env, count in last[name].columns:
            mine = rows[(rows.method == name) & (rows.env == env) & (rows.demonstrations == count)]
            course = mine.pivot(index="steps", columns="seed", values="score")
            end, fall = last[name][[(env, count)]], (course.cummax() - course).max()
            best, spread = top[name][(env, count)].mean(), float(end.std().iloc[0])
            numbers = _scores.told(end), f"{spread:.2f}", f"{best:.2f}", f"{fall.mean():.2f}"
            found.append((env, count, LABELS.get(name, name), *numbers))
    columns = ["environment", "demonstrations", "method", "last score", "sd over seeds", "best score", "deepest fall"]
    return pd.DataFrame(found, columns=columns).sort_values(columns[:2], kind="stable")


def figure(frame: pd.DataFrame) -> Figure:
    """Learning curves by environment and number of demonstrations; scores, last and best; profiles; collapses."""
    rows, environments = _scores.scores(frame), list(dict.fromkeys(frame.env))
    counts = sorted(set(frame.demonstrations))
    curves = [[f"{name} {count}" for count in counts for _ in LOWER] for name in environments]
    lower = [name for name in LOWER for _ in counts]  # both rows have as many cells
    film = [f"film {name}" for name in environments]
    cells = [[name] * len(lower) for name in film]
    drawing, axes = style.mosaic([*curves, lower, *cells], [1.9] * len(environments) + [2.3] + [1.6] * len(film))
    for name in environments:
        for count in counts:
            axis = axes[f"{name} {count}"]
            draw_curves(axis, rows[(rows.env == name) & (rows.demonstrations == count)])
            axis.set_title(f"{count} demonstration{'s' * (count > 1)}" if name == environments[0] else "")
        axes[f"{name} {counts[0]}"].set_ylabel(f"score, {name}\n0 random, 1 expert")
        _film.draw(axes[f"film {name}"], frame[frame.env == name], FILMED)
    _draw_levels(axes["levels"], frame, counts)
    _draw_profiles(axes["profiles"], frame)
    _draw_collapse(axes["collapse"], frame)
    shown = [name for name in COLOURS if name in set(rows.method)]
    handles = [
        Line2D([], [], color=COLOURS[name], linestyle="--" if name == BC else "-", label=LABELS.get(name, name))
        for name in shown
    ]
    drawing.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return drawing


def draw_curves(axis: Axes, rows: pd.DataFrame) -> None:
    """Each seed thin, the interquartile mean with its interval thick; the strongest clone as a level."""
    for name in [one for one in COLOURS if one in set(rows.method) and one != BC]:
        table = rows[rows.method == name].pivot(index="steps", columns="seed", values="score")
        axis.plot(table.index, table.to_numpy(), color=COLOURS[name], linewidth=0.5, alpha=0.4)
        middle = [stats.bootstrap_interval(seeds, stats.interquartile_mean) for seeds in table.to_numpy()]
        center, low, high = np.array(middle).T
        axis.plot(table.index, center, color=COLOURS[name], linewidth=2)
        axis.fill_between(table.index.to_numpy(), low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
    axis.axhline(_scores.level(_scores.strongest(rows, BC))[0], color=COLOURS[BC], linestyle="--", linewidth=1)
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set(ylim=(-0.2, 1.15), xlabel="environment steps")
    axis.xaxis.set_major_locator(MaxNLocator(4))


def _draw_levels(axis: Axes, frame: pd.DataFrame, counts: Sequence[int]) -> None:
    """Scores at the end (filled) and at each member's best evaluation (hollow), by number of demonstrations."""
    for best in (False, True):
        for place, count in enumerate(counts):
            every = tables(frame[frame.demonstrations == count], _scores.best if best else _scores.final)
            for number, (name, table) in enumerate(every.items()):
                center, low, high = _scores.level(table)
                at = place + 0.13 * (number - (len(every) - 1) / 2) + 0.05 * best
                axis.errorbar(
                    at, center, yerr=[[center - low], [high - center]], color=COLOURS[name], fmt="o", markersize=4,
                    markerfacecolor="white" if best else COLOURS[name],
                )  # fmt: skip
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set_xticks(range(len(counts)), list(map(str, counts)))
    axis.set(xlim=(-0.5, len(counts) - 0.5), xlabel="demonstrations", ylabel="score, IQM, 95 %")
    axis.set_title("last (filled), best (hollow)")


def _draw_profiles(axis: Axes, frame: pd.DataFrame) -> None:
    for name, table in tables(frame).items():
        values = table.to_numpy()
        above = (values[None] > THRESHOLDS[:, None, None]).reshape(len(THRESHOLDS), -1).mean(1)
        axis.plot(THRESHOLDS, above, color=COLOURS[name], drawstyle="steps-post")
    axis.set(xlabel="score", ylabel="share of runs above", ylim=(0, 1.02), title="performance profiles")


def _draw_collapse(axis: Axes, frame: pd.DataFrame) -> None:
    """What would show a collapse of CSIL: the mean over members, the largest of them, and how many diverged.

    These, of which the shares say nothing, are left out of both.
    """
    member = ["env", "demonstrations", "seed"]
    rows = frame[frame.method == CSIL].pivot_table(index=[*member, "steps"], columns="metric", values="value")
    lost = rows.diverged == 1
    members, bad = rows.groupby(member).ngroups, int(lost.groupby(member).any().sum())
    looks = {"at_limits": ("action at the limits", style.SKY), "value_share": ("|Q| over its clip", style.PURPLE)}
    for metric, (label, colour) in looks.items():
        shares = rows.loc[~lost, metric].dropna().groupby("steps")
        axis.plot(shares.mean().index, shares.mean(), color=colour, label=label)
        axis.plot(shares.max().index, shares.max(), color=colour, linestyle=":", linewidth=1)
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="environment steps", ylabel="share", ylim=(-0.02, None))
    axis.set_title("CSIL: signs of collapse\n(dotted: largest member)")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.legend(title=f"{bad} of {members} diverged")
