"""How the parameters of a population start."""

import torch
from torch import nn

from imitation.population import Generators, device_of, normal_like


def filled(value: float, random: Generators, dtype: torch.dtype, *shape: int) -> nn.Parameter:
    """A parameter (P, *shape) of one value."""
    device = device_of(random)
    return nn.Parameter(torch.full((len(random), *shape), value, dtype=dtype, device=device))


def orthogonal(rows: int, columns: int, random: Generators, dtype: torch.dtype) -> nn.Parameter:
    """Weights (P, rows, columns) whose rows or columns, whichever are fewer, are orthonormal; drawn per member."""
    tall = filled(0.0, random, dtype, max(rows, columns), min(rows, columns))
    drawn = normal_like(tall.detach(), random)
    # One member at a time, so that its weights do not depend on its neighbours.
    factors = [torch.linalg.qr(one) for one in drawn]
    values = torch.stack([q * r.diagonal().sign() for q, r in factors])
    return nn.Parameter((values if rows >= columns else values.mT).contiguous())
