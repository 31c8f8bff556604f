"""Soft actor-critic for a population: the core that CSIL, SQIL, IQ-Learn, GAIL/DAC and the experts share.

Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications": eqs. (5)-(7) the critic, (9) the actor, (18)
the temperature. An imitation algorithm is this class with another `reward`, `critic_loss` or `critic_step`.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from imitation.control.networks import Actor, Critics, Policy
from imitation.control.replay import Transitions
from imitation.population import Generators, device_of, random_states, restore, uniform_like


@dataclass(frozen=True)
class Settings:
    """What stays the same over a run.

    Args:
        hidden: widths of the hidden layers of actor and critics.
        copies: critics per member; targets and the actor use the least of their values.
        discount: gamma.
        smoothing: tau, by which the target critics follow the critics after each update.
        actor_rate, critic_rate, temperature_rate: Adam's learning rates.
        temperature: of the entropy, of all members or one each; with a temperature rate it is where learning starts.
        target_entropy: nats per action coordinate that the temperature is learnt for.

    Raises:
        ValueError: a value outside its range.
    """

    hidden: Sequence[int] = (256, 256)
    copies: int = 2
    discount: float = 0.99
    smoothing: float = 0.005
    actor_rate: float = 3e-4
    critic_rate: float = 3e-4
    temperature_rate: float = 3e-4
    temperature: float | Sequence[float] = 1.0
    target_entropy: float = -1.0

    def __post_init__(self) -> None:
        if min([*self.hidden, self.copies]) < 1 or not 0 <= self.discount < 1 or not 0 < self.smoothing <= 1:
            raise ValueError(f"{self}: widths and copies at least 1, 0 <= discount < 1, 0 < smoothing <= 1")
        temperatures = self.temperature if isinstance(self.temperature, Sequence) else [self.temperature]
        positive = [self.actor_rate, self.critic_rate, *temperatures]
        if not all(map(isfinite, [*positive, self.temperature_rate, self.target_entropy])):
            raise ValueError(f"{self}: rates, temperature and target_entropy must be finite")
        if min(positive) <= 0 or self.temperature_rate < 0:
            raise ValueError(f"{self}: rates and the temperature must be positive (temperature_rate may be 0)")


class Info(NamedTuple):
    """Of one update, per member (P,): the losses, mean value, mean entropy estimate, temperature.

    Of a learner whose policy is held to another the entropy is relative: minus the mean divergence from that policy.
    """

    critic_loss: Float[Tensor, " P"]
    actor_loss: Float[Tensor, " P"]
    value: Float[Tensor, " P"]
    entropy: Float[Tensor, " P"]
    temperature: Float[Tensor, " P"]


class SoftActorCritic:
    """P independent learners in one.

    Args:
        observation_dim, action_dim: of the environment; actions lie in [-1, 1].
        random: one generator per member, for starts, actions and noise alike.
        settings: see there.
    """

    def __init__(self, observation_dim: int, action_dim: int, random: Generators, settings: Settings) -> None:
        self.settings, self.random, self.updates, self.action_dim = settings, random, 0, action_dim
        self.actor = self.make_actor(observation_dim, action_dim)
        self.critics = self.make_critics(observation_dim, action_dim)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_temperature = nn.Parameter(per_member(settings.temperature, random)[:, 0].log())
        self.target_entropy = settings.target_entropy * action_dim
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "critic": torch.optim.Adam(self.critics.parameters(), settings.critic_rate, fused=True),
            "actor": torch.optim.Adam(self.actor.parameters(), settings.actor_rate, fused=True),
            "temperature": torch.optim.Adam([self.log_temperature], settings.temperature_rate, fused=True),
        }

    def make_actor(self, observation_dim: int, action_dim: int) -> Policy:
        """The policy's network."""
        return Actor(observation_dim, action_dim, self.random, self.settings.hidden)

    def make_critics(self, observation_dim: int, action_dim: int) -> Critics:
        """The networks of the values."""
        return Critics(observation_dim, action_dim, self.random, self.settings.hidden, self.settings.copies)

    # ---- what an imitation algorithm changes ----

    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """What the critic learns the sum of: here the environment's reward."""
        return rows.reward

    def critic_loss(self, rows: Transitions, target: Float[Tensor, "P B"]) -> tuple[Tensor, Tensor]:
        """Loss (P,) of the critics, and their values (P, K, B): squared Bellman error, summed over critics (5)."""
        values = self.critics(rows.observation, rows.action)
        return (values - target[:, None]).square().mean(-1).sum(-1) / 2, values

    # ---- one update ----

    def update(self, rows: Transitions) -> Info:
        """One step of critics, actor and temperature on rows (P, B, ...), then the targets follow."""
        loss, values = self.critic_step(rows)
        actor_loss, divergence = self.actor_loss(rows)
        self._descend("actor", actor_loss)
        if self.settings.temperature_rate:
            self._descend("temperature", self.log_temperature * (-divergence.detach() - self.target_entropy))
        self._follow()
        self.updates += 1
        return Info(
            loss.detach(),
            actor_loss.detach(),
            values.detach().mean((1, 2)),
            -divergence.detach(),
            self.temperature[:, 0],
        )

    def critic_step(self, rows: Transitions) -> tuple[Tensor, Tensor]:
        """What comes before the actor's step: one step of the critics. Their loss and values."""
        loss, values = self.critic_loss(rows, self.target(rows))
        self._descend("critic", loss)
        return loss, values

    @property
    def temperature(self) -> Float[Tensor, "P 1"]:
        """alpha, one per member."""
        return self.log_temperature.detach().exp()[:, None]

    @torch.no_grad()
    def target(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """r + gamma V'(s') where the process goes on (5)."""
        value = self.following_value(rows)
        return torch.addcmul(self.reward(rows), 1 - rows.terminated, value, value=self.settings.discount)

    @torch.no_grad()
    def following_value(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """V'(s') = min Q'(s', a') - alpha log pi(a'|s'), a' drawn (3)."""
        action, log_density = self.actor.sample(rows.following, self.random)
        value = self.targets(rows.following, action).amin(1)
        return value - self.temperature * log_density

    def actor_loss(self, rows: Transitions) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Mean of alpha log pi - min Q over the rows' observations (9), and of log pi, (P,)."""
        action, log_density = self.actor.sample(rows.observation, self.random)
        value = self.critics(rows.observation, action, frozen=True).amin(1)
        return (self.temperature * log_density - value).mean(-1), log_density.mean(-1)

    def _descend(self, name: str, losses: Float[Tensor, " P"]) -> None:
        """One step of Adam; members share no parameter, so the sum's gradient is each one's own."""
        optimiser = self.optimisers[name]
        optimiser.zero_grad()
        losses.sum().backward()
        optimiser.step()

    @torch.no_grad()
    def _follow(self) -> None:
        for slow, fast in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
            slow.lerp_(fast, self.settings.smoothing)

    # ---- use ----

    def first_actions(self, observation: Float[Tensor, "P B Do"]) -> Float[Tensor, "P B Da"]:
        """Actions (P, B, Da) before the first update: uniform."""
        like = observation[..., :1].expand(-1, -1, self.action_dim)
        return uniform_like(like, self.random, -1.0, 1.0)

    @torch.no_grad()
    def explore(self, observation: Float[Tensor, "P B Do"]) -> Float[Tensor, "P B Da"]:
        """Actions (P, B, Da) drawn from the policy."""
        return self.actor.sample(observation, self.random)[0]

    def diverged(self) -> Bool[Tensor, " P"]:
        """Which members have a parameter that is not finite, (P,)."""
        members = len(self.random)
        return torch.stack(
            [~value.detach().unflatten(0, (members, -1)).flatten(1).isfinite().all(1) for value in self._values()]
        ).any(0)

    def _values(self) -> Iterator[Tensor]:
        yield from self.actor.parameters()
        yield from self.critics.parameters()

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next update depends on."""
        return copy.deepcopy(self._state())  # torch's are the living tensors, which the next update changes

    def _state(self) -> dict[str, Any]:
        return {
            "actor": self.actor.state_dict(), "critics": self.critics.state_dict(),
            "targets": self.targets.state_dict(), "log_temperature": self.log_temperature.detach(),
            "optimisers": {name: one.state_dict() for name, one in self.optimisers.items()},
            "random": random_states(self.random), "updates": self.updates,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        for name in ("actor", "critics", "targets"):
            getattr(self, name).load_state_dict(state[name])
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
        for name, one in self.optimisers.items():
            one.load_state_dict(copy.deepcopy(state["optimisers"][name]))  # torch would go on in the state's tensors
        restore(self.random, state["random"])
        self.updates = state["updates"]


def per_member(value: float | Sequence[float], random: Generators) -> Float[Tensor, "P 1"]:
    """A number for all members, or one each, as (P, 1).

    Raises:
        ValueError: neither one nor as many as there are members.
    """
    given = list(value) if isinstance(value, Sequence) else [value] * len(random)
    if len(given) != len(random):
        raise ValueError(f"{given}: one number for all members or one for each of {len(random)}")
    return torch.tensor(given, dtype=torch.get_default_dtype(), device=device_of(random))[:, None]
