"""Step-size schedules for samplers: one number per iteration."""

import numpy as np


def polynomial(initial: float, final: float, steps: int, power: float = 2.0) -> list[float]:
    """(initial - final) (1 - i/(n-1))^power + final: fast at first, flat at the end.

    The schedule of the official implicit behavioural cloning code and of Ta et al. 2022, Appendix D.

    Raises:
        ValueError: fewer than one step, or a step size that is not positive.
    """
    return (final + (initial - final) * (1 - _fraction(initial, final, steps)) ** power).tolist()


def notebook(initial: float, final: float, steps: int, power: float = 2.0) -> list[float]:
    """initial + (i/(n-1))^power (final - initial): flat at first, fast at the end.

    The schedule of the notebook behind Fig. 1 of Ta et al. 2022. Errors as in `polynomial`.
    """
    return (initial + (final - initial) * _fraction(initial, final, steps) ** power).tolist()


def _fraction(initial: float, final: float, steps: int) -> np.ndarray:
    if steps < 1 or not (initial > 0 and final > 0):
        raise ValueError(f"initial={initial}, final={final}, steps={steps}: sizes must be positive, steps at least 1")
    return np.linspace(0.0, 1.0, steps)
