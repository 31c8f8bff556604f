"""The training that every contestant of `benchmarks/ibc_step.py` steps through: data, batches and starting weights.

Only numpy is imported, because this file is read by the interpreters of all peers.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

DEMONSTRATIONS, SPREAD, LEARNING_RATE = 4000, 0.05, 1e-3
BATCHES = 20  # different ones; the losses of a training of so many steps are compared


class Training(NamedTuple):
    """Observations (T, Dx), actions (T, Dy) in [-1, 1], rows of each batch (N, B), and a network (in, out), (out)."""

    observations: np.ndarray
    actions: np.ndarray
    batches: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]


def write(path: Path, observation_dim: int, action_dim: int, hidden: Sequence[int], batch: int, seed: int = 0) -> None:
    """Write a training, float32, to an npz file without pickle; weights and biases start from N(0, SPREAD)."""
    random = np.random.default_rng(seed)
    observations = random.uniform(-1, 1, size=(DEMONSTRATIONS, observation_dim))
    actions = 0.9 * np.sin(observations @ random.normal(size=(observation_dim, action_dim)))
    arrays = {"observations": observations, "actions": actions}
    for layer, (rows, columns) in enumerate(pairwise((observation_dim + action_dim, *hidden, 1))):
        arrays[f"weight{layer}"] = random.normal(size=(rows, columns)) * SPREAD
        arrays[f"bias{layer}"] = random.normal(size=columns) * SPREAD
    values = {name: value.astype(np.float32) for name, value in arrays.items()}
    np.savez(path, allow_pickle=False, batches=random.integers(DEMONSTRATIONS, size=(BATCHES, batch)), **values)


def read(path: str | Path) -> Training:
    """The training as it was written."""
    with np.load(path, allow_pickle=False) as file:
        layers = range(sum(name.startswith("weight") for name in file))
        weights, biases = ([file[f"{kind}{layer}"] for layer in layers] for kind in ("weight", "bias"))
        return Training(file["observations"], file["actions"], file["batches"], weights, biases)
