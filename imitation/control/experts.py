"""Experts for MuJoCo: trained by the soft actor-critic core, kept as small files with a card.

python -m imitation.control.experts train HalfCheetah-v5     train, or go on with a training that was cut off
python -m imitation.control.experts keep HalfCheetah-v5      write the best policy so far, or the last, with its card
python -m imitation.control.experts measure HalfCheetah-v5   the kept policy's returns, measured anew
"""

import argparse
import json
import os
import sys
import time
import warnings
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from imitation.control.networks import Actor, Policy
from imitation.control.replay import Replay, Transitions
from imitation.control.sac import Settings, SoftActorCritic
from imitation.control.training import Plan, Training, evaluate
from imitation.demonstrations import Demonstrations, digest, rollout_demonstrations
from imitation.envs.control import OPTIONS, Environments
from imitation.population import Generators

FOLDER = Path(__file__).parents[1] / "demonstrations" / "experts"
# Mean returns that count as expert: about those of the experts in public demonstrations.
WANTED = {"HalfCheetah-v5": 6000, "Hopper-v5": 3000, "Walker2d-v5": 3500, "Ant-v5": 3500, "Humanoid-v5": 4500}
EVALUATION, MEASUREMENT = 1_000_000, 2_000_000  # where the seeds of episodes begin: none is one of training's
EPISODES = {"evaluation": 5, "measurement": 20}


@dataclass(frozen=True)
class Recipe:
    """How an expert is trained.

    Args:
        updates: of the learner, at most.
        copies: environments stepped per update. A step costs a hundredth of an update, and more data per update
            gives more return per hour.
        seed: of everything.
        every: updates between two evaluations.
        capacity: of the replay.
        anneal: the last updates, in which the learning rates fall towards 0, by a step after each evaluation. A policy
            that jumps between good and bad evaluations settles, and the best one is chosen from these.

    Raises:
        ValueError: a fall that is longer than the training or too short for two steps.
    """

    updates: int = 1_000_000
    copies: int = 4
    seed: int = 0
    every: int = 10_000
    capacity: int = 1_000_000
    anneal: int = 0

    def __post_init__(self) -> None:
        if self.anneal and (not self.every < self.anneal <= self.updates or self.anneal % self.every):
            rule = f"a multiple of every={self.every} above it, up to updates={self.updates}"
            raise ValueError(f"anneal={self.anneal}: must be 0 or {rule}")

    @property
    def steady(self) -> int:
        """Updates at the full rates."""
        return self.updates - self.anneal

    def rate(self, updates: int) -> float:
        """Factor of the learning rates after so many updates."""
        return min(1.0, (self.updates - updates) / self.anneal) if self.anneal else 1.0


# Where the defaults do not do: the returns of these jump at constant rates.
RECIPES = {
    "Ant-v5": Recipe(updates=1_020_000, anneal=80_000),
    "Humanoid-v5": Recipe(updates=250_000, anneal=40_000),
}
# Kept as they are at the end: in the five episodes of an evaluation a fall that is rare is not seen.
LAST = {"Humanoid-v5"}


class ExpertTraining(Training):
    """The loop on contiguous rows.

    On slices of wider rows oneDNN takes half a second per product where observations outnumber the hidden units, as
    Humanoid's do: then the slice is the second factor.
    """

    def rows(self) -> Transitions:
        """What one update learns from."""
        return Transitions(*(value.contiguous() for value in super().rows()))


@dataclass(frozen=True)
class Expert:
    """A kept policy: its card, and the actions of its mode."""

    card: dict[str, Any]
    actor: Actor

    def act(self, observation: Float[Tensor, "P E Do"]) -> Float[Tensor, "P E Da"]:
        """Observations (1, E, Do) -> actions (1, E, Da) in [-1, 1]."""
        return self.actor.mode(observation)


