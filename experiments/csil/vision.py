"""CSIL from pixels of a MuJoCo task against cloning from them (csil.vision).

The policy sees the last few pictures of the body from the side, drawn by `imitation.envs.pictures`, through a
convolutional network. Network and policy are cloned together, and in CSIL both go on learning; reward and critic see
through the clone's network as it is. Beside it the same without reward, and, for what pixels cost, clones and CSIL of
the states. CSIL's last evaluation decides, and of each clone the best.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.csil import _figures, _scores, _study
from experiments.csil._study import Task, Unrivalled
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, bounded
from imitation.control.csil import CoherentActor, CoherentSoftImitation
from imitation.control.csil_pixels import OfPictures, PixelCoherentImitation
from imitation.control.pictured import PicturedEnvironments, Pictures, pictured, sighted
from imitation.envs.control import Environments
from imitation.envs.pictures import SideView
from imitation.nn.diverged import diverged
from imitation.policies import Cloning, HetStat
from imitation.policies.cloning import Fit
from imitation.policies.sight import Sight, Sighted

SHARD_AXES = ("env", "seeds")
PIXELS, NOTHING, STATES = "pixels", "pixels, no reward", "states"
METHODS = (PIXELS, NOTHING, STATES)
TIMES = (0, 50, 100, 150, 200, 250)  # steps of a demonstration of which a picture is shown


def clone_of(seen: str) -> str:
    """The method's name."""
    return f"BC, {seen}"


@dataclass
class Config(Unrivalled):
    """pixels: along each side of a picture. pictures: that a policy sees at once, of consecutive steps.

    channels: of the three convolutions. told: numbers that the network makes of the pictures.
    """

    pixels: int = bounded(16, 1000)
    pictures: int = bounded(1, 100)
    channels: list[int] = bounded(1, 4096)
    told: int = bounded(1, 4096)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.demonstrations.keep != 1:
            raise BadInputError(f"demonstrations.keep={self.demonstrations.keep}: pictures in a row need 1")
        if len(self.channels) != 3 or self.pixels % 2:
            raise BadInputError(f"channels={self.channels}, pixels={self.pixels}: must be three, and even")
        for name in self.env:
            try:
                SideView(name)
            except ValueError as error:
                raise BadInputError(f"env={name}: {error}") from None


inputs = _study.inputs


@dataclass(frozen=True)
class PicturedTask(Task):
    """A task whose rows and environments show what a sight says of pictures."""

    sight: Sight

    @classmethod
    def of(cls, task: Task, pictures: Pictures, sight: Sight) -> "PicturedTask":
        """The same task, whose rows have these pictures."""
        rows = sighted(task.rows, pictures, sight)
        return cls(task.cfg, task.name, task.members, rows, task.expert, sight)

    def environments(self, first: int, copies: int) -> Environments:
        """Each member's, their seeds beginning at `first`."""
        view, seeds = SideView(self.name, self.sight.shape[1]), [first + seed for _, seed in self.members]
        return PicturedEnvironments(self.sight, view, self.name, seeds, copies)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Rows as in `_study`, and of metric `seen` a few observations of a demonstration, a row per coordinate."""
    parts = []
    for place, name in enumerate(cfg.env):
        whole = _study.task(cfg, name, context.device)
        parts += [whole.references(), _shown(whole)]
        clones, rows = _study.cloned(whole, clone_of(STATES), context, cfg.cloning)
        parts.append(rows)
        task, clone, rows = _cloned(whole, context)
        parts.append(rows)
        for number, method in enumerate(METHODS):
            done = _study.share_of(context, place * len(METHODS) + number, len(METHODS) * len(cfg.env))
            if method == STATES:
                shown, learner = whole, CoherentSoftImitation(clones[cfg.start], whole.generators(2), cfg.coherent())
            else:
                settings = cfg.coherent(alpha=_study.NO_REWARD if method == NOTHING else None)
                shown, learner = task, PixelCoherentImitation(clone, task.sizes[0], task.generators(2), settings)
            train = partial(_study.train, shown, method, learner, context, done)
            parts.append(context.piece(f"{name} {method}", train))
    return pd.concat(parts, ignore_index=True)


def _shown(task: Task) -> pd.DataFrame:
    """What the pictures of the first member's demonstration are drawn from."""
    places = [time for time in TIMES if time < task.rows.counts[0]]
    (count, seed), rows = task.members[0], task.rows.rows.observation[0, places].cpu().numpy()
    assert isinstance(task.cfg, Config)
    return pd.DataFrame(
        {"env": task.name, "method": "expert", "demonstrations": count, "seed": seed, "update": 0, "steps": 0,
         "metric": "seen", "value": float(value), "time": place, "coordinate": coordinate, "pixels": task.cfg.pixels}
        for place, row in zip(places, rows, strict=True)
        for coordinate, value in enumerate(row)
    )  # fmt: skip


