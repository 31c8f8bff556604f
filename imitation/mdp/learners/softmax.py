"""Behavioural cloning within a class of policies: softmax of logits that are linear in a state's features."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def softmax_law(features: Float[Tensor, "S F"], weights: Float[Tensor, "*batch F A"]) -> Float[Tensor, "*batch S A"]:
    """pi(a|s) ~ exp(phi(s) . w_a), (..., S, A). One-hot features give every law, shared ones alias states."""
    return (features @ weights).softmax(-1)


def fit_softmax(
    features: Float[Tensor, "_ F"],
    joint: Float[Tensor, "*batch S A"],
    rate: float,
    keep: Sequence[int],
) -> Float[Tensor, "kept *batch F A"]:
    """Gradient descent on the cloning loss - sum p(s, a) log pi(a|s) from weights of zero, (kept, ..., F, A).

    Args:
        features: phi(s), (S, F).
        joint: the data's law p(s, a), counted or exact, (..., S, A).
        rate: of the descent.
        keep: after which numbers of steps the weights are returned, increasing from 0 or more.

    Raises:
        ValueError: features of another number of states or not finite, a joint that is no law over S x A, a rate that
            is not positive, or numbers of steps that do not increase.
    """
    if features.ndim != 2 or features.shape[0] != joint.shape[-2] or not bool(features.isfinite().all()):
        raise ValueError(f"features {tuple(features.shape)}: must be (S, F), finite, with S = {joint.shape[-2]}")
    if not bool((joint >= 0).all()) or not bool(((joint.sum((-2, -1)) - 1).abs() < 1e-9).all()):
        raise ValueError("joint: must not be negative and must sum to 1 over states and actions")
    if not 0 < rate < float("inf"):
        raise ValueError(f"rate={rate}: must be finite and positive")
    if not keep or keep[0] < 0 or sorted(set(keep)) != list(keep):
        raise ValueError(f"keep={list(keep)}: must be numbers of steps that increase from 0 or more")
    visits = joint.sum(-1, keepdim=True)
    weights = joint.new_zeros((*joint.shape[:-2], features.shape[1], joint.shape[-1]))
    kept = [weights] if keep[0] == 0 else []
    for step in range(1, keep[-1] + 1):
        residual = joint - visits * softmax_law(features, weights)
        weights = weights + rate * features.mT @ residual
        if step in keep:
            kept.append(weights)
    return torch.stack(kept)
