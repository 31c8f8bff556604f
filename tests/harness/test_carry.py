"""A result goes along with a change of code that computes the same, and with no other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness import arguments
from experiments.harness.carry import carry as carried_over
from experiments.harness.catalogue import ROOT
from experiments.harness.files import sha256
from experiments.harness.record import REQUIRED, write
from experiments.harness.schema import BadInputError

NAME, SHORT = "critique/finite_sample", ["repetitions=20", "seeds=[0,1]"]
SOURCE = f"experiments/{NAME}.py"
RECORD = f"kept/{NAME}/smoke/shards/seeds=0+1/run.json"
SAME = ("(estimate[i, j] - example.EXPERT) ** 2", "np.square(estimate[i, j] - example.EXPERT)")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own, with a history and one result."""
    for package in ("experiments", "imitation", "configs"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text("__pycache__/\noutputs/\nkept/\n.measured\n.lock\n.status.json\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    done = program(tmp_path, "experiments", "seeds=[0,1]")
    assert done.returncode == 0, done.stderr
    return tmp_path


def git(project: Path, *arguments: str) -> None:
    person = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *person, *arguments], cwd=project, check=True, capture_output=True)


def commit(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Change")


def program(project: Path, module: str, *arguments: str, experiment: str = NAME) -> subprocess.CompletedProcess[str]:
    asked = [sys.executable, "-m", module, *arguments, f"experiment={experiment}", "scale=smoke", "results=kept"]
    environment = os.environ | {"PYTHONPATH": str(project)}
    return subprocess.run(asked, cwd=project, env=environment, capture_output=True, text=True, check=False)


def carry(
    project: Path, *values: str, since: str = "HEAD~1", experiment: str = NAME
) -> subprocess.CompletedProcess[str]:
    return program(project, "experiments.harness.carry", f"--since={since}", *values, experiment=experiment)


def change(project: Path, old: str, new: str) -> None:
    path = project / SOURCE
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


def test_a_change_that_computes_the_same_carries_the_result_and_one_of_the_last_bits_does_not(project: Path) -> None:
    before = json.loads((project / RECORD).read_text())
    change(project, *SAME)
    commit(project)
    done = carry(project, *SHORT)
    assert done.stdout.startswith(f"carried: kept/{NAME}/smoke/shards/seeds=0+1;"), done.stderr
    carried = json.loads((project / RECORD).read_text())
    [step] = carried["carried"]
    assert carried == before | {"carried": [step]}
    assert step["source_hash"] != before["source_hash"]
    assert "repetitions=20" in step["command"]
    assert "current, skipped" in program(project, "experiments", "seeds=[0,1]").stdout
    change(project, SAME[1], f"{SAME[1]} + 1e-18")
    commit(project)
    done = carry(project, *SHORT)
    assert done.stderr == f"error: {NAME}: the two codes give different metrics.csv; measure it again\n"
    assert done.returncode == 1
    assert json.loads((project / RECORD).read_text()) == carried


def test_what_cannot_be_carried_is_said_in_one_line(project: Path) -> None:
    assert "nothing to carry" in carry(project, *SHORT).stdout
    assert "has no record" in refusal(carry(project, "repetitions=20"))
    assert "k: may not be changed" in refusal(carry(project, *SHORT, "k=0.4"))
    assert "must be less than 50" in refusal(carry(project, "seeds=[0,1]", "repetitions=60"))
    assert "nothing makes the run shorter" in refusal(carry(project, "seeds=[0,1]"))
    sizes = carry(project, "steps=[1e-4,5e-4]", experiment="gap/langevin_moments")  # of a step: they are no lengths
    assert "steps: may not be changed" in refusal(sizes)
    change(project, *SAME)
    assert "not committed" in refusal(carry(project, *SHORT))
    commit(project)
    assert "git rev-parse" in refusal(carry(project, *SHORT, since="nowhere"))
    assert "is not the code" in refusal(carry(project, *SHORT, since="HEAD"))
    record = project / RECORD
    record.write_text(record.read_text().replace('"threads": 1', '"threads": 2'))
    assert "threads: 1, but" in refusal(carry(project, *SHORT))


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


FILE = "pyproject.toml"  # stands for an input


@pytest.mark.parametrize(
    "changed",
    [{"configuration_hash": "0" * 64}, {"input_hashes": {FILE: "0" * 64}}, {"input_hashes": {"nowhere": "0" * 64}}],
)
def test_what_changed_in_more_than_its_code_is_to_be_measured_again(tmp_path: Path, changed: dict) -> None:
    asked = [f"experiment={NAME}", "scale=smoke", f"results={tmp_path}"]
    [whole], [short] = (arguments.plans([*asked, *values], multirun=False) for values in (SHORT[1:], SHORT))
    read = {"input_hashes": {FILE: sha256((ROOT / FILE).read_bytes())}}
    write(whole, b"", dict.fromkeys(REQUIRED, "") | whole.hashes() | read | {"metrics_hash": sha256(b"")})
    assert carried_over(short, [], "HEAD") is None  # current
    path = whole.folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(BadInputError, match="its configuration or inputs changed; measure it again"):
        carried_over(short, [], "HEAD")
