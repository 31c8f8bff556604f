"""Tabular Markov decision processes, batched: every tensor may carry leading axes of independent processes.

Shapes: transition P (..., S, A, S'), initial law (..., S), policy pi (..., S, A); all float64.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, float64

TOLERANCE = 1e-9  # by how much a probability vector may miss one


@dataclass(frozen=True)
class TabularMDP:
    """The dynamics of a finite process; rewards are given where they are needed.

    Args:
        transition: P[..., s, a, s'], the probability of s' after action a in s.
        initial: the law of the first state, (..., S), with the same leading axes.

    Raises:
        ValueError: shapes that do not fit, another dtype than float64, a NaN, a negative probability, or a row that
            does not sum to one.
    """

    transition: Float[Tensor, "..."]
    initial: Float[Tensor, "..."]

    def __post_init__(self) -> None:
        shape = tuple(self.transition.shape)
        start = tuple(self.initial.shape)
        if len(shape) < 3 or shape[-3] != shape[-1] or start != (*shape[:-3], shape[-1]):
            raise ValueError(f"transition {shape} and initial {start}: must be (..., S, A, S) and (..., S)")
        if not self.transition.dtype == self.initial.dtype == float64:
            kinds = f"transition {self.transition.dtype}, initial {self.initial.dtype}"
            raise ValueError(f"{kinds}: must be torch.float64")
        check_probabilities("transition", self.transition)
        check_probabilities("initial", self.initial)

    @property
    def states(self) -> int:
        """S."""
        return self.transition.shape[-1]

    @property
    def actions(self) -> int:
        """A."""
        return self.transition.shape[-2]


def check_probabilities(name: str, values: Float[Tensor, "..."]) -> None:
    """Refuse what is no law along the last axis.

    Raises:
        ValueError: a NaN or infinite number, a negative number, or a sum that misses one by more than `TOLERANCE`.
    """
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name}: probabilities must be finite")
    if bool((values < 0).any()):
        raise ValueError(f"{name}: probabilities must not be negative, the smallest is {float(values.min()):g}")
    error = float((values.sum(-1) - 1).abs().max())
    if error > TOLERANCE:
        raise ValueError(f"{name}: probabilities must sum to 1, one sum misses it by {error:g}")


def softmax_policy(logits: Float[Tensor, "*batch S A"]) -> Float[Tensor, "*batch S A"]:
    """pi(a|s) ~ exp f(s)[a], (..., S, A) -> (..., S, A): Swamy et al. 2021, (3)."""
    return logits.softmax(-1)


def total_variation(one: Float[Tensor, "*#batch S"], other: Float[Tensor, "*#batch S"]) -> Float[Tensor, "..."]:
    """Half the l1 distance of two laws along the last axis, (..., S) -> (...)."""
    return (one - other).abs().sum(-1) / 2
