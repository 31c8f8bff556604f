"""CSIL, Fig. 3, Ant with ten demonstrations (csil.ant-10): the study `csil/mujoco` there.

The demonstrations are of the kept expert, which falls in some episodes: a score of 1 is their own mean return.
"""

import pandas as pd

from experiments.csil import _scores, _single, mujoco
from experiments.harness.claim import Claim, Verdict, above

SHARD_AXES = ("seeds",)
inputs = mujoco.inputs
Config = _single.Config
run = mujoco.run
figure = mujoco.figure


def decide_ant(frame: pd.DataFrame) -> Verdict:
    """CSIL's score is above the mark; what the strongest clone's is stands beside it."""
    level = _scores.average(mujoco.tables(frame)[mujoco.CSIL])
    return above(level, mujoco.SUFFICES, mujoco.told(frame))


CLAIMS = [
    Claim(
        id="csil.ant-10",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3",
        statement="Ant with 10 demonstrations works end to end.",
        measures="CSIL's score",
        decide=decide_ant,
        smallest_scale="overnight",
        refuted_from="paper",
    )
]