def train(name: str, recipe: Recipe, folder: Path) -> None:
    """Train for all updates, or, if the rates do not fall, until three evaluations running reach the wanted return.

    Leaves in `folder`: state.pt to go on from, with the curve of evaluations, and best.pt, the actor of the best one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environments = Environments(name, [recipe.seed], recipe.copies)
    sizes = environments.observation_dim, environments.action_dim
    learner = SoftActorCritic(*sizes, Generators([recipe.seed]), Settings())
    replay = Replay(1, *sizes, recipe.capacity)
    training = ExpertTraining(learner, environments, replay, Plan(recipe.updates, every=recipe.every))
    curve = _resume(training, recipe, folder)
    started = time.monotonic() - (curve[-1]["seconds"] if curve else 0)

    def enough() -> bool:
        return not recipe.anneal and [one["mean"] >= WANTED[name] for one in curve[-3:]] == [True] * 3

    def measure(updates: int) -> bool:
        """Evaluate, keep the policy if it is the best so far, and say whether the wanted return is reached."""
        row = {"updates": updates, "seconds": time.monotonic() - started}
        row |= _returns(name, learner.actor, "evaluation")
        rivals = [one["mean"] for one in curve if (one["updates"] > recipe.steady) == (updates > recipe.steady)]
        if row["mean"] > max(rivals, default=-np.inf):
            best = {"actor": learner.actor.state_dict(), "updates": updates, "recipe": asdict(recipe)}
            _write(folder / "best.pt", best)
        curve.append(row)
        _slow(learner, recipe)
        print(f"{name}: {updates} updates, {row['seconds']:.0f} s, return {row['mean']:.0f}", flush=True)
        return enough()

    def save(state: dict[str, Any]) -> None:
        _write(folder / "state.pt", {"training": state, "curve": curve, "recipe": asdict(recipe)})

    _slow(learner, recipe)
    if not enough():
        training.run(measure, save)


def _slow(learner: SoftActorCritic, recipe: Recipe) -> None:
    """Set the learning rates of the next updates."""
    for name, optimiser in learner.optimisers.items():
        for group in optimiser.param_groups:
            group["lr"] = getattr(learner.settings, f"{name}_rate") * recipe.rate(learner.updates)


def _resume(training: Training, recipe: Recipe, folder: Path) -> list[dict[str, Any]]:
    path = folder / "state.pt"
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    before, done = Recipe(**state["recipe"]), state["training"]["learner"]["updates"]
    same = replace(before, updates=recipe.updates, anneal=recipe.anneal) == recipe
    falling = min((one.steady for one in (before, recipe) if one.anneal), default=done)
    if not same or (before != recipe and done > falling):
        raise ValueError(f"{path}: of another recipe, {state['recipe']}; remove it to begin anew")
    training.load_state_dict(state["training"])
    return state["curve"]


def _write(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all."""
    aside = path.with_suffix(".tmp")
    with aside.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)


def _returns(name: str, actor: Policy, kind: str) -> dict[str, float]:
    """Mean and standard deviation of the mode's return over fresh episodes."""
    first = EVALUATION if kind == "evaluation" else MEASUREMENT
    returns = evaluate(actor.mode, Environments(name, [first], EPISODES[kind]))[0]
    return {"mean": float(returns.mean()), "sd": float(returns.std(ddof=1)), "least": float(returns.min())}


