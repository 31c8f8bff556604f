"""The MuJoCo study on one environment with one number of demonstrations."""

from dataclasses import dataclass

from experiments.csil import mujoco
from experiments.harness.schema import BadInputError


@dataclass
class Config(mujoco.Config):
    """As the study's, of one environment and one number."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.env) != 1 or len(self.demonstrations.counts) != 1:
            given = f"env={self.env}, demonstrations.counts={self.demonstrations.counts}"
            raise BadInputError(f"{given}: must be one of each")
