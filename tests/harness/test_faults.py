"""Killed, full, unwritable, locked: nothing half-written remains, nothing is lost, and the message is one line."""

import json
import multiprocessing
import os
import resource
import shlex
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from experiments.harness import arguments, files, record, report, runner
from experiments.harness.context import Context
from experiments.harness.record import Plan
from experiments.harness.schema import BadInputError

FORK = multiprocessing.get_context("fork")


def plan_in(folder: Path, *overrides: str) -> Plan:
    wanted = ["experiment=critique/finite_sample", "scale=smoke", f"results={folder}", *overrides]
    return arguments.plans(wanted, multirun=False)[0]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The bytes that a run without faults writes, and its seconds."""
    plan = plan_in(tmp_path_factory.mktemp("reference"))
    started = time.perf_counter()
    runner.execute(plan)
    return (plan.folder / "metrics.csv").read_bytes(), time.perf_counter() - started


def assert_whole_or_absent(plan: Plan, content: bytes) -> None:
    """Every file that a reader would open is complete: the record matches its frame, or there is no record."""
    frame = plan.folder / "metrics.csv"
    assert not frame.exists() or frame.read_bytes() == content
    if plan.is_current():
        assert record.read_record(plan.folder) is not None


def kill_during(plan: Plan, seconds: float) -> None:
    child = FORK.Process(target=runner.execute, args=(plan,))
    child.start()
    time.sleep(seconds)
    child.kill()
    child.join()


def test_killed_at_ten_random_moments_then_complete(tmp_path: Path, reference: tuple[bytes, float]) -> None:
    content, seconds = reference
    plan = plan_in(tmp_path)
    for moment in np.random.default_rng(0).uniform(0, seconds, size=10):
        kill_during(plan, float(moment))
        assert_whole_or_absent(plan, content)
    runner.execute(plan)
    assert plan.is_current()
    assert (plan.folder / "metrics.csv").read_bytes() == content
    assert not list(plan.folder.glob(".*.tmp"))
    assert not (plan.folder / ".pieces").exists()


def test_killed_at_every_write_then_complete(tmp_path: Path, reference: tuple[bytes, float]) -> None:
    """A deterministic sweep over all writes of a run: each leaves old or new files, never parts."""
    for number in range(1, 40):
        plan = plan_in(tmp_path / str(number))
        child = FORK.Process(target=_die_at_write, args=(plan, number))
        child.start()
        child.join()
        if child.exitcode == 0:  # fewer writes than that: every one has been tried
            break
        assert_whole_or_absent(plan, reference[0])
        runner.execute(plan)
        assert (plan.folder / "metrics.csv").read_bytes() == reference[0]
    else:
        pytest.fail("the run never completed")
    assert number > 6  # four seeds, frame and record at least


def _die_at_write(plan: Plan, number: int) -> None:
    real, count = files.os.fsync, [0]

    def fsync(descriptor: int) -> None:
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    files.os.fsync = fsync
    runner.execute(plan)


def test_a_changed_frame_is_no_record(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    runner.execute(plan)
    assert plan.is_current()
    frame = plan.folder / "metrics.csv"
    frame.write_bytes(frame.read_bytes().replace(b"0.25", b"0.26", 1))
    assert record.read_record(plan.folder) is None
    assert not plan.is_current()


def test_a_clone_measures_anew(tmp_path: Path) -> None:
    """A record that came with the repository was not measured in this checkout: it lacks the mark."""
    plan = plan_in(tmp_path)
    runner.execute(plan)
    (plan.folder / ".measured").unlink()
    assert record.read_record(plan.folder) is not None
    assert not plan.is_current()


def test_current_runs_are_skipped_and_force_repeats(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    runner.execute(plan)
    written = (plan.folder / "run.json").stat().st_mtime_ns
    runner.execute(plan)
    assert (plan.folder / "run.json").stat().st_mtime_ns == written
    runner.execute(plan_in(tmp_path, "force=true"))
    assert (plan.folder / "run.json").stat().st_mtime_ns > written


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "critique").write_text("a file where a folder is needed")
    with pytest.raises(BadInputError, match=r"critique/finite_sample/smoke: cannot be written: Not a directory$"):
        runner.execute(plan_in(tmp_path))


def _with_a_full_disk(plan: Plan, answer) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    try:
        runner.execute(plan)
    except BadInputError as error:
        answer.send(str(error))


def test_a_full_disk_is_one_line_and_nothing_remains(tmp_path: Path, reference: tuple[bytes, float]) -> None:
    plan = plan_in(tmp_path)
    here, there = FORK.Pipe()
    child = FORK.Process(target=_with_a_full_disk, args=(plan, there))
    child.start()
    child.join()
    assert here.poll()
    message = here.recv()
    assert "cannot be written: File too large" in message
    assert "\n" not in message
    assert not (plan.folder / "metrics.csv").exists()
    runner.execute(plan)
    assert (plan.folder / "metrics.csv").read_bytes() == reference[0]


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    plan.folder.mkdir(parents=True)
    with FileLock(plan.folder / ".lock"), pytest.raises(BadInputError, match="another process writes here"):
        # The lock is held by another file handle of this process, which the system treats as another process.
        runner.execute(plan)
    assert not (plan.folder / "metrics.csv").exists()


def test_the_time_of_interrupted_processes_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where their pieces are gone on from, and no longer once they are thrown away."""
    from experiments.critique import finite_sample

    whole = finite_sample.run

    def interrupted(_: object, context: Context) -> None:
        context.keep("a training", {"step": 1})
        context._started -= 100  # as if it had taken so long
        context.progress(1, 1)
        raise KeyboardInterrupt

    plan = plan_in(tmp_path)
    for _ in range(3):
        monkeypatch.setattr(finite_sample, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runner.execute(plan)
    monkeypatch.setattr(finite_sample, "run", whole)
    runner.execute(plan)
    assert 300 < json.loads((plan.folder / "run.json").read_text())["wall_seconds"] < 400
    runner.execute(plan_in(tmp_path, "force=true"))
    assert json.loads((plan.folder / "run.json").read_text())["wall_seconds"] < 100


def test_a_failing_experiment_leaves_its_error_and_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.critique import finite_sample

    def fail(*_: object) -> None:
        raise ArithmeticError("the sum is wrong")

    plan = plan_in(tmp_path)
    monkeypatch.setattr(finite_sample, "run", fail)
    with pytest.raises(ArithmeticError):
        runner.execute(plan)
    assert "the sum is wrong" in (plan.folder / "error.log").read_text()
    assert record.read_record(plan.folder) is None


def test_a_drawing_that_fails_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.critique import finite_sample

    def fail(_: object) -> None:
        raise ArithmeticError("the picture is wrong")

    plan = plan_in(tmp_path)
    monkeypatch.setattr(finite_sample, "figure", fail)
    with pytest.raises(ArithmeticError):
        runner.execute(plan)
    assert record.read_record(plan.folder) is not None  # what was measured is kept
    assert not runner.was_measured(plan, since=0)
    assert runner.obstacle(plan.folder).endswith("error.log there: ArithmeticError: the picture is wrong")
    # Nor does it end the report of all other experiments without a word.
    with pytest.raises(BadInputError, match="the figure of critique/finite_sample at smoke scale: failed: Arithmetic"):
        report.write(tmp_path)


def test_code_that_changed_under_a_process_is_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_in(tmp_path)
    monkeypatch.setattr(runner, "fingerprint", lambda: "another")
    with pytest.raises(BadInputError, match="the code changed since this process began"):
        runner.execute(plan)
    assert record.read_record(plan.folder) is None


def test_a_result_of_code_that_changed_meanwhile_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_in(tmp_path)
    runner.execute(plan)
    assert runner.was_measured(plan, since=0)
    monkeypatch.setattr(record, "source_hash", lambda _: "another")
    assert not runner.was_measured(plan, since=0)
    assert runner.obstacle(plan.folder).endswith("measured, but its code or what it reads changed meanwhile")


def test_what_an_experiment_refuses_is_told_after_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of a sweep cannot raise: its folder has to say why there is no result."""
    from experiments.critique import finite_sample

    def refuse(*_: object) -> list[Path]:
        raise BadInputError("env=Swimmer-v5: no expert is kept")

    plan = plan_in(tmp_path)
    monkeypatch.setattr(finite_sample, "inputs", refuse, raising=False)
    with pytest.raises(BadInputError):
        runner.execute(plan)
    assert runner.obstacle(plan.folder).endswith("error.log there: env=Swimmer-v5: no expert is kept")


def test_the_recorded_command_repeats_the_run() -> None:
    """Strings with blanks survive the shell."""
    wanted = ["experiment=gap/langevin_forms", "scale=smoke", 'energies=["double well"]']
    (plan,) = arguments.plans(wanted, multirun=False)
    _, _, _, *words = shlex.split(record.command(plan))
    (again,) = arguments.plans(words, multirun=False)
    assert again == plan
