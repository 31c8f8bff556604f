"""The particle task as the trained experiments use it: demonstrations, a resumable training, validation.

Frames are long: a row per seed, condition, training step and metric. Metrics of the policy are `success`, the share
of fresh episodes that succeed with so many inference `iterations` (`decides` is 1 for the first number of the
configuration, which was fixed beforehand; the others are reported beside it); those of training are the fields of
`imitation.ebm.implicit.Info`, averaged since the last row; `diverged` is 1 for a member with weights not finite.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from experiments.gap._recipe import Recipe
from experiments.harness import stats
from experiments.harness.claim import INCONCLUSIVE, REPRODUCED, Verdict, above
from experiments.harness.context import Context
from experiments.harness.schema import bounded
from imitation.demonstrations import frames, particle
from imitation.ebm.implicit import Info, Learner, Objective
from imitation.ebm.inference import ImplicitPolicy, Minimiser
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import Proposal
from imitation.envs.particle import Rollout, State, rollout, starts
from imitation.policies.scaling import Scaling
from imitation.population import Generators

# Seeds of the environment: each seed of an experiment has blocks of its own, and no episode stands in both.
BLOCK, VALIDATION = 1_000_000, 500_000
MARGIN = 0.10  # of success: two methods so near are on par
LEARNT = 0.5  # less success than this of a reference says nothing of its rivals
KEEP_SECONDS = 60  # between two checkpoints of a training


@dataclass
class Trained(Recipe):
    """episodes: fresh ones per seed for the last validation. curve_episodes: for each of the `validations` before."""

    episodes: int = bounded(1, 100_000)
    curve_episodes: int = bounded(1, 100_000)
    validations: int = bounded(1, 1000)


class Task(NamedTuple):
    """Demonstrations of P seeds: inputs (P, T, 8N) and actions (P, T, N), as they are, and their scalings."""

    inputs: Tensor
    actions: Tensor
    input_scaling: Scaling
    action_scaling: Scaling


def task(recipe: Recipe, dimensions: int, seeds: Sequence[int], device: torch.device, first: int = 0) -> Task:
    """The oracle's demonstrations, other episodes for each seed, beginning with number `first` of its block."""
    blocks = [range(BLOCK * seed + first, BLOCK * seed + first + recipe.demonstrations) for seed in seeds]
    each = [frames(particle(dimensions, block)) for block in blocks]
    inputs, actions = (torch.stack([getattr(one, name) for one in each]).to(device) for name in ("inputs", "actions"))
    return Task(inputs, actions, recipe.scaling(inputs), Scaling.min_max(actions))


def validation_starts(dimensions: int, seeds: Sequence[int], episodes: int, device: torch.device) -> State:
    """Fresh starts (P, E, N), the same for every method of a seed."""
    first = [BLOCK * seed + VALIDATION for seed in seeds]
    each = [starts(range(one, one + episodes), dimensions) for one in first]
    return State(*(torch.stack(field).to(device) for field in zip(*each, strict=True)))


def learner(
    recipe: Recipe, data: Task, proposal: Callable[[Generators], Proposal], random: Generators, objective: Objective
) -> Learner:
    """Energies, then what the proposal has to draw, from each member's generator."""
    energy = recipe.energy(data.inputs.shape[-1], data.actions.shape[-1], random)
    observations = data.input_scaling.scaled(data.inputs).float()
    actions = data.action_scaling.scaled(data.actions).float()
    rates = recipe.learning_rates()
    return Learner(energy, observations, actions, proposal(random), random, rates, recipe.batch, objective)


def some(start: State, episodes: int) -> State:
    """The first episodes of every member, (P, E, N)."""
    return State(*(field[:, :episodes] for field in start))


Minimisers = dict[int, Minimiser]  # by the number of inference iterations; the first one draws the curve


class Validation:
    """Success of the models as they are now, on fresh episodes that are the same for every method of a seed.

    Its generators are its own, so that validating does not change the training.
    """

    def __init__(self, one: Learner, data: Task, minimisers: Minimisers, seeds: Sequence[int], episodes: int) -> None:
        self.one, self.data, self.minimisers, self.seeds = one, data, minimisers, seeds
        self.start = validation_starts(data.actions.shape[-1], seeds, episodes, data.actions.device)

    @property
    def energy(self) -> MLPEnergy:
        """Of actions under observations; a validation of models that are trained as something else says which."""
        return self.one.energy

    def policy(self, iterations: int) -> ImplicitPolicy:
        """Acts by so many inference iterations."""
        random = Generators([seed + 2**32 for seed in self.seeds], self.data.actions.device)
        scalings = self.data.input_scaling, self.data.action_scaling
        return ImplicitPolicy(self.energy, self.minimisers[iterations], *scalings, random)

    def rows(self, episodes: int, every: bool) -> list[dict]:
        """Success on the first so many episodes, by the first minimiser or by every one."""
        used = list(self.minimisers) if every else list(self.minimisers)[:1]
        rows = []
        for iterations in used:
            found = rollout(self.policy(iterations).act, some(self.start, episodes))
            decides = iterations == next(iter(self.minimisers))
            rows += successes(found, self.seeds, self.one.steps, iterations, decides)
        return rows


