"""DAC with absorbing states: Kostrikov et al. 2019, Section 4, without the bias of ends that count as a value of zero.

Where rewards are negative, a value of zero makes ending best; where they are positive, never to end. So every end
leads to one absorbing state, told by a flag beside the observation and zero elsewhere, for demonstrated and replayed
rows alike: the discriminator learns its reward r_a, and its value V_a is learnt from r_a + gamma V_a. The sum in closed
form, r_a / (1 - gamma), lets every change of r_a into all targets at once; Kostrikov et al. found it less stable.

As there is one such state and no action matters in it, V_a is a number, which follows its target as the target critics
follow theirs. The critics being soft, the state has the entropy that the temperature is set for: an end is worth
neither more nor less entropy than going on. (Kostrikov et al.'s critics are TD3's, without entropy.)
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.control.dac import AdversarialSettings, DiscriminatorActorCritic
from imitation.control.imitation_rows import halves
from imitation.control.networks import Perceptron
from imitation.control.replay import Transitions
from imitation.population import Generators, uniform_like


class AbsorbingActorCritic(DiscriminatorActorCritic):
    """P learners of DAC whose discriminator sees observation, flag of the absorbing state, and action."""

    def __init__(
        self, observation_dim: int, action_dim: int, random: Generators, settings: AdversarialSettings
    ) -> None:
        super().__init__(observation_dim, action_dim, random, settings)
        width = observation_dim + 1 + action_dim
        self.discriminator = Perceptron([width, *settings.hidden, 1], random)
        self.optimisers["discriminator"] = torch.optim.Adam(
            self.discriminator.parameters(), settings.discriminator_rate, fused=True
        )
        like = self.discriminator.weights[0]
        self.absorbing = like.new_zeros(len(random), 1, width)  # the state's row, with action 0: (P, 1, Di)
        self.absorbing[..., observation_dim] = 1
        self.absorbing_value = like.new_zeros(len(random), 1)  # V_a, (P, 1)

    @torch.no_grad()
    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """What the discriminator takes the row for."""
        return self._reward(_flagged(rows))

    @torch.no_grad()
    def target(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """r + gamma V'(s'), V'(s') = V_a where the row ended."""
        return super().target(rows) + self.settings.discount * rows.terminated * self.absorbing_value

    def discriminator_loss(self, rows: Transitions) -> Float[Tensor, " P"]:
        """Cross-entropy of the rows and of an absorbing one after each that ended, plus the weighted penalty: (P,).

        The cross-entropy is the sum over all these, divided by the number of `rows`. The penalty has as many lines as
        pairs of `rows`: where a row ended, a coin says whether it or the absorbing one is the line's end.
        """
        pairs, absorbing = _flagged(rows), self.absorbing
        logit, at_end = self.discriminator(torch.cat([pairs, absorbing], 1))[..., 0].split([pairs.shape[1], 1], 1)
        softplus = nn.functional.softplus
        losses = [
            (softplus(sign * mine) + ended * softplus(sign * at_end)).mean(-1)
            for sign, mine, ended in zip((-1, 1), halves(logit), halves(rows.terminated), strict=True)
        ]
        heads = uniform_like(pairs[..., :1], self.random) < rows.terminated[..., None] / 2
        demonstrated, replayed = halves(torch.where(heads, absorbing, pairs))
        share = uniform_like(demonstrated[..., :1], self.random)
        penalty = self.penalty(torch.lerp(replayed, demonstrated, share))
        return (losses[0] + losses[1]) / 2 + self.adversarial.penalty * penalty

    def _reward(self, pairs: Float[Tensor, "P B Di"]) -> Float[Tensor, "P B"]:
        logit = self.discriminator(pairs)[..., 0]
        return logit if self.adversarial.form == "logit" else nn.functional.softplus(logit)

    @torch.no_grad()
    def _follow(self) -> None:
        super()._follow()
        here = self._reward(self.absorbing) + self.temperature * self.target_entropy
        self.absorbing_value.lerp_(here + self.settings.discount * self.absorbing_value, self.settings.smoothing)

    def _values(self) -> Iterator[Tensor]:
        yield from super()._values()
        yield self.absorbing_value

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"absorbing_value": self.absorbing_value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        super().load_state_dict(state)
        self.absorbing_value.copy_(state["absorbing_value"])


def _flagged(rows: Transitions) -> Float[Tensor, "P B Di"]:
    """Rows of a process that goes on: their flag is 0."""
    return torch.cat([rows.observation, torch.zeros_like(rows.action[..., :1]), rows.action], -1)
