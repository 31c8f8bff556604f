"""What CSIL's experiments on MuJoCo share: demonstrations of many seeds, cloning, resumable training, evaluation.

One population holds every number of demonstrations with every seed. Frames are long: a row per environment, method,
number of demonstrations, seed, update and metric. `return` is the mean undiscounted return of the policy's mode over
fresh episodes, which are the same for every method of a seed; a member that diverged has NaN there, and counts.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control import experts
from imitation.control.csil import CoherentActor, CoherentSettings, CoherentSoftImitation
from imitation.control.imitation_rows import DemonstrationRows, ImitationTraining, NotedReplay, Steps, some, whole
from imitation.control.replay import Replay
from imitation.control.sac import SoftActorCritic
from imitation.control.training import Plan, evaluate
from imitation.demonstrations import Demonstrations, load_demonstrations, subsample
from imitation.demonstrations.minari_folder import dataset_folder
from imitation.demonstrations.sources import EXPERT
from imitation.envs.control import OPTIONS, Environments
from imitation.envs.making import make
from imitation.nn.diverged import diverged
from imitation.policies import Cloning, HetStat
from imitation.policies.cloning import Fit
from imitation.population import Generators, uniform_like

DIAGNOSTICS = ("at_limits", "value_share", "demonstrated", "replayed")  # of CSIL's last batch, see CoherentInfo
# Where the seeds of episodes begin: in training, in evaluation. The demonstrations' begin at 0, and the experts were
# chosen by episodes that begin at 1 and 2 million; csil/offline records at 5 million. A seed is below a million.
TRAINING, EVALUATION, LARGEST_SEED = 3_000_000, 4_000_000, 999_999
NO_REWARD = 1e-9  # alpha of a control: with it go the reward, its refinement and the values, all but the divergence
KEEP_SECONDS = 60  # between two checkpoints of a training


@dataclass
class Demonstrated:
    """source: "expert", an npz file, a Minari folder or id. counts: of episodes. keep: one transition in so many."""

    source: str
    counts: list[int] = bounded(1, 10_000, unique=True)
    keep: int = bounded(1, 10_000)


@dataclass
class Study:
    """What training takes; sizes and rates that are not named here are the algorithms' own defaults.

    env: Gymnasium's ids. episodes: per seed at each evaluation. evaluations: in the course of training.
    updates: of each learner. copies: environments stepped before each update. warmup: steps of all copies together
    before the first one. batch: demonstrated rows per update, and as many from the replay. hidden: widths of all
    networks. features: HetStat's. cloning: steps at which the clone is evaluated; CSIL starts from that of `start`.
    pretraining: of CSIL's critic. actor_rate, critic_rate: of CSIL and SQIL. smoothing: tau of all target critics.
    temperature: of the entropy at the start, of rivals that learn it; SQIL's learns at the actor's rate.
    """

    env: list[str]
    demonstrations: Demonstrated
    seeds: list[int] = bounded(0, LARGEST_SEED, unique=True)
    episodes: int = bounded(1, 1000)
    evaluations: int = bounded(1, 1000)
    updates: int = bounded(1, 100_000_000)
    copies: int = bounded(1, 1000)
    warmup: int = bounded(1, 1_000_000)
    batch: int = bounded(1, 100_000)
    hidden: list[int] = bounded(1, 4096)
    features: int = bounded(2, 4096)
    cloning: list[int] = bounded(1, 10_000_000, unique=True)
    start: int = bounded(1, 10_000_000)
    pretraining: int = bounded(0, 10_000_000)
    actor_rate: float = bounded(1e-8, 1)
    critic_rate: float = bounded(1e-8, 1)
    smoothing: float = bounded(1e-6, 1)
    temperature: float = bounded(1e-6, 100)

    def __post_init__(self) -> None:
        if self.updates % max(self.evaluations, 1) or self.warmup < self.copies or self.features % 2:
            given = f"updates={self.updates}, evaluations={self.evaluations}, warmup={self.warmup}"
            rule = "updates must be a multiple of evaluations, warmup at least copies, features even"
            raise BadInputError(f"{given}, copies={self.copies}, features={self.features}: {rule}")
        if self.start not in self.cloning:
            raise BadInputError(f"start={self.start}: must be one of cloning={self.cloning}")

    def coherent(self, **changed: Any) -> CoherentSettings:
        """CSIL's settings with these sizes."""
        return replace(CoherentSettings(**self.sizes(), **self.rates(), pretraining=self.pretraining), **changed)

    def sizes(self) -> dict[str, Any]:
        """Of every learner."""
        return {"hidden": tuple(self.hidden), "smoothing": self.smoothing}

    def entropy(self) -> dict[str, Any]:
        """SQIL's temperature: from the published start of 1 it would not come down in few updates."""
        return {"temperature": self.temperature, "temperature_rate": self.actor_rate}

    def rates(self) -> dict[str, Any]:
        """Of learners whose rates are not part of what was published of them."""
        return {"actor_rate": self.actor_rate, "critic_rate": self.critic_rate}


