"""Policies cloned from demonstrations, a population at a time.

Least squares, mixture density and nearest neighbour; the tanh-Normal policies of soft imitation, HetStat among them.
"""

from imitation.policies import _tanh_normal as tanh_normal
from imitation.policies.cloning import Cloning
from imitation.policies.explicit import Explicit
from imitation.policies.hetstat import HetStat, coherent_reward
from imitation.policies.mixture import Components, Mixture
from imitation.policies.nearest import Nearest
from imitation.policies.scaling import Scaling
from imitation.policies.tanh_normal_mlp import TanhNormalMLP

__all__ = [
    "Cloning",
    "Components",
    "Explicit",
    "HetStat",
    "Mixture",
    "Nearest",
    "Scaling",
    "TanhNormalMLP",
    "coherent_reward",
    "tanh_normal",
]
