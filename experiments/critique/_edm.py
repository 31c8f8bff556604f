"""The trainings of EDM and cloning on CartPole, Acrobot and LunarLander, which several experiments measure.

Cloning is the same learner without the state term, from the same start on the same minibatches.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from experiments.harness import stats, style
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.demonstrations import classic
from imitation.ebm.edm import DistributionMatching, Info, Pairs, StateTerm
from imitation.ebm.sgld import correct_noise
from imitation.envs.classic import returns, sizes
from imitation.population import Generators

SHARD_AXES = ("tasks",)
BC, EDM, NOISE, PRINTED, SHIFT = "BC", "EDM", "EDM, correct noise", "EDM, without the square", "EDM, state shift"
METHODS = (BC, EDM, NOISE, PRINTED, SHIFT)
EVALUATION, LARGEST_SEED = 3_000_000, 999  # where the seeds of episodes begin; so that no two seeds share an episode
STALLED = -0.5  # rho at which rho + rho^2 is least
SETTINGS = "Sizes and rates are the official code's for CartPole, in every task."
KEEP_SECONDS = 60  # between two checkpoints of a training

_COLOURS = (style.BLACK, style.VERMILION, style.ORANGE, style.SKY, style.GREEN)
COLOURS: dict[str, str] = dict(zip(METHODS, _COLOURS, strict=True))
MARKS: dict[str, str] = dict(zip(METHODS, "osD^v", strict=True))


@dataclass
class Config:
    """What is run.

    tasks: Gymnasium's ids. counts: of demonstrated episodes; a seed's are the first of a slice of its own. keep: one
    pair in so many. updates, batch, learning_rate, hidden: of every method. alpha, sigma, steps, reinitialised,
    buffer: of the official sampler. evaluations: in the course of training, on `curve_episodes` fresh episodes and the
    last on `episodes`.
    """

    tasks: list[str] = bounded(choices=tuple(classic.RECIPES), unique=True)
    counts: list[int] = bounded(1, 1000, unique=True)
    keep: int = bounded(1, 10_000)
    seeds: list[int] = bounded(0, LARGEST_SEED, unique=True)
    methods: list[str] = bounded(choices=METHODS, unique=True)
    updates: int = bounded(1, 10_000_000)
    batch: int = bounded(1, 100_000)
    learning_rate: float = bounded(1e-8, 1)
    hidden: list[int] = bounded(1, 4096)
    alpha: float = bounded(1e-6, 1)
    sigma: float = bounded(0, 10)
    steps: int = bounded(1, 10_000)
    reinitialised: float = bounded(0, 1)
    buffer: int = bounded(1, 10_000_000)
    evaluations: int = bounded(1, 1000)
    episodes: int = bounded(1, 1000)
    curve_episodes: int = bounded(1, 1000)

    def __post_init__(self) -> None:
        if self.updates % max(self.evaluations, 1) or self.batch > self.buffer:
            given = f"updates={self.updates}, evaluations={self.evaluations}, batch={self.batch}, buffer={self.buffer}"
            raise BadInputError(f"{given}: updates must be a multiple of evaluations, buffer at least batch")

    def term(self, method: str) -> StateTerm | None:
        """A method's model of the states."""
        official = {"alpha": self.alpha, "steps": self.steps, "reinitialised": self.reinitialised}
        changed = {
            EDM: {},
            NOISE: {"sigma": correct_noise(self.alpha)},
            PRINTED: {"square": 0.0},
            SHIFT: {"shifted": True},
        }
        if method == BC:
            return None
        return StateTerm(**{"sigma": self.sigma, "buffer": self.buffer} | official | changed[method])


