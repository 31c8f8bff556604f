"""What a policy remembers of an episode: a state z that each observation moves on, for a population.

A policy of z is one of the observations so far. z moves by them alone, so that with frozen parameters (environment, z)
is a Markov process again, and the coherent reward of such a policy inverts it as it does any (Watson et al. 2023,
Section 3, for whatever dynamics). A critic of z alone is a further step, exact only where z tells all that matters.
"""

from abc import ABC, abstractmethod
from copy import deepcopy

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from imitation.population import Generators, device_of, uniform_like


class Memory(nn.Module, ABC):
    """A rule z_t = step(o_t, z_{t-1}), with z = 0 before an episode's first observation.

    Attributes:
        width: Dz.
    """

    width: int

    @abstractmethod
    def step(self, observation: Float[Tensor, "P B Do"], before: Float[Tensor, "P B Dz"]) -> Float[Tensor, "P B Dz"]:
        """The state after one more observation."""

    def unroll(
        self,
        observation: Float[Tensor, "P B T Do"],
        fresh: Bool[Tensor, "P B T"],
        before: Float[Tensor, "P B Dz"],
    ) -> Float[Tensor, "P B T Dz"]:
        """The states along T observations.

        Args:
            observation: (P, B, T, Do).
            fresh: where an episode begins.
            before: the state at the first observation, if no episode begins there.
        """
        states, goes_on = [before], ~fresh[..., None]
        for one, kept in zip(observation.unbind(2), goes_on.unbind(2), strict=True):
            states.append(self.step(one, states[-1] * kept))
        return torch.stack(states[1:], 2)

    def frozen(self) -> "Memory":
        """A copy whose parameters have no gradients and stay as they are now."""
        return deepcopy(self).requires_grad_(False)


class LastFrames(Memory):
    """The last `frames` observations, newest first, zero for those before the episode; with one frame no memory.

    Raises:
        ValueError: a size that is not positive.
    """

    def __init__(self, observation_dim: int, frames: int = 1) -> None:
        super().__init__()
        if min(observation_dim, frames) < 1:
            raise ValueError(f"{observation_dim=}, {frames=}: must be positive")
        self.width = observation_dim * frames

    def step(self, observation: Float[Tensor, "P B Do"], before: Float[Tensor, "P B Dz"]) -> Float[Tensor, "P B Dz"]:
        """The new observation before the others, the oldest of which is forgotten."""
        return torch.cat([observation, before], -1)[..., : self.width]


class GatedMemory(Memory):
    """P gated recurrent units (Cho et al. 2014, in the form of torch's `GRUCell`); z holds h and the observation.

    Weights (P, in, 3 Dh) and biases (P, 1, 3 Dh), for the gates reset, update and new in this order, start uniform on
    +-1/sqrt(Dh) as torch's.

    Args:
        observation_dim: Do.
        random: one generator per member.
        units: Dh.

    Raises:
        ValueError: a size that is not positive.
    """

    def __init__(self, observation_dim: int, random: Generators, units: int = 64) -> None:
        super().__init__()
        if min(observation_dim, units) < 1:
            raise ValueError(f"{observation_dim=}, {units=}: must be positive")
        self.units, self.width = units, units + observation_dim
        like = torch.empty(0, device=device_of(random))

        def start(rows: int) -> nn.Parameter:
            drawn = uniform_like(like.new_empty(len(random), rows, 3 * units), random, -(units**-0.5), units**-0.5)
            return nn.Parameter(drawn)

        self.inwards, self.onwards = start(observation_dim), start(units)
        self.inward_bias, self.onward_bias = start(1), start(1)

    def step(self, observation: Float[Tensor, "P B Do"], before: Float[Tensor, "P B Dz"]) -> Float[Tensor, "P B Dz"]:
        """h' = (1 - u) n + u h with u, r = sigmoid, n = tanh(W o + b + r (V h + c)); and the observation."""
        hidden = before[..., : self.units]
        told = torch.baddbmm(self.inward_bias, observation, self.inwards)
        kept = torch.baddbmm(self.onward_bias, hidden, self.onwards)
        gates = 2 * self.units
        reset, update = (told[..., :gates] + kept[..., :gates]).sigmoid().chunk(2, -1)
        new = torch.addcmul(told[..., gates:], reset, kept[..., gates:]).tanh()
        return torch.cat([torch.lerp(new, hidden, update), observation], -1)
