"""Behavioural cloning of recurrent policies: a memory and a tanh-Normal policy of its state, fitted together.

Gradients go back through windows of consecutive steps. A window goes on from the state that was stored when the step
before it was last visited, by the memory of that time, or from zero if it never was (as the "stored state" of
Kapturowski et al. 2019, who store it when they act): as the fit settles, these become the states that the policy meets.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from imitation.policies.cloning import faithful_loss, spoil
from imitation.policies.memory import Memory
from imitation.population import Generators


class RecurrentFit:
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

    Attributes:
        steps: updates so far.
        diverged: (P,), the members that were stopped.

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
        self.rows = [observations.shape[1]] * len(random) if rows is None else list(rows)
        _check(observations, actions, fresh, random, windows, length, self.rows)
        self.memory, self.policy, self.random = memory, policy, random
        self.observations, self.actions, self.fresh = observations, actions, fresh
        self.windows, self.length = windows, length
        self.stored = observations.new_zeros(*observations.shape[:2], memory.width)
        self.optimiser = torch.optim.Adam([*memory.parameters(), *policy.parameters()], lr=learning_rate, fused=True)
        self.diverged = torch.zeros(len(random), dtype=torch.bool, device=actions.device)
        self.steps = 0

    def step(self) -> None:
        """One update of every member that has not diverged."""
        first = self._first()
        rows = torch.tensor(self.rows, device=first.device)[:, None, None]
        places = ((first[..., None] + torch.arange(self.length, device=first.device)) % rows).flatten(1)
        shape = (len(first), self.windows, self.length)
        observation = _at(self.observations, places).view(*shape, -1)
        before = _at(self.stored, (first - 1).clamp(min=0))  # of no account at the first row: an episode begins there
        states = self.memory.unroll(observation, self.fresh.gather(1, places).view(shape), before).flatten(1, 2)
        loss = faithful_loss(self.policy, states, _at(self.actions, places))
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        self.stored.scatter_(1, places[..., None].expand_as(states), states.detach())
        self.diverged |= ~loss.detach().isfinite()
        if bool(self.diverged.any()):
            spoil(self.memory, self.diverged)
            spoil(self.policy, self.diverged)
        self.steps += 1

    def _first(self) -> Tensor:
        """First rows (P, windows) of windows, drawn with replacement by each member."""
        size, device = (self.windows,), self.actions.device
        members = zip(self.rows, self.random.members, strict=True)
        return torch.stack([torch.randint(rows, size, generator=one, device=device) for rows, one in members])

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next step depends on, but for the data."""
        state = {
            "memory": self.memory.state_dict(), "policy": self.policy.state_dict(), "stored": self.stored,
            "optimiser": self.optimiser.state_dict(), "steps": self.steps, "diverged": self.diverged,
            "random": [one.get_state() for one in self.random.members],
        }  # fmt: skip
        return deepcopy(state)  # torch's are the living tensors, which the next step changes

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        self.memory.load_state_dict(state["memory"])
        self.policy.load_state_dict(state["policy"])
        self.optimiser.load_state_dict(deepcopy(state["optimiser"]))
        self.stored, self.diverged = state["stored"].clone(), state["diverged"].clone()
        self.steps = state["steps"]
        for generator, value in zip(self.random.members, state["random"], strict=True):
            generator.set_state(value.cpu())


def _at(data: Tensor, places: Tensor) -> Tensor:
    """Rows (P, N, D) of data (P, T, D)."""
    return data.gather(1, places[..., None].expand(-1, -1, data.shape[-1]))


def _check(
    observations: Tensor,
    actions: Tensor,
    fresh: Tensor,
    random: Generators,
    windows: int,
    length: int,
    rows: Sequence[int],
) -> None:
    members, most, _ = actions.shape
    fits = observations.shape[:2] == actions.shape[:2] == fresh.shape and members == len(random) == len(rows)
    if not fits or max(rows) > most:
        shapes = f"observations {tuple(observations.shape)}, actions {tuple(actions.shape)}, {tuple(fresh.shape)} marks"
        raise ValueError(f"{shapes}, rows {rows}, {len(random)} generators: members and rows must agree")
    if min(windows, length, *rows) < 1:
        raise ValueError(f"{windows=}, {length=}, rows {rows}: must be positive")
    if not bool(observations.isfinite().all()) or not bool((actions.abs() <= 1).all()):
        raise ValueError("observations must be finite and actions in [-1, 1]")
    if not bool(fresh[:, 0].all()):
        raise ValueError("the first row of every member must begin an episode")
