"""Langevin samplers for p(y) ~ exp(-E(y)): the true form and the one that implicit behavioural cloning uses.

With step size lambda, energy gradient g and standard normal noise w (Ta et al. 2022):

    true  (5):   y' = y - lambda/2 g + sqrt(lambda) sigma w
    ibc   (6):   y' = y - lambda/2 g +      lambda  sigma w

sigma scales the noise; the paper's (5) has sigma = 1. The true form at noise scale sigma samples
exp(-E / sigma^2), so the IBC form is the true form at temperature T = lambda sigma^2.
The other published forms are the true one with lambda = eps^2 = 2 tau (Appendix B).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.population import RandomSource, normal_like

Positions = Float[Tensor, "*chains D"]
Gradient = Callable[[Tensor], Tensor]


class State(NamedTuple):
    """Where the chains are: `position`, shape (..., D)."""

    position: Positions


class Info(NamedTuple):
    """What the last step did, both of shape (..., D): the energy's `gradient`, and the `change` before bounds."""

    gradient: Positions
    change: Positions


@dataclass(frozen=True)
class Langevin:
    """A Langevin kernel: which form, how much noise, and what limits a step.

    Args:
        form: "true" for (5), "ibc" for (6).
        noise_scale: sigma, a number or a tensor that broadcasts against (..., D).
        clip: largest change of one coordinate in one step, noise included; None for no limit.
        bounds: lowest and highest value of a coordinate, applied after every step; None for no limit.

    Raises:
        ValueError: an unknown form, a negative noise scale, a clip that is not positive, or empty bounds.
    """

    form: Literal["true", "ibc"] = "true"
    noise_scale: float | Tensor = 1.0
    clip: float | None = None
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.form not in ("true", "ibc"):
            raise ValueError(f"form={self.form!r}: allowed are 'true' and 'ibc'")
        scale = torch.as_tensor(self.noise_scale)
        if not bool((scale.isfinite() & (scale >= 0)).all()):
            raise ValueError(f"noise_scale must be finite and not negative, the smallest is {float(scale.min()):g}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip={self.clip}: must be positive")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds={self.bounds}: the first must be below the second")

    def noise_coefficient(self, step_size: float | Tensor) -> float | Tensor:
        """What multiplies the standard normal noise, sqrt(lambda) sigma or lambda sigma; shape of the broadcast."""
        return self.noise_scale * (step_size**0.5 if self.form == "true" else step_size)

    def step(self, state: State, gradient: Gradient, step_size: float | Tensor, noise: Positions) -> tuple[State, Info]:
        """One update of all chains.

        Args:
            state: positions (..., D).
            gradient: maps positions (..., D) to the energy's gradient (..., D).
            step_size: lambda > 0, a number or a tensor that broadcasts against (..., D).
            noise: standard normal, (..., D).

        Returns:
            The new positions, in the type of the old ones, and what the step did.

        Raises:
            ValueError: a step size is not positive.
        """
        _check_positive(step_size)
        return self._step(state, gradient, step_size, noise)

    def _step(self, state: State, gradient: Gradient, step_size: float | Tensor, noise: Tensor) -> tuple[State, Info]:
        slope = gradient(state.position)
        change = noise * _like(noise, self.noise_coefficient(step_size)) - slope * _like(slope, 0.5 * step_size)
        if self.clip is not None:
            change = change.clamp(-self.clip, self.clip)
        position = state.position + change
        if self.bounds is not None:
            position = position.clamp(*self.bounds)
        return State(position), Info(slope, change)

    @torch.no_grad()
    def sample(
        self,
        gradient: Gradient,
        start: Positions,
        step_sizes: Iterable[float | Tensor],
        random: RandomSource,
        keep: int = 1,
    ) -> Float[Tensor, "{keep} *chains D"]:
        """Run all chains and return their last `keep` positions in order of time.

        Args:
            gradient: maps positions (..., D) to the energy's gradient; `gradient_of` makes one from an energy.
            start: (..., D); with `Generators` the leading axis is the population.
            step_sizes: one lambda per iteration; see `imitation.ebm.schedules`.
            random: the generator, or one per member of the population.
            keep: how many of the last positions to return, at most the number of iterations.

        Returns:
            Positions (keep, ..., D), detached.

        Raises:
            ValueError: a step size is not positive, or `keep` is not between 1 and the number of iterations.
        """
        sizes = list(step_sizes)
        if not 1 <= keep <= len(sizes):
            raise ValueError(f"keep={keep}: must be between 1 and the number of iterations, {len(sizes)}")
        for size in sizes:
            _check_positive(size)
        kept = start.new_empty((keep, *start.shape))
        state = State(start.detach())
        for iteration, size in enumerate(sizes, start=keep - len(sizes)):
            state, _ = self._step(state, gradient, size, normal_like(state.position, random))
            if iteration >= 0:
                kept[iteration] = state.position
        return kept


def _check_positive(step_size: float | Tensor) -> None:
    sizes = torch.as_tensor(step_size)
    if not bool((sizes > 0).all()):
        raise ValueError(f"step sizes must be positive, the smallest is {float(sizes.min()):g}")


def _like(position: Tensor, coefficient: float | Tensor) -> float | Tensor:
    """Coefficients do not change the type of the positions that they move."""
    return coefficient.to(position) if isinstance(coefficient, Tensor) else coefficient


def gradient_of(energy: Callable[[Tensor], Tensor]) -> Gradient:
    """The gradient of a batched energy (..., D) -> (...) by automatic differentiation, one row apart from another."""

    def gradient(position: Tensor) -> Tensor:
        with torch.enable_grad():
            position = position.detach().requires_grad_()
            return torch.autograd.grad(energy(position).sum(), position)[0]

    return gradient