def inputs(cfg: Config) -> list[Path]:
    """Files whose change makes a result stale; refuses experts and environments that are not there.

    Raises:
        BadInputError: one line.
    """
    for task in cfg.tasks:
        try:
            classic.load(task)
            sizes(task)
        except ValueError as error:
            raise BadInputError(f"tasks={task}: {error}") from None
    return [classic.FOLDER / f"{task}.safetensors" for task in cfg.tasks]


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """A row per task, method, number of demonstrated episodes, seed, update and metric.

    `return` is the mean over fresh episodes, the same ones for every method of a seed; `expert` and `random` stand in
    the column of the method. `cross_entropy` and `rho` are means since the last evaluation, `diverged` is 0 or 1.
    """
    parts = []
    for number, name in enumerate(cfg.tasks):
        task = Task(cfg, name, context)
        parts.append(context.piece(f"{name} references", task.references))
        for place, method in enumerate(cfg.methods):
            done = number * len(cfg.methods) + place
            progress = partial(_progress, context, done, len(cfg.tasks) * len(cfg.methods))
            parts.append(context.piece(f"{name} {method}", partial(task.measured, method, progress)))
    return pd.concat(parts, ignore_index=True)


def _progress(context: Context, done: int, total: int, share: float) -> None:
    context.progress(done + share, total)


class Task:
    """One environment with the demonstrations of all numbers of episodes and all seeds, a member each."""

    def __init__(self, cfg: Config, name: str, context: Context) -> None:
        self.cfg, self.name, self.context = cfg, name, context
        self.members = [(count, seed) for count in cfg.counts for seed in cfg.seeds]
        most = max(cfg.counts)
        self.slices = {seed: classic.demonstrations(name, seed * most, most) for seed in cfg.seeds}

    def pairs(self, count: int, seed: int) -> Pairs:
        """States (T, D) and actions (T,): every `keep`-th pair of a seed's first episodes."""
        kept = [(one.states[:: self.cfg.keep], one.actions[:: self.cfg.keep]) for one in self.slices[seed][:count]]
        states, actions = (np.concatenate(column) for column in zip(*kept, strict=True))
        device = self.context.device
        return torch.from_numpy(states).float().to(device), torch.from_numpy(actions).to(device)

    def references(self) -> pd.DataFrame:
        """Returns of each seed's demonstrations and of uniform actions: what returns are normalised by."""
        cfg, rows = self.cfg, []
        actions = sizes(self.name)[1]
        for seed in cfg.seeds:
            rng = np.random.default_rng([seed, 1])
            uniform = returns(self.name, lambda states, rng=rng: rng.integers(actions, size=states.shape[:2]),
                              self._episodes([seed], cfg.episodes))  # fmt: skip
            demonstrated = np.mean([one.ret for one in self.slices[seed]])
            for method, value in (("random", uniform.mean()), ("expert", demonstrated)):
                rows += self._rows([(0, seed)], method, 0, {"return": [value]})
        return pd.DataFrame(rows)

    def measured(self, method: str, done: Callable[[float], None]) -> pd.DataFrame:
        """Training from the last checkpoint if there is one, with evaluations."""
        cfg, name = self.cfg, f"{self.name} {method}"
        learner = self.learner(method)
        rows, sums = [], torch.zeros(len(Info._fields), len(self.members), dtype=torch.float64)
        if state := self.context.kept(name):
            learner.load_state_dict(state["learner"])
            rows, sums = state["rows"], state["sums"]
        written, every = time.monotonic(), cfg.updates // cfg.evaluations
        while learner.updates < cfg.updates:
            sums += torch.stack(learner.update()).double().cpu()
            if learner.updates % every == 0:
                rows += self._evaluated(learner, method, sums / every)
                sums = torch.zeros_like(sums)
            if time.monotonic() - written > KEEP_SECONDS:
                self.context.keep(name, {"learner": learner.state_dict(), "rows": rows, "sums": sums})
                written = time.monotonic()
            done(learner.updates / cfg.updates)
        return pd.DataFrame(rows)

    def learner(self, method: str) -> DistributionMatching:
        """The population of a method; start and minibatches are the same for all methods."""
        cfg, pairs = self.cfg, [self.pairs(*member) for member in self.members]
        actions = sizes(self.name)[1]
        sizes_and_rate = cfg.hidden, cfg.batch, cfg.learning_rate
        streams = self._streams(0), self._streams(1)
        return DistributionMatching(pairs, actions, *streams, cfg.term(method), *sizes_and_rate)

    def _streams(self, purpose: int) -> Generators:
        keys = [np.random.SeedSequence([*member, purpose]) for member in self.members]
        return Generators([int(key.generate_state(1)[0]) for key in keys], self.context.device)

    def _evaluated(self, learner: DistributionMatching, method: str, means: torch.Tensor) -> list[dict]:
        cfg = self.cfg
        episodes = cfg.episodes if learner.updates == cfg.updates else cfg.curve_episodes
        seeds = self._episodes([seed for _, seed in self.members], episodes)

        def act(states: np.ndarray) -> np.ndarray:
            return learner.act(torch.from_numpy(states).to(learner.states)).cpu().numpy()

        measured = returns(self.name, act, seeds).mean(1)
        measured[learner.diverged.cpu().numpy()] = np.nan
        metrics = dict(zip(Info._fields, means.tolist(), strict=True))
        metrics |= {"return": measured.tolist(), "diverged": learner.diverged.double().tolist()}
        return self._rows(self.members, method, learner.updates, metrics)

    def _rows(self, members: list[tuple[int, int]], method: str, update: int, metrics: dict[str, list]) -> list[dict]:
        return [
            {"task": self.name, "method": method, "demonstrations": count, "seed": seed, "update": update,
             "metric": metric, "value": value}
            for metric, values in metrics.items()
            for (count, seed), value in zip(members, values, strict=True)
        ]  # fmt: skip

    @staticmethod
    def _episodes(seeds: list[int], count: int) -> list[range]:
        """Seeds of fresh episodes, a block for each seed."""
        first = [EVALUATION + 1000 * seed for seed in seeds]
        return [range(one, one + count) for one in first]


