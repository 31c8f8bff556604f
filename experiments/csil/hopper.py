"""CSIL, Fig. 3, Hopper with one demonstration (csil.mujoco.hopper, csil.one-demonstration.hopper,
csil.stability.hopper): the study `csil/mujoco` there.

Hopper ends an episode when it falls, so that a policy that loses its way is seen at once.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from experiments.csil import _single, mujoco
from experiments.harness.claim import Claim, Verdict

SHARD_AXES = ("seeds",)
inputs = mujoco.inputs
Config = _single.Config
run = mujoco.run
figure = mujoco.figure


def _claim(suffix: str, statement: str, measures: str, decide: Callable[[pd.DataFrame], Verdict]) -> Claim:
    return Claim(
        id=f"csil.{suffix}.hopper", source="Watson et al. 2023", location="Section 5, Fig. 3", statement=statement,
        measures=measures, decide=decide, smallest_scale="overnight", refuted_from="paper",
    )  # fmt: skip


CLAIMS = [
    _claim("mujoco", "CSIL's returns on Hopper are above those of cloning, DAC and SQIL.",
           "CSIL's score less that of the nearest rival", partial(mujoco.decide_mujoco, methods=("DAC", "SQIL"))),
    _claim("one-demonstration", "On Hopper one demonstration suffices for CSIL where behavioural cloning fails.",
           "CSIL's score", mujoco.decide_one_demonstration),
    _claim("stability", "On Hopper CSIL has no adversarial instability.",
           f"largest falls of the score, {mujoco.ADVERSARY}'s less CSIL's", mujoco.decide_stability),
]  # fmt: skip
