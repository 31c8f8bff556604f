"""Single transitions out of demonstrations, and few of them: full episodes make imitation easy for any method."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from imitation.demonstrations.episodes import DemonstrationError, Demonstrations


class Transitions(NamedTuple):
    """B steps in order of episode and time, in the precision of the demonstrations.

    Attributes:
        observations: (B, Dx), what the actions were chosen for.
        actions: (B, Dy).
        following: (B, Dx), where they led.
        terminated: (B,), the task ended there; time limits are no ends.
    """

    observations: Float[np.ndarray, "B Dx"]
    actions: Float[np.ndarray, "B Dy"]
    following: Float[np.ndarray, "B Dx"]
    terminated: Bool[np.ndarray, "B"]


def subsample(demonstrations: Demonstrations, every: int, generator: np.random.Generator) -> Transitions:
    """Keep each `every`-th transition of each episode (20 in Ho and Ermon 2016, Section 6, and most papers since).

    The first one kept is drawn uniformly from the first `every` steps, so that each transition is kept with probability
    1 / every; an episode that ends before it gives none. The draws of the first n episodes are those of n episodes
    alone: with the same seed, fewer demonstrations are always part of more.

    Args:
        demonstrations: any.
        every: 1 keeps all.
        generator: gives one integer per episode.

    Raises:
        DemonstrationError: a ValueError: `every` is below 1, or nothing was kept.
    """
    if every < 1:
        raise DemonstrationError(f"every={every}: must be at least 1")
    offsets = [int(generator.integers(every)) for _ in demonstrations.episodes]
    kept = [
        (one.observations[:-1][first::every], one.actions[first::every], one.observations[1:][first::every],
         one.terminations[first::every])
        for one, first in zip(demonstrations.episodes, offsets, strict=True)
    ]  # fmt: skip
    together = Transitions(*map(np.concatenate, zip(*kept, strict=True)))
    if not len(together.actions):
        raise DemonstrationError(f"every={every}: no transition was kept of {demonstrations.steps} steps")
    return together
