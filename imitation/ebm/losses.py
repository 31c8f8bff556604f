"""Losses of conditional energy models, one number per observation, from the energies of its actions.

E+ is the energy of the demonstrated action, E_m those of M negatives for the same observation (Ta et al. 2022):

    infonce              (3)         -log of exp(-E+) / (exp(-E+) + sum exp(-E_m))
    mcmc                 (4)         E+ - mean E_m
    entropy_regularised  Appendix A  E+ - mean E_m + 1/2 (mean E_m^2 - (mean E_m)^2)

(4) sums M + 1 terms, m = 0 to M, over M; here, as in Appendix A, the sum starts at 1. The losses only have the
gradients that the paper derives if none flows through where the negatives are: detach the samples, not the energies.
"""

from jaxtyping import Float
from torch import Tensor, nn


def infonce(positive: Float[Tensor, "*batch"], negatives: Float[Tensor, "*batch M"]) -> Float[Tensor, "*batch"]:
    """Cross-entropy of finding the positive among M + 1 candidates with logits -E; Ta et al. 2022, (3).

    Args:
        positive: energies (...).
        negatives: energies (..., M).

    Returns:
        (...), in nats: 0 if the positive has by far the lowest energy, log(M + 1) if all energies are the same.

    Raises:
        ValueError: no negatives, or not for the same observations as the positives.
    """
    _check(positive, negatives)
    margins = positive[..., None] - negatives
    return nn.functional.pad(margins, (1, 0)).logsumexp(-1)  # the positive's own margin is 0


def mcmc(positive: Float[Tensor, "*batch"], negatives: Float[Tensor, "*batch M"]) -> Float[Tensor, "*batch"]:
    """Energy of the positive above the mean of the negatives; Ta et al. 2022, (4), with M terms in its sum.

    With negatives from exp(-E)/Z its gradient estimates that of -log p(y | x) without bias; its value does not
    estimate -log p(y | x), nor does it bound it.

    Args, returns and raises: as `infonce`; any sign.
    """
    _check(positive, negatives)
    return positive - negatives.mean(-1)


def entropy_regularised(
    positive: Float[Tensor, "*batch"], negatives: Float[Tensor, "*batch M"]
) -> Float[Tensor, "*batch"]:
    """`mcmc` and half the variance of the negatives' energies, each observation around its own mean; Appendix A.

    The variance divides by M, as printed: with M independent negatives from exp(-E)/Z the added gradient is on
    average (M - 1)/M of that of -H(p(. | x)).

    Args, returns and raises: as `infonce`; any sign.
    """
    _check(positive, negatives)
    return positive - negatives.mean(-1) + negatives.var(-1, correction=0) / 2


def gradient_penalty(gradients: Float[Tensor, "*batch M D"], margin: float = 1.0) -> Float[Tensor, "*batch"]:
    """Mean over M of max(0, |dE/dy| - margin)^2, |.| the largest component; Florence et al. 2021, B.3.1.

    Args:
        gradients: dE/dy at M actions, (..., M, D); with a graph, if the penalty is to be trained on.
        margin: slopes up to this cost nothing.

    Returns:
        (...).

    Raises:
        ValueError: no actions, actions without components, or a margin that is negative or not finite.
    """
    if 0 in gradients.shape[-2:]:
        raise ValueError(f"gradients of shape {tuple(gradients.shape)}: M and D must be positive")
    if not 0 <= margin < float("inf"):
        raise ValueError(f"margin={margin}: must be finite and not negative")
    return (gradients.abs().amax(-1) - margin).clamp(min=0).square().mean(-1)


def _check(positive: Tensor, negatives: Tensor) -> None:
    """Shapes that do not fit would broadcast, and the loss would be that of other observations."""
    if negatives.ndim == 0 or positive.shape != negatives.shape[:-1] or negatives.shape[-1] == 0:
        shapes = f"{tuple(positive.shape)} positives and {tuple(negatives.shape)} negatives"
        raise ValueError(f"{shapes}: energies must be of shapes (...) and (..., M) with M > 0")
