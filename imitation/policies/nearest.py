"""Nearest neighbour: the action demonstrated at the closest input (the other baseline of Florence et al. 2021)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from imitation.policies.scaling import Scaling

SCORES = 2**21  # scores held at a time, which bounds the memory: 16 MiB in float64


class Nearest:
    """P nearest-neighbour policies, by the Euclidean distance of inputs scaled to [-1, 1]; ties go to the first row.

    Args:
        inputs: (P, T, Dx), each member's own rows.
        actions: (P, T, Dy).

    Raises:
        ValueError: shapes that do not fit, no data, or data that are not finite.
    """

    def __init__(self, inputs: Float[Tensor, "P T Dx"], actions: Float[Tensor, "P T Dy"]) -> None:
        if inputs.shape[:2] != actions.shape[:2]:
            raise ValueError(f"inputs {tuple(inputs.shape)} and actions {tuple(actions.shape)} differ in their rows")
        if not bool(actions.isfinite().all()):
            raise ValueError("actions to be given back must be finite numbers")
        self.input_scaling = Scaling.min_max(inputs.double())
        self._rows = self.input_scaling.scaled(inputs.double())
        self._actions = actions

    @property
    def diverged(self) -> Bool[Tensor, " P"]:
        """(P,), all false: nothing is trained."""
        return self._actions.new_zeros(len(self._actions), dtype=torch.bool)

    def neighbours(self, inputs: Float[Tensor, "P E Dx"]) -> Int[Tensor, "P E"]:
        """The row (P, E) closest to each input (P, E, Dx); T, one past the last, where an input is not finite."""
        queries = self.input_scaling.scaled(inputs.double())
        size = max(1, SCORES // self._rows.shape[1])
        return torch.stack(
            [
                torch.cat([_closest(rows, block) for block in members.split(size)])
                for rows, members in zip(self._rows, queries, strict=True)
            ]
        )

    def act(self, inputs: Float[Tensor, "P E Dx"]) -> Float[Tensor, "P E Dy"]:
        """Actions (P, E, Dy) for inputs (P, E, Dx), in the demonstrations' units; NaN where an input is not finite."""
        members = torch.arange(len(self._actions), device=self._actions.device)[:, None]
        return torch.nn.functional.pad(self._actions, (0, 0, 0, 1), value=torch.nan)[members, self.neighbours(inputs)]


def _closest(rows: Tensor, queries: Tensor) -> Tensor:
    """The first of the rows (T, D) at the least distance from each query (Q, D): (Q,), or T if there is none.

    |x|^2 - 2 x.q orders the rows as the distance does, but its rounding may not: rows within its rounding error of the
    least are compared by their differences.
    """
    squares, lengths = rows.square().sum(1), queries.norm(dim=1)
    scores = torch.addmm(squares, queries, rows.mT, alpha=-2)
    largest = squares.max()
    error = (rows.shape[1] + 2) * torch.finfo(rows.dtype).eps * (largest + 2 * largest.sqrt() * lengths)
    query, row = (scores <= (scores.amin(1) + 2 * error)[:, None]).nonzero(as_tuple=True)
    size = max(1, SCORES // rows.shape[1])
    pairs = zip(query.split(size), row.split(size), strict=True)
    distances = torch.cat([(queries[q] - rows[r]).square().sum(1) for q, r in pairs])
    least = scores.new_full((len(queries),), torch.inf).scatter_reduce(0, query, distances, "amin")
    tied = distances == least[query]
    first = query.new_full((len(queries),), len(rows))
    return first.scatter_reduce(0, query[tied], row[tied], "amin")
