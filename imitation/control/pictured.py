"""Environments seen in pictures: an observation holds what a frozen sight says of the last few, then those, packed.

A learner treats them as if they told all. The first picture of an episode stands for those before it.
"""

from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from imitation.control.imitation_rows import DemonstrationRows
from imitation.control.remembered import beginnings
from imitation.envs.control import Environments, Step
from imitation.envs.pictures import SideView
from imitation.policies.sight import Sight

DRAWN, SEEN = 16, 512  # rows at once: larger blocks of pictures under way leave the cache


class Pictures(NamedTuple):
    """Stacks of F pictures, the oldest first, before and after each of T demonstrated steps."""

    observation: UInt8[Tensor, "P T Dx"]
    following: UInt8[Tensor, "P T Dx"]


def pictured(rows: DemonstrationRows, view: SideView, frames: int) -> Pictures:
    """The rows of whole episodes in pictures, on the rows' device; what is beyond a member's own rows means nothing."""
    observation, following = rows.rows.observation, rows.rows.following
    number = torch.arange(observation.shape[1], device=observation.device)
    first = torch.where(beginnings(rows), number, 0).cummax(1).values
    moved = (view.seconds * view.speed(observation).double()).cumsum(1)
    place = moved - moved.gather(1, first)
    after = place + view.seconds * view.speed(following)
    here, there = _drawn(view, observation, place), _drawn(view, following, after)

    def back(steps: int) -> Tensor:
        places = torch.maximum(number - steps, first)
        return here.gather(1, places[..., None].expand_as(here))

    stack = [back(steps) for steps in reversed(range(frames))]
    return Pictures(torch.cat(stack, -1), torch.cat([*stack[1:], there], -1))


def _drawn(view: SideView, observation: Float[Tensor, "P T Do"], place: Float[Tensor, "P T"]) -> Tensor:
    blocks = zip(observation.flatten(0, 1).split(DRAWN), place.flatten().split(DRAWN), strict=True)
    pictures = torch.cat([view.draw(*block) for block in blocks]).to(observation.device)
    return pictures.flatten(1).unflatten(0, observation.shape[:2])


def sighted(rows: DemonstrationRows, pictures: Pictures, sight: Sight) -> DemonstrationRows:
    """The same rows; observations (P, T, Dz + F * H * W / 4): what `sight` says of the pictures, and these, packed."""
    blocks = ([_seen(sight, block) for block in one.split(SEEN, 1)] for one in pictures)
    return rows.with_observations(*(torch.cat(each, 1) for each in blocks))


@torch.no_grad()
def _seen(sight: Sight, pictures: UInt8[Tensor, "P B Dx"]) -> Float[Tensor, "P B D"]:
    return torch.cat([sight(pictures), packed(pictures)], -1)


def packed(pictures: UInt8[Tensor, "*rows Dx"]) -> Float[Tensor, "*rows Dp"]:
    """Four shades to a number of 32 bits, which is to be kept and handed on but not computed with.

    A replay holds numbers of that size, of which a stack of pictures would take as many as it has pixels.

    Raises:
        ValueError: the number of pixels is no multiple of four.
    """
    if pictures.shape[-1] % 4:
        raise ValueError(f"{pictures.shape[-1]} pixels: must be a multiple of four")
    return pictures.contiguous().view(torch.float32)


def unpacked(numbers: Float[Tensor, "*rows Dp"]) -> UInt8[Tensor, "*rows Dx"]:
    """The pictures again."""
    return numbers.contiguous().view(torch.uint8)


class PicturedEnvironments(Environments):
    """Environments whose observations (P, E, Dz + F * H * W / 4) are as those of `sighted`.

    Args:
        sight: of P members; its parameters must stay as they are.
        view: of the body.
        name, seeds, copies: as in `Environments`.
    """

    def __init__(self, sight: Sight, view: SideView, name: str, seeds: list[int], copies: int = 1) -> None:
        super().__init__(name, seeds, copies)
        self.sight, self.view = sight, view
        self.observation_dim = sight.width + prod(sight.shape) // 4

    def reset(self) -> Float[Tensor, "P E D"]:
        """As `Environments.reset`."""
        first = super().reset()
        self._place = torch.zeros(self.shape, dtype=torch.float64)
        self._pictures = self._begun(first)
        self.observation = self._observed()
        return self.observation

    def step(self, actions: Float[Tensor, "P E Da"]) -> Step:
        """As `Environments.step`; where an episode finished, `following` still goes on from its own pictures."""
        step = super().step(actions)
        current = self.observation
        self._place = self._place + self.view.seconds * self.view.speed(step.following)
        self._pictures = torch.cat([self._pictures[:, :, 1:], self._drawn(step.following)[:, :, None]], 2)
        following = self._observed()
        self.observation = following
        if bool(step.finished.any()):
            self._place = self._place * ~step.finished
            begun = self._begun(current)
            self._pictures = torch.where(step.finished[..., None, None], begun, self._pictures)
            self.observation = self._observed()
        return step._replace(following=following)

    def _begun(self, observation: Float[Tensor, "P E Do"]) -> UInt8[Tensor, "P E F Dx"]:
        return self._drawn(observation)[:, :, None].repeat(1, 1, self.sight.shape[0], 1)

    def _drawn(self, observation: Float[Tensor, "P E Do"]) -> UInt8[Tensor, "P E Dx"]:
        return _drawn(self.view, observation, self._place)

    def _observed(self) -> Float[Tensor, "P E D"]:
        return _seen(self.sight, self._pictures.flatten(2))
