"""Tabular Markov decision processes: the type, occupancies and the documents' examples."""

from imitation.mdp.occupancy import (
    discounted_occupancy,
    horizon_occupancy,
    state_action_occupancy,
    state_transition,
)
from imitation.mdp.processes import random_processes, self_loops
from imitation.mdp.tabular import TabularMDP, softmax_policy, total_variation

__all__ = [
    "TabularMDP",
    "discounted_occupancy",
    "horizon_occupancy",
    "random_processes",
    "self_loops",
    "softmax_policy",
    "state_action_occupancy",
    "state_transition",
    "total_variation",
]
