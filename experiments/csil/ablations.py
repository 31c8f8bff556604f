"""CSIL, ablations (csil.temperature, csil.refinement, csil.jacobian, csil.pretraining and two that nobody printed).

CSIL as published beside variants that lack one ingredient each, and for reference one that lacks three, all from the
same demonstrations, seeds and streams. Two controls have nothing to learn from: one whose reward is noise, which is not
refined, and one whose demonstrated actions are shuffled, which starts from a clone of those. The last evaluation
decides, by scores that are 0 for a uniform policy and 1 for the demonstrations.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from experiments.csil import _scores, _study
from experiments.csil._study import Task, Unrivalled
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, jointly, weakest
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentSoftImitation
from imitation.control.replay import Transitions
from imitation.policies import HetStat
from imitation.population import normal_like

SHARD_AXES = ("env", "seeds")
inputs = _study.inputs
BC, PUBLISHED, NOISE, SHUFFLED = "BC", "CSIL", "reward of noise", "shuffled actions"
# Without one ingredient each, and without all of them: settings that differ from the published ones.
WITHOUT: dict[str, dict[str, float]] = {
    "no divergence from the clone": {"prior": 0.0},
    "no refinement": {"refinement_rate": 0.0},
    "no Jacobian penalty": {"jacobian": 0.0},
    "none of the three": {"prior": 0.0, "refinement_rate": 0.0, "jacobian": 0.0},
}


@dataclass
class Config(Unrivalled):
    """ratios: of the policy's temperature beta to the reward's alpha, beside the published ones.

    The clone's numbers of steps other than `start`, which lies between them, are variants too.
    """

    ratios: list[float] = bounded(1e-3, 1000, unique=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not min(self.cloning) < self.start < max(self.cloning):
            raise BadInputError(f"start={self.start}: must lie between others of cloning={self.cloning}")


class Variant(NamedTuple):
    """What one has instead: settings of CSIL, another number of the clone's steps, or a control's corruption."""

    settings: dict[str, float]
    steps: int | None = None
    noise: bool = False
    shuffled: bool = False


def variants(cfg: Config, action_dim: int) -> dict[str, Variant]:
    """All of them by name, the published form first."""
    found = {PUBLISHED: Variant({})} | {name: Variant(changed) for name, changed in WITHOUT.items()}
    found |= {f"beta = {ratio:g} alpha": Variant({"temperature": ratio / action_dim}) for ratio in cfg.ratios}
    found |= {f"clone of {steps} steps": Variant({}, steps) for steps in cfg.cloning if steps != cfg.start}
    found[NOISE] = Variant({"refinement_rate": 0.0}, noise=True)
    return found | {SHUFFLED: Variant({}, shuffled=True)}


class PartlyNoise(CoherentSoftImitation):
    """CSIL with noise in place of the log-ratio for some members: what is left is the divergence from the clone."""

    noisy: Bool[Tensor, "P 1"]

    def log_ratio(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """Standard normal for the noisy members, drawn anew for every row and update."""
        return self._corrupted(super().log_ratio(rows))

    def _sarsa_target(self, rows: Transitions, reward: Tensor, actions: Tensor) -> Tensor:
        return super()._sarsa_target(rows, self.alpha * self._corrupted(reward / self.alpha), actions)

    def _corrupted(self, value: Tensor) -> Tensor:
        return torch.where(self.noisy, normal_like(value, self.random), value)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`, the variants' names in `method`. All variants of an environment are one population."""
    parts = []
    for name in cfg.env:
        task = _study.task(cfg, name, context.device)
        mixed = task.shuffled()
        clones, rows = _study.cloned(task, BC, context, cfg.cloning)
        mixed_clone = _study.cloned(mixed, f"{BC} of {SHUFFLED}", context, [cfg.start])[0][cfg.start]
        every = variants(cfg, task.sizes[1])
        tasks = [mixed if one.shuffled else task for one in every.values()]
        whole = tasks[0].beside(*tasks[1:])
        policies = [mixed_clone if one.shuffled else clones[one.steps or cfg.start] for one in every.values()]
        make = partial(learner, whole, list(every.values()), policies)
        parts += [task.references(), rows]
        parts.append(context.piece(name, partial(_trained, whole, list(every), make, context)))
    return pd.concat(parts, ignore_index=True)


