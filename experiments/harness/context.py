"""What a running experiment gets from outside: device, random streams, progress, and pieces that outlive a kill."""

import io
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from experiments.harness.files import sha256, write_whole
from experiments.harness.frames import frame_bytes, read_frame
from imitation.population import Generators


class Context:
    """Handed to every `run(cfg, context)`.

    Args:
        folder: where status and pieces are kept, None for a run in memory (tests).
        key: what the pieces belong to; pieces of another configuration or source are thrown away.
        device: where tensors live.
    """

    def __init__(self, folder: Path | None = None, key: str = "", device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._folder = folder
        self._pieces = folder / ".pieces" / key[:16] if folder else None
        self._started = self._written = time.monotonic()
        if folder and self._pieces and not self._pieces.exists():
            shutil.rmtree(folder / ".pieces", ignore_errors=True)

    def generators(self, seeds: Sequence[int]) -> Generators:
        """One torch stream per seed on this run's device: the population's members."""
        return Generators(seeds, self.device)

    @staticmethod
    def rng(*key: int) -> np.random.Generator:
        """A numpy stream for a seed and, where one seed needs several, further integers."""
        return np.random.default_rng(key)

    def progress(self, done: float, total: float) -> None:
        """Say how far the run is; written at most twice a second."""
        now = time.monotonic()
        if self._folder and (now - self._written > 0.5 or done >= total):
            self._written = now
            status = {"done": done, "total": total, "seconds": now - self._started}
            write_whole(self._folder / ".status.json", json.dumps(status))

    def piece(self, name: str, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """A part of the frame: measured now, or read back if a killed run had finished it.

        Both ways give the same values, since metrics.csv keeps floats exactly.
        """
        if self._pieces is None:
            return measure()
        path = self._pieces / f"{sha256(name)[:24]}.csv"
        if not path.exists():
            write_whole(path, frame_bytes(measure()))
        return read_frame(path)

    def keep(self, name: str, state: dict[str, Any]) -> None:
        """Write down where a long training is, so that a killed run goes on from there."""
        if self._pieces:
            stream = io.BytesIO()
            torch.save(state, stream)
            write_whole(self._kept(name), stream.getvalue())

    def kept(self, name: str) -> dict[str, Any] | None:
        """What a killed run last kept under this name, if anything."""
        if self._pieces is None or not self._kept(name).exists():
            return None
        return torch.load(self._kept(name), map_location=self.device, weights_only=True)

    def _kept(self, name: str) -> Path:
        assert self._pieces is not None
        return self._pieces / f"{sha256(name)[:24]}.pt"

    def finish(self) -> None:
        """Throw the pieces away: the record holds them now."""
        if self._folder:
            shutil.rmtree(self._folder / ".pieces", ignore_errors=True)
