"""The source hash follows what measures, through every import, and nothing else."""

import shutil
from pathlib import Path

import pytest

from experiments.harness import source
from experiments.harness.catalogue import ROOT

NAME = "critique/gradient_sign"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code that may be changed."""
    for package in ("experiments", "imitation"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "ROOT", tmp_path)
    monkeypatch.setattr(source, "_FRAME", tmp_path / "experiments" / "harness")
    return tmp_path


def changed(copy: Path, file: str, old: str, new: str) -> bool:
    before = source.source_hash(NAME)
    path = copy / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return source.source_hash(NAME) != before


def test_measuring_code_counts_however_deep(copy: Path) -> None:
    assert changed(copy, f"experiments/{NAME}.py", "k * other / (1 + other)", "k * other / (2 + other)")
    assert changed(copy, "experiments/critique/_two_state.py", "EXPERT = 1.0", "EXPERT = 1.5")
    assert changed(copy, "imitation/ebm/joint.py", "torch.logsumexp(logits, -1)", "torch.logsumexp(logits, -2)")


def test_what_run_is_handed_and_what_is_written_counts(copy: Path) -> None:
    assert changed(copy, "experiments/harness/context.py", "default_rng(key)", "default_rng((*key, 7))")
    assert changed(copy, "experiments/harness/frames.py", 'na_rep="nan"', 'na_rep="nan", float_format="%.3g"')
    assert changed(
        copy, f"experiments/{NAME}.py", "@dataclass\n", "torch.set_default_dtype(torch.float32)\n@dataclass\n"
    )


def test_drawing_deciding_and_comments_do_not_count(copy: Path) -> None:
    assert not changed(copy, f"experiments/{NAME}.py", "printed=-0.245", "printed=0")
    assert not changed(copy, f"experiments/{NAME}.py", "style.panels(2, 2", "style.panels(4, 1")
    assert not changed(copy, f"experiments/{NAME}.py", 'markerfacecolor="white"', 'markerfacecolor="black"')
    assert not changed(copy, f"experiments/{NAME}.py", "-0.245, 5e-4", "-0.245, 6e-4")
    assert not changed(copy, "imitation/ebm/joint.py", '"""', '"""Otherwise. ')
    assert not changed(copy, "experiments/harness/style.py", "PAGE = 6.9", "PAGE = 7.0")


HELPER = "experiments/critique/_helper.py"
NUMBERS = "LIMIT = 1\ndef taken():\n    return LIMIT\ndef decide():\n    return 2\n"


def helped(copy: Path, imported: str, used: str) -> None:
    """Give the experiment a helper, and its `run` a default that comes from there."""
    (copy / HELPER).write_text(NUMBERS)
    main = copy / "experiments" / f"{NAME}.py"
    main.write_text(f"{imported}\n{main.read_text()}".replace("context: Context)", f"context: Context, helped={used})"))


@pytest.mark.parametrize(
    ("imported", "used"),
    [
        ("from experiments.critique._helper import taken", "taken()"),
        ("from experiments.critique import _helper", "_helper.taken()"),
        ("from experiments.critique import _helper as helping", "helping.taken()"),
    ],
)
def test_only_what_is_taken_from_a_helper_counts(copy: Path, imported: str, used: str) -> None:
    helped(copy, imported, used)
    assert not changed(copy, HELPER, "return 2", "return 3")
    assert changed(copy, HELPER, "LIMIT = 1", "LIMIT = 2")


def test_what_a_module_does_at_its_import_counts_and_what_it_does_as_a_program_does_not(copy: Path) -> None:
    helped(copy, "from experiments.critique._helper import taken", "taken()")
    loop = "for number in (1, 2):\n    decide()\n"
    assert changed(copy, HELPER, "def decide", f"{loop}def decide")
    assert changed(copy, HELPER, "return 2", "return 3")  # the loop uses it now
    assert not changed(copy, HELPER, "def decide", 'if __name__ == "__main__":\n    decide()\ndef decide')


def test_a_helper_that_is_handed_on_counts_whole(copy: Path) -> None:
    helped(copy, "from experiments.critique import _helper", "vars(_helper)")
    assert changed(copy, HELPER, "return 2", "return 3")


def test_a_helper_of_the_figure_alone_does_not_count(copy: Path) -> None:
    helped(copy, "from experiments.critique import _helper", "0")
    main = copy / "experiments" / f"{NAME}.py"
    main.write_text(main.read_text().replace("style.panels(2, 2", "style.panels(_helper.taken() + 1, 2"))
    assert not changed(copy, HELPER, "LIMIT = 1", "LIMIT = 2")
    main.write_text(main.read_text().replace("helped=0)", "helped=_helper.taken())"))
    assert changed(copy, HELPER, "LIMIT = 2", "LIMIT = 3")


def test_other_experiments_do_not_count(copy: Path) -> None:
    assert not changed(copy, "imitation/ebm/langevin.py", "0.5 * step_size", "0.6 * step_size")


@pytest.mark.parametrize(
    ("experiment", "file"),
    [
        ("csil/mujoco", "policies/_tanh_normal.py"),  # its package hands the module on under another name
        ("csil/tabular", "mdp/inverse/proximal.py"),  # taken as an attribute of its package
    ],
)
def test_modules_behind_a_package_count(copy: Path, experiment: str, file: str) -> None:
    before = source.source_hash(experiment)
    path = copy / "imitation" / file
    path.write_text(
        path.read_text().replace("torch.no_grad()", "torch.enable_grad()").replace("return ", "return 0 or ")
    )
    assert source.source_hash(experiment) != before


def test_what_else_a_package_hands_on_does_not_count(copy: Path) -> None:
    def add_to(name: str, line: str) -> None:
        package = copy / "imitation" / "policies" / "__init__.py"
        package.write_text(f"{package.read_text()}{line}\n")
        (copy / "imitation" / "policies" / f"{name}.py").write_text("VALUE = 1\n")

    experiment = "gap/particle_dimensions"
    before = source.source_hash(experiment)
    add_to("other", "from imitation.policies.other import VALUE")
    assert source.source_hash(experiment) == before
    asking = copy / "imitation" / "policies" / "explicit.py"
    asking.write_text(f"from imitation.policies import VALUE\n{asking.read_text()}\nassert VALUE\n")
    asked = source.source_hash(experiment)
    (copy / "imitation" / "policies" / "other.py").write_text("VALUE = 2\n")
    assert source.source_hash(experiment) != asked
