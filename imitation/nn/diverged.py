"""Members of a population whose training diverged: how they are told, and kept from coming back."""

import torch
from jaxtyping import Bool
from torch import Tensor, nn


@torch.no_grad()
def mark_diverged(network: nn.Module, members: Bool[Tensor, " P"]) -> None:
    """Set every parameter (P, ...) of these members (P,) to NaN: no later update brings them back."""
    for value in network.parameters():
        value[members] = torch.nan


def diverged(network: nn.Module) -> Bool[Tensor, " P"]:
    """Which members have a parameter that is not finite, (P,)."""
    return torch.stack([~value.detach().flatten(1).isfinite().all(1) for value in network.parameters()]).any(0)
