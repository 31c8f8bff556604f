"""What all tests share: one thread per process, and no deadlines."""

import torch
from hypothesis import settings

torch.set_num_threads(1)  # two on a busy machine are several times slower
settings.register_profile("unhurried", deadline=None)  # another process on the machine is no fault of an example
settings.load_profile("unhurried")
