"""One linear layer for a population, forwards only, by the fastest matrix product that this torch has."""

import torch
from torch import Tensor

# glibc gives freed memory back to the system beyond twice the largest block ever freed, and every block of
# activations would be faulted in anew. Freeing one large block once, whose pages are never touched, ends that.
torch.empty(2**25 - 2**14, dtype=torch.uint8, device="cpu")

Layer = Tensor | list[Tensor]  # as torch keeps it, or laid out for oneDNN member by member


def packed(weight: Tensor, rows: int) -> Layer:
    """A copy of a layer's weights (P, out, in), laid out for `linear` on inputs of about that many rows."""
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    if not _fused(weight):
        return weight
    return [torch.ops.mkldnn._reorder_linear_weight(one, rows) for one in weight]


def linear(value: Tensor, weight: Layer, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """value times weight transposed, plus bias, then ReLU if wanted; no graph is built.

    Args:
        value: (P, N, in).
        weight: (P, out, in), as `packed` returns it.
        bias: (P, 1, out).

    Returns:
        (P, N, out).
    """
    if isinstance(weight, Tensor):
        product = torch.bmm(value, weight.mT) if bias is None else torch.baddbmm(bias, value, weight.mT)
        return product.relu_() if relu else product
    after = "relu" if relu else "none"
    members = [
        torch.ops.mkldnn._linear_pointwise(value[p], weight[p], None if bias is None else bias[p, 0], after, [], "")
        for p in range(len(value))
    ]
    return members[0][None] if len(members) == 1 else torch.stack(members)


def _fused(weight: Tensor) -> bool:
    """Whether oneDNN's fused layer serves: on processors not made by Intel it is twice as fast as torch's own product.

    It is what torch's compiler emits; the operators' names are private, so a torch without them takes the other way.
    """
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )
