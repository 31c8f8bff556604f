"""The whole thing as a person runs it: fresh processes, sweeps, launchers, shards, the committed results."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from experiments.harness import catalogue, frames
from experiments.harness.catalogue import ROOT

ALL = ",".join(catalogue.experiments())
QUICK = "critique/gradient_sign,gap/langevin_forms"


def experiments(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Everything at smoke scale, twice, in fresh processes."""
    folders = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    for folder in folders:
        done = experiments("-m", f"experiment={ALL}", "scale=smoke", f"results={folder}")
        assert done.returncode == 0, done.stdout + done.stderr
    return folders


def test_the_same_seed_gives_the_same_bytes_in_two_fresh_processes(twice: tuple[Path, Path]) -> None:
    for name in catalogue.experiments():
        for file in ("metrics.csv", "figure.png", "figure.svg"):
            first, second = (folder / name / "smoke" / file for folder in twice)
            assert first.read_bytes() == second.read_bytes(), f"{name}/{file}"
    assert (twice[0] / "claims.csv").read_bytes() == (twice[1] / "claims.csv").read_bytes()


def test_smoke_decides_exact_claims_and_no_others(twice: tuple[Path, Path]) -> None:
    rows = frames.read_frame(twice[0] / "claims.csv").set_index("id")
    for name in catalogue.experiments():
        for claim in catalogue.claims(name):
            verdict = rows.loc[claim.id].verdict
            exact = claim.smallest_scale == "smoke"
            expected = ("reproduced", "corrected", "refuted") if exact else ("inconclusive",)
            left_out = not exact and verdict == "not run" and rows.loc[claim.id].note.startswith("Not run:")
            assert verdict in expected or left_out, claim.id


def test_the_record_says_what_was_run_and_on_what(twice: tuple[Path, Path]) -> None:
    read = json.loads((twice[0] / "gap/langevin_moments/smoke/run.json").read_text())
    assert read["configuration"]["seeds"] == read["seeds"] == [0, 1]
    assert read["departures"]["seeds"]["smoke"] == [0, 1]
    assert read["departures"]["seeds"]["paper"] == list(range(30))
    assert read["command"] == "python -m experiments experiment=gap/langevin_moments scale=smoke"
    assert read["threads"] == 1
    assert 0 < read["wall_seconds"] < 60
    assert 50 < read["peak_memory_mb"] < 5000
    for key in ("commit", "dirty", "versions", "device", "configuration_hash", "source_hash", "input_hashes"):
        assert key in read
    assert not re.search(re.escape(str(ROOT)), json.dumps(read))


def test_a_second_call_skips_what_is_current(twice: tuple[Path, Path]) -> None:
    done = experiments("-m", f"experiment={QUICK}", "scale=smoke", f"results={twice[0]}")
    assert done.returncode == 0
    assert done.stdout.count("current, skipped") == 2
    assert "ran " not in done.stdout


@pytest.mark.parametrize("launcher", ["submitit_local", "local", "basic"])
def test_launchers(tmp_path: Path, launcher: str) -> None:
    done = experiments("-m", f"experiment={QUICK}", "scale=smoke", f"results={tmp_path}", f"hydra/launcher={launcher}",
                       f"hydra.sweep.dir={tmp_path}/sweep")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in QUICK.split(","):
        assert (tmp_path / name / "smoke" / "run.json").exists()


def test_a_sweep_over_seeds_makes_shards_and_one_verdict(tmp_path: Path, twice: tuple[Path, Path]) -> None:
    done = experiments("-m", "experiment=gap/langevin_forms", "scale=smoke", "seeds=[0],[1]", f"results={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    shards = sorted(path.name for path in (tmp_path / "gap/langevin_forms/smoke/shards").iterdir())
    assert shards == ["seeds=0", "seeds=1"]
    rows = [frames.read_frame(folder / "claims.csv").set_index("id") for folder in (tmp_path, twice[0])]
    assert rows[0].loc["gap.three-forms"].verdict == rows[1].loc["gap.three-forms"].verdict == "reproduced"
    assert rows[0].loc["gap.three-forms"].measured == rows[1].loc["gap.three-forms"].measured
    assert (tmp_path / "gap/langevin_forms/smoke/figure.svg").exists()


def test_other_values_are_kept_apart_from_the_results(tmp_path: Path) -> None:
    done = experiments("experiment=critique/gradient_sign", "scale=smoke", "k=[0.5,1]", f"results={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "critique.theorem-1" in done.stdout
    assert "kept apart: outputs/critique/gradient_sign/smoke/k=0.5+1" in done.stdout
    assert not (tmp_path / "claims.csv").exists()


@pytest.mark.parametrize("values", ["k=[1]", "objective_theta=[0.5]"])
def test_values_without_a_claims_conditions_are_inconclusive(tmp_path: Path, values: str) -> None:
    done = experiments("experiment=critique/gradient_sign", "scale=smoke", values, f"results={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"critique\.theorem-1\.objective +inconclusive", done.stdout)


def test_the_whole_command_killed_then_completed(tmp_path: Path) -> None:
    arguments = ("-m", f"experiment={QUICK}", "scale=smoke", f"results={tmp_path}")
    for seconds in (0.5, 2.5, 4.0):
        command = [sys.executable, "-m", "experiments", *arguments]
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)  # fmt: skip
        time.sleep(seconds)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    done = experiments(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "index.html").exists()


def test_workers_end_with_a_killed_launcher(tmp_path: Path) -> None:
    """Only the parent is killed; its workers must not keep the folders locked."""
    arguments = ("-m", "experiment=critique/sum_out,gap/temperature", "scale=laptop", f"results={tmp_path}")
    parent = subprocess.Popen([sys.executable, "-m", "experiments", *arguments], cwd=ROOT,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    lock = tmp_path / "critique/sum_out/laptop/.lock"
    for _ in range(200):
        time.sleep(0.1)
        if lock.exists():
            break
    else:
        parent.kill()
        pytest.fail("the worker never began")
    parent.kill()
    parent.wait()
    with FileLock(lock, timeout=10):
        pass


@pytest.mark.parametrize("option", ["--typo", "--config-name=nope"])
def test_wrong_options_are_one_line(option: str) -> None:
    done = experiments("experiment=gap/langevin_forms", option)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_failure_in_a_sweep_is_status_1_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "gap").write_text("a file where a folder is needed")
    done = experiments("-m", f"experiment={QUICK}", "scale=smoke", f"results={tmp_path}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written: Not a directory" in done.stdout
    assert "critique.theorem-1" in done.stdout


def test_the_library_imports_without_the_frame() -> None:
    code = """
import sys, imitation, imitation.mdp, imitation.ebm.langevin, imitation.ebm.mlp, imitation.ebm.diagnostics
import imitation.ebm.joint, imitation.ebm.schedules, imitation.envs.tabular, imitation.population
heavy = {"hydra", "omegaconf", "pandas", "matplotlib", "experiments"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_example_in_the_readme_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["draws"].shape == (1, 3, 1000, 2)


def test_the_slurm_launcher_composes() -> None:
    chosen = ("experiment=gap/langevin_forms", "hydra/launcher=slurm")
    done = experiments(*chosen, "--cfg", "hydra", "-p", "hydra.launcher")
    assert done.returncode == 0, done.stderr
    assert "SlurmLauncher" in done.stdout
