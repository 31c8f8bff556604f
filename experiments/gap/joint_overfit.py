"""Gap, Section IV (gap.joint-overfit*): does a joint energy model with a replay buffer overfit the demonstrations?

A model of pairs p(x, y), trained by the MCMC loss on chains from a replay buffer, beside the conditional model trained
by InfoNCE on IBC's Langevin: the same network, batches, steps, chains and iterations a step, on the same
demonstrations. Both are asked for the energies of demonstrated pairs, and for the action of least energy, at pairs
they were trained on and at pairs of fresh episodes. Two actions nearer than the goal's radius are the same to the
task: errors are told apart from that on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from experiments.gap import _particle
from experiments.gap._particle import Task, Trained
from experiments.gap._recipe import PRECISIONS
from experiments.harness import stats, style
from experiments.harness.claim import INCONCLUSIVE, REPRODUCED, Claim, Verdict, above, below, jointly
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded, seed_list
from imitation.ebm.implicit import Learner, Objective
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.replay import JointLearner, ReplayBuffer
from imitation.envs.particle import GOAL_RADIUS
from imitation.population import Generators, uniform_like

SHARD_AXES = ("seeds",)
DEVICES = ("cpu", "cuda")
CONDITIONAL, JOINT = MODELS = ("conditional", "joint")
TRAINING, HELD_OUT = SETS = ("training", "held-out")
DIMENSIONS = 2
MARGIN = 0.10  # of success: two models so near are on par, as in gap.fig2
LEARNT = 0.25  # rank halfway from chance to the least: a conditional model above it says nothing of its rival
NEARER = 0.5  # of the way from demonstrated to wrong actions: beyond it a pair is nearer to what is wrong
ROWS = 64  # pairs whose candidates' energies are in memory at a time
LEVELS = np.linspace(0, 1, 41)  # of the quantiles that are drawn


@dataclass
class Config(Trained):
    """pairs: of each set. candidates: uniform actions beside each. buffer, fresh, anchor: of `imitation.ebm.replay`.

    buffer_step: tau of the true form (8), at each iteration; its noise scale is the recipe's.
    """

    seeds: list[int] = seed_list()
    pairs: int = bounded(1, 1_000_000)
    candidates: int = bounded(1, 100_000)
    buffer: int = bounded(1, 100_000_000)
    fresh: float = bounded(0, 1)
    anchor: float = bounded(0, 1000)
    buffer_step: float = bounded(1e-9, 100)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_particle` with the model in a column of its own, and for both sets of `pairs` the means of

    `rank` (share of the candidates of less energy), `error` (distance of the action of least energy from the
    demonstrated one, in the environment's units), `energy` and `wrong energy` (of the candidates). `quantile` rows
    hold the first seed's energies by level at the end, those of candidates at training pairs under pairs = "wrong".
    """
    _check(cfg)
    parts = []
    for number, model in enumerate(MODELS):
        done = partial(_particle.progress, context, number, len(MODELS))
        parts.append(context.piece(model, partial(_measured, cfg, model, context, done)))
    return pd.concat(parts, ignore_index=True)


def _check(cfg: Config) -> None:
    if cfg.observation_scaling != "min_max":
        raise BadInputError(f"observation_scaling={cfg.observation_scaling}: chains are in a box; must be min_max")
    if cfg.buffer < cfg.batch * cfg.negatives:
        raise BadInputError(f"buffer={cfg.buffer}: must be at least batch times negatives, {cfg.batch * cfg.negatives}")
    if cfg.penalty:
        raise BadInputError(f"penalty={cfg.penalty}: the joint model has none; must be 0")


def _measured(cfg: Config, model: str, context: Context, done: Callable[[float], None]) -> pd.DataFrame:
    data = _particle.task(cfg, DIMENSIONS, cfg.seeds, context.device)
    one = LEARNERS[model](cfg, data, context.generators(cfg.seeds))
    validation = PairValidation(one, data, cfg)
    curves = _particle.train(one, cfg, cfg.seeds, context, model, validation, done)
    return pd.concat([curves, pd.DataFrame(validation.quantiles())], ignore_index=True).assign(model=model)


def conditional_learner(cfg: Config, data: Task, random: Generators) -> Learner:
    """InfoNCE on short chains in IBC's form."""
    return _particle.learner(cfg, data, lambda _: cfg.short_chains(), random, Objective())


