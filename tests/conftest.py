"""One thread per process, as everywhere in this project: two threads on a busy machine are several times slower."""

import torch

torch.set_num_threads(1)
