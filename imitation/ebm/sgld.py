"""The sampler of energy-based distribution matching as its authors run it, in the terms of `langevin`.

The official code of Jarrett et al. 2020 moves a state by s' = s - alpha grad E(s) + sigma w, with w standard normal:
Langevin's update with lambda = 2 alpha at temperature T = sigma^2 / (2 alpha). States are kept in a buffer; a visit
starts one afresh from U(-1, 1) with some probability and then makes a few updates. On E = s^2 / 2 the state is an
autoregression, and its variance is known in closed form.
"""

from jaxtyping import Float
from torch import Tensor

from imitation.ebm.langevin import Langevin

OFFICIAL_ALPHA, OFFICIAL_SIGMA = 0.01, 0.01
OFFICIAL_STEPS, OFFICIAL_REINITIALISED = 20, 0.05  # updates per visit, probability of a fresh start


def stationary_variance(alpha: float, sigma: float) -> float:
    """Of s' = (1 - alpha) s + sigma w: sigma^2 / (1 - (1 - alpha)^2), close to the temperature sigma^2 / (2 alpha).

    Raises:
        ValueError: alpha is not between 0 and 2, where the chain settles.
    """
    if not 0 < alpha < 2:
        raise ValueError(f"alpha={alpha}: the chain settles only for 0 < alpha < 2")
    return sigma**2 / (1 - (1 - alpha) ** 2)


def correct_noise(alpha: float) -> float:
    """The noise that belongs to the step alpha > 0, at which the temperature is 1: sqrt(2 alpha)."""
    return (2 * alpha) ** 0.5


def buffer_variance(alpha: float, sigma: float, steps: int, reinitialised: float) -> float:
    """Of a state at the end of a visit, once the buffer has settled.

    With probability rho (1 - rho)^j it was last drawn afresh j visits ago and has made n (j + 1) updates from
    U(-1, 1), whose variance is 1/3. By then its distance from the stationary variance has shrunk by q^(j+1), with
    q = (1 - alpha)^(2n); the sum over j is geometric.
    """
    limit, q = stationary_variance(alpha, sigma), (1 - alpha) ** (2 * steps)
    return limit + (1 / 3 - limit) * reinitialised * q / (1 - (1 - reinitialised) * q)


def kernel(alpha: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> tuple[Langevin, Tensor]:
    """The official update in the library's terms: a kernel and its step size, lambda = 2 alpha.

    Args:
        alpha, sigma: step and noise, shapes that broadcast against the positions.
    """
    return Langevin("true", noise_scale=sigma / (2 * alpha).sqrt()), 2 * alpha
