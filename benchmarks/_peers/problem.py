"""What every contestant is given, in every environment: sizes, energies, starts and the law of the right samples.

Only numpy is imported, because this file is read by the interpreters of all peers.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

# gaussian: 2-D, diagonal covariance. The step size leaves the discretised chain's spread within 2 % of the Gaussian's.
MEAN, SPREAD = (0.3, 0.4), (0.1, 0.2)
CHAINS, GAUSSIAN_STEPS, GAUSSIAN_STEP_SIZE = 1000, 500, 1e-3

# network: the negatives of one training batch of implicit behavioural cloning.
OBSERVATIONS, NEGATIVES, NETWORK_STEPS, NETWORK_STEP_SIZE = 512, 8, 10, 0.1
OBSERVATION_DIM, ACTION_DIM, HIDDEN = 16, 2, (256, 256)
ENERGY_SCALE = 10

# Rows and columns of the matrix product that says how fast this core multiplies.
MATRIX = 1024

# Every contestant draws its starts uniformly between the bounds, inside the timed call. The true form is unbounded
# after that; the IBC form keeps to the bounds and limits the change of one step, which DI-engine always does.
LOW, HIGH, CLIP = -1.0, 1.0, 0.5


class Moments(NamedTuple):
    """Mean and standard deviation of one quantity over the final samples, and how many there are."""

    mean: float
    std: float
    samples: int


def write(path: Path, seed: int = 0) -> None:
    """Write the network's weights and the observations, float32, to an npz file without pickle.

    The weights have He's scale, the last layer's ENERGY_SCALE times that, so that every step lowers the energy by
    more than the check of the final energies forgives.
    """
    random = np.random.default_rng(seed)
    widths = (OBSERVATION_DIM + ACTION_DIM, *HIDDEN, 1)
    arrays = {"observation": random.normal(size=(OBSERVATIONS, OBSERVATION_DIM))}
    for layer, (rows, columns) in enumerate(pairwise(widths)):
        arrays[f"weight{layer}"] = random.normal(size=(rows, columns)) * np.sqrt(2 / rows)
        arrays[f"bias{layer}"] = random.normal(size=columns) * 0.05
    arrays[f"weight{len(HIDDEN)}"] *= ENERGY_SCALE
    np.savez(path, allow_pickle=False, **{name: value.astype(np.float32) for name, value in arrays.items()})


def read(path: str | Path) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """The observations (B, Dx), the weights (in, out) and the biases (out) of the network."""
    with np.load(path, allow_pickle=False) as file:
        layers = range(len(HIDDEN) + 1)
        return file["observation"], [file[f"weight{i}"] for i in layers], [file[f"bias{i}"] for i in layers]


def moments(quantity: np.ndarray) -> list[Moments]:
    """Moments of each column of (N, K) samples."""
    return [Moments(float(column.mean()), float(column.std()), column.size) for column in quantity.T]


def gaussian_moments(samples: np.ndarray) -> list[Moments]:
    """Moments of each coordinate of samples (..., 2)."""
    return moments(np.asarray(samples, dtype=np.float64).reshape(-1, len(MEAN)))


def network_moments(path: str | Path, samples: np.ndarray) -> list[Moments]:
    """Moments of the energy and of each coordinate of final actions (..., Dy), the observation as the slowest axis."""
    actions = np.asarray(samples, dtype=np.float64).reshape(-1, ACTION_DIM)
    observation, weights, biases = read(path)
    tiled = np.repeat(observation, len(actions) // len(observation), axis=0)
    energy, _ = _energy_and_gradient(tiled, actions, weights, biases)
    return moments(np.column_stack([energy, actions]))


def gaussian_law(form: str) -> list[Moments]:
    """The exact moments of the last position of the discretised chain, one per coordinate.

    With a = lambda / (2 s^2) a step is y' - m = (1 - a)(y - m) + c w, and c^2 is lambda (true) or lambda^2 (IBC).
    """
    noise = GAUSSIAN_STEP_SIZE if form == "true" else GAUSSIAN_STEP_SIZE**2
    law = []
    for mean, spread in zip(MEAN, SPREAD, strict=True):
        keep = 1 - GAUSSIAN_STEP_SIZE / (2 * spread**2)
        left = keep**GAUSSIAN_STEPS
        start = (LOW + HIGH) / 2, (HIGH - LOW) ** 2 / 12
        variance = left**2 * start[1] + noise * (1 - left**2) / (1 - keep**2)
        law.append(Moments(mean + left * (start[0] - mean), variance**0.5, CHAINS))
    return law


def network_law(path: str | Path, form: str, seed: int = 1) -> list[Moments]:
    """The same moments by a plain chain in float64 that shares no code with any contestant, on 8 times the samples."""
    observation, weights, biases = read(path)
    tiled = np.repeat(observation, 8 * NEGATIVES, axis=0)
    random = np.random.default_rng(seed)
    action = random.uniform(LOW, HIGH, size=(len(tiled), ACTION_DIM))
    coefficient = NETWORK_STEP_SIZE**0.5 if form == "true" else NETWORK_STEP_SIZE
    for _ in range(NETWORK_STEPS):
        _, gradient = _energy_and_gradient(tiled, action, weights, biases)
        change = coefficient * random.normal(size=action.shape) - NETWORK_STEP_SIZE / 2 * gradient
        if form == "ibc":
            change = np.clip(change, -CLIP, CLIP)
        action = action + change
        if form == "ibc":
            action = np.clip(action, LOW, HIGH)
    return network_moments(path, action)


def agrees(found: list[Moments], law: list[Moments], errors: float = 5.0) -> bool:
    """Whether every mean and standard deviation lies within so many standard errors of the law's."""
    for one, other in zip(found, law, strict=True):
        error = other.std * (1 / one.samples + 1 / other.samples) ** 0.5
        if not (abs(one.mean - other.mean) <= errors * error and abs(one.std - other.std) <= errors * error):
            return False
    return True


def _energy_and_gradient(
    observation: np.ndarray, action: np.ndarray, weights: list[np.ndarray], biases: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    value = np.concatenate([observation, action], axis=1)
    values = []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        value = np.maximum(value @ weight + bias, 0)
        values.append(value)
    slope = np.broadcast_to(weights[-1].T, value.shape)
    for weight, active in zip(reversed(weights[:-1]), reversed(values), strict=True):
        slope = (slope * (active > 0)) @ weight.T
    return (value @ weights[-1] + biases[-1])[:, 0], slope[:, OBSERVATION_DIM:]
