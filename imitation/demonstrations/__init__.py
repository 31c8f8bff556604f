"""Demonstrations: the data type with its checks, what learners read from it, demonstrators, and files.

Nothing is repaired silently: what does not fit is refused in one line that names the episode and the step.
"""

from imitation.demonstrations.episodes import Demonstrations, Episode
from imitation.demonstrations.frames import Frames, frames
from imitation.demonstrations.minari_folder import load_minari, save_minari
from imitation.demonstrations.particle_oracle import particle

__all__ = ["Demonstrations", "Episode", "Frames", "frames", "load_minari", "particle", "save_minari"]
