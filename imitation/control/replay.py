"""What was seen: transitions of a population in rings of fixed size."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from imitation.population import Generators, integers, rows_at


class Transitions(NamedTuple):
    """Rows (P, B, ...) of observation, action, reward, following observation, and 1 where the process ended there.

    A time limit is no end: the value of the following observation counts.
    """

    observation: Float[Tensor, "P B Do"]
    action: Float[Tensor, "P B Da"]
    reward: Float[Tensor, "P B"]
    following: Float[Tensor, "P B Do"]
    terminated: Float[Tensor, "P B"]


class Replay:
    """The last `capacity` transitions of each of P members, all float32.

    Args:
        members: P.
        capacity: transitions kept per member.

    Raises:
        ValueError: a size that is not positive.
    """

    def __init__(
        self, members: int, observation_dim: int, action_dim: int, capacity: int, device: torch.device | str = "cpu"
    ) -> None:
        if min(members, observation_dim, action_dim, capacity) < 1:
            raise ValueError(f"{members=}, {observation_dim=}, {action_dim=}, {capacity=}: must be positive")
        widths = {"observation": observation_dim, "action": action_dim, "following": observation_dim}
        widths |= {"reward": 1, "terminated": 1}
        self.offsets, total = {}, 0
        for name, width in widths.items():
            self.offsets[name] = slice(total, total + width)
            total += width
        # One row holds a whole transition: a batch is one gather of consecutive numbers.
        self.rows = torch.zeros(members, capacity, total, device=device)
        self.capacity, self.added = capacity, 0

    def __len__(self) -> int:
        """Transitions held per member."""
        return min(self.added, self.capacity)

    def add(self, new: Transitions) -> None:
        """Write B transitions per member over the oldest ones.

        Raises:
            ValueError: more than fit.
        """
        count = new.reward.shape[1]
        if count > self.capacity:
            raise ValueError(f"{count} transitions at once: at most the capacity, {self.capacity}")
        places = torch.arange(self.added, self.added + count, device=self.rows.device) % self.capacity
        for name, part in self.offsets.items():
            values = getattr(new, name)
            self.rows[:, places, part] = values if values.ndim == 3 else values[..., None]
        self.added += count

    def sample(self, batch: int, random: Generators) -> Transitions:
        """`batch` transitions per member, uniform with replacement, by each member's generator.

        Raises:
            ValueError: nothing was added yet.
        """
        if not self.added:
            raise ValueError("an empty replay has nothing to sample")
        return self.at(integers(random, len(self), batch))

    def at(self, places: Int[Tensor, "P B"]) -> Transitions:
        """The transitions at places (P, B)."""
        rows = rows_at(self.rows, places)
        parts = {name: rows[..., part] for name, part in self.offsets.items()}
        return Transitions(
            **{name: value[..., 0] if name in ("reward", "terminated") else value for name, value in parts.items()}
        )

    def state_dict(self) -> dict[str, Any]:
        """A copy of what is held."""
        return {"rows": self.rows[:, : len(self)].clone(), "added": self.added}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.added = state["added"]
        self.rows[:, : len(self)] = state["rows"]
