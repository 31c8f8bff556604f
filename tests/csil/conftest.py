"""What the tests of CSIL's studies share."""

from collections.abc import Callable

import pandas as pd
import pytest

from experiments.csil import _study
from experiments.harness.context import Context


@pytest.fixture
def killed_and_resumed(tmp_path, monkeypatch) -> Callable[..., tuple[str, pd.DataFrame]]:
    """Runs a study, kills it right after so many checkpoints, runs it again: the last one's name, and the rows."""

    class KilledError(Exception):
        pass

    def result(run: Callable[..., pd.DataFrame], cfg: _study.Study, after: int) -> tuple[str, pd.DataFrame]:
        keep, kept = Context.keep, []

        def keep_and_die(self, name, state):
            keep(self, name, state)
            kept.append(name)
            if len(kept) == after:
                raise KilledError

        monkeypatch.setattr(_study, "KEEP_SECONDS", 0)
        monkeypatch.setattr(Context, "keep", keep_and_die)
        with pytest.raises(KilledError):
            run(cfg, Context(tmp_path, "key"))
        monkeypatch.setattr(Context, "keep", keep)
        return kept[-1], run(cfg, Context(tmp_path, "key"))

    return result
