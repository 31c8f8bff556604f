"""Demonstrations: the data type with its checks, what learners read from it, demonstrators, and files.

Nothing is repaired silently: what does not fit is refused in one line that names the episode and the step, and what is
changed on the way in is counted. `python -m imitation.demonstrations check FILE` says what is wrong with a file.
"""

from imitation.demonstrations.canonical import Loaded
from imitation.demonstrations.episodes import DemonstrationError, Demonstrations, Episode
from imitation.demonstrations.frames import Frames, frames
from imitation.demonstrations.minari_folder import load_minari, save_minari
from imitation.demonstrations.particle_oracle import particle
from imitation.demonstrations.rollouts import digest, rollout_demonstrations
from imitation.demonstrations.sources import load_demonstrations
from imitation.demonstrations.transitions import Transitions, subsample

__all__ = [
    "DemonstrationError",
    "Demonstrations",
    "Episode",
    "Frames",
    "Loaded",
    "Transitions",
    "digest",
    "frames",
    "load_demonstrations",
    "load_minari",
    "particle",
    "rollout_demonstrations",
    "save_minari",
    "subsample",
]
