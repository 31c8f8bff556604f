"""Bad input ends in one line that names the key, the value and what is allowed, before anything is computed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness import arguments, catalogue
from experiments.harness.catalogue import ROOT
from experiments.harness.schema import BadInputError

SIGN = "experiment=critique/gradient_sign"

BAD = [
    ([], "experiment: missing; allowed: critique/"),
    (["experiment=critique/nothing"], "experiment=critique/nothing: unknown; allowed: critique/"),
    ([SIGN, "scale=huge"], "scale=huge: unknown for critique/gradient_sign; allowed: smoke, laptop, paper"),
    ([SIGN, "scale=overnight"], "scale=overnight: unknown for critique/gradient_sign; allowed: smoke, laptop, paper"),
    ([SIGN, "kk=[1]"], "kk=[1]: unknown key; allowed: k, theta"),
    ([SIGN, "+kk=[1]"], "+kk=[1]: unknown key; allowed: k, theta"),
    ([SIGN, "k=hello"], "k=hello: must be list[float]"),
    ([SIGN, "k=[0.5,hello]"], "k=[0.5, 'hello']: must be list[float]"),
    ([SIGN, "k=[0.5,null]"], "k=[0.5, None]: must be list[float]"),
    ([SIGN, "k=[]"], "k=[]: needs at least 1 items"),
    ([SIGN, "k=[99]"], "k=[99.0]: must be between -10 and 10"),
    ([SIGN, "k=[nan]"], "k=[nan]: must be between -10 and 10"),
    ([SIGN, "~k"], "k: missing; must be list[float]"),
    ([SIGN, "force=perhaps"], "force=perhaps: must be true or false"),
    ([SIGN, "device=abacus"], "device=abacus: allowed for this experiment: cpu"),
    ([SIGN, "device=cuda"], "device=cuda: allowed for this experiment: cpu"),
    ([SIGN, "k=[0.5"], "k=[0.5: cannot be read; allowed: key=value"),
    ([SIGN, "k=[0.5],[1]"], "several values for one key: add -m"),
    ([SIGN, "k=[[0.5]]"], "k=[[0.5]]: must be list[float]"),
    ([SIGN, "k={a:1}"], "k={a:1}: cannot be used; allowed: key=value with k, theta"),
    ([SIGN, "k=${nope}"], "k=${nope}: must be list[float]"),
    ([SIGN, "k=???"], "k: missing; must be list[float]"),
    ([SIGN, "~force"], "force: missing"),
    ([SIGN, "force=???"], "force: missing"),
    ([SIGN, "~results"], "results: missing"),
    ([SIGN, "results="], "results=: must be a folder of its own"),
    ([SIGN, "results=."], "results=.: must be a folder of its own"),
    ([SIGN, "results=tests"], "results=tests: must be a folder of its own"),
    ([SIGN, "results=null"], "results=None: must be a folder of its own"),
    ([SIGN, "results=[1,2]"], "must be a folder of its own"),
    ([SIGN, "overlay=typo"], "overlay=typo: unknown key; allowed: k, theta"),
    ([SIGN, "foo='a\nb'"], "unknown key; allowed: k, theta"),
    ([SIGN, "hydra/launcher=typo"], "hydra/launcher=typo: unknown; allowed: local, slurm"),
    ([SIGN, "=1"], "=1: unknown key; allowed: k, theta"),
    (["experiment=critique/finite_sample", "seeds=[0,0]"], "seeds=[0, 0]: each item may stand there once"),
    (["experiment=critique/finite_sample", "seeds=[99999999999999999999]"], "must be between 0 and"),
    (["experiment=critique/finite_sample", "repetitions=0"], "repetitions=0: must be between 1 and"),
    (["experiment=critique/finite_sample", "repetitions=1.5"], "repetitions=1.5: must be int"),
    (["experiment=csil/mujoco", "env=Hoper-v5"], "env=Hoper-v5: environment='Hoper-v5': cannot be built"),
    (
        ["experiment=csil/mujoco", "demonstrations.source=no.npz"],
        "demonstrations.source=no.npz: no.npz: cannot be read",
    ),
    (["experiment=csil/mujoco", "demonstrations.counts=3"], "demonstrations.counts=3: must be list[int]"),
    (["experiment=csil/mujoco", "demonstrations=expert"], "demonstrations=expert: must be given by its keys: source"),
    (["experiment=critique/finite_sample", "seeds=[-1]"], "seeds=[-1]: must be between 0 and"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[" ".join(overrides) for overrides, _ in BAD])
def test_bad_input_is_one_line_that_says_what_is_allowed(overrides: list[str], message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        arguments.plans(overrides, multirun=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_very_long_value_is_cut() -> None:
    with pytest.raises(BadInputError) as caught:
        arguments.plans([SIGN, f"k={[99] * 3000}".replace(" ", "")], multirun=False)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("sweep", ["k=[0.5],[0.5]", "k=glob(*)", "k=interval(1,4)"])
def test_sweeps_that_cannot_be_run_are_one_line(sweep: str) -> None:
    with pytest.raises(BadInputError) as caught:
        arguments.plans([SIGN, sweep], multirun=True)
    assert "\n" not in str(caught.value)


def test_every_job_of_a_sweep_is_checked() -> None:
    with pytest.raises(BadInputError, match=r"k=\[99\.0\]: must be between"):
        arguments.plans([SIGN, "k=[0.5],[99]"], multirun=True)


def test_a_sweep_gives_a_plan_per_job() -> None:
    plans = arguments.plans([SIGN + ",critique/inconsistency", "scale=smoke,laptop"], multirun=True)
    assert [(plan.experiment, plan.scale) for plan in plans] == [
        ("critique/gradient_sign", "smoke"),
        ("critique/gradient_sign", "laptop"),
        ("critique/inconsistency", "smoke"),
        ("critique/inconsistency", "laptop"),
    ]


def test_the_folder_is_a_function_of_the_configuration(tmp_path: Path) -> None:
    def folder(*overrides: str) -> str:
        (plan,) = arguments.plans([*overrides, f"results={tmp_path}"], multirun=False)
        base = tmp_path if plan.is_canonical else ROOT
        return plan.folder.relative_to(base).as_posix()

    finite = "experiment=critique/finite_sample"
    assert folder(SIGN) == "critique/gradient_sign/laptop"
    assert folder(finite, "scale=smoke", "seeds=[0,1,2,3]") == "critique/finite_sample/smoke"
    assert folder(finite, "scale=smoke", "seeds=[3]") == "critique/finite_sample/smoke/shards/seeds=3"
    assert folder(finite, "seeds=[0,1,2]") == "critique/finite_sample/laptop/shards/seeds=0-2"
    assert folder(finite, "scale=smoke", "seeds=[9]") == "outputs/critique/finite_sample/smoke/seeds=9"
    assert folder(SIGN, "k=[0.25,0.5]") == "outputs/critique/gradient_sign/laptop/k=0.25+0.5"
    assert folder(SIGN, "k=[0.25,0.5,0.75]") == "outputs/critique/gradient_sign/laptop/k=0.25+0.5+0.75"
    many = f"seeds={list(range(0, 38, 2))}".replace(" ", "")
    assert folder(finite, many).startswith("critique/finite_sample/laptop/shards/seeds=0+2+4")
    assert len(folder(finite, f"seeds={list(range(0, 400, 2))}".replace(" ", ""))) < 150
    assert folder(finite, "scale=smoke", "seeds=[1,0]").startswith("outputs/")
    assert folder(SIGN, "k=[0.25,0.5]", "force=true") == "outputs/critique/gradient_sign/laptop/k=0.25+0.5"


@pytest.mark.parametrize("multirun", [[], ["-m"]])
def test_the_command_ends_with_status_2_and_writes_nothing(tmp_path: Path, multirun: list[str]) -> None:
    target = tmp_path / "results"
    command = [sys.executable, "-m", "experiments", *multirun, SIGN, "k=[99]", f"results={target}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: k=[99.0]: must be between -10 and 10\n"
    assert done.stdout == ""
    assert not target.exists()


def test_a_cluster_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments.shutil, "which", lambda _: None)
    arguments.require_launcher([SIGN, "hydra/launcher=submitit_local"])
    with pytest.raises(BadInputError, match="hydra/launcher=slurm: this machine has no Slurm"):
        arguments.require_launcher([SIGN, "hydra/launcher=slurm"])


@pytest.mark.parametrize("asked", [["foo=1"], ["experiment=typo"]])
def test_a_configuration_is_shown_only_of_what_can_be_run(asked: list[str]) -> None:
    command = [sys.executable, "-m", "experiments", "--cfg", "job", SIGN, *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {asked[0]}: unknown")
    assert done.stderr.count("\n") == 1


def test_a_recipe_is_named_by_those_experiments_that_build_on_one() -> None:
    mas = "experiment=gap/particle_mas"
    assert catalogue.recipes("critique/gradient_sign") == []
    assert catalogue.recipes("gap/particle_mas") == ["ibc_code", "ibc_paper", "ta2022"]
    (usual,) = arguments.plans([mas, "scale=smoke"], multirun=False)
    (other,) = arguments.plans([mas, "scale=smoke", "recipe=ibc_paper"], multirun=False)
    assert usual.is_canonical
    assert not other.is_canonical
    assert (usual.config.negatives, other.config.negatives) == (8, 64)
    for wrong in ([mas, "recipe=typo"], [SIGN, "recipe=ta2022"]):
        with pytest.raises(BadInputError, match="allowed"):
            arguments.plans(wrong, multirun=False)