def learner(task: Task, every: Sequence[Variant], clones: Sequence[HetStat]) -> PartlyNoise:
    """The variants' members side by side, in the task's order."""
    each = len(task.members) // len(every)
    published = task.cfg.coherent()
    changed = {name for one in every for name in one.settings}
    settings = {
        name: [one.settings.get(name, getattr(published, name)) for one in every for _ in range(each)]
        for name in changed
    }
    found = PartlyNoise(side_by_side(clones), task.generators(2), task.cfg.coherent(**settings))
    found.noisy = torch.tensor([one.noise for one in every for _ in range(each)], device=task.device)[:, None]
    return found


def side_by_side(policies: Sequence[HetStat]) -> HetStat:
    """The members of all policies, which are of the same sizes, as one population."""
    states = [one.state_dict() for one in policies]
    whole = deepcopy(policies[0])
    for name, parameter in whole.named_parameters():
        parameter.data = torch.cat([state[name] for state in states])
    return whole


def _trained(task: Task, names: Sequence[str], make: Callable[[], PartlyNoise], context: Context) -> pd.DataFrame:
    frame = _study.train(task, "ablations", make(), context, lambda share: context.progress(share, 1))
    # Rows come in the members' order, evaluation by evaluation and metric by metric.
    order = np.repeat(names, len(task.members) // len(names))
    return frame.assign(method=np.tile(order, len(frame) // len(order)))


# ---- decisions ----

NO_THRESHOLD = (
    "In theory alpha is no threshold where the divergence is from the clone: the optimum is sharper than the "
    "clone at every beta. With a uniform prior it is the clone itself at beta = alpha."
)


def levels(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Last scores by variant."""
    rows = _scores.scores(frame)
    return {name: _scores.final(rows, name) for name in dict.fromkeys(rows.method) if name != BC}


def against(frame: pd.DataFrame, variants: Sequence[str]) -> Verdict:
    """The published form is above each of the variants: the check that speaks most against it.

    Raises:
        LookupError: a variant was not run.
    """
    tables = levels(frame)
    told = ", ".join(f"{name} {_scores.short(tables[name])}" for name in variants)
    about = f"Mean scores: as published {_scores.short(tables[PUBLISHED])}, {told}. {_scores.scope(frame)}"
    return weakest([_scores.lead(tables[PUBLISHED], tables[name], about) for name in variants], expected=np.inf)


def decide_without(frame: pd.DataFrame, variant: str) -> Verdict:
    """The published form is above the one without this ingredient."""
    return against(frame, [variant])


def decide_refinement(frame: pd.DataFrame) -> Verdict:
    """The same with the fewest demonstrations alone."""
    return decide_without(frame[frame.demonstrations == frame.demonstrations.min()], "no refinement")


def decide_temperature(frame: pd.DataFrame) -> Verdict:
    """The published temperature is above every one that is not below alpha."""
    verdict = against(frame, [name for name in levels(frame) if _ratio(name) >= 1])
    return verdict._replace(note=f"{verdict.note} {NO_THRESHOLD}")


def _ratio(name: str) -> float:
    parts = name.split()
    return float(parts[2]) if parts[0] == "beta" else 0.0


def decide_pretraining(frame: pd.DataFrame) -> Verdict:
    """CSIL from the middle clone is above that from the shortest and that from the longest fit."""
    steps = sorted(int(name.split()[2]) for name in levels(frame) if name.startswith("clone of"))
    few, many = (against(frame, [f"clone of {number} steps"]) for number in (steps[0], steps[-1]))
    return jointly([few, many], f"Too little: {few.note} Too much: {many.note}")


def decide_reward(frame: pd.DataFrame) -> Verdict:
    """The published form is above the clone that it started from, and above both controls."""
    rows = _scores.scores(frame)
    clones = rows[rows.method == BC]
    others = {int(name.split()[2]) for name in levels(frame) if name.startswith("clone of")}
    start = _scores.final(clones[~clones["update"].isin(others)], BC)
    controls = against(frame, [NOISE, SHUFFLED])
    gain = _scores.lead(levels(frame)[PUBLISHED], start, f"Its own clone {_scores.short(start)}. {controls.note}")
    return weakest([gain, controls._replace(note=gain.note)], expected=np.inf)


def _claim(
    suffix: str, location: str, statement: str, against: str, decide: Callable[[pd.DataFrame], Verdict]
) -> Claim:
    return Claim(
        id=f"csil.{suffix}", source="Watson et al. 2023", location=location, statement=statement,
        measures=f"score less that {against}", decide=decide, smallest_scale="laptop", refuted_from="paper",
    )  # fmt: skip


CLAIMS = [
    _claim("temperature", "Section 4", "The policy's temperature must be below the reward's, beta < alpha.",
           "at beta not below alpha", decide_temperature),
    _claim("refinement", "Ablations", "Refining the reward helps with few demonstrations.", "without",
           decide_refinement),
    _claim("jacobian", "Ablations", "Regularising the critic's Jacobian helps.", "without",
           partial(decide_without, variant="no Jacobian penalty")),
    _claim("pretraining", "Ablations", "Too little cloning hurts, and too much hurts exploration.",
           "from the shortest fit", decide_pretraining),
    _claim("prior", "Section 4; asked here",
           "(Asked here) The divergence from the clone is needed in the policy's improvement.", "without",
           partial(decide_without, variant="no divergence from the clone")),
    _claim("reward", "Section 3; asked here",
           "(Asked here) What CSIL learns, it learns from the coherent reward of the demonstrations.",
           "of a control or the clone", decide_reward),
]  # fmt: skip


# ---- figure ----


def figure(frame: pd.DataFrame) -> Figure:
    """Last and best scores of all variants; curves of some; the mean reward of demonstrated and of replayed rows."""
    drawing, axes = style.mosaic([["levels", "curves"], ["levels", "replayed"]], [1.9, 1.9])
    rows = _scores.scores(frame)
    names = [PUBLISHED, *(name for name in dict.fromkeys(rows.method) if name not in (PUBLISHED, BC))]
    _draw_levels(axes["levels"], rows, names)
    _draw_curves(axes["curves"], rows)
    _draw_replayed(axes["replayed"], frame)
    return drawing


def _draw_levels(axis: Axes, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """The clone's level dashed; the published form's interval shaded."""
    for place, name in enumerate(names):
        for pick, fill in ((_scores.final, True), (_scores.best, False)):
            center, low, high = _scores.level(pick(rows, name))
            colour = COLOURS.get(name, style.BLUE)
            axis.errorbar(
                center, place - 0.15 + 0.3 * (not fill), xerr=[[center - low], [high - center]], fmt="o", color=colour,
                markersize=4, markerfacecolor=colour if fill else "white",
            )  # fmt: skip
    low, high = _scores.level(_scores.final(rows, PUBLISHED))[1:]
    axis.axvspan(low, high, color=style.BLUE, alpha=0.12, linewidth=0)
    axis.axvline(_scores.level(_scores.strongest(rows, BC))[0], color=style.BLACK, linestyle="--", linewidth=1)
    axis.set_yticks(range(len(names)), names)
    axis.set(ylim=(len(names) - 0.5, -0.5), xlabel="score, IQM, 95 %")
    axis.set_title("last (filled), best (hollow);\nclone dashed, CSIL's interval shaded")


COLOURS = {
    PUBLISHED: style.BLUE,
    "no divergence from the clone": style.VERMILION,
    "no refinement": style.ORANGE,
    NOISE: style.GREY,
    SHUFFLED: style.BLACK,
}


def _draw_curves(axis: Axes, rows: pd.DataFrame) -> None:
    for name, colour in COLOURS.items():
        mine = rows[rows.method == name]
        steps = sorted(set(mine.steps))
        every = [_scores.level(_scores.at(mine, step)) for step in steps]
        center, low, high = np.array(every).T
        axis.plot(steps, center, color=colour, label=name)
        axis.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set(xlabel="environment steps", ylabel="score, IQM, 95 %")
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.legend(fontsize=6, loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2, columnspacing=1)


def _draw_replayed(axis: Axes, frame: pd.DataFrame) -> None:
    for name in (PUBLISHED, "no refinement", NOISE):
        for metric, line in (("demonstrated", "-"), ("replayed", ":")):
            mine = frame[(frame.method == name) & (frame.metric == metric)].groupby("steps").value.mean()
            axis.plot(mine.index, mine, line, color=COLOURS[name])
    axis.axhline(0, color=style.GREY, linewidth=0.7)
    axis.set(xlabel="environment steps", ylabel="mean coherent reward")
    axis.set_title("demonstrated (solid), replayed (dotted)")
    axis.xaxis.set_major_locator(MaxNLocator(4))
