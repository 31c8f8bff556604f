"""DAC, the discriminator-actor-critic: Kostrikov et al. 2019, and GAIL's reward (Ho and Ermon 2016) off-policy.

A discriminator tells demonstrated rows from replayed ones; its logit is the reward. A penalty holds the length of its
gradient near 1 between the two (Gulrajani et al. 2017). The form of the reward is Kostrikov et al.'s, the
discriminator's small rate Acme's; the learner is soft actor-critic instead of TD3, and learns from the demonstrated
rows too, as the other methods here do. Absorbing states, which Kostrikov et al. add to the observations, are in
`imitation.control.absorbing`: here the value at an end is zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.control.imitation_rows import halves
from imitation.control.networks import Perceptron
from imitation.control.replay import Transitions
from imitation.control.sac import Info, Settings, SoftActorCritic
from imitation.population import Generators, uniform_like

REWARDS = ("logit", "gail")


@dataclass(frozen=True)
class AdversarialSettings(Settings):
    """Of DAC.

    Args:
        discriminator_rate: Adam's; 1e-5 as in Acme.
        penalty: weight of the gradient penalty, 10.
        form: of the reward: "logit", log D - log(1 - D), or "gail", -log(1 - D), which is never negative.

    Raises:
        ValueError: a value outside its range.
    """

    discriminator_rate: float = 1e-5
    penalty: float = 10.0
    form: str = "logit"

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = isfinite(self.discriminator_rate) and isfinite(self.penalty) and self.form in REWARDS
        if not fits or self.discriminator_rate <= 0 or self.penalty < 0:
            rule = f"discriminator_rate must be positive, penalty not negative, both finite, form one of {REWARDS}"
            raise ValueError(f"{self}: {rule}")


class DiscriminatorActorCritic(SoftActorCritic):
    """P learners of DAC."""

    def __init__(
        self, observation_dim: int, action_dim: int, random: Generators, settings: AdversarialSettings
    ) -> None:
        super().__init__(observation_dim, action_dim, random, settings)
        self.adversarial = settings
        self.discriminator = Perceptron([observation_dim + action_dim, *settings.hidden, 1], random)
        self.optimisers["discriminator"] = torch.optim.Adam(
            self.discriminator.parameters(), settings.discriminator_rate, fused=True
        )

    def update(self, rows: Transitions) -> Info:
        """One step of the discriminator, then one of the soft actor-critic on its reward."""
        self._descend("discriminator", self.discriminator_loss(rows))
        return super().update(rows)

    @torch.no_grad()
    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """What the discriminator takes the row for."""
        logit = self.discriminator(torch.cat([rows.observation, rows.action], -1))[..., 0]
        return logit if self.adversarial.form == "logit" else nn.functional.softplus(logit)

    def discriminator_loss(self, rows: Transitions) -> Float[Tensor, " P"]:
        """Cross-entropy, mean over all rows, plus the weighted penalty: (P,)."""
        pairs = torch.cat([rows.observation, rows.action], -1)
        demonstrated, replayed = halves(pairs)
        share = uniform_like(demonstrated[..., :1], self.random)
        between = torch.lerp(replayed, demonstrated, share)
        real, false = halves(self.discriminator(pairs)[..., 0])
        entropy = (nn.functional.softplus(-real) + nn.functional.softplus(false)).mean(-1) / 2
        return entropy + self.adversarial.penalty * self.penalty(between)

    def penalty(self, pairs: Float[Tensor, "P B Di"]) -> Float[Tensor, " P"]:
        """Mean of (|gradient of the logit| - 1)^2 at pairs of observation and action, (P,)."""
        _, slope = self.discriminator.with_slope(pairs)
        return (slope.norm(dim=-1) - 1).square().mean(-1)

    def _values(self) -> Iterator[Tensor]:
        yield from super()._values()
        yield from self.discriminator.parameters()

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"discriminator": self.discriminator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        super().load_state_dict(state)
        self.discriminator.load_state_dict(state["discriminator"])
