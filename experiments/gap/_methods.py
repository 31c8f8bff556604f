"""Policies of the particle task by every method, trained on demonstrations and measured on fresh episodes.

All methods of a seed see the same demonstrations and the same fresh episodes. Rows are as in `_particle`, with the
method, the dimension and the number of demonstrations in columns; `success` is on fresh episodes, but for one
demonstration, where it is on the demonstrated one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch

from experiments.gap import _particle
from experiments.gap._particle import Task, Trained
from experiments.harness.context import Context
from experiments.harness.schema import bounded
from imitation.ebm.implicit import Objective
from imitation.ebm.inference import DerivativeFree
from imitation.ebm.negatives import Uniform
from imitation.envs.particle import State, rollout
from imitation.policies import Explicit, Mixture, Nearest

LANGEVIN, DFO, MSE, MIXTURE, NEAREST = "Langevin", "DFO", "MSE", "mixture density", "nearest neighbour"
EXPLICIT: dict[str, Any] = {MSE: Explicit, MIXTURE: Mixture}


@dataclass
class DerivativeFreeSearch(Trained):
    """dfo_*: negatives in training; samples, iterations, first deviation and shrinkage in inference."""

    dfo_negatives: int = bounded(1, 100_000)
    dfo_samples: int = bounded(1, 1_000_000)
    dfo_iterations: int = bounded(1, 1000)
    dfo_deviation: float = bounded(1e-6, 100)
    dfo_shrink: float = bounded(1e-6, 1)


@dataclass
class Regression(Trained):
    """explicit_*: widths of plain layers, steps and batch of the regressions; the learning rate starts alike."""

    explicit_hidden: list[int] = bounded(1, 4096)
    explicit_steps: int = bounded(1, 100_000_000)
    explicit_batch: int = bounded(1, 1_000_000)


@dataclass(frozen=True)
class Condition:
    """A method in N dimensions with so many episodes of demonstrations, which `cfg` says too."""

    cfg: Any
    method: str
    dimension: int

    @property
    def name(self) -> str:
        """Of its checkpoint."""
        return f"{self.method} {self.dimension} {self.cfg.demonstrations}"


def measured(conditions: Sequence[Condition], context: Context) -> pd.DataFrame:
    """Every condition in turn, in a piece of its own."""
    parts = []
    for number, one in enumerate(conditions):
        done = partial(_particle.progress, context, number, len(conditions))
        parts.append(context.piece(one.name, partial(_measured, one, context, done)))
    return pd.concat(parts, ignore_index=True)


def _measured(one: Condition, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    data = _particle.task(one.cfg, one.dimension, one.cfg.seeds, context.device)
    measure = _nearest if one.method == NEAREST else _explicit if one.method in EXPLICIT else _implicit
    rows = measure(one, data, context, done)
    return rows.assign(method=one.method, dimension=one.dimension, demonstrations=one.cfg.demonstrations)


def _implicit(one: Condition, data: Task, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    cfg = one.cfg
    minimisers: _particle.Minimisers = {its: cfg.minimiser(its) for its in cfg.inference_iterations}
    proposal = cfg.short_chains()
    if one.method == DFO:
        proposal = Uniform(cfg.dfo_negatives, cfg.bounds)
        search = cfg.dfo_iterations, cfg.dfo_deviation, cfg.dfo_shrink
        minimisers = {cfg.dfo_iterations: DerivativeFree(cfg.dfo_samples, cfg.bounds, *search)}
    objective = Objective(penalty=cfg.penalty if one.method == LANGEVIN else 0.0)
    learner = _particle.learner(cfg, data, lambda _: proposal, context.generators(cfg.seeds), objective)
    validation = _particle.Validation(learner, data, minimisers, cfg.seeds, cfg.episodes)
    if cfg.demonstrations == 1:
        validation.start = demonstrated(data)
    return _particle.train(learner, cfg, cfg.seeds, context, one.name, validation, done)


def demonstrated(data: Task) -> State:
    """The start (P, 1, N) of each member's first demonstration: the newer half of its first input, (P, 4N)."""
    return State(*data.inputs[:, :1].chunk(2, -1)[1].chunk(4, -1))


def _explicit(one: Condition, data: Task, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    cfg = one.cfg
    learner = EXPLICIT[one.method](tuple(cfg.explicit_hidden), cfg.explicit_batch, cfg.learning_rate)
    inputs, actions = data.inputs.float(), data.actions.float()
    fitted = learner.fit(inputs, actions, context.generators(cfg.seeds), cfg.explicit_steps, lambda k, n: done(k / n))
    diverged = [
        {"seed": seed, "step": cfg.explicit_steps, "metric": "diverged", "value": float(value)}
        for seed, value in zip(cfg.seeds, fitted.diverged.tolist(), strict=True)
    ]
    rows = _acted(cfg, data, lambda x: fitted.act(x.float()).double(), cfg.explicit_steps)
    return pd.DataFrame(rows + diverged)


def _nearest(one: Condition, data: Task, _: Context, __: Callable[[float], None]) -> pd.DataFrame:
    return pd.DataFrame(_acted(one.cfg, data, Nearest(data.inputs, data.actions).act, 0))


def _acted(cfg: Any, data: Task, act: Callable[[torch.Tensor], torch.Tensor], step: int) -> list[dict]:
    start = _particle.validation_starts(data.actions.shape[-1], cfg.seeds, cfg.episodes, data.actions.device)
    return _particle.successes(rollout(act, start), cfg.seeds, step)


# ---- what decisions and figures read ----


def full(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the trainings on all demonstrations."""
    return frame[frame.demonstrations == frame.demonstrations.max()]


def ours(frame: pd.DataFrame, method: str, dimension: int) -> pd.Series:
    """Success of each seed with all demonstrations."""
    return _particle.success(full(frame), method=method, dimension=dimension)


def absent(frame: pd.DataFrame, dimensions: Sequence[int]) -> str:
    """Which of these dimensions were not run, as a sentence; nothing if all were."""
    missing = [f"{n}-D" for n in dimensions if n not in set(frame.dimension)]
    return f"Not run: {', '.join(missing)}." if missing else ""


def table(frame: pd.DataFrame) -> str:
    """Mean success of every method, dimension by dimension."""
    rows = full(frame)
    parts = []
    for n in sorted(rows.dimension.unique()):
        values = {name: ours(frame, name, n).mean() for name in dict.fromkeys(rows.method)}
        parts.append(f"{n:g}-D " + ", ".join(f"{name} {value:.2f}" for name, value in values.items() if value == value))
    return f"Success: {'; '.join(parts)}."
