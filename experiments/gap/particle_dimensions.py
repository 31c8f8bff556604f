"""Gap, Appendix C and Section II: DFO, Langevin and explicit policies as the particle's dimension grows.

Ta et al. checked their implementation on one episode and on 2000, in 2-D and 16-D, with derivative-free (DFO) and with
Langevin training and inference. Florence et al. 2021 report that implicit policies last where regression and nearest
neighbour do not, and that DFO fails past 5-D. All methods see the same demonstrations and the same fresh episodes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.gap import _particle
from experiments.gap._particle import LEARNT, Task, Trained
from experiments.harness import stats, style
from experiments.harness.claim import INCONCLUSIVE, REFUTED, Claim, Verdict, above, below, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.ebm.implicit import Objective
from imitation.ebm.inference import DerivativeFree
from imitation.ebm.negatives import Uniform
from imitation.envs.particle import State, rollout
from imitation.policies import Explicit, Mixture, Nearest

SHARD_AXES = ("seeds",)
LANGEVIN, DFO, MSE, MIXTURE, NEAREST = "Langevin", "DFO", "MSE", "mixture density", "nearest neighbour"
METHODS = (LANGEVIN, DFO, MSE, MIXTURE, NEAREST)
EXPLICIT = {MSE: Explicit, MIXTURE: Mixture}
FEW, MANY = 2, 16  # dimensions of the paper's check
GOOD = 0.95  # success that Florence et al. 2021 report up to 16-D


@dataclass
class Config(Trained):
    """compared: dimensions in which DFO is trained, and both methods on one episode for `overfit_steps`.

    dfo_*: negatives in training; samples, iterations, first deviation and shrinkage in inference.
    explicit_*: of the regression.
    """

    seeds: list[int] = seed_list()
    dimensions: list[int] = bounded(1, 32, unique=True)
    compared: list[int] = bounded(1, 32, unique=True)
    overfit_steps: int = bounded(1, 100_000_000)
    dfo_negatives: int = bounded(1, 100_000)
    dfo_samples: int = bounded(1, 1_000_000)
    dfo_iterations: int = bounded(1, 1000)
    dfo_deviation: float = bounded(1e-6, 100)
    dfo_shrink: float = bounded(1e-6, 1)
    explicit_steps: int = bounded(1, 100_000_000)
    explicit_batch: int = bounded(1, 1_000_000)


def conditions(cfg: Config) -> list[tuple[str, int, int]]:
    """(method, N, episodes of demonstrations) of everything that is trained."""
    full = [(method, n, cfg.demonstrations) for n in cfg.dimensions for method in METHODS]
    return [
        *(each for each in full if each[0] != DFO or each[1] in cfg.compared),
        *((method, n, 1) for n in cfg.compared for method in (LANGEVIN, DFO)),
    ]


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_particle`, with the method, the dimension and the number of demonstrations in columns.

    `success` is on fresh episodes, but for one demonstration, where it is on the demonstrated one.
    """
    parts, all_conditions = [], conditions(cfg)
    for number, (method, n, demonstrations) in enumerate(all_conditions):
        done = partial(_particle.progress, context, number, len(all_conditions))
        own = replace(cfg, demonstrations=demonstrations, steps=cfg.overfit_steps if demonstrations == 1 else cfg.steps)
        name = f"{method} {n} {demonstrations}"
        parts.append(context.piece(name, partial(_measured, own, method, n, name, context, done)))
    return pd.concat(parts, ignore_index=True)


def _measured(
    cfg: Config, method: str, n: int, name: str, context: Context, done: Callable[[float], None]
) -> pd.DataFrame:
    data = _particle.task(cfg, n, cfg.seeds, context.device)
    measure = _nearest if method == NEAREST else _explicit if method in EXPLICIT else _implicit
    rows = measure(cfg, method, data, name, context, done)
    return rows.assign(method=method, dimension=n, demonstrations=cfg.demonstrations)