def joint_learner(cfg: Config, data: Task, random: Generators) -> JointLearner:
    """The MCMC loss on the buffer's chains: as many a step, of as many iterations, in the true form.

    Their temperature is below 1 as in Du and Mordatch 2019, and their step size constant: a schedule that begins
    anew at each step with noise as wide as the box would forget where the chains were.
    """
    energy = cfg.energy(data.inputs.shape[-1], DIMENSIONS, random)
    buffer = ReplayBuffer(
        energy.observation_dim + energy.action_dim, random, cfg.buffer, cfg.negatives, cfg.bounds,
        Langevin("true", cfg.noise_scale, cfg.clip, cfg.bounds), [2 * cfg.buffer_step] * cfg.iterations,
        cfg.fresh, PRECISIONS[cfg.precision],
    )  # fmt: skip
    observations = data.input_scaling.scaled(data.inputs).float()
    actions = data.action_scaling.scaled(data.actions).float()
    rates = cfg.learning_rates()
    return JointLearner(energy, observations, actions, buffer, random, rates, cfg.batch, cfg.anchor)


LEARNERS: dict[str, Callable[[Config, Task, Generators], Learner]] = {
    CONDITIONAL: conditional_learner,
    JOINT: joint_learner,
}


class PairValidation(_particle.Validation):
    """Success, and how the models as they are now see training and held-out pairs: the same for both models."""

    def __init__(self, one: Learner, data: Task, cfg: Config) -> None:
        minimisers = {iterations: cfg.minimiser(iterations) for iterations in cfg.inference_iterations}
        super().__init__(one, data, minimisers, cfg.seeds, cfg.episodes)
        fresh = _particle.task(cfg, DIMENSIONS, cfg.seeds, data.inputs.device, first=cfg.demonstrations)
        self.sets: dict[str, tuple[Tensor, Tensor]] = dict(zip(SETS, _some_pairs(cfg, (data, fresh)), strict=True))
        self.candidates = cfg.candidates

    @property
    def energy(self) -> MLPEnergy:
        """Of actions under observations, whatever was trained."""
        return self.one.conditional if isinstance(self.one, JointLearner) else self.one.energy

    def rows(self, episodes: int, every: bool) -> list[dict]:
        """Success, and the four metrics of both sets."""
        measured = [row for name in SETS for row in self._pair_rows(name)]
        return super().rows(episodes, every) + measured

    def _pair_rows(self, name: str) -> list[dict]:
        ours, theirs = self.energies(name)
        # Energies that are not finite are below none: the rank would look perfect, so zero, or NaN, is added.
        taint = 0 * (ours + theirs.sum(-1))
        lower = (theirs < ours[..., None]).double().mean(-1) + (theirs == ours[..., None]).double().mean(-1) / 2
        inputs, actions = self.sets[name]
        found = self.policy(next(iter(self.minimisers))).act(inputs)
        values = {"rank": lower + taint, "error": (found - actions).norm(dim=-1)}
        values |= {"energy": ours, "wrong energy": theirs.mean(-1)}
        return [
            {"seed": seed, "step": self.one.steps, "pairs": name, "metric": metric, "value": value}
            for metric, each in values.items()
            for seed, value in zip(self.seeds, each.double().mean(1).tolist(), strict=True)
        ]

    @torch.no_grad()
    def energies(self, name: str) -> tuple[Tensor, Tensor]:
        """Of demonstrated actions (P, B), and of uniform ones for the same observations (P, B, candidates)."""
        inputs, actions = self.sets[name]
        scaled = self.data.input_scaling.scaled(inputs).float()
        positive = self.data.action_scaling.scaled(actions).float()[:, :, None]
        random = Generators([seed + 2**34 for seed in self.seeds], inputs.device)
        wrong = uniform_like(positive.expand(-1, -1, self.candidates, -1), random, -1.0, 1.0)
        blocks = zip(scaled.split(ROWS, 1), torch.cat([positive, wrong], 2).split(ROWS, 1), strict=True)
        energies = torch.cat([self.energy(x, y) for x, y in blocks], 1)
        return energies[..., 0], energies[..., 1:]

    def quantiles(self) -> list[dict]:
        """Rows of the first member's energies by level."""
        (training, wrong), (held, _) = (self.energies(name) for name in SETS)
        shown = {TRAINING: training[0], HELD_OUT: held[0], "wrong": wrong[0].flatten()}
        base = {"seed": self.seeds[0], "step": self.one.steps, "metric": "quantile"}
        return [
            base | {"pairs": name, "level": level, "value": value}
            for name, energies in shown.items()
            for level, value in zip(LEVELS, np.quantile(energies.double().cpu().numpy(), LEVELS), strict=True)
        ]


