"""Partly observed environments: observations flicker, and a learner sees the state of a memory of them.

As in Hausknecht and Stone 2015 an observation is blank now and then, which no policy of the last one alone can make up
for; here a further coordinate says whether it is seen. What the learner takes for observations are the states z of a
memory; it treats them as if they told all.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from imitation.control.imitation_rows import DemonstrationRows
from imitation.envs.control import Environments, Step
from imitation.policies.memory import Memory
from imitation.population import Generators, uniform_like


def shown(observation: Float[Tensor, "*rows Do"], seen: Bool[Tensor, "*rows"]) -> Float[Tensor, "*rows Do+1"]:
    """Observations as they are shown, zero where they are not seen, and 1 or 0 for whether they are."""
    seen = seen[..., None].to(observation)
    return torch.cat([observation * seen, seen], -1)


def beginnings(rows: DemonstrationRows) -> Bool[Tensor, "P T"]:
    """Where episodes begin, in rows of whole episodes: first, and after a row whose next action is not known."""
    unknown = ~rows.following_action.isfinite().all(-1)
    return torch.cat([torch.ones_like(unknown[:, :1]), unknown[:, :-1]], 1)


def flickering(rows: DemonstrationRows, share: float, random: Generators) -> DemonstrationRows:
    """Rows of whole episodes as they are shown when each observation is blank with probability `share`, in [0, 1).

    Each member's blanks are drawn from its own generator, as many as it has rows.

    Raises:
        ValueError: a share that is not in [0, 1).
    """
    _check(share)
    observation, following = rows.rows.observation, rows.rows.following
    seen = torch.ones_like(observation[..., 0], dtype=torch.bool)
    after = seen.clone()
    for member, (count, one) in enumerate(zip(rows.counts, random.members, strict=True)):
        drawn = torch.rand(2, count, generator=one, device=seen.device) >= share  # as many as it would draw alone
        seen[member, :count], after[member, :count] = drawn
    # What follows a row is what the next one shows, but at the end of an episode.
    after[:, :-1] = torch.where(beginnings(rows)[:, 1:], after[:, :-1], seen[:, 1:])
    return rows.with_observations(shown(observation, seen), shown(following, after))


def _check(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"share={share}: must be in [0, 1)")


@torch.no_grad()
def remembered(rows: DemonstrationRows, memory: Memory) -> DemonstrationRows:
    """The rows of whole episodes as a policy of the memory's states meets them."""
    observation, following = rows.rows.observation, rows.rows.following
    none = observation.new_zeros(len(observation), 1, memory.width)
    states = memory.unroll(observation[:, None], beginnings(rows)[:, None], none)[:, 0]
    return rows.with_observations(states, memory.step(following, states))


class RememberedEnvironments(Environments):
    """Flickering environments whose observations are the states (P, E, Dz) of a memory.

    Args:
        memory: of P members; its parameters must stay as they are.
        share: of the observations that are blank, each by a draw of its own.
        name, seeds, copies: as in `Environments`.

    Raises:
        ValueError: a share that is not in [0, 1), or as `Environments`.
    """

    def __init__(self, memory: Memory, share: float, name: str, seeds: list[int], copies: int = 1) -> None:
        _check(share)
        super().__init__(name, seeds, copies)
        self.memory, self.share = memory, share
        self.observation_dim = memory.width

    @torch.no_grad()
    def reset(self) -> Float[Tensor, "P E Dz"]:
        """As `Environments.reset`; what is seen, too, depends on the seeds and the number of calls alone.

        The memory holds the first observation only.
        """
        keys = [np.random.SeedSequence([seed, self.rounds, self.shape[1]]) for seed in self.seeds]
        self._random = Generators([int(key.generate_state(1)[0]) for key in keys])
        self.observation = self._begun(super().reset())
        return self.observation

    @torch.no_grad()
    def step(self, actions: Float[Tensor, "P E Da"]) -> Step:
        """As `Environments.step`; where an episode finished, `following` is still of its own memory."""
        before = self.observation
        step = super().step(actions)
        following = self.memory.step(self._shown(step.following), before)
        self.observation = torch.where(step.finished[..., None], self._begun(self.observation), following)
        return step._replace(following=following)

    def _begun(self, observation: Float[Tensor, "P E Do"]) -> Float[Tensor, "P E Dz"]:
        return self.memory.step(self._shown(observation), observation.new_zeros(*self.shape, self.memory.width))

    def _shown(self, observation: Float[Tensor, "P E Do"]) -> Float[Tensor, "P E Do+1"]:
        return shown(observation, uniform_like(observation[..., 0], self._random) >= self.share)
