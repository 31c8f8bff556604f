"""Matrix products in half of the bits."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from imitation.nn import products


@contextmanager
def without_private_products() -> Iterator[None]:
    """Leave out oneDNN's private operators, of which neither torch's compiler nor its autocast knows."""
    large = products.LARGE
    products.LARGE = 2**62
    try:
        yield
    finally:
        products.LARGE = large


@contextmanager
def bfloat16() -> Iterator[None]:
    """Let a processor multiply in bfloat16 what is computed inside, with its slopes; parameters stay as they are."""
    with without_private_products(), torch.autocast("cpu", torch.bfloat16):
        yield