@dataclass
class Unrivalled(Study):
    """A study without a rival that learns a temperature, so that `temperature` says nothing here."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature != 1:
            raise BadInputError(f"temperature={self.temperature}: nothing learns one in this experiment; must be 1")


def inputs(cfg: Study) -> list[Path]:
    """Files whose change makes a result stale; refuses environments and demonstrations that are not there.

    Tells what had to be changed to use demonstrations from a file.

    Raises:
        BadInputError: one line.
    """
    source = cfg.demonstrations.source
    for name in cfg.env:
        try:
            make(name, OPTIONS.get(name)).close()
            if source == EXPERT:
                experts.load(name)
        except ValueError as error:
            raise BadInputError(f"env={name}: {error}") from None
        if source != EXPERT:
            _demonstrations(source, name, max(cfg.demonstrations.counts), cfg.seeds[0])
            _tell_changes(source, name)
    if source == EXPERT:
        return [experts.FOLDER / f"{name}.safetensors" for name in cfg.env]
    path = Path(source)
    return [path] if path.is_file() else sorted(one for one in dataset_folder(source).rglob("*") if one.is_file())


@dataclass(frozen=True)
class Task:
    """One environment with the demonstrations of P members.

    Args:
        cfg: the configuration.
        name: of the environment.
        members: number of demonstrations and seed of each.
        rows: the demonstrations.
        expert: mean return of a seed's demonstrations.
    """

    cfg: Study
    name: str
    members: Sequence[tuple[int, int]]
    rows: DemonstrationRows
    expert: Mapping[int, float]

    def shuffled(self) -> "Task":
        """The same demonstrations with their actions dealt anew among each member's rows: nothing to learn from."""
        action = self.rows.rows.action.clone()
        for one, count, generator in zip(action, self.rows.counts, self.generators(3).members, strict=True):
            one[:count] = one[torch.randperm(count, generator=generator, device=one.device)]
        return replace(self, rows=self.rows.with_actions(action))

    def beside(self, *others: "Task") -> "Task":
        """The members of these tasks as one population; all are of the same environment and seeds."""
        every = (self, *others)
        members = [member for one in every for member in one.members]
        return replace(self, members=members, rows=DemonstrationRows.joined([one.rows for one in every]))

    @property
    def device(self) -> torch.device:
        """Of the rows."""
        return self.rows.rows.reward.device

    @property
    def sizes(self) -> tuple[int, int]:
        """Widths of observations and actions."""
        return self.rows.rows.observation.shape[-1], self.rows.rows.action.shape[-1]

    def generators(self, purpose: int) -> Generators:
        """A stream per member that depends on its seed, its number of demonstrations and the purpose alone."""
        keys = [np.random.SeedSequence([seed, count, purpose]) for count, seed in self.members]
        return Generators([int(key.generate_state(1)[0]) for key in keys], self.device)

    def returns(self, act: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Mean returns (P,) over fresh episodes, the same ones at every call and for all members of a seed."""
        self._evaluation.rounds = 0
        return evaluate(act, self._evaluation).mean(1)

    def environments(self, first: int, copies: int) -> Environments:
        """Each member's, their seeds beginning at `first`."""
        return Environments(self.name, [first + seed for _, seed in self.members], copies)

    @cached_property
    def _evaluation(self) -> Environments:
        return self.environments(EVALUATION, self.cfg.episodes)

    def frame(self, method: str, update: int, metrics: dict[str, np.ndarray], steps: int = 0) -> list[dict]:
        """Rows of metrics (P,) after so many updates and steps of the environment."""
        return [
            {"env": self.name, "method": method, "demonstrations": count, "seed": seed, "update": update,
             "steps": steps, "metric": metric, "value": float(value)}
            for metric, values in metrics.items()
            for (count, seed), value in zip(self.members, values, strict=True)
        ]  # fmt: skip

    def references(self) -> pd.DataFrame:
        """Returns of the demonstrations and of uniform actions: what returns are normalised by."""
        random = self.generators(0)
        width = self.sizes[1]
        uniform = self.returns(lambda one: uniform_like(one[..., :1].expand(-1, -1, width), random, -1.0, 1.0))
        shown = np.array([self.expert[seed] for _, seed in self.members])
        rows = self.frame("expert", 0, {"return": shown}) + self.frame("random", 0, {"return": uniform})
        return pd.DataFrame(rows)


def task(cfg: Study, name: str, device: torch.device) -> Task:
    """Every number of demonstrations with every seed.

    Raises:
        BadInputError: demonstrations that cannot be read, are too few, say nothing of rewards, or are too short to
            keep one transition in so many.
    """
    members = [(count, seed) for count in cfg.demonstrations.counts for seed in cfg.seeds]
    most = max(cfg.demonstrations.counts)
    each = {seed: _demonstrations(cfg.demonstrations.source, name, most, seed) for seed in cfg.seeds}
    expert = {seed: float(one.returns.mean()) for seed, one in each.items()}
    try:
        kept = [_kept(each[seed].first(count), cfg.demonstrations.keep, seed) for count, seed in members]
    except ValueError as error:
        raise BadInputError(f"demonstrations.keep={cfg.demonstrations.keep}, env={name}: {error}") from None
    return Task(cfg, name, members, DemonstrationRows(kept, device), expert)


def _demonstrations(source: str, name: str, episodes: int, seed: int) -> Demonstrations:
    """A seed's own episodes: rolled out for it, or drawn from a file without replacement."""
    try:
        if source == EXPERT:
            return load_demonstrations(EXPERT, name, episodes=episodes, seed=seed).demonstrations
        every = load_demonstrations(source, name, OPTIONS.get(name)).demonstrations
        order = np.random.default_rng(seed).permutation(len(every))
        drawn = replace(every, episodes=[every.episodes[number] for number in order]).first(episodes)
        assert drawn.returns.size  # raises where nobody recorded rewards
    except ValueError as error:
        raise BadInputError(f"demonstrations.source={source}: {error}") from None
    return drawn


def _tell_changes(source: str, name: str) -> None:
    loaded = load_demonstrations(source, name, OPTIONS.get(name))
    if loaded.clipped or loaded.relabelled:
        moved = f"{loaded.clipped:.2%} of the numbers in actions were moved to their bounds"
        ends = f"{loaded.relabelled} episodes marked as terminated at the time limit count as truncated"
        print(f"demonstrations.source={source}, env={name}: {moved}, {ends}", flush=True)


def _kept(demonstrations: Demonstrations, keep: int, seed: int) -> Steps:
    if keep == 1:
        return whole(demonstrations)
    return some(subsample(demonstrations, keep, np.random.default_rng([seed, keep])), demonstrations)


def cloned(one: Task, method: str, context: Context, steps: Sequence[int]) -> tuple[dict[int, HetStat], pd.DataFrame]:
    """HetStat fitted by the faithful loss: as it is after these numbers of steps, with its returns there.

    Goes on from the last checkpoint if there is one; with the environment the method is its name.
    """
    cfg, random, rows = one.cfg, one.generators(1), one.rows.rows
    policy = HetStat(*one.sizes, random, tuple(cfg.hidden), features=cfg.features).to(one.device)
    fit = Fit(Cloning(batch=cfg.batch), policy, rows.observation, rows.action, random, one.rows.counts)

    def measure() -> list[dict]:
        return one.frame(method, fit.steps, returns(one, CoherentActor(policy).mode, diverged(policy)))

    stages, found = fitted(fit, f"{one.name} {method}", context, steps, measure)
    clones = {step: policy.frozen() for step in stages}
    for step, clone in clones.items():
        clone.load_state_dict(stages[step])
    return clones, found


def fitted(
    fit: Fit, key: str, context: Context, steps: Sequence[int], measure: Callable[[], list[dict]]
) -> tuple[dict[int, dict[str, Any]], pd.DataFrame]:
    """Go on to the last of these numbers of steps: the state of what is fitted, and what was measured, after each.

    Args:
        key: name of the checkpoint, from which it goes on if there is one.
    """
    stages, rows, written = {}, [], time.monotonic()
    if state := context.kept(key):
        fit.load_state_dict(state["fit"])
        stages, rows = state["stages"], state["rows"]
    while fit.steps < max(steps):
        fit.step()
        if fit.steps in steps:
            stages[fit.steps] = deepcopy(fit.fitted.state_dict())
            rows += measure()
        if fit.steps == max(steps) or time.monotonic() - written >= KEEP_SECONDS:
            context.keep(key, {"fit": fit.state_dict(), "stages": stages, "rows": rows})
            written = time.monotonic()
        context.progress(fit.steps, max(steps))
    return stages, pd.DataFrame(rows)


def train(
    one: Task,
    method: str,
    learner: SoftActorCritic,
    context: Context,
    done: Callable[[float], None],
    offline: Callable[[Plan], Any] | None = None,
) -> pd.DataFrame:
    """Train to the end, from the last checkpoint if there is one, and measure at every evaluation.

    Args:
        method: as the rows name it; with the environment the name of the checkpoint.
        done: told what share of the updates is done.
        offline: makes the training of the plan where nothing is stepped; then `steps` are updates.
    """
    cfg, key, rows, written = one.cfg, f"{one.name} {method}", [], time.monotonic()
    plan = Plan(cfg.updates, math.ceil(cfg.warmup / cfg.copies), cfg.batch, cfg.updates // cfg.evaluations)
    if offline:
        training = offline(plan)
    else:
        environments = one.environments(TRAINING, cfg.copies)
        training = ImitationTraining(learner, environments, replay(one, learner, plan), plan, one.rows)

    def measure(updates: int) -> None:
        steps = updates if offline else training.replay.added
        rows.extend(one.frame(method, updates, _measured(one, learner), steps))
        done(updates / cfg.updates)

    def keep(state: dict[str, Any]) -> None:
        nonlocal written
        if time.monotonic() - written >= KEEP_SECONDS:
            context.keep(key, {"training": state, "rows": rows})
            written = time.monotonic()

    if state := context.kept(key):
        training.load_state_dict(state["training"])
        rows = state["rows"]
    else:
        if isinstance(learner, CoherentSoftImitation):
            learner.pretrain(one.rows, cfg.batch)
        measure(0)
    training.run(measure, keep)
    return pd.DataFrame(rows)


def share_of(context: Context, before: int, total: int) -> Callable[[float], None]:
    """What tells the context the share done of one training among so many, with so many before it."""
    return lambda share: context.progress(before + share, total)


def replay(one: Task, learner: SoftActorCritic, plan: Plan) -> Replay:
    """Room for all that will be seen, with the clone's notes where the learner takes them."""
    sizes = len(one.members), *one.sizes, (plan.warmup + plan.updates) * one.cfg.copies
    if isinstance(learner, CoherentSoftImitation):
        return NotedReplay(*sizes, learner.note, 4 * one.sizes[1], one.device)
    return Replay(*sizes, one.device)


def _measured(one: Task, learner: SoftActorCritic) -> dict[str, np.ndarray]:
    found = returns(one, learner.actor.mode, learner.diverged())
    looks = getattr(learner, "diagnostics", {})  # CSIL's, once it has made an update
    return found | {name: looks[name].cpu().numpy() for name in DIAGNOSTICS if name in looks}


def returns(one: Task, act: Callable[[Tensor], Tensor], diverged: Bool[Tensor, " P"]) -> dict[str, np.ndarray]:
    """Metrics (P,) of a policy: its mean returns, NaN for the members that diverged, and which did."""
    bad = diverged.cpu().numpy()
    return {"return": np.where(bad, np.nan, one.returns(act)), "diverged": bad.astype(float)}
