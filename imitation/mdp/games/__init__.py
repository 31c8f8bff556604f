"""The moment-matching game of inverse reinforcement learning and its solvers: dual, convex and primal."""

from imitation.mdp.games.convex import convex_maxent
from imitation.mdp.games.dual import DualPath, dual_maxent, smoothness_step
from imitation.mdp.games.newton import newton_maxent
from imitation.mdp.games.primal import PrimalPath, primal_game

__all__ = ["DualPath", "PrimalPath", "convex_maxent", "dual_maxent", "newton_maxent", "primal_game", "smoothness_step"]
