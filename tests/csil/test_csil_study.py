"""What the studies of CSIL share: clones of every kind whose fit diverges are marked, idle values are refused."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch

from experiments.csil import _study, recurrent, vision
from experiments.harness import catalogue
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked
from imitation.policies.cloning import Fit


def plain() -> pd.DataFrame:
    cfg = catalogue.canonical("csil/ant", "smoke")
    return _study.cloned(_study.task(cfg, cfg.env[0], torch.device("cpu")), "clone", Context(), cfg.cloning)[1]


def remembered() -> pd.DataFrame:
    cfg = catalogue.canonical("csil/recurrent", "smoke")
    task = _study.task(cfg, cfg.env[0], torch.device("cpu"))
    flicker = replace(task, rows=recurrent.flickering(task.rows, cfg.blank, task.generators(6)))
    return recurrent._recurrent(flicker, Context())[2]


def pictured() -> pd.DataFrame:
    cfg = catalogue.canonical("csil/vision", "smoke")
    return vision._cloned(_study.task(cfg, cfg.env[0], torch.device("cpu")), Context())[2]


@pytest.mark.parametrize("clone", [plain, remembered, pictured])
def test_a_clone_that_diverges_in_its_last_step_is_marked(clone: Callable[[], pd.DataFrame], monkeypatch):
    step, last = Fit.step, max(clone()["update"])

    def step_and_diverge(self):
        step(self)
        if self.steps == last:
            with torch.no_grad():
                next(self.fitted.parameters())[1] = torch.nan

    monkeypatch.setattr(Fit, "step", step_and_diverge)
    found = clone()
    ended = found[found["update"] == last].pivot(index="seed", columns="metric", values="value")
    assert ended.diverged.tolist() == [0, 1]
    assert ended["return"].isna().tolist() == [False, True]
    assert found[found["update"] < last].value.notna().all()


@pytest.mark.parametrize("name", ["ablations", "features", "offline", "recurrent", "temperature", "vision"])
def test_a_temperature_that_nothing_learns_is_refused(name):
    config = catalogue.module(f"csil/{name}").Config
    values = asdict(catalogue.canonical(f"csil/{name}", "smoke"))
    with pytest.raises(BadInputError, match=r"temperature=0.05: nothing learns one"):
        checked(config, values | {"temperature": 0.05})
