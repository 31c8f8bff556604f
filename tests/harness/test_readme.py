"""The README: its commands, and its table of speed: every benchmark that was run, in their order, with a time."""

import json
import re
import shlex
from pathlib import Path

import pytest

from experiments.harness import arguments, catalogue
from experiments.harness.readme import updated
from imitation.control import experts
from imitation.demonstrations import classic

PARTS = ("claims", "experts", "speed")
README = "\n".join(["before", *(f"<!-- {name} -->\nold\n<!-- /{name} -->" for name in PARTS), "after\n"])
TIMES = "median_seconds,low_seconds,high_seconds,ratio_to_ours,ratio_low,ratio_high"
HEAD = f"workload,form,contestant,version,{TIMES},note\n"
SAMPLERS = f"{HEAD}network,ibc,DI-engine,0.5.3,.1636,.15,.2,2.816,2.2,3.3,t 1\nmatmul,-,torch,,.02,.02,.02,,,,t 1\n"
STEPS = f'{HEAD}"training step, ideas",ibc,+ fused Adam,this tree,.075,.0731,.0772,1.004,.97,1.03,t 1; as fast; 2 %\n'


def speed(folder: Path, **tables: str) -> list[str]:
    (folder / "benchmarks").mkdir()
    for name, text in tables.items():
        (folder / "benchmarks" / f"{name}.csv").write_text(text)
    text = updated(README, [], {}, folder)
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    return text[text.index("<!-- speed -->") : text.index("<!-- /speed -->")].splitlines()[1:]


def test_all_benchmarks_stand_in_one_table(tmp_path: Path) -> None:
    lines = speed(tmp_path, ibc_step=STEPS, langevin=SAMPLERS)
    assert lines[2:] == [
        "| network | ibc | DI-engine 0.5.3 | 163.6 (150.0 to 200.0) | 2.82 (2.2 to 3.3) |  |",
        "| training step, ideas | ibc | + fused Adam | 75.0 (73.1 to 77.2) | 1 (0.97 to 1.03) | as fast; 2 % |",
    ]
    assert {line.count("|") for line in lines} == {7}


@pytest.mark.parametrize(("name", "text"), [("langevin", SAMPLERS), ("ibc_step", STEPS)])
def test_one_benchmark_alone_is_shown(tmp_path: Path, name: str, text: str) -> None:
    assert len(speed(tmp_path, **{name: text})) == 3


def test_without_a_benchmark_the_command_is_named(tmp_path: Path) -> None:
    assert speed(tmp_path) == ["Not run: `make bench`."]


def test_every_command_for_an_experiment_can_be_planned() -> None:
    text = (catalogue.ROOT / "README.md").read_text().replace("\\\n", " ")
    commands = [
        shlex.split(line, comments=True)
        for block in re.findall(r"```\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
        if line.startswith((".venv/bin/python -m experiments ", "make reproduce "))
    ]
    assert len(commands) >= 5
    for words in commands:
        if words[0] == "make":
            values = dict(word.split("=", 1) for word in words[2:])
            words = [f"experiment={values['EXPERIMENT']}", f"scale={values['SCALE']}", *values["ARGS"].split()]
            assert len(arguments.plans(words, multirun=False)) == 1
            continue
        sweep = "-m" in words[3:]
        plans = arguments.plans([word for word in words[3:] if word != "-m"], multirun=sweep)
        if any(word.startswith("seeds=") for word in words):
            assert all(plan.is_shard for plan in plans)
            seeds = [seed for plan in plans for seed in plan.config.seeds]
            assert seeds == catalogue.canonical(plans[0].experiment, plans[0].scale).seeds


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the markers <!-- speed --> and <!-- /speed --> are missing"):
        updated(README.replace("<!-- speed -->", ""), [], {}, tmp_path)


def test_the_kept_experts_stand_with_what_their_cards_say(tmp_path: Path, monkeypatch) -> None:
    for kind, wanted in ((experts, {"Hopper-v5": 3000, "Ant-v5": 3500}), (classic, {"Acrobot-v1": -85})):
        monkeypatch.setattr(kind, "FOLDER", tmp_path)
        monkeypatch.setattr(kind, "WANTED", wanted)
    for name, mean in (("Hopper-v5", 3194.3), ("Acrobot-v1", -81.8)):
        card = {"return": {"mean": mean, "sd": 18.9}, "environment_steps": 560000}
        (tmp_path / f"{name}.json").write_text(json.dumps(card))
    text = updated(README, [], {}, tmp_path)
    lines = text[text.index("<!-- experts -->") : text.index("<!-- /experts -->")].splitlines()[3:]
    kept = ["| Hopper-v5 | 3194 ± 19 | 3000 | 560,000 |", "| Acrobot-v1 | -82 ± 19 | -85 | 560,000 |"]
    assert lines == [kept[0], "| Ant-v5 | none kept yet | 3500 |  |", kept[1]]
