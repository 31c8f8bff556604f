"""Scaling of each coordinate by a data set, one per member of a population: to [-1, 1], or to mean 0 and deviation 1.

Both are the same map, (value - centre) / scale; they differ in where the centre and the scale come from.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """The map value -> (value - centre) / scale and its inverse.

    A coordinate of scale 0 carries nothing: it maps to 0, and back to its centre.

    Args:
        centre: (P, 1, D), in the units of the data.
        scale: (P, 1, D), in the units of the data, none negative.

    Raises:
        ValueError: a number that is not finite, or a negative scale.
    """

    centre: Float[Tensor, "P 1 D"]
    scale: Float[Tensor, "P 1 D"]

    def __post_init__(self) -> None:
        if not bool((self.centre.isfinite() & self.scale.isfinite() & (self.scale >= 0)).all()):
            raise ValueError("a scaling needs finite centres and finite scales that are not negative")

    @classmethod
    def min_max(cls, data: Float[Tensor, "P T D"]) -> "Scaling":
        """Maps the smallest and the largest value of each coordinate to -1 and 1, and the data into [-1, 1] exactly.

        Args:
            data: (P, T, D), T >= 1; each member has a scaling of its own.

        Raises:
            ValueError: no data, or data that are not finite.
        """
        low, high = _range(data)
        centre = low + (high - low) / 2
        return cls(centre, torch.maximum(high - centre, centre - low))

    @classmethod
    def z_score(cls, data: Float[Tensor, "P T D"]) -> "Scaling":
        """Maps the data to mean 0 and standard deviation 1 (the mean square, divided by T); else as `min_max`."""
        low, high = _range(data)
        varies = high > low  # rounding may give a constant coordinate a small deviation
        centre = torch.where(varies, data.mean(1, keepdim=True), low)
        return cls(centre, torch.where(varies, data.std(1, keepdim=True, correction=0), 0))

    @property
    def low(self) -> Float[Tensor, "P 1 D"]:
        """What maps to -1, (P, 1, D): under `min_max` the smallest of the data, to rounding."""
        return self.centre - self.scale

    @property
    def high(self) -> Float[Tensor, "P 1 D"]:
        """What maps to 1, (P, 1, D): under `min_max` the largest of the data, to rounding."""
        return self.centre + self.scale

    def scaled(self, value: Float[Tensor, "P *rows D"]) -> Float[Tensor, "P *rows D"]:
        """Values (P, ..., D) in units of the data -> (P, ..., D) without units, in the type of the values.

        Raises:
            ValueError: values of another number of members.
        """
        # Divided by infinity, a coordinate of scale 0 becomes 0, and what is not a number stays so.
        divisor = self.scale.masked_fill(self.scale == 0, torch.inf)
        return (value - _rows(self.centre, value)) / _rows(divisor, value)

    def unscaled(self, value: Float[Tensor, "P *rows D"]) -> Float[Tensor, "P *rows D"]:
        """The inverse of `scaled`, which raises the same."""
        return value * _rows(self.scale, value) + _rows(self.centre, value)


def _range(data: Tensor) -> tuple[Tensor, Tensor]:
    if 0 in data.shape or not bool(data.isfinite().all()):
        raise ValueError(f"data of shape {tuple(data.shape)}: scaling needs at least one row, and finite numbers only")
    low, high = data.aminmax(dim=1, keepdim=True)
    return low, high


def _rows(statistic: Tensor, value: Tensor) -> Tensor:
    """A statistic (P, 1, D) as (P, 1, ..., 1, D), in the type of the values that it moves."""
    members, _, coordinates = statistic.shape
    if len(value) != members:
        raise ValueError(f"values of {len(value)} members, the scaling is of {members}")
    return statistic.to(value).reshape(members, *(1,) * (value.ndim - 2), coordinates)