def _some_pairs(cfg: Config, tasks: Sequence[Task]) -> list[tuple[Tensor, Tensor]]:
    """The same rows, so the same times of an episode, of each task: (P, B, 8N) and (P, B, N)."""
    rows = tasks[0].inputs.shape[1]
    each = [Context.rng(seed).choice(rows, min(rows, cfg.pairs), replace=False) for seed in cfg.seeds]
    chosen = torch.from_numpy(np.stack(each)).to(tasks[0].inputs.device)[..., None]
    return [(one.inputs.take_along_dim(chosen, 1), one.actions.take_along_dim(chosen, 1)) for one in tasks]


def value(frame: pd.DataFrame, model: str, pairs: str, metric: str = "error") -> pd.Series:
    """A metric of a set of pairs at the end, one number per seed."""
    return _particle.last(frame, metric, model=model, pairs=pairs)


def excess(frame: pd.DataFrame) -> stats.Interval:
    """Error at training pairs, the joint model's less the conditional one's."""
    return _particle.paired(value(frame, JOINT, TRAINING), value(frame, CONDITIONAL, TRAINING))


def overfit(frame: pd.DataFrame, model: str) -> pd.Series:
    """How much larger a model's error is at held-out pairs than at training pairs, per seed."""
    return value(frame, model, HELD_OUT) - value(frame, model, TRAINING)


def lift(frame: pd.DataFrame, model: str = JOINT) -> pd.Series:
    """Per seed, where held-out pairs lie on the way from training pairs (0) to wrong actions at training pairs (1).

    NaN where wrong actions do not even have the higher energy.
    """
    start = value(frame, model, TRAINING, "energy")
    way = value(frame, model, TRAINING, "wrong energy") - start
    return (value(frame, model, HELD_OUT, "energy") - start) / way.where(way > 0)


def success_difference(frame: pd.DataFrame) -> stats.Interval:
    """The joint model's success less the conditional one's; they start the same episodes."""
    return _particle.paired(*(_particle.success(frame, model=model) for model in (JOINT, CONDITIONAL)))


def decide_training(frame: pd.DataFrame) -> Verdict:
    """Its error at training pairs is below the goal's radius, and no more than that above the conditional model's."""
    own = stats.mean_interval(value(frame, JOINT, TRAINING))
    checks = [below(own, GOAL_RADIUS), below(excess(frame), GOAL_RADIUS)]
    return _if_learnt(frame, jointly(checks, _summary(frame)))


def decide_validation(frame: pd.DataFrame) -> Verdict:
    """Its error grows on held-out pairs, by the goal's radius more than the conditional model's; and it fails more."""
    growth = _particle.paired(overfit(frame, JOINT), overfit(frame, CONDITIONAL))
    fewer = success_difference(frame)
    note = f"Success less the conditional model's {fewer[0]:.2f} [{fewer[1]:.2f}, {fewer[2]:.2f}]. {_summary(frame)}"
    conditional = _particle.success(frame, model=CONDITIONAL)
    fails = _particle.learnt(below(fewer, -MARGIN), conditional, CONDITIONAL)  # two failures are always near
    return _if_learnt(frame, jointly([above(growth, GOAL_RADIUS), fails], note))


def decide_both(frame: pd.DataFrame) -> Verdict:
    """It fits what it was trained on and fails on what it was not."""
    validation = decide_validation(frame)
    return jointly([validation, decide_training(frame)], validation.note)


def decide_energies(frame: pd.DataFrame) -> Verdict:
    """Held-out pairs are nearer in energy to wrong actions than to training pairs."""
    other = stats.mean_interval(lift(frame, CONDITIONAL))
    note = f"The conditional model's is {other[0]:.3f} [{other[1]:.3f}, {other[2]:.3f}]. {_summary(frame)}"
    return above(stats.mean_interval(lift(frame)), NEARER, note)


def _if_learnt(frame: pd.DataFrame, verdict: Verdict) -> Verdict:
    rank = stats.mean_interval(value(frame, CONDITIONAL, TRAINING, "rank"))
    if below(rank, LEARNT).verdict == REPRODUCED:
        return verdict
    note = f"The conditional model's rank is {rank[0]:.2f}, not clearly below {LEARNT}: too little to compare with."
    return verdict._replace(verdict=INCONCLUSIVE, note=note)


def _summary(frame: pd.DataFrame) -> str:
    parts = []
    for model in MODELS:
        ranks, errors = ([value(frame, model, pairs, metric).mean() for pairs in SETS] for metric in ("rank", "error"))
        success = _particle.success(frame, model=model).mean()
        parts.append(
            f"{model}: rank {ranks[0]:.3f} and {ranks[1]:.3f}, error {errors[0]:.3f} and {errors[1]:.3f}, "
            f"success {success:.2f}"
        )
    diverged = int(frame[frame.metric == "diverged"].groupby(["model", "seed"]).value.last().sum())
    steps = int(frame[frame.metric == "success"].step.max())
    return f"Training and held-out pairs after {steps} steps: {'; '.join(parts)}. Diverged: {diverged}."


