"""The file of a benchmark's trainings: what is in it is not trained again, unless it is of other code or length."""

import numpy as np
import pytest
import sac


class Trained:
    """Stands for a worker: every training's returns are its number of calls so far; ends with an error at `dies`."""

    version, engine = "1.0", "torch 2"

    def __init__(self, dies: int = 0) -> None:
        self.calls, self.dies = 0, dies

    def run(self, *_: object) -> dict[str, list[float]]:
        self.calls += 1
        if self.calls == self.dies:
            raise RuntimeError("silent")
        return {"values": [float(self.calls)] * 5}


def test_a_run_that_was_cut_off_goes_on(tmp_path):
    path, first, second = tmp_path / "curves.csv", Trained(dies=2), Trained()
    with pytest.raises(RuntimeError, match="silent"):
        sac.Curves(path, 100).measure(sac.OURS, first, 3)
    np.testing.assert_array_equal(sac.Curves(path, 100).measure(sac.OURS, second, 3)[:, 0], [1, 1, 2])
    assert second.calls == 2


def test_other_code_another_length_and_the_peer_are_trained_anew(tmp_path, monkeypatch):
    path = tmp_path / "curves.csv"
    sac.Curves(path, 100).measure(sac.OURS, Trained(), 2)
    for name, steps in ((sac.PEER, 100), (sac.OURS, 200)):
        worker = Trained()
        sac.Curves(path, steps).measure(name, worker, 2)
        assert worker.calls == 2
    monkeypatch.setattr(sac, "code", lambda _: "another")
    worker = Trained()
    sac.Curves(path, 100).measure(sac.OURS, worker, 2)
    assert worker.calls == 2
    assert sac.code(sac.OURS) == "another"


def test_the_difference_is_welchs():
    ours = np.array([[0.0, 3.0], [0.0, 5.0], [0.0, 4.0]])
    said = sac.difference({sac.OURS: ours, sac.PEER: ours - 10})
    # Standard deviations of 1 (and of .5 along the curve) over three seeds each: t(4) = 2.776, times sqrt(2 / 3).
    assert said.endswith("ours less theirs: 10 [9, 11]; at its end: 10 [8, 12]")
