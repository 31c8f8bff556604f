"""The three published forms are one; formulas copied wrongly are found."""

import pytest
import torch

from experiments.gap import langevin_forms as experiment
from experiments.harness import catalogue
from experiments.harness.claim import REFUTED, REPRODUCED
from experiments.harness.context import Context

CONFIG = catalogue.canonical("gap/langevin_forms", "smoke")


def verdict():
    return experiment.CLAIMS[0].verdict(experiment.run(CONFIG, Context()), "smoke")


def test_smoke_decides_that_the_three_forms_are_one():
    decided = verdict()
    assert decided.verdict == REPRODUCED
    assert decided.measured <= 1e-12


def test_formulas_against_values_worked_out_by_hand():
    # lambda = .04: eps = .2, tau = .02; y = 1, dE = 3, w = -1: 1 - .06 - .2 = .74, and IBC's 1 - .06 - .04 = .90.
    arguments = torch.ones(1, 2).double(), lambda y: 3 * y, torch.tensor([0.04]).double(), -torch.ones(1, 2).double()
    for name, update in experiment.UPDATES.items():
        expected = 0.90 if name == "imitation, ibc" else 0.74
        assert update(*arguments).flatten().tolist() == pytest.approx([expected] * 2, abs=1e-8)


WRONG = {
    "N(0, lambda^2) for N(0, lambda)": ("Du & Mordatch", lambda y, g, size, w: y - size / 2 * g(y) + size * w),
    "epsilon used as lambda": ("Girolami & Calderhead", lambda y, g, size, w: y - size**2 / 2 * g(y) + size * w),
    "tau without its 2": ("Euler-Maruyama", lambda y, g, size, w: y - size / 2 * g(y) + torch.sqrt(size / 2) * w),
    "lambda taken for tau": ("Euler-Maruyama", lambda y, g, size, w: y - size * g(y) + torch.sqrt(2 * size) * w),
    "uphill": ("imitation, true", lambda y, g, size, w: y + size / 2 * g(y) + torch.sqrt(size) * w),
    "off by 1e-11": ("imitation, true", lambda y, g, size, w: experiment.du_mordatch(y, g, size, w) + 1e-11),
    "the fourth form is the true one": ("imitation, ibc", experiment.du_mordatch),
}


@pytest.mark.parametrize(("form", "update"), WRONG.values(), ids=WRONG)
def test_a_formula_copied_wrongly_is_refuted(monkeypatch, form, update):
    monkeypatch.setitem(experiment.UPDATES, form, update)
    assert verdict().verdict == REFUTED


def test_missing_forms_and_paths_that_overflow_are_refuted():
    frame = experiment.run(CONFIG, Context())
    assert experiment.decide_three_forms(frame[frame.form != "Euler-Maruyama"]).verdict == REFUTED
    assert experiment.decide_three_forms(frame[frame.form != "imitation, ibc"]).verdict == REFUTED
    frame.loc[frame.index[0], "difference"] = float("nan")
    assert experiment.decide_three_forms(frame).verdict == REFUTED