def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """The methods' returns with `score`: 0 is uniform actions', 1 the demonstrations' mean over seeds.

    A diverged member has the lowest score of its task, at most 0.
    """
    rows = frame[frame.metric == "return"]
    means = rows[rows["method"].isin(["random", "expert"])].pivot_table(index="task", columns="method", values="value")
    learnt = rows[rows["method"].isin(METHODS)]
    low, high = (means[name].reindex(learnt.task).to_numpy() for name in ("random", "expert"))
    score = (learnt.value - low) / (high - low)
    lowest = score.groupby(learnt.task).transform("min").clip(upper=0)
    return learnt.assign(score=score.fillna(lowest))


def final(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """Scores after the last update: a line per seed, a column per task and number of demonstrations.

    Raises:
        LookupError: the method was not run.
    """
    rows = scores(frame)
    mine = rows[(rows["method"] == method) & (rows["update"] == rows["update"].max())]
    if mine.empty:
        raise LookupError(f"{method}: was not run")
    return mine.pivot(index="seed", columns=["task", "demonstrations"], values="score")


def by_task(table: pd.DataFrame) -> dict[str, stats.Interval]:
    """Mean over numbers of demonstrations and seeds, the seeds being the unit, of each task."""
    return {task: stats.mean_interval(table[[task]].mean(axis=1)) for task in table.columns.unique("task")}


def told(levels: dict[str, stats.Interval]) -> str:
    """By task, in words."""
    return ", ".join(f"{task} {level:.2f} [{low:.2f}, {high:.2f}]" for task, (level, low, high) in levels.items())


def tick_down(axis: Axes) -> None:
    """Marks along rho, at most 1, that do not overlap however far it falls."""
    bottom = min(-1.0, axis.get_ylim()[0])
    ticks = [0.0, -1.0, *(-(10.0**power) for power in range(3, 40, 3))]
    axis.set(ylim=(bottom, 1), yticks=[tick for tick in ticks if tick >= bottom])


def short_name(name: str) -> str:
    """A task without its version."""
    return name.split("-v")[0]
