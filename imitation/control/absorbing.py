"""DAC with absorbing states: Kostrikov et al. 2019, Section 4, without the bias of ends that count as a value of zero.

Where rewards are negative, a value of zero makes ending best; where they are positive, never to end. So every end
leads to one absorbing state, told by a flag beside the observation and zero elsewhere, for demonstrated and replayed
rows alike: the discriminator learns its reward r_a, and an end is worth gamma r_a / (1 - gamma). The paper gives this
sum in closed form and then learns it from rows of the absorbing state; here it is the closed form.
"""

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
        self.absorbing = like.new_zeros(len(random), 1, width)  # its row, whatever the action: (P, 1, Di)
        self.absorbing[..., observation_dim] = 1

    @torch.no_grad()
    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """What the discriminator takes the row for."""
        return self._reward(_flagged(rows))

    @torch.no_grad()
    def target(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """r + gamma V'(s'), V'(s') = r_a / (1 - gamma) where the row ended (Kostrikov et al., Section 4.2)."""
        discount = self.settings.discount
        return super().target(rows) + rows.terminated * self._reward(self.absorbing) * discount / (1 - discount)

    def discriminator_loss(self, rows: Transitions) -> Float[Tensor, " P"]:
        """Cross-entropy of the rows and of an absorbing one after each that ended, plus the weighted penalty: (P,).

        Both are sums over rows, divided by the number of `rows`.
        """
        pairs, absorbing = _flagged(rows), self.absorbing
        logit, at_end = self.discriminator(torch.cat([pairs, absorbing], 1))[..., 0].split([pairs.shape[1], 1], 1)
        softplus = nn.functional.softplus
        losses = [
            (softplus(sign * mine) + ended * softplus(sign * at_end)).mean(-1)
            for sign, mine, ended in zip((-1, 1), halves(logit), halves(rows.terminated), strict=True)
        ]
        # Which of the two the penalty's line goes through is drawn: an end's own row or the absorbing one.
        drawn = uniform_like(pairs[..., :1], self.random) < rows.terminated[..., None] / 2
        demonstrated, replayed = halves(torch.where(drawn, absorbing, pairs))
        share = uniform_like(demonstrated[..., :1], self.random)
        penalty = self.penalty(torch.lerp(replayed, demonstrated, share))
        return (losses[0] + losses[1]) / 2 + self.adversarial.penalty * penalty

    def _reward(self, pairs: Float[Tensor, "P B Di"]) -> Float[Tensor, "P B"]:
        logit = self.discriminator(pairs)[..., 0]
        return logit if self.adversarial.form == "logit" else nn.functional.softplus(logit)


def _flagged(rows: Transitions) -> Float[Tensor, "P B Di"]:
    """Rows of a process that goes on: their flag is 0."""
    return torch.cat([rows.observation, torch.zeros_like(rows.action[..., :1]), rows.action], -1)