def _implicit(cfg: Config, method: str, data: Task, name: str, context: Context, done) -> pd.DataFrame:
    minimisers: _particle.Minimisers = {its: cfg.minimiser(its) for its in cfg.inference_iterations}
    proposal = cfg.short_chains()
    if method == DFO:
        proposal = Uniform(cfg.dfo_negatives, cfg.bounds)
        search = cfg.dfo_iterations, cfg.dfo_deviation, cfg.dfo_shrink
        minimisers = {cfg.dfo_iterations: DerivativeFree(cfg.dfo_samples, cfg.bounds, *search)}
    objective = Objective(penalty=cfg.penalty if method == LANGEVIN else 0.0)
    one = _particle.learner(cfg, data, lambda _: proposal, context.generators(cfg.seeds), objective)
    validation = _particle.Validation(one, data, minimisers, cfg.seeds, cfg.episodes)
    if cfg.demonstrations == 1:
        validation.start = _demonstrated(data)
    return _particle.train(one, cfg, cfg.seeds, context, name, validation, done)


def _demonstrated(data: Task) -> State:
    """The start (P, 1, N) of each member's first demonstration: the newer half of its first input, (P, 4N)."""
    return State(*data.inputs[:, :1].chunk(2, -1)[1].chunk(4, -1))


def _explicit(cfg: Config, method: str, data: Task, _: str, context: Context, done) -> pd.DataFrame:
    learner = EXPLICIT[method](tuple(cfg.hidden), cfg.explicit_batch, cfg.learning_rate)
    inputs, actions = data.inputs.float(), data.actions.float()
    fitted = learner.fit(inputs, actions, context.generators(cfg.seeds), cfg.explicit_steps, lambda k, n: done(k / n))
    diverged = [
        {"seed": seed, "step": cfg.explicit_steps, "metric": "diverged", "value": float(value)}
        for seed, value in zip(cfg.seeds, fitted.diverged.tolist(), strict=True)
    ]
    rows = _acted(cfg, data, lambda x: fitted.act(x.float()).double(), cfg.explicit_steps)
    return pd.DataFrame(rows + diverged)


def _nearest(cfg: Config, _: str, data: Task, __: str, context: Context, done) -> pd.DataFrame:
    return pd.DataFrame(_acted(cfg, data, Nearest(data.inputs, data.actions).act, 0))


def _acted(cfg: Config, data: Task, act: Callable[[torch.Tensor], torch.Tensor], step: int) -> list[dict]:
    start = _particle.validation_starts(data.actions.shape[-1], cfg.seeds, cfg.episodes, data.actions.device)
    return _particle.successes(rollout(act, start), cfg.seeds, step)


