"""IQ-Learn: Garg et al. 2021, "IQ-Learn: Inverse soft-Q learning for imitation", with the chi-squared divergence.

The critic implies a reward r = Q(s, a) - gamma V'(s'), which is made large on demonstrations and small elsewhere,
while the value at demonstrated states stands for that of the first state. As in CSIL's comparison: V' is of the target
critics and carries no gradient, the replayed rewards' squares are penalised too, the critic is smooth, the actor slow.
Unlike there, entropy is not taken relative to the uniform policy, and the actor is no other network than CSIL's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.control.imitation_rows import halves
from imitation.control.networks import SmoothCritics
from imitation.control.replay import Transitions
from imitation.control.sac import Settings, SoftActorCritic


@dataclass(frozen=True)
class InverseSoftQSettings(Settings):
    """Of IQ-Learn: one critic, and the actor's rate and fixed temperature of CSIL's comparison."""

    copies: int = 1
    actor_rate: float = 3e-5
    temperature: float | Sequence[float] = 0.01
    temperature_rate: float = 0.0


class InverseSoftQ(SoftActorCritic):
    """P learners of IQ-Learn."""

    def make_critics(self, observation_dim: int, action_dim: int) -> SmoothCritics:
        """Smooth critics, as in CSIL's comparison."""
        return SmoothCritics(observation_dim, action_dim, self.random, self.settings.hidden, self.settings.copies)

    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """None is given: `target` is what follows, gamma V'(s')."""
        return torch.zeros_like(rows.reward)

    def critic_loss(self, rows: Transitions, target: Float[Tensor, "P B"]) -> tuple[Tensor, Tensor]:
        """- E_D[r - r^2 / 2] + E_replay[r^2] / 2 + (1 - gamma) E_D[V(s)], summed over critics (P,), and the values.

        Garg et al., eq. (10) with phi(r) = r - r^2 / 4 alpha at alpha = 1/2, D the demonstrated rows.
        """
        states, _ = halves(rows.observation)
        with torch.no_grad():
            drawn, log_density = self.actor.sample(states, self.random)
        # One pass gives the rows' values and those of the policy's actions at demonstrated states.
        observations, actions = torch.cat([rows.observation, states], 1), torch.cat([rows.action, drawn], 1)
        every = self.critics(observations, actions)
        values, own = every.split([rows.reward.shape[1], states.shape[1]], -1)
        reward, replayed = (values - target[:, None]).chunk(2, -1)
        value = own - (self.temperature * log_density)[:, None]
        fit = (replayed.square() / 2 - reward + reward.square() / 2).mean(-1)
        return (fit + (1 - self.settings.discount) * value.mean(-1)).sum(-1), values