def train(
    one: Learner,
    cfg: Trained,
    seeds: Sequence[int],
    context: Context,
    name: str,
    validation: Validation,
    done: Callable[[float], None],
) -> pd.DataFrame:
    """Train to the end, from the last checkpoint if there is one, and measure along the way.

    Args:
        name: of the checkpoint.
        validation: of these models; on fewer episodes before the last step.
        done: told what share of the steps is done.
    """
    rows, sums, count = [], torch.zeros(len(Info._fields), len(seeds), dtype=torch.float64), 0
    if state := context.kept(name):
        one.load_state_dict(state["learner"])
        rows, sums, count = state["rows"], state["sums"], state["count"]
    written, every = time.monotonic(), max(1, cfg.steps // cfg.validations)
    with flushed_denormals():
        while one.steps < cfg.steps:
            sums, count = sums + torch.stack(one.step()).double().cpu(), count + 1
            if one.steps % every == 0 or one.steps == cfg.steps:
                last = one.steps == cfg.steps
                rows += _trained(one, sums / count, seeds)
                rows += validation.rows(cfg.episodes if last else cfg.curve_episodes, every=last)
                sums, count = torch.zeros_like(sums), 0
            if time.monotonic() - written > KEEP_SECONDS:
                context.keep(name, {"learner": one.state_dict(), "rows": rows, "sums": sums, "count": count})
                written = time.monotonic()
            done(one.steps / cfg.steps)
    return pd.DataFrame(rows)


def _trained(one: Learner, means: Tensor, seeds: Sequence[int]) -> list[dict]:
    values = dict(zip(Info._fields, means.tolist(), strict=True)) | {"diverged": one.diverged.double().tolist()}
    return [
        {"seed": seed, "step": one.steps, "metric": metric, "value": value}
        for metric, members in values.items()
        for seed, value in zip(seeds, members, strict=True)
    ]


def successes(found: Rollout, seeds: Sequence[int], step: int, iterations: int = 0, decides: bool = True) -> list[dict]:
    """Rows of the share of episodes that succeeded, and whether this is the inference that decides."""
    shares = found.success.double().mean(-1).tolist()
    return [
        {"seed": seed, "step": step, "metric": "success", "value": share, "iterations": iterations,
         "decides": float(decides), "episodes": found.success.shape[-1]}
        for seed, share in zip(seeds, shares, strict=True)
    ]  # fmt: skip


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as zero: they carry nothing here, and slow a training by half."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def progress(context: Context, done: int, total: int, share: float) -> None:
    """So many trainings done of the total, and a share of the next."""
    context.progress(done + share, total)


def _where(frame: pd.DataFrame, metric: str, conditions: dict[str, object]) -> pd.DataFrame:
    rows = frame[frame.metric == metric]
    for column, value in conditions.items():
        rows = rows[rows[column] == value]
    return rows


def last(frame: pd.DataFrame, metric: str, **conditions: object) -> pd.Series:
    """The last measured value of each seed, under these conditions; NaN if that is what was measured."""
    return _where(frame, metric, conditions).sort_values("step", kind="stable").groupby("seed").value.last(skipna=False)


def success(frame: pd.DataFrame, **conditions: object) -> pd.Series:
    """Of each seed at the last step, by the inference that decides."""
    return last(frame, "success", decides=1, **conditions)


def best_success(frame: pd.DataFrame, **conditions: object) -> pd.Series:
    """Of each seed's validations the best, to report beside the last: chosen by looking, it flatters."""
    return _where(frame, "success", {"decides": 1, **conditions}).groupby("seed").value.max()


def paired(first: pd.Series, second: pd.Series) -> stats.Interval:
    """Difference of two conditions, seed by seed: the mean over seeds and its interval.

    Raises:
        ValueError: they were not measured on the same seeds.
    """
    if not first.index.equals(second.index) or first.empty:
        raise ValueError(f"measured on seeds {list(first.index)} and {list(second.index)}: must be the same")
    return stats.mean_interval(first - second)


def difference(frame: pd.DataFrame, one: str, other: str, iterations: float | None = None) -> stats.Interval:
    """Success of one variant less that of another, on the same episodes, mean over seeds with its interval.

    By the inference that decides, or with other inference iterations.
    """
    rows = frame if iterations is None else frame[frame.iterations == iterations].assign(decides=1)
    return paired(*(success(rows, variant=name) for name in (one, other)))


def differences(frame: pd.DataFrame, names: Sequence[str], other: str) -> str:
    """These variants' differences from another one, by each number of inference iterations, in words."""
    parts = []
    for iterations in sorted(frame.iterations.dropna().unique()):
        found = [difference(frame, name, other, iterations) for name in names]
        told = " and ".join(f"{center:.2f} [{low:.2f}, {high:.2f}]" for center, low, high in found)
        parts.append(f"{told} with {iterations:.0f} inference iterations")
    return "; ".join(parts)


def learnt(verdict: Verdict, reference: pd.Series, name: str) -> Verdict:
    """A comparison with a reference that has not clearly learnt the task decides nothing."""
    interval = stats.mean_interval(reference)
    if above(interval, LEARNT).verdict == REPRODUCED:
        return verdict
    note = f"{name}: success {interval[0]:.2f}, not clearly above {LEARNT}: too little to compare with."
    return verdict._replace(verdict=INCONCLUSIVE, note=note)


def summary(frame: pd.DataFrame, column: str, names: Sequence[str]) -> str:
    """Success at the end by inference iterations, and the best validation, of the conditions that `column` names."""
    parts = []
    for name in names:
        rows = frame[(frame[column] == name) & (frame.metric == "success")]
        at = {its: last(rows, "success", iterations=its).mean() for its in sorted(rows.iterations.unique())}
        numbers = ", ".join(f"{value:.2f} with {its:.0f}" for its, value in at.items())
        parts.append(f"{name}: {numbers} (best {best_success(rows).mean():.2f})")
    diverged = int(frame[frame.metric == "diverged"].groupby([column, "seed"]).value.last().sum())
    steps = int(frame[frame.metric == "success"].step.max())
    return f"Success after {steps} steps, by inference iterations: {'; '.join(parts)}. Diverged: {diverged}."