def _claim(suffix: str, statement: str, measures: str, decide: Callable[[pd.DataFrame], Verdict]) -> Claim:
    return Claim(
        id=f"gap.joint-overfit{suffix}",
        source="Ta et al. 2022",
        location="Section IV",
        statement=statement,
        measures=measures,
        decide=decide,
        smallest_scale="laptop",
        refuted_from="overnight",  # the paper sees it after a few epochs; that scale has 85
    )


CLAIMS = [
    _claim(
        "",
        "A joint energy model with a replay buffer fits the training data and generalises poorly (2-D particle task).",
        "growth of its action error from training to held-out pairs, less the conditional model's",
        decide_both,
    ),
    _claim(
        ".training",
        "It fits the training data: its error is below the goal's radius, and no more above the conditional model's.",
        "its action error at training pairs",
        decide_training,
    ),
    _claim(
        ".validation",
        "It generalises very poorly: its error grows on unseen data, and it succeeds less often.",
        "growth of its action error from training to held-out pairs, less the conditional model's",
        decide_validation,
    ),
    _claim(
        ".energies",
        "The reason: all samples of unseen observations are treated as negatives, so their energies are high.",
        "where held-out pairs lie in energy from training pairs (0) to wrong actions (1)",
        decide_energies,
    ),
]

COLOURS = {CONDITIONAL: style.SKY, JOINT: style.VERMILION}
LINES = {TRAINING: "-", HELD_OUT: "--"}


def figure(frame: pd.DataFrame) -> Figure:
    """Ranks and errors along the training, energies at its end, success."""
    drawing, (ranks, errors, energies, success) = style.panels(2, 2, height=2.5)
    _draw_curves(ranks, frame, "rank", "share of uniform actions\nof less energy (chance .5)")
    _draw_curves(errors, frame, "error", "distance from the demonstrated\naction (goal radius .05)")
    errors.axhline(GOAL_RADIUS, color=style.GREY, linewidth=0.7, linestyle=":")
    ranks.legend(fontsize=6.5)
    _draw_energies(energies, frame)
    _draw_success(success, frame)
    return drawing


def _draw_curves(axis: Axes, frame: pd.DataFrame, metric: str, label: str) -> None:
    for model in MODELS:
        for pairs in SETS:
            rows = frame[(frame.metric == metric) & (frame.model == model) & (frame.pairs == pairs)]
            table = rows.pivot_table(index="step", columns="seed", values="value", dropna=False)
            center, low, high = np.array([stats.mean_interval(seeds) for seeds in table.to_numpy()]).T
            axis.plot(table.index, center, LINES[pairs], color=COLOURS[model], label=f"{model}, {pairs} pairs")
            axis.fill_between(table.index.to_numpy(), low, high, color=COLOURS[model], alpha=0.15, linewidth=0)
    axis.set(xlabel="training step", ylabel=label, ylim=(0, None))


def _draw_energies(axis: Axes, frame: pd.DataFrame) -> None:
    rows = frame[(frame.metric == "quantile") & (frame.model == JOINT)]
    rows = rows[rows.seed == rows.seed.min()]  # each shard holds its own first seed
    looks = {TRAINING: (style.VERMILION, "-"), HELD_OUT: (style.VERMILION, "--"), "wrong": (style.GREY, "-")}
    for name, (colour, line) in looks.items():
        mine = rows[rows.pairs == name]
        label = "training, uniform action" if name == "wrong" else f"{name}, demonstrated"
        axis.plot(mine.value, mine.level, line, color=colour, label=label)
    axis.set(xlabel="energy E(x, y), joint model, first seed", ylabel="share of pairs below", ylim=(0, 1))
    axis.legend(fontsize=6.5, loc="lower right")


def _draw_success(axis: Axes, frame: pd.DataFrame) -> None:
    for place, model in enumerate(MODELS):
        shares = _particle.success(frame, model=model)
        center, low, high = stats.mean_interval(shares)
        axis.plot(np.full(len(shares), place) + 0.12, shares, "o", color=COLOURS[model], markersize=3, alpha=0.6)
        axis.errorbar(place, center, yerr=[[center - low], [high - center]], fmt="o", color=COLOURS[model])
    axis.set(xticks=range(len(MODELS)), xticklabels=MODELS, xlim=(-0.5, len(MODELS) - 0.5), ylim=(0, 1))
    axis.set(ylabel="success in fresh episodes\n(small: seeds, large: mean, 95 %)")
