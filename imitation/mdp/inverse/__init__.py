"""Inverse optimal control with known dynamics: from demonstrations to a reward, and to a policy for it."""

from imitation.mdp.inverse.adversarial import gail
from imitation.mdp.inverse.cloning import classifier, cloned, coherent_imitation
from imitation.mdp.inverse.demonstrations import demonstrate
from imitation.mdp.inverse.inverse_q import iq_learn
from imitation.mdp.inverse.maximum_entropy import maximum_entropy
from imitation.mdp.inverse.proximal import proximal_point

__all__ = [
    "classifier",
    "cloned",
    "coherent_imitation",
    "demonstrate",
    "gail",
    "iq_learn",
    "maximum_entropy",
    "proximal_point",
]
