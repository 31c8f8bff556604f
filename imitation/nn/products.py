"""Linear layers for a population by the fastest matrix products that this torch has, with a graph and without."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# glibc gives freed memory back to the system beyond twice the largest block ever freed, and every block of
# activations would be faulted in anew. Freeing one large block once, whose pages are never touched, ends that.
torch.empty(2**25 - 2**14, dtype=torch.uint8, device="cpu")

Layer = Tensor | list[Tensor]  # as torch keeps it, or laid out for oneDNN member by member
# Multiplications from which on oneDNN's call per member is faster than torch's one call for all members: below, the
# call takes longer than the product (for 24 members five times as long at 128 x 32 x 32).
LARGE = 2**20


def packed(weight: Tensor, rows: int) -> Layer:
    """A copy of a layer's weights (P, out, in), laid out for `linear` on inputs of about that many rows.

    In float32 where they are bfloat16 and the processor has no such products.
    """
    weight = weight.detach().clone(memory_format=torch.contiguous_format)
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and not _has_bfloat16():
        weight = weight.float()
    if not _fused(weight, rows):
        return weight
    return [torch.ops.mkldnn._reorder_linear_weight(one, rows) for one in weight]


def linear(value: Tensor, weight: Layer, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """value times weight transposed, plus bias, then ReLU if wanted, in the value's type; no graph is built.

    Args:
        value: (P, N, in).
        weight: (P, out, in), as `packed` returns it.
        bias: (P, 1, out).

    Returns:
        (P, N, out).
    """
    if value.dtype == torch.bfloat16 and weight[0].dtype == torch.float32:
        return linear(value.float(), weight, None if bias is None else bias.float(), relu).to(value.dtype)
    if isinstance(weight, Tensor):
        product = torch.bmm(value, weight.mT) if bias is None else torch.baddbmm(bias, value, weight.mT)
        return product.relu_() if relu else product
    return _by_member(
        _product(value[p], weight[p], None if bias is None else bias[p, 0], relu) for p in range(len(value))
    )


def layer(value: Tensor, weight: Tensor, offset: Tensor | None = None, relu: bool = False) -> Tensor:
    """One layer with a graph: value times weight, plus offset if there is one, then ReLU if wanted.

    Args:
        value: (P, N, in).
        weight: (P, in, out).
        offset: (P, R, out): a bias (R = 1), or R rows that each serve N / R consecutive rows of `value`.

    Returns:
        (P, N, out). Where oneDNN serves, it can be differentiated once only.
    """
    if _fused(weight, value.shape[1]):
        return _FusedLayer.apply(value, weight, offset, relu)  # type: ignore[return-value]
    bias = _bias(offset)
    product = torch.bmm(value, weight) if bias is None else torch.baddbmm(bias, value, weight)
    if offset is not None and bias is None:
        product = (product.unflatten(1, (offset.shape[1], -1)) + offset[:, :, None]).flatten(1, 2)
    return product.relu() if relu else product


def relu_(value: Tensor) -> Tensor:
    """ReLU in place. By their bits numbers in bfloat16 take a tenth of torch's time; a NaN may be lost."""
    if _by_bits(value):
        value.view(torch.int16).clamp_min_(0)
        return value
    return value.relu_()


def heaviside_(value: Tensor) -> Tensor:
    """In place 1 where a ReLU's output is above zero, else 0."""
    if _by_bits(value):
        value.view(torch.int16).clamp_(0, 1).mul_(_ONE)
        return value
    return value.sign_()


def pass_(slope: Tensor, value: Tensor) -> Tensor:
    """In place the slope where the ReLU's output `value`, which is used up, is above zero, else 0."""
    if _by_bits(slope):
        slope.view(torch.int16).mul_(value.view(torch.int16).clamp_(0, 1))
        return slope
    return torch.ops.aten.threshold_backward.grad_input(slope, value, 0, grad_input=slope)


_ONE = 0x3F80  # the bits of 1 in bfloat16; those of a number above zero are an integer above zero


def _by_bits(value: Tensor) -> bool:
    return value.dtype == torch.bfloat16 and value.device.type == "cpu"


class _FusedLayer(torch.autograd.Function):
    """`layer` by oneDNN, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, offset: Tensor | None, relu: bool) -> Tensor:
        """The layer's output (P, N, out)."""
        bias = _bias(offset)
        result = linear(value, list(weight.mT), bias)
        if offset is not None and bias is None:
            result.unflatten(1, (offset.shape[1], -1)).add_(offset[:, :, None])
        result = result.relu_() if relu else result  # oneDNN's would make zeros of what is not a number
        ctx.save_for_backward(value, weight, result if relu else None)
        ctx.rows = offset.shape[1] if offset is not None else 0
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Slopes in value, weight and offset, each only where it is asked for."""
        value, weight, result = ctx.saved_tensors
        # The slope of a sum is one number for all rows, for which oneDNN takes ten times as long.
        slope = slope.contiguous() if result is None else torch.ops.aten.threshold_backward(slope, result, 0)
        of_value, of_weight, of_offset = None, None, None
        if ctx.needs_input_grad[0]:
            of_value = linear(slope, list(weight))
        if ctx.needs_input_grad[1]:
            of_weight = _outer(value, slope)
        if ctx.needs_input_grad[2]:
            of_offset = slope.unflatten(1, (ctx.rows, -1)).sum(2)
        return of_value, of_weight, of_offset, None


def _bias(offset: Tensor | None) -> Tensor | None:
    """The offset, if it is one row for all."""
    return offset if offset is not None and offset.shape[1] == 1 else None


def _outer(value: Tensor, slope: Tensor) -> Tensor:
    """value transposed times slope, (P, in, out).

    oneDNN is faster by far if the narrower of the two comes first, and takes 600 times as long where the second is cut
    out of wider rows.
    """
    if value.shape[2] > slope.shape[2]:
        return _outer(slope, value).mT
    return linear(value.mT, list(slope.contiguous().mT))


def _product(value: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(value, weight, bias, "relu" if relu else "none", [], "")


def _by_member(results: Any) -> Tensor:
    members = list(results)
    return members[0][None] if len(members) == 1 else torch.stack(members)


def _fused(weight: Tensor, rows: int) -> bool:
    """Whether oneDNN serves: large products on processors not made by Intel take half of torch's own time there.

    It is what torch's compiler emits; the operators' names are private, so a torch without them takes the other way.
    """
    return (
        weight.device.type == "cpu"
        and rows * weight.shape[1] * weight.shape[2] >= LARGE
        and (weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and _has_bfloat16()))
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def _has_bfloat16() -> bool:
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
