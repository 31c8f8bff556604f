"""Intervals over seeds: seeds are the unit, every function returns (estimate, low, high).

One seed has no interval but that of a share: low and high are NaN, and statistical decisions on them are inconclusive.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, trim_mean
from scipy.stats import t as student

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


def share_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Share of seeds with its exact interval (Clopper and Pearson 1934): that of few is wide even if all are alike.

    Args:
        values: 1 or 0 per seed, shape (n,). A diverged seed (NaN) makes all three NaN: it counts.

    Raises:
        ValueError: another value.
    """
    sample = np.asarray(values, dtype=np.float64)
    if np.isnan(sample).any():
        return NAN, NAN, NAN
    if not np.isin(sample, (0, 1)).all():
        raise ValueError(f"values {sample.tolist()}: a share is of zeros and ones")
    found = binomtest(int(sample.sum()), len(sample)).proportion_ci(level, method="exact")
    return float(sample.mean()), float(found.low), float(found.high)


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
