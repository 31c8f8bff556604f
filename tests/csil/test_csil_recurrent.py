"""CSIL with a memory: decisions on made-up frames, what is refused, a run that was killed, the smoke run."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import last_scores

from experiments.csil import _scores, _study
from experiments.csil import recurrent as experiment
from experiments.csil.recurrent import RememberedTask, clone_of
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked
from imitation.policies.memory import LastFrames

SMOKE = catalogue.canonical("csil/recurrent", "smoke")
ONE, FEW, GATED = SMOKE.memories
LEVELS = {
    experiment.SEEN: 0.6,
    **{clone_of(name): level for name, level in zip(SMOKE.memories, (0.1, 0.2, 0.4), strict=True)},
    ONE: 0.3,
    FEW: 0.5,
    GATED: 0.8,
    experiment.NOTHING: 0.3,
}


def made_up(changed=None, **spread):
    """Last scores with a spread over seeds of recurrent CSIL's; `changed` stands for some of LEVELS."""
    learners, clones = (*SMOKE.memories, experiment.NOTHING), [name for name in LEVELS if name.startswith("BC")]
    return last_scores(LEVELS | (changed or {}), GATED, learners, clones, **spread)


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (made_up(), REPRODUCED),
        (made_up(spread=2), INCONCLUSIVE),
        (made_up({clone_of(GATED): 0.9}), REFUTED),
        (made_up({experiment.NOTHING: 0.9}), REFUTED),  # negative control: it does better without its reward
        (made_up({ONE: 0.9, FEW: 0.9}), REPRODUCED),  # asked by the other claim
        (made_up({GATED: lambda env: 1.2 if env == "Hopper-v5" else 0.2}), INCONCLUSIVE),  # behind in one
    ],
)
def test_whether_it_works(frame, verdict):
    assert experiment.decide_works(frame).verdict == verdict


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (made_up(), REPRODUCED),
        (made_up({ONE: 0.9}), REFUTED),  # no memory is better
        (made_up({FEW: 0.9}), REFUTED),  # no recurrence is
        (made_up({clone_of(GATED): 0.9}), REPRODUCED),  # clones are no rivals here
        (made_up({clone_of(FEW): 0.9}), REPRODUCED),
    ],
)
def test_whether_the_memory_is_of_use(frame, verdict):
    assert experiment.decide_memory(frame).verdict == verdict


def test_the_smallest_lead_is_told():
    assert experiment.decide_works(made_up()).measured == pytest.approx(0.4, abs=0.01)
    assert experiment.decide_memory(made_up()).measured == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("claim", experiment.CLAIMS, ids=lambda claim: claim.id)
def test_what_is_smaller_than_published_refutes_nothing(claim):
    frame = made_up({GATED: 0.0})
    assert claim.verdict(made_up(), "laptop").verdict == INCONCLUSIVE
    assert claim.verdict(frame, "overnight").verdict == INCONCLUSIVE
    assert claim.verdict(frame, "paper").verdict == REFUTED


@pytest.mark.parametrize("wrong", [{"blank": 1.0}, {"frames": [0]}, {"units": 0}, {"window": 0}, {"window": 3}])
def test_bad_values_are_refused(wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        checked(experiment.Config, asdict(SMOKE) | wrong)


def test_a_memory_needs_every_step():
    with pytest.raises(BadInputError, match=r"demonstrations\.keep=5: a memory needs every step"):
        replace(SMOKE, demonstrations=replace(SMOKE.demonstrations, keep=5))


@pytest.fixture(scope="module")
def smoke():
    return experiment.run(SMOKE, Context())


def returns(frame, method, update):
    mine = frame[(frame.method == method) & (frame["update"] == update) & (frame.metric == "return")]
    return mine.set_index("seed").value


def test_the_smoke_run_draws_and_tells_all_methods(smoke):
    assert smoke.value.notna().all()
    assert set(_scores.tables(smoke)) == set(LEVELS)
    assert len(experiment.figure(smoke).axes) == 2 * len(SMOKE.env)


def test_every_training_starts_from_the_clone_of_its_memory(smoke):
    for memory in SMOKE.memories:
        start = returns(smoke, clone_of(memory), SMOKE.start)
        assert len(start) == len(SMOKE.seeds)
        pd.testing.assert_series_equal(returns(smoke, memory, 0), start)
    start = returns(smoke, clone_of(GATED), SMOKE.start)
    pd.testing.assert_series_equal(returns(smoke, experiment.NOTHING, 0), start)


def test_without_blanks_the_last_frame_is_the_task_itself():
    task = _study.task(replace(SMOKE, blank=0.0), SMOKE.env[0], torch.device("cpu"))
    plain = experiment.flickering(task.rows, 0.0, task.generators(6))
    shown = RememberedTask.of(replace(task, rows=plain), LastFrames(task.sizes[0] + 1))

    def stand(observation):
        return observation[..., : task.sizes[1]].tanh()

    assert np.array_equal(shown.returns(stand), task.returns(stand))


def test_members_flicker_differently_and_alike_at_every_evaluation():
    task = _study.task(SMOKE, SMOKE.env[0], torch.device("cpu"))
    rows = experiment.flickering(task.rows, SMOKE.blank, task.generators(6))
    assert not torch.equal(*rows.rows.observation[..., -1])
    shown = RememberedTask.of(replace(task, rows=rows), LastFrames(task.sizes[0] + 1))
    seen = []
    for _ in range(2):
        seen.append([])
        shown.returns(lambda one: seen[-1].append(one[..., -1]) or one[..., : task.sizes[1]].tanh())
    assert all(torch.equal(*pair) for pair in zip(*seen, strict=True))
    assert 0 < float(torch.stack(seen[0]).mean()) < 1


QUICK = replace(SMOKE, start=min(SMOKE.cloning))  # CSIL does not start where the clones end


@pytest.fixture(scope="module")
def quick():
    return experiment.run(QUICK, Context())


def test_training_starts_from_the_clone_of_start_which_need_not_be_the_last(quick):
    for memory in SMOKE.memories:
        first = returns(quick, memory, 0)
        pd.testing.assert_series_equal(first, returns(quick, clone_of(memory), QUICK.start))
        assert not first.equals(returns(quick, clone_of(memory), max(SMOKE.cloning)))


@pytest.mark.parametrize(
    ("after", "name"),
    [(2, experiment.SEEN), (9, "last 1"), (18, clone_of(GATED)), (19, clone_of(GATED)),
     (21, "recurrent"), (23, "recurrent, no reward")],
)  # fmt: skip
def test_a_killed_run_goes_on_to_the_same_rows(quick, killed_and_resumed, after, name):
    last, found = killed_and_resumed(experiment.run, QUICK, after)
    assert last == f"{SMOKE.env[0]} {name}"
    pd.testing.assert_frame_equal(found, quick, check_dtype=False)