def _cloned(whole: Task, context: Context) -> tuple[PicturedTask, Sighted, pd.DataFrame]:
    """The task as the clone sees it, the clone that CSIL starts from, and the clones' returns.

    Goes on from the last checkpoint if there is one.
    """
    cfg, random = whole.cfg, whole.generators(1)
    assert isinstance(cfg, Config)
    pictures = pictured(whole.rows, SideView(whole.name, cfg.pixels), cfg.pictures)
    sight = Sight((cfg.pictures, cfg.pixels, cfg.pixels), random, cfg.channels, cfg.told)
    policy = HetStat(cfg.told, whole.sizes[1], random, tuple(cfg.hidden), features=cfg.features)
    both = Sighted(sight, policy).to(whole.device)
    shades, actions = pictures.observation.half(), whole.rows.rows.action  # halves hold 0 to 255 exactly
    fit = Fit(Cloning(batch=cfg.batch), both, shades, actions, random, whole.rows.counts)

    def measure() -> list[dict]:
        task = PicturedTask.of(whole, pictures, both.frozen().sight)
        returns = _study.returns(task, CoherentActor(OfPictures(both)).mode, diverged(fit.fitted))
        return task.frame(clone_of(PIXELS), fit.steps, returns)

    stages, found = _study.fitted(fit, f"{whole.name} {clone_of(PIXELS)}", context, cfg.cloning, measure)
    both.load_state_dict(stages[cfg.start])
    clone = both.frozen()
    return PicturedTask.of(whole, pictures, clone.sight), clone, found


# ---- decision ----


def decide(frame: pd.DataFrame) -> Verdict:
    """CSIL takes a clone of pixels further: above it, and above itself without reward."""
    return _scores.above_rivals(frame, PIXELS, (clone_of(PIXELS), NOTHING).__contains__)


CLAIMS = [
    Claim(
        id="csil.vision",
        source="Watson et al. 2023",
        location="Section 5",
        statement="The method scales to images.",
        measures="score of CSIL from pixels less that of its nearest rival: its clone, itself without reward",
        decide=decide,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]


# ---- figure ----

LOOKS = {PIXELS: style.BLUE, NOTHING: style.VERMILION, STATES: style.ORANGE}


def figure(frame: pd.DataFrame) -> Figure:
    """By environment: what is seen, last scores of clones and of what CSIL made of them, and scores over the steps."""
    environments = list(dict.fromkeys(frame.env))
    drawing, axes = style.panels(len(environments), 3, height=2.6)
    for (left, middle, right), name in zip(np.reshape(axes, (-1, 3)), environments, strict=True):
        mine = frame[frame.env == name]
        _draw_pictures(left, mine[mine.metric == "seen"], name)
        scores = mine[mine.metric != "seen"]
        found = _scores.tables(scores)
        places = {clone_of(STATES): (1.85, style.ORANGE), STATES: (2.15, style.ORANGE), NOTHING: (1.0, style.VERMILION)}
        places |= {clone_of(PIXELS): (-0.15, style.BLUE), PIXELS: (0.15, style.BLUE)}
        _figures.levels(middle, found, places, ["pixels", "no reward", "states"])
        _figures.curves(right, scores, LOOKS)
        middle.set(title=name, ylabel="last score, mean, 95 %\n(0: random, 1: expert)")
        right.set(title=name, ylabel="score\n(seeds thin, mean thick)")
    _figures.legend(drawing, LOOKS, columns=5)
    return drawing


def _draw_pictures(axis: Axes, rows: pd.DataFrame, name: str) -> None:
    """Pictures of a demonstration, in reading order; the floor is as where the episode began."""
    seen = rows[rows.seed == rows.seed.min()].pivot(index="time", columns="coordinate", values="value")
    view, side = SideView(name, int(rows.pixels.iloc[0])), 3
    pictures = view.draw(torch.tensor(seen.to_numpy(), dtype=torch.float32), torch.zeros(len(seen))).numpy()
    for number, (step, picture) in enumerate(zip(seen.index, pictures, strict=True)):
        down, across = divmod(number, side)
        left, top = 1.05 * across, 1.25 * down
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=(left, left + 1, top + 1, top))
        axis.annotate(f"step {step:.0f}", (left, top - 0.03), fontsize=5.5)
    axis.set(xlim=(0, 1.05 * side), ylim=(2.3, -0.2), title=f"{name}, as seen")
    axis.set_axis_off()
