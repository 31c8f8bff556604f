"""CSIL, Fig. 3, Hopper with one demonstration (csil.one-demonstration.hopper): does one suffice where cloning fails?"""

from dataclasses import dataclass

from experiments.csil import _single, _study
from experiments.csil._study import Study

SHARD_AXES = ("seeds",)
inputs = _study.inputs
run = _single.run
figure = _single.figure


@dataclass
class Config(Study):
    """As in `_study`."""


CLAIMS = [
    _single.claim(
        "one-demonstration.hopper",
        "On Hopper one demonstration suffices for CSIL where behavioural cloning fails.",
        _single.decide_suffices,
    )
]