def full(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the trainings on all demonstrations."""
    return frame[frame.demonstrations == frame.demonstrations.max()]


def _ours(frame: pd.DataFrame, method: str, dimension: int) -> pd.Series:
    return _particle.success(full(frame), method=method, dimension=dimension)


def _table(frame: pd.DataFrame) -> str:
    """Mean success of every method, dimension by dimension."""
    rows = full(frame)
    parts = []
    for n in sorted(rows.dimension.unique()):
        values = {name: _ours(frame, name, n).mean() for name in METHODS}
        parts.append(f"{n:g}-D " + ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value == value))
    return f"Success: {'; '.join(parts)}."


def decide_dimensions(frame: pd.DataFrame, dimensions: tuple[int, ...] | None = None) -> Verdict:
    """In every dimension from 2 on, Langevin's success is above that of regression and of nearest neighbour."""
    measured = dimensions or sorted(n for n in full(frame).dimension.unique() if n >= FEW)
    note = _table(frame)
    rivals = [(n, name) for n in measured for name in (MSE, NEAREST)]
    differences = [_particle.paired(_ours(frame, LANGEVIN, n), _ours(frame, name, n)) for n, name in rivals]
    return weakest([above(each, 0.0, note) for each in differences], expected=np.inf)


def decide_dfo(frame: pd.DataFrame) -> Verdict:
    """In 16-D DFO's success is below one half, and Langevin's above it."""
    if MANY not in set(full(frame).dimension):
        return Verdict(INCONCLUSIVE, note=f"{MANY}-D was not run.")
    fails = below(stats.mean_interval(_ours(frame, DFO, MANY)), LEARNT)
    succeeds = above(stats.mean_interval(_ours(frame, LANGEVIN, MANY)), LEARNT, _table(frame))
    return succeeds._replace(verdict=weakest([fails, succeeds]).verdict)


def decide_full(frame: pd.DataFrame) -> Verdict:
    """2-D success with all demonstrations reaches what Florence et al. report."""
    return above(stats.mean_interval(_ours(frame, LANGEVIN, FEW)), GOOD, _table(frame))


def decide_overfit(frame: pd.DataFrame) -> Verdict:
    """Trained on one episode, both methods redo it in most seeds, in every dimension compared."""
    single = frame[(frame.demonstrations == 1) & (frame.metric == "success")]
    checks, parts = [], []
    for (method, n), rows in single.groupby(["method", "dimension"], sort=False):
        interval = stats.mean_interval(_particle.success(rows))
        checks.append(above(interval, LEARNT))
        parts.append(f"{method} {n}-D {interval[0]:.2f}")
    note = f"Share of seeds that redo the demonstrated episode: {', '.join(parts)}."
    verdict = weakest(checks, expected=np.inf)._replace(note=note)
    if MANY not in set(single.dimension) and verdict.verdict != REFUTED:
        return verdict._replace(verdict=INCONCLUSIVE, note=f"{note} {MANY}-D was not run.")
    return verdict


def decide_evolution(frame: pd.DataFrame) -> Verdict:
    """InfoNCE ends below what it began with, positives below negatives, Langevin's negatives nearer than DFO's."""
    checks, parts = [], []
    rows = full(frame)
    for (method, n), group in rows[rows.metric == "loss"].groupby(["method", "dimension"], sort=False):
        ends = {name: _particle.last(rows, name, method=method, dimension=n) for name in INFO}
        first = group.sort_values("step", kind="stable").groupby("seed").value.first()
        fall = _particle.paired(first, ends["loss"])
        gap = _particle.paired(ends["negative_energy"], ends["positive_energy"])
        checks += [above(fall, 0.0), above(gap, 0.0)]
        parts.append(f"{method} {n}-D: loss {first.mean():.2f} to {ends['loss'].mean():.2f}, gap {gap[0]:.1f}")
        if method == LANGEVIN and not (uniform := _particle.last(rows, "distance", method=DFO, dimension=n)).empty:
            checks.append(above(_particle.paired(uniform, ends["distance"]), 0.0))
    note = f"From the first to the last validation: {'; '.join(parts)}."
    return weakest(checks, expected=np.inf)._replace(note=note)


INFO = ("loss", "positive_energy", "negative_energy", "distance")
SOURCE = "Ta et al. 2022"
CLAIMS = [
    Claim(
        id="gap.dimensions",
        source=SOURCE,
        location="Section I, after Florence et al. 2021",
        statement="Implicit policies beat explicit regression and nearest neighbour as the dimension grows.",
        measures="success less the better rival's, smallest over dimensions",
        decide=decide_dimensions,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.dimensions.2-d",
        source=SOURCE,
        location="Section I, after Florence et al. 2021",
        statement="Implicit policies beat explicit regression and nearest neighbour in 2-D.",
        measures="success less the better rival's",
        decide=partial(decide_dimensions, dimensions=(FEW,)),
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.implementation",
        source=SOURCE,
        location="Appendix C",
        statement="On full demonstrations DFO fails in 16-D and Langevin does not.",
        measures="success of Langevin in 16-D",
        decide=decide_dfo,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.implementation.full",
        source=SOURCE,
        location="Appendix C, after Florence et al. 2021",
        statement="With 2000 demonstrations the success in 2-D is at least 95 %.",
        measures="success of Langevin in 2-D",
        decide=decide_full,
        printed=GOOD,
        smallest_scale="paper",
    ),
    Claim(
        id="gap.implementation.overfit",
        source=SOURCE,
        location="Appendix C",
        statement="Trained on one episode, DFO and Langevin overfit: they redo it, in 2-D and in 16-D.",
        measures="share of seeds that redo it, the worst condition",
        decide=decide_overfit,
        smallest_scale="laptop",
    ),
    Claim(
        id="gap.implementation.evolution",
        source=SOURCE,
        location="Appendix C",
        statement="Loss, energies and distances of negatives follow the expected evolution.",
        measures="weakest of the differences that must be positive",
        decide=decide_evolution,
        smallest_scale="laptop",
    ),
]
COLOURS: dict[str, str] = dict(
    zip(METHODS, (style.BLUE, style.ORANGE, style.VERMILION, style.PURPLE, style.GREY), strict=True)
)


def figure(frame: pd.DataFrame) -> Figure:
    """(a) success against the dimension, (b) loss and (c) distance of negatives over training, (d) one episode."""
    drawing, axes = style.panels(2, 2, height=2.3)
    _draw_success(axes[0], full(frame))
    handles = [Line2D([], [], color=COLOURS[name], marker="o", markersize=3, label=name) for name in METHODS]
    drawing.legend(handles=handles, loc="outside upper center", ncols=len(METHODS))
    _draw_training(axes[1], full(frame), "loss")
    axes[1].set(ylabel="InfoNCE loss (nats)", yscale="log")
    _draw_training(axes[2], full(frame), "distance")
    axes[2].set(ylabel="distance of a negative from\nits positive (action in [-1, 1])")
    _draw_overfit(axes[3], frame[frame.demonstrations == 1])
    return drawing


def _draw_success(axis: Axes, rows: pd.DataFrame) -> None:
    for name in METHODS:
        mine = rows[(rows.method == name) & (rows.metric == "success")]
        places = sorted(mine.dimension.unique())
        center, low, high = np.array([stats.mean_interval(_particle.success(mine, dimension=n)) for n in places]).T
        axis.errorbar(places, center, [center - low, high - center], fmt="o-", markersize=3, color=COLOURS[name])
    axis.set(xscale="log", ylim=(-0.02, 1.02), xlabel="dimension N")
    axis.set_ylabel("success in fresh episodes\n(mean, 95 % over seeds)")
    axis.set_xticks(sorted(rows.dimension.unique()), [f"{n:g}" for n in sorted(rows.dimension.unique())], minor=False)
    axis.xaxis.minorticks_off()


def _draw_training(axis: Axes, rows: pd.DataFrame, metric: str) -> None:
    dashes = dict(zip(sorted(rows.dimension.unique()), ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 5))), strict=False))
    for (method, n), group in rows[rows.metric == metric].groupby(["method", "dimension"], sort=False):
        table = group.pivot_table(index="step", columns="seed", values="value").mean(axis=1)
        axis.plot(table.index, table, dashes[n], color=COLOURS[str(method)], linewidth=1)
    for n, dash in dashes.items():
        axis.plot([], [], dash, color=style.BLACK, linewidth=1, label=f"{n:g}-D")
    axis.set(xlabel="training step")
    axis.legend(fontsize=6)


def _draw_overfit(axis: Axes, rows: pd.DataFrame) -> None:
    groups = list(rows[rows.metric == "success"].groupby(["method", "dimension"], sort=False))
    for place, ((method, _), group) in enumerate(groups):
        axis.barh(place, _particle.success(group).mean(), color=COLOURS[str(method)])
    axis.set(yticks=range(len(groups)), yticklabels=[f"{name}\n{n:g}-D" for (name, n), _ in groups], xlim=(0, 1))
    axis.set(xlabel="share of seeds that redo\nthe one episode they were trained on")
