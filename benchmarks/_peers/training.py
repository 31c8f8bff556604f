"""The training that every contestant of `benchmarks/ibc_step.py` steps through: data, batches and starting weights.

Only numpy is imported, because this file is read by the interpreters of all peers.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

DEMONSTRATIONS, LEARNING_RATE = 4000, 1e-3
BATCHES = 20  # different ones; the losses of a training of so many steps are compared


class Training(NamedTuple):
    """Observations (T, Dx), actions (T, Dy) in [-1, 1], rows of each batch (N, B), and a network (in, out), (out)."""

    observations: np.ndarray
    actions: np.ndarray
    batches: np.ndarray
    weights: list[np.ndarray]
    biases: list[np.ndarray]


def extend(path: Path, action_dim: int, seed: int = 1) -> None:
    """Add a training to the file of the common network, which is where it starts.

    The first batch are the network's observations, so that the law of its first negatives is known.
    """
    random = np.random.default_rng(seed)
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file}
    first = arrays["observation"]
    more = random.normal(size=(DEMONSTRATIONS - len(first), first.shape[1])).astype(np.float32)
    observations = np.concatenate([first, more])
    slopes = random.normal(size=(first.shape[1], action_dim)).astype(np.float32)
    batches = random.integers(DEMONSTRATIONS, size=(BATCHES, len(first)))
    batches[0] = np.arange(len(first))
    arrays |= {"observations": observations, "actions": np.sin(observations @ slopes), "batches": batches}
    np.savez(path, allow_pickle=False, **arrays)


def read(path: str | Path) -> Training:
    """The training as it was written."""
    with np.load(path, allow_pickle=False) as file:
        layers = range(sum(name.startswith("weight") for name in file))
        weights, biases = ([file[f"{kind}{layer}"] for layer in layers] for kind in ("weight", "bias"))
        return Training(file["observations"], file["actions"], file["batches"], weights, biases)
