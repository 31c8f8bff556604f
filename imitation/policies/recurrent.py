"""Behavioural cloning of recurrent policies: a memory and a tanh-Normal policy of its state, fitted together.

Gradients go back through windows of consecutive steps. A window goes on from the state that was stored when the step
before it was last visited, by the memory of that time, or from zero if it never was (as the "stored state" of
Kapturowski et al. 2019, who store it when they act): as the fit settles, these become the states that the policy meets.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from imitation.policies.cloning import Cloning, Fit, faithful_loss
from imitation.policies.memory import Memory
from imitation.population import Generators, rows_at


class RecurrentFit(Fit):
    """The faithful loss by Adam on windows drawn uniformly; `step` by step, resumable.

    A member whose loss is not finite is stopped, its parameters become NaN, and the others go on. Where windows of an
    update overlap, any one of the states is stored.

    Args:
        memory: of P members; one without parameters, such as `LastFrames`, is not fitted.
        policy: of z: `forward(z, faithful)`.
        observations: (P, T, Do), each member's own rows, episode after episode in order of time, and finite beyond.
        actions: (P, T, Da), in [-1, 1].
        fresh: (P, T), where an episode begins.
        random: one generator per member.
        windows: per update.
        length: consecutive steps of a window; it may reach from one episode into the next, and from a member's last
            into its first, where z begins anew: every row is drawn equally often.
        rows: how many of the T rows each member has; all of them if None.
        learning_rate: Adam's, constant.

    Raises:
        ValueError: shapes that do not fit, no window, no rows, data that are not finite or not in [-1, 1], or a first
            row that begins no episode.
    """

    def __init__(
        self,
        memory: Memory,
        policy: nn.Module,
        observations: Float[Tensor, "P T Do"],
        actions: Float[Tensor, "P T Da"],
        fresh: Bool[Tensor, "P T"],
        random: Generators,
        windows: int = 8,
        length: int = 16,
        rows: Sequence[int] | None = None,
        learning_rate: float = 1e-3,
    ) -> None:
        if min(windows, length) < 1:
            raise ValueError(f"{windows=}, {length=}: must be positive")
        cloning = Cloning(batch=windows, learning_rate=learning_rate)
        super().__init__(cloning, nn.ModuleList([memory, policy]), observations, actions, random, rows)
        if fresh.shape != actions.shape[:2] or not bool(fresh[:, 0].all()):
            rule = "must be one for each row, and the first of every member must begin an episode"
            raise ValueError(f"{tuple(fresh.shape)} marks: {rule}")
        self.memory, self.policy, self.fresh, self.length = memory, policy, fresh, length
        self.stored = observations.new_zeros(*observations.shape[:2], memory.width)

    def loss(self) -> Float[Tensor, " P"]:
        """Each member's, (P,), of windows that are drawn now; the states in them are stored."""
        first = self.drawn()
        rows = torch.tensor(self.rows, device=first.device)[:, None, None]
        places = ((first[..., None] + torch.arange(self.length, device=first.device)) % rows).flatten(1)
        shape = (*first.shape, self.length)
        observation = rows_at(self.observations, places).view(*shape, -1)
        # What was before the first row is of no account: an episode begins there.
        before = rows_at(self.stored, (first - 1).clamp(min=0))
        states = self.memory.unroll(observation, self.fresh.gather(1, places).view(shape), before).flatten(1, 2)
        self.stored.scatter_(1, places[..., None].expand_as(states), states.detach())
        return faithful_loss(self.policy, states, rows_at(self.actions, places))

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next step depends on, but for the data."""
        return super().state_dict() | {"stored": self.stored.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        super().load_state_dict(state)
        self.stored = state["stored"].clone()
