"""SQIL, soft Q imitation learning: Reddy et al. 2020, "SQIL: Imitation learning via reinforcement learning".

Reward 1 for demonstrated rows and 0 for the agent's own, half a batch each; the rest is the soft actor-critic.
"""

from jaxtyping import Float
from torch import Tensor

from imitation.control.replay import Transitions
from imitation.control.sac import SoftActorCritic


class SoftQImitation(SoftActorCritic):
    """P learners of SQIL, on rows whose reward says where they are from (`imitation_rows`)."""

    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """1 where demonstrated, 0 where not."""
        return rows.reward
