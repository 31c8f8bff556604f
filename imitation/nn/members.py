"""Members of a population that diverged, which every loop of training stops alike."""

import torch
from jaxtyping import Bool
from torch import Tensor, nn


@torch.no_grad()
def spoil(network: nn.Module, members: Bool[Tensor, " P"]) -> None:
    """Set every parameter (P, ...) of these members (P,) to NaN: no later update brings them back."""
    for value in network.parameters():
        value[members] = torch.nan


def spoilt(network: nn.Module) -> Bool[Tensor, " P"]:
    """Which members have a parameter that is not finite, (P,)."""
    return torch.stack([~value.detach().flatten(1).isfinite().all(1) for value in network.parameters()]).any(0)
