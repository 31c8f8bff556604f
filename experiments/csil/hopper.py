"""CSIL, Fig. 3, Hopper with one demonstration (csil.mujoco.hopper, csil.one-demonstration.hopper): the study
`csil/mujoco` there.

Hopper ends an episode when it falls. Without Kostrikov et al.'s absorbing states, which the study's DAC does not have,
an end counts as a value of zero, and where the discriminator's logits are negative falling at once is best: DAC is
drawn, and its scores are told, but it decides nothing. `csil/stability` has the other DAC.
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


def decide_one_demonstration(frame: pd.DataFrame) -> Verdict:
    """As `csil/mujoco` decides it; the note says where other seeds are asked."""
    verdict = mujoco.decide_one_demonstration(frame)
    return verdict._replace(note=f"{verdict.note} On other seeds: csil.one-demonstration.hopper.again.")


def _claim(suffix: str, statement: str, measures: str, decide: Callable[[pd.DataFrame], Verdict]) -> Claim:
    return Claim(
        id=f"csil.{suffix}.hopper", source="Watson et al. 2023", location="Section 5, Fig. 3", statement=statement,
        measures=measures, decide=decide, smallest_scale="overnight", refuted_from="paper",
    )  # fmt: skip


CLAIMS = [
    _claim("mujoco", "In the updates of this run CSIL's returns on Hopper are above those of cloning and of SQIL.",
           "CSIL's score less that of the nearer rival", partial(mujoco.decide_mujoco, methods=["SQIL"])),
    _claim("one-demonstration", "On Hopper one demonstration suffices for CSIL where behavioural cloning fails.",
           "CSIL's score", decide_one_demonstration),
]  # fmt: skip
