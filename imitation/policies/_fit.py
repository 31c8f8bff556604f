"""What least squares and mixtures share: the loop that fits a population of networks to demonstrations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from imitation.nn.diverged import diverged, mark_diverged
from imitation.nn.relu import ReluNetwork
from imitation.policies.scaling import Scaling
from imitation.population import Generators, integers, rows_at

Progress = Callable[[float, float], None]
DECAY = 0.99  # by what an exponential schedule multiplies the learning rate, as in the code of Florence et al. 2021


@dataclass(frozen=True)
class Policy:
    """A fitted population: P policies, each with the scalings of its own demonstrations.

    Args:
        network: scaled inputs -> outputs.
        action: outputs (P, E, Do) -> scaled actions (P, E, Dy).
        input_scaling: of the inputs, to [-1, 1].
        action_scaling: of the actions, to [-1, 1].
        diverged: (P,), the members whose loss or weights were once not finite.
    """

    network: ReluNetwork
    action: Callable[[Tensor], Tensor]
    input_scaling: Scaling
    action_scaling: Scaling
    diverged: Bool[Tensor, " P"]

    @torch.no_grad()
    def outputs(self, inputs: Float[Tensor, "P E Dx"]) -> Float[Tensor, "P E Do"]:
        """What the networks say of inputs (P, E, Dx): (P, E, Do), in the scaled units that they were trained in."""
        return self.network(self.input_scaling.scaled(inputs))

    def act(self, inputs: Float[Tensor, "P E Dx"]) -> Float[Tensor, "P E Dy"]:
        """Actions (P, E, Dy) for inputs (P, E, Dx), both in the demonstrations' units; NaN for diverged members.

        Nothing is clipped: an action may lie outside of the demonstrations' range.
        """
        return self.action_scaling.unscaled(self.action(self.outputs(inputs)))


@dataclass(frozen=True)
class Learner(ABC):
    """Fits a population of networks to demonstrations by Adam on minibatches drawn with replacement.

    Inputs and actions are scaled to [-1, 1] per coordinate and member, as in Ta et al. 2022.

    Args:
        hidden: widths of the hidden layers; none for a linear map.
        batch: rows per minibatch.
        learning_rate: Adam's at the start.
        decay_every: the learning rate falls by .99 in so many steps (100 in the code of Florence et al. 2021), or, if
            None, along half a cosine to 0 at the end.

    Raises:
        ValueError: a size or rate that is not positive.
    """

    hidden: Sequence[int] = (256, 256)
    batch: int = 512
    learning_rate: float = 1e-3
    decay_every: int | None = None

    def __post_init__(self) -> None:
        sizes = [*self.hidden, self.batch, 1 if self.decay_every is None else self.decay_every]
        if min(sizes) < 1 or not (self.learning_rate > 0 and isfinite(self.learning_rate)):
            raise ValueError(f"{self}: sizes and the learning rate must be positive")

    @abstractmethod
    def width(self, action_dim: int) -> int:
        """How many outputs the network needs for actions of Dy coordinates."""

    @abstractmethod
    def loss(self, output: Float[Tensor, "P B Do"], action: Float[Tensor, "P B Dy"]) -> Float[Tensor, " P"]:
        """Mean loss (P,) of outputs (P, B, Do) against scaled actions (P, B, Dy)."""

    @abstractmethod
    def action(self, output: Float[Tensor, "P E Do"]) -> Float[Tensor, "P E Dy"]:
        """The scaled action (P, E, Dy) that outputs (P, E, Do) stand for."""

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step 0, 1, ..., steps - 1."""
        if self.decay_every is None:
            return self.learning_rate * (1 + cos(pi * step / steps)) / 2
        return self.learning_rate * DECAY ** (step / self.decay_every)

    def fit(
        self,
        inputs: Float[Tensor, "P T Dx"],
        actions: Float[Tensor, "P T Dy"],
        random: Generators,
        steps: int,
        progress: Progress | None = None,
    ) -> Policy:
        """Train P policies side by side; each is what it would be alone, to rounding.

        A member whose loss is not finite is stopped and marked as diverged, and the others go on.

        Args:
            inputs: (P, T, Dx), each member's own rows, in any units.
            actions: (P, T, Dy).
            random: one generator per member: first its network, then its minibatches are drawn from it.
            steps: updates, at least one.
            progress: called with the steps done and the steps in all.

        Raises:
            ValueError: shapes that do not fit, no data, data that are not finite, or no steps.
        """
        members, rows, _ = actions.shape
        if inputs.shape[:2] != actions.shape[:2] or members != len(random) or steps < 1:
            shapes = f"inputs {tuple(inputs.shape)}, actions {tuple(actions.shape)}, {len(random)} generators"
            raise ValueError(f"{shapes}, {steps=}: members and rows must agree, and there must be a step")
        scalings = Scaling.min_max(inputs), Scaling.min_max(actions)
        data = [scaling.scaled(value) for scaling, value in zip(scalings, (inputs, actions), strict=True)]
        network = ReluNetwork([inputs.shape[2], *self.hidden, self.width(actions.shape[2])], random, inputs)
        optimiser = torch.optim.Adam(network.parameters(), fused=True)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = self.rate(step, steps)
            x, y = _minibatch(data, random, rows, self.batch)
            loss = self.loss(network(x), y)
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            failed = ~loss.detach().isfinite()
            if bool(failed.any()):
                mark_diverged(network, failed)
            if progress:
                progress(step + 1, steps)
        return Policy(network, self.action, *scalings, diverged(network))


def _minibatch(data: Sequence[Tensor], random: Generators, rows: int, batch: int) -> list[Tensor]:
    """The same rows of each (P, T, D), drawn with replacement by each member: (P, batch, D)."""
    chosen = integers(random, rows, batch)
    return [rows_at(value, chosen) for value in data]
