"""A policy's logits read as a joint energy model, p(s, a) ~ exp(f(s)[a]): energy-based distribution matching.

Jarrett et al. 2020 take E(s) = -logsumexp_a f(s)[a], so that p(s) ~ sum_a e^{f(s)[a]}. Swamy et al. 2021 print the
opposite sign in (4)-(5), p(s) ~ 1 / sum_a e^{f(s)[a]}, and go back to the first in (11)-(13).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Sign = Literal["f", "-f"]  # p(s) ~ sum e^f, as in (11), or p(s) ~ 1 / sum e^f, as in (4)-(5)


def log_unnormalised_density(logits: Float[Tensor, "*states A"], sign: Sign = "f") -> Float[Tensor, "*states"]:
    """log of the state marginal but for its constant: the actions summed out, (..., A) -> (...).

    Raises:
        ValueError: a sign other than "f" and "-f".
    """
    if sign not in ("f", "-f"):
        raise ValueError(f"sign={sign!r}: allowed are 'f' and '-f'")
    summed = torch.logsumexp(logits, -1)
    return summed if sign == "f" else -summed


def log_state_density(logits: Float[Tensor, "*batch S A"], sign: Sign = "f") -> Float[Tensor, "*batch S"]:
    """log p(s) over finitely many states: (..., S, A) -> (..., S); errors as in `log_unnormalised_density`."""
    return torch.log_softmax(log_unnormalised_density(logits, sign), -1)


def shift_for(
    logits: Float[Tensor, "*batch S A"], log_target: Float[Tensor, "*batch S"], sign: Sign = "f"
) -> Float[Tensor, "*batch S"]:
    """The shift g(s) with which the logits f(s)[a] + g(s) have any wanted marginal p(s).

    The policy does not see g; p(s) follows it alone (Swamy et al. 2021, (6)-(7)).

    Args:
        logits: (..., S, A).
        log_target: log of the wanted marginal, (..., S).

    Returns:
        g, shape (..., S); errors as in `log_unnormalised_density`.
    """
    missing = log_target - log_unnormalised_density(logits, sign)
    return missing if sign == "f" else -missing
