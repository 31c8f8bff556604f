"""P2IL, proximal point imitation learning: Viano et al. 2022, in the form that CSIL's authors compare with.

A reward network and a critic descend together on: reward up on demonstrations, a squared penalty on it everywhere, the
logistic Bellman error (a softmax over the batch), and the value at demonstrated states for that of the first one. The
reward has no gradient through the Bellman error, which is taken as an absolute value. Many critic steps per actor step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.control.imitation_rows import halves
from imitation.control.networks import SmoothCritics, SmoothPerceptron
from imitation.control.replay import Transitions
from imitation.control.sac import Settings, SoftActorCritic
from imitation.population import Generators


@dataclass(frozen=True)
class ProximalPointSettings(Settings):
    """Of P2IL, with the values of CSIL's comparison, but for the optimisers of reward and temperature.

    Theirs is plain gradient descent for both; here they have Adam. Entropy is relative to a uniform policy's there,
    and not here: at a temperature of 1 that is log 2 per action coordinate and step.

    Args:
        copies: of the critic.
        actor_rate: Adam's.
        reward_rate: Adam's.
        critic_updates: steps of critic and reward on the same rows before each step of the actor.
        sharpness: of the logistic Bellman error; 0 weighs all rows alike, large only those of the largest error.

    Raises:
        ValueError: a value outside its range.
    """

    copies: int = 1
    actor_rate: float = 3e-5
    reward_rate: float = 3e-4
    critic_updates: int = 20
    sharpness: float = 0.08

    def __post_init__(self) -> None:
        super().__post_init__()
        finite = isfinite(self.reward_rate) and isfinite(self.sharpness)
        if not finite or self.reward_rate <= 0 or self.critic_updates < 1 or self.sharpness < 0:
            rule = "reward_rate and critic_updates must be positive, sharpness not negative, all finite"
            raise ValueError(f"{self}: {rule}")


class ProximalPoint(SoftActorCritic):
    """P learners of P2IL."""

    def __init__(
        self, observation_dim: int, action_dim: int, random: Generators, settings: ProximalPointSettings
    ) -> None:
        super().__init__(observation_dim, action_dim, random, settings)
        self.proximal = settings
        self.rewarder = SmoothPerceptron([observation_dim + action_dim, *settings.hidden, 1], random)
        self.optimisers["reward"] = torch.optim.Adam(self.rewarder.parameters(), settings.reward_rate, fused=True)

    def make_critics(self, observation_dim: int, action_dim: int) -> SmoothCritics:
        """Smooth critics, as in CSIL's comparison."""
        return SmoothCritics(observation_dim, action_dim, self.random, self.settings.hidden, self.settings.copies)

    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """The reward network's."""
        return self.rewarder(torch.cat([rows.observation, rows.action], -1))[..., 0]

    def critic_step(self, rows: Transitions) -> tuple[Tensor, Tensor]:
        """Steps of critic and reward, all on the same draws; the last one's loss and values."""
        with torch.no_grad():
            future = self.settings.discount * (1 - rows.terminated) * self.following_value(rows)
            drawn, log_density = self.actor.sample(halves(rows.observation)[0], self.random)
        loss, values = self.proximal_loss(rows, future, drawn, log_density)
        for number in range(self.proximal.critic_updates):
            if number:
                loss, values = self.proximal_loss(rows, future, drawn, log_density)
            self.optimisers["reward"].zero_grad()
            self._descend("critic", loss)
            self.optimisers["reward"].step()
        return loss, values

    def proximal_loss(
        self,
        rows: Transitions,
        future: Float[Tensor, "P B"],
        drawn: Float[Tensor, "P R Da"],
        log_density: Float[Tensor, "P R"],
    ) -> tuple[Float[Tensor, " P"], Float[Tensor, "P K B"]]:
        """- E_D[r] + E[r^2] / 2 + sum_i w_i |d_i| + (1 - gamma) E_D[V(s)] (P,), summed over critics; and the values.

        d = r + future - Q with r held; w the softmax of sharpness |d| over all rows, held too (Viano et al., Theorem
        6).

        Args:
            rows: (P, B, ...), the first half demonstrated.
            future: gamma V'(s'), 0 after an end.
            drawn: the policy's actions at the demonstrated half's observations.
            log_density: theirs.
        """
        states, _ = halves(rows.observation)
        reward = self.reward(rows)
        every = self.critics(torch.cat([rows.observation, states], 1), torch.cat([rows.action, drawn], 1))
        values, own = every.split([rows.reward.shape[1], states.shape[1]], -1)
        error = ((reward.detach() + future)[:, None] - values).abs()
        weight = (self.proximal.sharpness * error.detach()).softmax(-1)
        value = own - (self.temperature * log_density)[:, None]
        of_critics = (weight * error).sum(-1) + (1 - self.settings.discount) * value.mean(-1)
        of_reward = reward.square().mean(-1) / 2 - halves(reward)[0].mean(-1)
        return of_critics.sum(-1) + of_reward, values

    def _values(self) -> Iterator[Tensor]:
        yield from super()._values()
        yield from self.rewarder.parameters()

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"rewarder": self.rewarder.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        super().load_state_dict(state)
        self.rewarder.load_state_dict(state["rewarder"])
