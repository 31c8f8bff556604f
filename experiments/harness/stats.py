"""Intervals over seeds: seeds are the unit, every function returns (estimate, low, high).

One seed has no interval: low and high are NaN, and every statistical decision on them is inconclusive.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student
from scipy.stats import trim_mean

Interval = tuple[float, float, float]
NAN = float("nan")


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over seeds with Student's t interval.

    Args:
        values: one number per seed, shape (n,). A diverged seed (NaN or infinite) makes all three NaN: it counts.
    """
    sample = np.asarray(values, dtype=np.float64)
    center = float(sample.mean())
    if not np.isfinite(center) or len(sample) < 2:
        return (center if np.isfinite(center) else NAN), NAN, NAN
    half = float(student.ppf(0.5 + level / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample)))
    return center, center - half, center + half


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[[np.ndarray], np.ndarray],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Any statistic over seeds with a percentile bootstrap interval.

    Args:
        values: one row per seed, shape (n, ...).
        statistic: maps resamples (r, n, ...) to (r,): it reduces axis 1 and what follows.
        seed: of the resampling, so that the same frame always gives the same interval.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return float(statistic(sample[None])[0]), NAN, NAN
    chosen = np.random.default_rng(seed).integers(len(sample), size=(resamples, len(sample)))
    low, high = np.quantile(statistic(sample[chosen]), [0.5 - level / 2, 0.5 + level / 2])
    return float(statistic(sample[None])[0]), float(low), float(high)


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half, (r, n) -> (r,): robust as a median, steadier over few seeds (Agarwal et al. 2021)."""
    return trim_mean(values, 0.25, axis=1)
