"""Behavioural cloning of tabular policies: the maximum likelihood under the counts, per state or per state and step.

The loss is the lecture's, sum_h E_expert[-log pi(a_h|s_h)]. It says nothing about states that no demonstration
visits: there the clone does what `fallback` says.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.tabular import check_probabilities


def cloned(
    counts: Float[Tensor, "*batch S A"],
    fallback: Float[Tensor, "*#batch S A"] | None = None,
    floor: float = 0.0,
) -> Float[Tensor, "*batch S A"]:
    """argmax_pi sum n(s, a) log pi(a|s) over policies that give every action at least `floor`, (..., S, A).

    Where all frequencies reach the floor they are the optimum. Else it is max(floor, c frequency), with the c that
    makes it a law.

    Args:
        counts: n(s, a) >= 0, demonstrated or weighted by a law.
        fallback: the policy where no action was counted; uniform if not given.
        floor: e in [0, 1/A]: the probability of a mistake that the class of policies cannot avoid.

    Raises:
        ValueError: counts that are negative or not finite, a fallback that is no law, or a floor outside its range.
    """
    actions = counts.shape[-1]
    if not bool((counts.isfinite() & (counts >= 0)).all()):
        raise ValueError("counts: must be finite and not negative")
    if not 0 <= floor <= 1 / actions:
        raise ValueError(f"floor={floor}: must be between 0 and 1/A = {1 / actions:g}")
    if fallback is None:
        fallback = counts.new_full((actions,), 1 / actions).expand(counts.shape)
    check_probabilities("fallback", fallback)
    total = counts.sum(-1, keepdim=True)
    frequency = torch.where(total > 0, counts / total.clamp(min=torch.finfo(counts.dtype).tiny), fallback)
    return _floored(frequency, floor) if floor else frequency


def _floored(frequency: Tensor, floor: float) -> Tensor:
    """max(floor, c frequency), a law. Lifting actions to the floor lowers c, which brings down others: A rounds do."""
    tiny = torch.finfo(frequency.dtype).tiny
    bound = torch.full_like(frequency, floor)
    low, scaled = frequency < floor, frequency
    for _ in range(frequency.shape[-1]):
        left = 1 - bound.where(low, 0.0).sum(-1, keepdim=True)
        scaled = frequency * left / frequency.where(~low, 0.0).sum(-1, keepdim=True).clamp(min=tiny)
        low = low | (scaled < floor)
    return bound.where(low, scaled)


def stationary_clone(
    counts: Float[Tensor, "H *batch S A"], fallback: Float[Tensor, "*#batch S A"] | None = None, floor: float = 0.0
) -> Float[Tensor, "*batch S A"]:
    """One policy for all steps, from counts per step (H, ..., S, A) -> (..., S, A); arguments as in `cloned`."""
    return cloned(counts.sum(0), fallback, floor)


def time_indexed_clone(
    counts: Float[Tensor, "H *batch S A"], fallback: Float[Tensor, "*#batch S A"] | None = None, floor: float = 0.0
) -> Float[Tensor, "H *batch S A"]:
    """A policy of its own for every step, (H, ..., S, A); arguments as in `cloned`, the same fallback at each step."""
    return cloned(counts, None if fallback is None else fallback.expand(counts.shape), floor)
