"""Experts for Gymnasium's environments with finitely many actions: small files with a card, and their episodes.

python -m imitation.demonstrations.classic CartPole-v1     train one anew and keep it

Training takes stable-baselines3 (`pip install --no-deps stable-baselines3==2.9.2`), using an expert does not.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from imitation.envs.classic import Episode, episode, returns

FOLDER = Path(__file__).parent / "classic_experts"
EPISODES, MEASUREMENT = 100, 2_000_000  # of the card's return; where the seeds of these begin
DEMONSTRATED = 1_000_000  # where the seeds of demonstrations begin

# Mean returns of the public experts that EDM's authors used.
WANTED = {"CartPole-v1": 500, "Acrobot-v1": -85, "LunarLander-v3": 269}


@dataclass(frozen=True)
class Recipe:
    """How an expert is trained: proximal policy optimisation (PPO) for so many environment steps in all.

    copies: environments stepped together. settings: what differs from the library's defaults.
    """

    steps: int
    copies: int
    settings: dict[str, Any]


RECIPES = {
    "CartPole-v1": Recipe(200_000, 4, {"n_steps": 512}),
    "Acrobot-v1": Recipe(500_000, 16, {"n_steps": 256, "n_epochs": 4, "gae_lambda": 0.94}),
    "LunarLander-v3": Recipe(
        1_500_000,
        16,
        {"n_steps": 1024, "n_epochs": 4, "gamma": 0.999, "gae_lambda": 0.98, "ent_coef": 0.01},
    ),
}


@dataclass(frozen=True)
class Expert:
    """A kept policy: its card, and the layers of its network, weights (in, out) and biases (out,)."""

    card: dict[str, Any]
    weights: list[np.ndarray]
    biases: list[np.ndarray]

    def act(self, states: np.ndarray) -> np.ndarray:
        """The most probable actions: states (..., D) -> (...), integers."""
        value = states
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = (np.tanh(value) if number else value) @ weight + bias
        return value.argmax(-1)


def load(name: str) -> Expert:
    """The kept expert of an environment.

    Raises:
        ValueError: none is kept, or its file is not the one that its card describes.
    """
    path = FOLDER / f"{name}.safetensors"
    if name not in RECIPES or not path.exists():
        raise ValueError(f"expert {name}: none is kept; there are {', '.join(sorted(RECIPES))}")
    try:
        card = json.loads(path.with_suffix(".json").read_text())
        if sha256(path.read_bytes()).hexdigest() != card["sha256"]:
            raise ValueError("the hash differs")
        return _expert(card, load_file(path))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: not the policy of its card ({error})") from None


def demonstrations(name: str, first: int, count: int) -> list[Episode]:
    """Episodes number `first` and the next of a kept expert, each from a seed of its own.

    Raises:
        ValueError: as `load`.
    """
    expert = load(name)
    return [episode(name, expert.act, DEMONSTRATED + number) for number in range(first, first + count)]


def train(name: str, seed: int) -> dict[str, Any]:
    """Train by `RECIPES`, write the policy and its card to `FOLDER`, and return the card.

    Raises:
        ValueError: stable-baselines3 is not there.
    """
    try:
        from stable_baselines3 import PPO  # type: ignore[import-not-found]
        from stable_baselines3.common.env_util import make_vec_env  # type: ignore[import-not-found]
    except ImportError:
        raise ValueError("training takes stable-baselines3: pip install --no-deps stable-baselines3==2.9.2") from None
    recipe = RECIPES[name]
    torch.set_num_threads(1)
    environments = make_vec_env(name, recipe.copies, seed=seed)
    model = PPO("MlpPolicy", environments, seed=seed, device="cpu", **recipe.settings)
    model.learn(recipe.steps)
    layers = [one for one in model.policy.mlp_extractor.policy_net if isinstance(one, torch.nn.Linear)]
    arrays = {}
    for number, layer in enumerate([*layers, model.policy.action_net]):
        arrays[f"weights.{number}"] = np.ascontiguousarray(layer.weight.detach().numpy().T)
        arrays[f"biases.{number}"] = layer.bias.detach().numpy()
    path = FOLDER / f"{name}.safetensors"
    save_file(arrays, path)
    measured = returns(name, _expert({}, arrays).act, [range(MEASUREMENT, MEASUREMENT + EPISODES)])[0]
    card = {
        "environment": name,
        "algorithm": "proximal policy optimisation (stable-baselines3), the most probable action",
        "environment_steps": int(model.num_timesteps),
        "seed": seed,
        "return": {"mean": measured.mean(), "sd": measured.std(ddof=1), "least": measured.min(), "episodes": EPISODES},
        "command": f"python -m imitation.demonstrations.classic {name} --seed {seed}",
        "versions": {package: version(package) for package in ("gymnasium", "stable-baselines3", "torch")},
        "sha256": sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def _expert(card: dict[str, Any], arrays: dict[str, np.ndarray]) -> Expert:
    layers = range(len(arrays) // 2)
    return Expert(card, [arrays[f"weights.{n}"] for n in layers], [arrays[f"biases.{n}"] for n in layers])


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 and one line for what cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=sorted(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(train(options.environment, options.seed), indent=1))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
