"""Random streams for populations: tensors carry a leading axis P of independent runs, each with its own generator.

Member i of a population draws exactly what the same run would draw alone, so results do not depend on what
was run beside it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Generators:
    """One `torch.Generator` per member of a population.

    Args:
        seeds: P integers, one per member. On a CPU torch tells them apart by their low 32 bits only.
        device: where the members draw.

    Raises:
        ValueError: no seed was given, or a seed is negative.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        if not seeds or min(seeds) < 0:
            raise ValueError(f"seeds={list(seeds)}: at least one is needed, and none may be negative")
        self.members = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __len__(self) -> int:
        return len(self.members)


RandomSource = torch.Generator | Generators


def _draw(method: str, like: Tensor, source: RandomSource, *arguments: float) -> Tensor:
    sample = torch.empty_like(like, memory_format=torch.contiguous_format)
    if isinstance(source, torch.Generator):
        return getattr(sample, method)(*arguments, generator=source)
    if sample.ndim == 0 or sample.shape[0] != len(source):
        raise ValueError(f"leading axis of shape {tuple(sample.shape)} does not match {len(source)} generators")
    for member, generator in zip(sample, source.members, strict=True):
        getattr(member, method)(*arguments, generator=generator)
    return sample


def normal_like(like: Float[Tensor, "*shape"], source: RandomSource) -> Float[Tensor, "*shape"]:
    """Standard normal noise with the shape, type and device of `like`.

    With `Generators` the leading axis of `like` must be the population axis: (P, ...) -> (P, ...).

    Raises:
        ValueError: the leading axis is not as long as there are generators.
    """
    return _draw("normal_", like, source)


def uniform_like(
    like: Float[Tensor, "*shape"], source: RandomSource, low: float = 0.0, high: float = 1.0
) -> Float[Tensor, "*shape"]:
    """Uniform noise on [low, high); shapes and errors as in `normal_like`."""
    return _draw("uniform_", like, source, low, high)


def device_of(source: RandomSource) -> torch.device:
    """Where it draws."""
    return source.device if isinstance(source, torch.Generator) else source.members[0].device


def integers(random: Generators, below: int | Sequence[int], count: int) -> Int[Tensor, "P count"]:
    """Numbers from 0, `below` one bound or each member's own, drawn with replacement by each member, (P, count).

    Raises:
        ValueError: there are not as many bounds as members, or one is not positive.
    """
    bounds = list(below) if isinstance(below, Sequence) else [below] * len(random)
    if len(bounds) != len(random) or min(bounds) < 1:
        raise ValueError(f"bounds {bounds} for {len(random)} generators: one for each, and at least 1")
    members = zip(bounds, random.members, strict=True)
    return torch.stack([torch.randint(n, (count,), generator=one, device=one.device) for n, one in members])


def rows_at(value: Float[Tensor, "P T *rest"], places: Int[Tensor, "P B"]) -> Float[Tensor, "P B *rest"]:
    """Each member's rows at its places, (P, B, ...)."""
    return torch.stack([mine.index_select(0, one) for mine, one in zip(value, places, strict=True)])


def random_states(random: Generators) -> list[Tensor]:
    """A copy of each generator's state, for `restore`."""
    return [one.get_state() for one in random.members]


def restore(random: Generators, states: Sequence[Tensor]) -> None:
    """Let the generators go on from what `random_states` gave, wherever it was loaded to.

    Raises:
        ValueError: there are not as many states as generators.
    """
    if len(states) != len(random):
        raise ValueError(f"{len(states)} states for {len(random)} generators")
    for generator, state in zip(random.members, states, strict=True):
        generator.set_state(state.cpu())
