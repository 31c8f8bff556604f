"""What all tests share: one thread per process, no deadlines, and no figure that outlives its test."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # two on a busy machine are several times slower
settings.register_profile("unhurried", deadline=None)  # another process on the machine is no fault of an example
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Pyplot keeps every figure: twenty in one worker would warn, whichever test comes next."""
    yield
    plt.close("all")
