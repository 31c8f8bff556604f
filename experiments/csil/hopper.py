"""CSIL, Fig. 3, Hopper with one demonstration (csil.one-demonstration.hopper, csil.stability.hopper).

The study `csil/mujoco` where cloning fails, beside an adversarial learner: does CSIL suffice, and does it fall less?
"""

from experiments.csil import _single, mujoco
from experiments.harness.claim import Claim

SHARD_AXES = ("seeds",)
inputs = mujoco.inputs
Config = _single.Config
run = mujoco.run
figure = mujoco.figure

CLAIMS = [
    Claim(
        id="csil.one-demonstration.hopper",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3",
        statement="On Hopper one demonstration suffices for CSIL where behavioural cloning fails.",
        measures="CSIL's score",
        decide=mujoco.decide_one_demonstration,
        smallest_scale="overnight",
        refuted_from="paper",
    ),
    Claim(
        id="csil.stability.hopper",
        source="Watson et al. 2023",
        location="Section 5, Fig. 3",
        statement="On Hopper CSIL has no adversarial instability.",
        measures=f"largest falls of the score, {mujoco.ADVERSARY}'s less CSIL's",
        decide=mujoco.decide_stability,
        smallest_scale="overnight",
        refuted_from="paper",
    ),
]
