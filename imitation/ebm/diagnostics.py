"""Do the chains sample what they should? Effective sample size, split R-hat and a standard-error z score.

Draws have the shape (chains, draws), one scalar quantity; all arithmetic is in float64. Definitions: Vehtari,
Gelman, Simpson, Carpenter, Buerkner 2021 ("Rank-normalization, folding, and localization"), sections 2-3, without
the rank normalisation; ArviZ calls them `ess(method="mean")` and `rhat(method="split")`.
"""

import numpy as np
from numpy.typing import ArrayLike


def effective_sample_size(draws: ArrayLike) -> float:
    """How many independent draws would give the mean the same standard error.

    Chains are split in halves; autocorrelations are summed by Geyer's initial monotone sequence.

    Args:
        draws: (chains, draws), at least 8 draws per chain.

    Raises:
        ValueError: not two axes, or fewer than 8 draws.
    """
    split = _split(draws)
    length = split.shape[1]
    covariance = _autocovariance(split)
    variance = covariance[:, 0].mean()
    total = variance + (split.mean(1).var(ddof=1) if len(split) > 1 else 0.0)
    if np.ptp(split) == 0:  # a constant: every draw says the same, and ArviZ counts each
        return float(split.size)
    correlation = 1 - (variance * length / (length - 1) - covariance.mean(0)) / total
    correlation[0] = 1.0
    # For a reversible chain the sums of neighbouring correlations are positive and fall: stop where noise breaks that.
    pairs = correlation[: length // 2 * 2].reshape(-1, 2).sum(1)
    stop = min(int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs), (length - 1) // 2 - 1)
    time = -1 + 2 * np.minimum.accumulate(pairs[:stop]).sum() + max(correlation[2 * stop], 0.0)
    return float(split.size / max(time, 1 / np.log10(split.size)))


def split_r_hat(draws: ArrayLike) -> float:
    """Square root of total over within-chain variance, each chain split in halves; 1 when all agree.

    Arguments and errors as in `effective_sample_size`; NaN for a constant.
    """
    split = _split(draws)
    within = split.var(1, ddof=1).mean()
    length = split.shape[1]
    total = within * (length - 1) / length + split.mean(1).var(ddof=1)
    return float(np.sqrt(total / within)) if np.ptp(split) > 0 else float("nan")


def standard_error_z(draws: ArrayLike, truth: float) -> float:
    """(mean - truth) / (sd / sqrt(ESS)): standard normal when the chains sample a law with this mean.

    Give squares or products of draws to test second moments. Arguments and errors as above. A chain that never
    moves has no standard error: infinite, or NaN if it sits on the truth.
    """
    values = _checked(draws)
    if np.ptp(values) == 0:
        difference = values.flat[0] - truth
        return float(np.copysign(np.inf, difference)) if difference else float("nan")
    error = values.std(ddof=1) / np.sqrt(effective_sample_size(values))
    return float((values.mean() - truth) / error)


def _checked(draws: ArrayLike) -> np.ndarray:
    values = np.asarray(draws, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 8:
        raise ValueError(f"draws of shape {values.shape}: must be (chains, draws) with at least 8 draws")
    return values


def _split(draws: ArrayLike) -> np.ndarray:
    values = _checked(draws)
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]])


def _autocovariance(values: np.ndarray) -> np.ndarray:
    """Biased autocovariances (chains, lags) by the fast Fourier transform, padded so that nothing wraps around."""
    length = values.shape[1]
    spectrum = np.fft.rfft(values - values.mean(1, keepdims=True), n=2 * length)
    return np.fft.irfft(np.abs(spectrum) ** 2)[:, :length] / length