def keep(name: str, folder: Path) -> dict[str, Any]:
    """Write the best policy so far, or for those in `LAST` the last, to `FOLDER`, its card beside it; returns the card.

    Raises:
        ValueError: nothing was trained yet, or the rates have still to fall.
    """
    if not (folder / "best.pt").exists():
        raise ValueError(f"{folder}: holds no trained policy of {name}; train it first")
    best = torch.load(folder / "best.pt", weights_only=True)
    state = torch.load(folder / "state.pt", weights_only=True)
    last = state["training"]["learner"] | {"recipe": state["recipe"]}
    chosen = last if name in LAST else best
    recipe = Recipe(**chosen["recipe"])  # an older file has no word of a fall
    if recipe.anneal and last["updates"] < recipe.updates:
        raise ValueError(f"{folder}: {last['updates']} of {recipe.updates} updates are done; train it to the end first")
    actor, updates = _actor(chosen["actor"]), chosen["updates"]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in actor.state_dict().items()}, path)
    card = {
        "environment": name,
        "options": OPTIONS.get(name, {}),
        "algorithm": "soft actor-critic (imitation.control.sac)",
        "updates": updates,
        "environment_steps": updates * recipe.copies,
        "seed": recipe.seed,
        "return": _returns(name, actor, "measurement") | {"episodes": EPISODES["measurement"]},
        "wanted": WANTED[name],
        "command": _command(name, recipe, updates),
        "versions": {package: version(package) for package in ("gymnasium", "mujoco", "torch")},
        "sha256": sha256(path.read_bytes()).hexdigest(),
    }
    card["first_episode"] = digest(_rollout(Expert(card, actor), 1, 0))
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def _command(name: str, recipe: Recipe, updates: int) -> str:
    """What trains the policy anew that is kept after so many updates."""
    last = recipe.updates if recipe.anneal else updates
    return (
        f"python -m imitation.control.experts train {name} --copies {recipe.copies} --seed {recipe.seed} "
        f"--updates {last} --anneal {recipe.anneal}"
    )


def load(name: str) -> Expert:
    """The kept expert of an environment.

    Raises:
        ValueError: none is kept, or its file is not the one that its card describes.
    """
    path, kept = FOLDER / f"{name}.safetensors", sorted(one.stem for one in FOLDER.glob("*.safetensors"))
    if name not in kept or not path.with_suffix(".json").exists():
        raise ValueError(f"expert {name}: none is kept; there are {', '.join(kept) or 'none'}")
    try:
        card = json.loads(path.with_suffix(".json").read_text())
        if sha256(path.read_bytes()).hexdigest() != card["sha256"]:
            raise ValueError("the hash differs")
        return Expert(card, _actor(load_file(path)))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: not the policy of its card ({error})") from None


def demonstrations(name: str, episodes: int, seed: int = 0) -> Demonstrations:
    """Episodes of the kept expert's mode; the first n of more are those of n alone.

    The card holds the hash of the first episode of seed 0. Another processor or simulator may round otherwise, which a
    chaotic system turns into another episode of the same policy: then there is a warning.

    Raises:
        ValueError: as `load` and `rollout_demonstrations`.
    """
    expert = load(name)
    if digest(_rollout(expert, 1, 0)) != expert.card["first_episode"]:
        message = f"expert {name}: its first episode is not bit for bit the card's; versions {expert.card['versions']}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return _rollout(expert, episodes, seed)


def _rollout(expert: Expert, episodes: int, seed: int) -> Demonstrations:
    def act(observation: np.ndarray) -> np.ndarray:
        return expert.act(torch.from_numpy(observation).float()[None, None])[0, 0].double().numpy()

    card = expert.card
    return rollout_demonstrations(act, card["environment"], card["options"], episodes, seed)


def _actor(state: dict[str, Tensor]) -> Actor:
    weights = [state[f"network.weights.{number}"] for number in range(len(state) // 2)]
    hidden = [weight.shape[2] for weight in weights[:-1]]
    actor = Actor(weights[0].shape[1], weights[-1].shape[2] // 2, Generators([0]), hidden)
    actor.load_state_dict(state)
    return actor


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 and one line for what cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "keep", "measure"))
    parser.add_argument("environment", choices=sorted(WANTED))
    parser.add_argument("--folder", type=Path, default=Path("outputs/experts"))
    for field in ("updates", "copies", "seed", "anneal"):
        parser.add_argument(f"--{field}", type=int, help="instead of the recipe's")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    name = options.environment
    try:
        recipe = RECIPES.get(name, Recipe())
        given = {key: value for key, value in vars(options).items() if key in asdict(recipe) and value is not None}
        recipe = replace(recipe, **given)
        folder = options.folder / f"{name}-{recipe.seed}"
        if options.what == "train":
            train(name, recipe, folder)
        elif options.what == "keep":
            print(json.dumps(keep(name, folder), indent=1))
        else:
            print(json.dumps(_returns(name, load(name).actor, "measurement")))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
