"""Lecture, Section 18.2.2.1: finite samples, optimisation and misspecification; which of them survive data and compute?

A stochastic expert (the soft best response to a random reward) is cloned by gradient descent in two classes of softmax
policies: one logit per state and action, which contains the expert, and logits shared by pairs of states, which does
not. eps is the probability of another action than the expert's at its own states, E_{s ~ d_E} TV(pi_E, pi)(s). Data
and steps go to infinity one by one and together, infinite data being the expert's exact law of states and actions.
The floor of the second class is the limit by another way: averaging the expert over each pair.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, above, below, equivalent, holds, jointly
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.mdp.horizon import occupancies, repeated, value_iteration
from imitation.mdp.learners import cloned, fit_softmax, softmax_law
from imitation.mdp.processes import random_processes
from imitation.mdp.rollouts import rollouts, step_counts
from imitation.mdp.tabular import TabularMDP, total_variation

SHARD_AXES = ("seeds",)
REALISABLE, MISSPECIFIED = "realisable", "misspecified"
RATE = 2.0  # of the descent; the loss's curvature per logit is at most d_E(s) / 2, so that 2 never overshoots
HALVES, ORDER_TOLERANCE = -0.5, 0.1  # eps ~ n^(-1/2): the error of a frequency
DESCENDED = 1e-6  # what optimisation may leave on infinite data
FLOOR = 0.05  # what misspecification must leave, in every process
AT_FLOOR = 0.05  # relative: how near the floor most data and steps must come
SAMPLED = 0.02  # what the most data may leave in the realisable class


@dataclass
class Config:
    """episodes: n, demonstrations; steps: of gradient descent; horizon: of an episode."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 50)
    actions: int = bounded(2, 20)
    horizon: int = bounded(1, 1000)
    episodes: list[int] = bounded(1, 1_000_000)
    steps: list[int] = bounded(0, 1_000_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, class, number of demonstrations and of steps; infinity stands for the exact law and optimum."""
    frames = []
    for number, seed in enumerate(cfg.seeds):
        frames.append(_one(cfg, context.rng(seed)).assign(seed=seed))
        context.progress(number + 1, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _one(cfg: Config, rng: np.random.Generator) -> pd.DataFrame:
    drawn = random_processes(1, cfg.states, cfg.actions, rng)
    mdp = TabularMDP(drawn.transition[0], drawn.initial[0])
    reward = torch.from_numpy(rng.normal(size=(cfg.states, cfg.actions)))
    expert = value_iteration(mdp, repeated(reward, 200), temperature=1.0).log_policy[0].exp()
    exact = occupancies(mdp, repeated(expert, cfg.horizon)).sum(0) / cfg.horizon
    seen = rollouts(mdp, repeated(expert, cfg.horizon), max(cfg.episodes), rng)
    laws = [_frequencies(type(seen)(*(part[:n] for part in seen)), mdp) for n in cfg.episodes]
    joint = torch.stack([*laws, exact])  # (N + 1, S, A)
    rows = []
    for name, features in _classes(cfg.states).items():
        weights = fit_softmax(features, joint, RATE, cfg.steps)
        policies = [*softmax_law(features, weights), _optimum(features, joint)]
        for steps, policy in zip([*cfg.steps, np.inf], policies, strict=True):
            errors = (exact.sum(-1) * total_variation(policy, expert)).sum(-1)
            rows.append(
                pd.DataFrame(
                    {"eps": errors.numpy(), "episodes": [*cfg.episodes, np.inf], "steps": steps, "family": name}
                )
            )
    return pd.concat(rows, ignore_index=True)


def _frequencies(seen, mdp: TabularMDP) -> Tensor:
    counts = step_counts(seen, mdp.states, mdp.actions).sum(0)
    return counts / counts.sum()


def _classes(states: int) -> dict[str, Tensor]:
    """Features (S, F): a logit per state, or one per pair of neighbours."""
    identity = torch.eye(states, dtype=torch.float64)
    shared = torch.eye((states + 1) // 2, dtype=torch.float64).repeat_interleave(2, 0)[:states]
    return {REALISABLE: identity, MISSPECIFIED: shared}


def _optimum(features: Tensor, joint: Tensor) -> Tensor:
    """The likeliest policy of the class: frequencies within each group of states that share their logits."""
    return features @ cloned(features.mT @ joint)


def _cell(frame: pd.DataFrame, family: str, episodes: float, steps: float) -> pd.Series:
    rows = frame[(frame.family == family) & (frame.episodes == episodes) & (frame.steps == steps)]
    return rows.set_index("seed").eps


def decide(frame: pd.DataFrame) -> Verdict:
    """Realisable: eps falls as n^(-1/2) and to 0 with steps. Misspecified: it ends at the floor, in every process."""
    finite = frame[np.isfinite(frame.episodes)].episodes
    most, few, steps = finite.max(), max(finite.min(), 10), frame[np.isfinite(frame.steps)].steps.max()
    last = _cell(frame, REALISABLE, most, steps)
    order = np.log(last / _cell(frame, REALISABLE, few, np.inf)) / np.log(most / few)
    descended = _cell(frame, REALISABLE, np.inf, steps)
    perfect = float(_cell(frame, REALISABLE, np.inf, np.inf).abs().max(skipna=False))
    floor, reached = _cell(frame, MISSPECIFIED, np.inf, np.inf), _cell(frame, MISSPECIFIED, most, steps)
    start = _cell(frame, REALISABLE, np.inf, frame.steps.min())
    checks = [
        above(stats.mean_interval(floor), FLOOR),
        equivalent(stats.mean_interval(reached / floor), 1.0, AT_FLOOR),
        below(stats.mean_interval(last), SAMPLED),
        equivalent(stats.mean_interval(order), HALVES, ORDER_TOLERANCE),
        below(stats.mean_interval(descended), DESCENDED),
        above(stats.mean_interval(start), FLOOR),  # the descent had something to do
    ]
    each = bool((floor > FLOOR).all() and perfect < 1e-9)
    note = (
        "eps that misspecification leaves with infinite data and steps. Realisable: "
        f"{float(last.mean()):.4f} with {most:g} demonstrations, falling as n^{float(order.mean()):.2f}, and "
        f"{float(descended.max()):.0e} after {steps:g} steps on infinite data (the start: {float(start.mean()):.2f}). "
        f"Misspecified: {float((reached / floor).mean()):.3f} of the floor is left at {most:g} demonstrations."
    )
    return jointly(checks, note) if each else holds(False, float(floor.mean()), note)


CLAIMS = [
    Claim(
        id="lecture.epsilon-sources",
        source="Lecture 18",
        location="Section 18.2.2.1",
        statement="Of finite samples, optimisation and misspecification only the last survives more data and compute.",
        measures="eps left by misspecification, probability per step",
        decide=decide,
        smallest_scale="laptop",
    ),
]

COLOURS = {REALISABLE: style.BLUE, MISSPECIFIED: style.VERMILION}


def figure(frame: pd.DataFrame) -> Figure:
    """eps (a) against demonstrations, optimised to the end; (b) against steps with infinite data and with little."""
    drawing, axes = style.panels(1, 2, height=2.6)
    finite = np.sort(frame[np.isfinite(frame.episodes)].episodes.unique())
    for family, colour in COLOURS.items():
        rows = frame[(frame.family == family) & np.isinf(frame.steps) & np.isfinite(frame.episodes)]
        _line(axes[0], rows, "episodes", colour, "-", family)
        floor = frame[(frame.family == family) & np.isinf(frame.steps) & np.isinf(frame.episodes)].eps.mean()
        for axis in axes:
            if floor > 1e-9:
                axis.axhline(floor, color=style.GREY, linewidth=0.8, linestyle=":", label="floor, exact")
        for number, (episodes, dash) in enumerate(((np.inf, "-"), (finite[len(finite) // 2], "--"))):
            rows = frame[(frame.family == family) & np.isfinite(frame.steps) & (frame.episodes == episodes)]
            data = "infinite data" if not number else f"{episodes:g} demonstrations"
            _line(axes[1], rows.assign(steps=rows.steps.clip(lower=0.5)), "steps", colour, dash, f"{family}, {data}")
    axes[0].set(xlabel="demonstrations $n$ (episodes)", title="all steps made\nbars: 95 % over processes")
    axes[1].set(
        xlabel="steps of gradient descent (leftmost: 0)",
        title="data fixed\nbars: 95 % over processes",
        ylim=(1e-6, None),
    )
    for axis in axes:
        axis.set(xscale="log", yscale="log", ylabel=r"$\epsilon$ (probability per step)")
        axis.legend(loc="lower left", fontsize=6)
    return drawing


def _line(axis, rows: pd.DataFrame, by: str, colour: str, dash: str, label: str) -> None:
    groups = rows.groupby(by).eps
    center, low, high = np.array([stats.mean_interval(values) for _, values in groups]).T
    bars = [np.minimum(center - low, 0.999 * center), high - center]  # a logarithmic axis has no zero
    axis.errorbar(
        list(groups.groups),
        center,
        bars,
        fmt="o",
        linestyle=dash,
        color=colour,
        markersize=2.5,
        linewidth=1,
        label=label,
    )
