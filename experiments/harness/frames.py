"""metrics.csv: a frame as bytes and back, floats exact. What is recorded hangs on this: it counts as measuring code."""

import io
from pathlib import Path

import pandas as pd


def read_frame(path: Path | io.BytesIO) -> pd.DataFrame:
    """A metrics.csv as it was measured: floats exact, strings never turned into missing values."""
    return pd.read_csv(path, keep_default_na=False, na_values=["nan"])


def frame_bytes(frame: pd.DataFrame) -> bytes:
    """The bytes of metrics.csv for a frame: the same frame gives the same bytes on every system."""
    text = io.StringIO()
    frame.to_csv(text, index=False, lineterminator="\n", na_rep="nan")
    return text.getvalue().encode()
