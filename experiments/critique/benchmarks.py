"""EDM against cloning on CartPole, Acrobot and LunarLander, as its authors run it (edm.benchmarks and its ablations).

Cloning is the same learner without the state term, from the same start on the same minibatches. The ablations change
one thing each: the noise that belongs to the sampler's step, the objective as it is printed, without the square of its
official code, and a state model with a learnt term of its own beside the policy's logits.
"""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.critique import _edm
from experiments.critique._edm import (
    BC,
    COLOURS,
    EDM,
    MARKS,
    METHODS,
    NOISE,
    PRINTED,
    SETTINGS,
    SHIFT,
    STALLED,
    by_task,
    final,
    scores,
    short_name,
    tick_down,
    told,
)
from experiments.harness import stats, style
from experiments.harness.claim import (
    INCONCLUSIVE,
    NOT_RUN,
    REFUTED,
    REPRODUCED,
    Claim,
    Verdict,
    above,
    equivalent,
    weakest,
)

SHARD_AXES, Config, inputs, run = _edm.SHARD_AXES, _edm.Config, _edm.inputs, _edm.run
MARGIN = 0.10  # of the normalised score: two methods so near are on par
LEARNT = 0.25  # less than this of cloning says nothing of a rival that is near it


def improved(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """1 where a method has the higher return than cloning from the same demonstrations and start, 1/2 where equal."""
    mine, cloning = final(frame, method), final(frame, BC)
    return (mine > cloning) + 0.5 * (mine == cloning)


def decide_improvement(frame: pd.DataFrame, method: str) -> Verdict:
    """More often than not the method beats cloning, over all tasks and clearly less often in none.

    Refuted where it clearly loses, over all tasks and clearly leads in none; a share of one half, however exact,
    decides nothing.
    """
    if missing := _missing(frame, method):
        return missing
    won = improved(frame, method)
    shares, ties = by_task(won), by_task((won == 0.5).astype(float))
    equal = ", ".join(f"{task} {share:.0%}" for task, (share, _, _) in ties.items())
    note = f"By task: {told(shares)}. Equal returns: {equal}. {_levels(frame, method)} {SETTINGS}"
    verdict = above(stats.mean_interval(won.mean(axis=1)), 0.5, note)
    against = {
        REPRODUCED: any(high < 0.5 for _, _, high in shares.values()),
        REFUTED: any(low > 0.5 for _, low, _ in shares.values()),
    }
    return verdict._replace(verdict=INCONCLUSIVE) if against.get(verdict.verdict) else verdict


def decide_shift(frame: pd.DataFrame) -> Verdict:
    """On par with cloning in every task: the mean scores differ by no more than the margin, where cloning has learnt.

    Worse than uniform actions counts as uniform actions: a crash of -2000 would drown all other trainings.
    """
    if missing := _missing(frame, SHIFT):
        return missing
    tables = [final(frame, method).clip(lower=0) for method in (SHIFT, BC)]
    checks = [equivalent(one, 0.0, MARGIN) for one in by_task(tables[0] - tables[1]).values()]
    verdict = weakest(checks)._replace(note=_levels(frame, SHIFT))
    idle = [task for task, level in by_task(tables[1]).items() if above(level, LEARNT).verdict != REPRODUCED]
    if not idle:
        return verdict
    return verdict._replace(verdict=INCONCLUSIVE, note=f"Cloning has learnt too little in {', '.join(idle)}.")


def _missing(frame: pd.DataFrame, method: str) -> Verdict | None:
    absent = [one for one in (method, BC) if one not in set(frame["method"])]
    return Verdict(NOT_RUN, note=f"{' and '.join(absent)}: not run at this scale.") if absent else None


def _levels(frame: pd.DataFrame, method: str) -> str:
    """Mean scores of a method and of cloning, after the last update and at best, and how many trainings diverged."""
    place = ["method", "task", "demonstrations", "seed"]
    best = scores(frame).groupby(place).score.max().clip(lower=0).groupby("method").mean()
    last = frame[frame.metric == "diverged"].groupby(place).value.last().groupby("method").sum()
    parts = []
    for name in (method, BC):
        table = final(frame, name).clip(lower=0)
        levels = ", ".join(f"{task} {level[0]:.2f}" for task, level in by_task(table).items())
        mean = f"all {table.to_numpy().mean():.2f}, best of the evaluations {best[name]:.2f}"
        parts.append(f"{name} {levels} ({mean})")
    return f"Mean scores, not below 0: {'; '.join(parts)}. Trainings with weights not finite: {int(last[method])}."


def _claim(suffix: str, method: str, location: str, statement: str) -> Claim:
    return Claim(
        id=f"edm.benchmarks{suffix}",
        source="Jarrett et al. 2020",
        location=location,
        statement=statement,
        measures="share of trainings with a higher return than cloning's from the same demonstrations, ties half",
        decide=partial(decide_improvement, method=method),
        smallest_scale="laptop",
        refuted_from="overnight",
    )


CLAIMS = [
    _claim(
        "",
        EDM,
        "its hope, as the abstract of Swamy et al. 2021 tells it; tasks of its official code",
        "Energy-based distribution matching out-performs behavioural cloning on CartPole, Acrobot and LunarLander.",
    ),
    _claim(
        ".noise",
        NOISE,
        "official code",
        "(Asked here) With the noise that belongs to its sampler's step EDM out-performs behavioural cloning.",
    ),
    _claim(
        ".printed",
        PRINTED,
        "the objective of the paper",
        "(Asked here) By the printed objective, without its code's square, EDM out-performs behavioural cloning.",
    ),
    Claim(
        id="edm.benchmarks.shift",
        source="Swamy et al. 2021",
        location="after (6)",
        statement="(Asked here) With a learnt term of its own for p(s) EDM's policy is on par with cloning.",
        measures="mean score less cloning's, in the task where they differ most",
        decide=decide_shift,
        smallest_scale="laptop",
        refuted_from="overnight",
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """Scores against the number of trajectories, how often each method beats cloning, and both losses in training."""
    tasks = list(dict.fromkeys(frame.task))
    drawing, axes = style.panels(3, 2, height=2.2)
    methods = [method for method in METHODS if method in set(frame["method"])]
    for axis, task in zip(axes, tasks, strict=False):
        for number, method in enumerate(methods):
            offset = 0.12 * (number - (len(methods) - 1) / 2)
            _draw_scores(axis, final(frame, method)[[task]].clip(lower=0), method, offset)
        axis.axhline(1, color=style.GREY, linewidth=0.8, linestyle=":")
        axis.set(title=short_name(task), xlabel="demonstrated trajectories", ylabel="score (0 random, 1 expert)")
    for axis in axes[len(tasks) : 3]:
        axis.set_axis_off()
    _draw_shares(axes[3], {method: improved(frame, method) for method in methods if method != BC})
    axes[4].set_title("median; band: 10 to 90 % of trainings")
    axes[5].set_title("median; band: 10 to 90 % of trainings")
    _draw_training(axes[4], frame, "rho", [method for method in methods if method != BC])
    axes[4].axhline(STALLED, color=style.GREY, linewidth=0.8, linestyle=":")
    axes[4].set_yscale("symlog", linthresh=1)
    axes[4].set(ylabel="rho (nats)")
    tick_down(axes[4])
    _draw_training(axes[5], frame, "cross_entropy", methods)
    axes[5].set(ylabel="cross-entropy (nats)", yscale="log")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(methods))
    return drawing


def _draw_scores(axis: Axes, table: pd.DataFrame, method: str, offset: float) -> None:
    """Means over seeds with their intervals, one for each number of demonstrations."""
    middle, low, high = np.array([stats.mean_interval(table[one]) for one in table]).T
    place, reach = np.arange(len(middle)), np.array([middle - low, high - middle])
    axis.errorbar(place + offset, middle, reach, fmt=f"{MARKS[method]}-", color=COLOURS[method], markersize=3,
                  linewidth=0.8, label=method)  # fmt: skip
    axis.set_xticks(place, [str(one[1]) for one in table.columns.to_list()])


def _draw_shares(axis: Axes, shares: dict[str, pd.DataFrame]) -> None:
    """How often each method beats cloning: over all tasks large, and below it task by task."""
    labels = []
    for method, won in shares.items():
        for name, interval in {"all tasks": stats.mean_interval(won.mean(axis=1)), **by_task(won)}.items():
            middle, low, high = interval
            size, width = (5, 1.4) if name == "all tasks" else (2.5, 0.7)
            axis.errorbar(middle, -len(labels), xerr=[[middle - low], [high - middle]], fmt=MARKS[method],
                          color=COLOURS[method], markersize=size, linewidth=width)  # fmt: skip
            labels.append(short_name(name))
    axis.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=":")
    axis.set_yticks([-place for place in range(len(labels))], labels, fontsize=5)
    axis.set(xlim=(-0.02, 1.02), xlabel="share of trainings ahead of BC's, ties half")


def _draw_training(axis: Axes, frame: pd.DataFrame, metric: str, methods: list[str]) -> None:
    """Medians over tasks, numbers of demonstrations and seeds, and the range of all but the outer tenths."""
    for method in methods:
        groups = frame[(frame["method"] == method) & (frame.metric == metric)].groupby("update").value
        low, middle, high = (groups.quantile(share) for share in (0.1, 0.5, 0.9))
        axis.fill_between(middle.index, low, high, color=COLOURS[method], alpha=0.2, linewidth=0)
        axis.plot(middle.index, middle, f"{MARKS[method]}-", color=COLOURS[method], markersize=3, linewidth=0.8)
    axis.set(xlabel="update (mean since the mark before)")
