"""Policies cloned from demonstrations, a population at a time: least squares, mixture density, nearest neighbour."""

from imitation.policies.explicit import Explicit
from imitation.policies.mixture import Components, Mixture
from imitation.policies.nearest import Nearest
from imitation.policies.scaling import Scaling

__all__ = ["Components", "Explicit", "Mixture", "Nearest", "Scaling"]
