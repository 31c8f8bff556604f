"""The ledger holds every claim from the start, decides from the records alone, and joins shards."""

import csv
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from experiments.__main__ import _tell_shard
from experiments.harness import arguments, catalogue, ledger, record, report, result, runner, style
from experiments.harness.claim import VERDICTS
from experiments.harness.schema import BadInputError

# What the four documents are checked for; an id may be split into `<id>.<part>`, none may be dropped.
PROMISED = """
critique.example-1 critique.shift-invariance critique.example-2 critique.sum-out critique.energy-sign
critique.example-3 critique.example-3.objective critique.theorem-1 critique.inconsistent critique.finite-sample
critique.decoupled edm.sgld-temperature edm.benchmarks gap.fig1 gap.three-forms gap.temperature gap.near-descent
gap.integral gap.mcmc-loss gap.maxent-derivation gap.infonce-bound gap.deep-valley gap.joint-overfit gap.noise-scale
gap.chains gap.mcmc-vs-infonce gap.maxent-conditional gap.fig2 gap.implementation gap.dimensions lecture.fig-18-1
lecture.epsilon-sources lecture.fig-18-2 lecture.dagger lecture.ill-posed lecture.lemma-1 lecture.fig-18-3
lecture.sample-efficiency lecture.dual lecture.primal lecture.soft-value-iteration lecture.softmax-family
lecture.quadratic-penalty lecture.errata csil.inversion csil.shaping csil.bound csil.tabular csil.stationary
csil.faithful csil.mujoco csil.ant-10 csil.one-demonstration csil.stability csil.temperature csil.refinement
csil.jacobian csil.pretraining csil.offline csil.vision csil.recurrent
""".split()


def test_every_promised_claim_stands_in_the_ledger_once() -> None:
    ids = [entry.id for entry in ledger.entries({})]
    assert len(ids) == len(set(ids))
    for promised in PROMISED:
        assert any(id == promised or id.startswith(promised + ".") for id in ids), promised
    assert all(entry.verdict.verdict == "not run" for entry in ledger.entries({}))


def test_every_experiment_mirrors_its_configuration_and_has_claims() -> None:
    for name in catalogue.experiments():
        module = catalogue.module(name)
        assert module.CLAIMS
        assert module.__doc__
        taken = {"experiment", "scale", "force", "device", "results", "recipe", "overlay"}
        assert not taken & set(module.Config.__dataclass_fields__), f"{name}: keys of the runner"
        for scale in catalogue.scales(name):
            catalogue.canonical(name, scale)


def test_overlays_belong_to_experiments_and_change_something() -> None:
    for path in (catalogue.CONFIGS / "overlay").glob("*/*/*.yaml"):
        scale, *name = path.relative_to(catalogue.CONFIGS / "overlay").with_suffix("").parts
        assert "/".join(name) in catalogue.experiments()
        assert catalogue.departures("/".join(name), scale), f"{path} changes nothing"


def run(folder: Path, *overrides: str, experiment: str = "critique/finite_sample") -> None:
    wanted = [f"experiment={experiment}", "scale=smoke", f"results={folder}", *overrides]
    for plan in arguments.plans(wanted, multirun=any("],[" in override for override in overrides)):
        runner.execute(plan)


def test_shards_join_to_the_canonical_frame(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "parts", "seeds=[2],[0,1],[3]")
    whole = result.read(tmp_path / "whole", "critique/finite_sample", "smoke")
    parts = result.read(tmp_path / "parts", "critique/finite_sample", "smoke")
    assert whole is not None
    assert parts is not None
    key = list(whole.frame.columns)
    expected, joined = (one.frame.sort_values(key, ignore_index=True) for one in (whole, parts))
    assert joined.equals(expected)
    assert parts.record["configuration"] == whole.record["configuration"]
    assert not parts.is_stale


def test_shards_tell_the_departures_of_what_they_make_up(tmp_path: Path) -> None:
    """A sweep's values may have been cut down after its first shard, whose own record keeps the longer list."""
    run(tmp_path, "seeds=[0,1],[2,3]")
    for path in tmp_path.glob("**/run.json"):
        kept = json.loads(path.read_text())
        kept["departures"]["seeds"]["smoke"] = [0, 1, 2, 3, 4]
        path.write_text(json.dumps(kept))
    found = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert found is not None
    assert found.record["departures"] == catalogue.departures("critique/finite_sample", "smoke")


def test_shards_of_a_frame_that_names_no_seeds_decide_as_the_whole(tmp_path: Path) -> None:
    experiment = "lecture/errata"
    first, *rest = catalogue.canonical(experiment, "smoke").seeds
    run(tmp_path / "whole", experiment=experiment)
    run(tmp_path / "parts", f"seeds=[{first}],{rest}".replace(" ", ""), experiment=experiment)
    frames = [result.read(tmp_path / part, experiment, "smoke").frame for part in ("whole", "parts")]
    assert "seed" not in frames[0]
    for claim in catalogue.claims(experiment):
        verdicts = [claim.verdict(frame, "smoke") for frame in frames]
        assert verdicts[0].verdict == verdicts[1].verdict == "corrected"


@pytest.mark.parametrize("experiment", ["lecture/compounding", "lecture/dagger"])
def test_rows_of_no_seed_are_joined_once(tmp_path: Path, experiment: str) -> None:
    first, *rest = catalogue.canonical(experiment, "smoke").seeds
    run(tmp_path / "whole", experiment=experiment)
    run(tmp_path / "parts", f"seeds=[{first}],{rest}".replace(" ", ""), experiment=experiment)
    frames = [result.read(tmp_path / part, experiment, "smoke").frame for part in ("whole", "parts")]
    assert frames[0].seed.isna().any()
    key = list(frames[0].columns)
    expected, joined = (frame.sort_values(key, ignore_index=True)[key] for frame in frames)
    pd.testing.assert_frame_equal(joined, expected)
    for claim in catalogue.claims(experiment):
        assert claim.verdict(joined, "smoke") == claim.verdict(expected, "smoke")


def test_incomplete_or_overlapping_shards_say_what_is_wrong(tmp_path: Path) -> None:
    def why() -> str:
        return result.problem(tmp_path, "critique/finite_sample")

    assert why() == "No complete result at any scale."
    run(tmp_path, "seeds=[0,1]")
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is None
    assert why() == "Shards at smoke scale lack seeds=[2, 3]."
    run(tmp_path, "seeds=[2,3]")
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is not None
    for parts in (tmp_path / "critique/finite_sample/smoke/shards").iterdir():
        shutil.rmtree(parts)
    run(tmp_path, "seeds=[0,1,2]")
    run(tmp_path, "seeds=[2,3]")
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is None
    assert why() == "Shards at smoke scale overlap at seeds=[2]: delete those that are too many."
    (entry, *_) = [one for one in ledger.entries({}, tmp_path) if one.experiment == "critique/finite_sample"]
    assert entry.verdict.note == why()


def test_a_trial_beside_complete_shards_changes_nothing(tmp_path: Path) -> None:
    run(tmp_path, "seeds=[2,3],[0,1]")
    before = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert before is not None
    assert [shard.name for shard in before.shards] == ["seeds=0+1", "seeds=2+3"]  # as the canonical run has them
    run(tmp_path, "seeds=[3]")
    after = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert after is not None
    assert after.frame.equals(before.frame)
    assert after.record == before.record
    assert after.shards == before.shards


def test_a_shard_is_told_what_is_missing_or_that_it_is_not_needed(tmp_path: Path) -> None:
    def told(seeds: str) -> str:
        run(tmp_path, seeds)
        (plan,) = arguments.plans(
            ["experiment=critique/finite_sample", "scale=smoke", f"results={tmp_path}", seeds], multirun=False
        )
        console = Console(record=True, file=io.StringIO(), width=200)
        _tell_shard(plan, console)
        return console.export_text()

    assert "lack seeds=[2, 3]" in told("seeds=[0,1]")
    assert told("seeds=[2,3]") == ""
    assert "makes up the result without it" in told("seeds=[3]")
    shutil.rmtree(tmp_path / "critique")
    run(tmp_path)
    assert "makes up the result without it" in told("seeds=[3]")


def test_a_trial_of_another_axis_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.module("critique/finite_sample"), "SHARD_AXES", ("d2", "seeds"))
    first = catalogue.canonical("critique/finite_sample", "smoke").d2[0]
    run(tmp_path, "seeds=[0,1],[2,3]")
    run(tmp_path, f"d2=[{first}]")
    found = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert found is not None
    assert [shard.name for shard in found.shards] == ["seeds=0+1", "seeds=2+3"]
    both = ["experiment=critique/finite_sample", "scale=smoke", "seeds=[0]", f"d2=[{first}]"]
    (part,) = arguments.plans(both, multirun=False)
    assert not part.is_canonical  # it would fit together with no others


def test_complete_shards_replace_a_stale_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    real, stale = result.source_hash, record.source_hash
    for module in (result, record):
        monkeypatch.setattr(module, "source_hash", lambda name: real(name) + "changed")
    run(tmp_path, "seeds=[0,1]")
    before = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert before is not None
    assert before.is_stale
    assert (tmp_path / "critique/finite_sample/smoke/figure.png").exists()
    run(tmp_path, "seeds=[2,3]")
    after = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert after is not None
    assert not after.is_stale
    assert stale("critique/finite_sample") != after.record["source_hash"]


def test_complete_shards_of_an_older_code_are_a_stale_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, "seeds=[0,1],[2,3]")
    verdicts = [entry.verdict.verdict for entry in ledger.entries(ledger.load(tmp_path), tmp_path)]
    real = result.source_hash
    for module in (result, record):
        monkeypatch.setattr(module, "source_hash", lambda name: real(name) + "changed")
    found = ledger.load(tmp_path)
    assert found["critique/finite_sample"].is_stale
    after = ledger.entries(found, tmp_path)
    assert [entry.verdict.verdict for entry in after] == verdicts
    assert any("The code changed since" in entry.verdict.note for entry in after)
    run(tmp_path, "seeds=[0,1]")  # half by the present code, half by the older
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is None
    assert "lack seeds=[2, 3]" in result.problem(tmp_path, "critique/finite_sample")


def test_shards_count_by_the_code_that_all_were_carried_to(tmp_path: Path) -> None:
    run(tmp_path, "seeds=[0,1],[2,3]")
    first, second = sorted(tmp_path.glob("**/run.json"))
    present = json.loads(first.read_text())["source_hash"]

    def measured_by(path: Path, code: str, *carried: str) -> None:
        kept = json.loads(path.read_text()) | {"source_hash": code, "carried": [{"source_hash": to} for to in carried]}
        path.write_text(json.dumps(kept))

    measured_by(first, "old", present)
    found = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert found is not None
    assert not found.is_stale
    assert [step["source_hash"] for step in found.record["carried"]] == [present]
    measured_by(second, "old")
    found = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert found is not None
    assert found.is_stale
    assert not found.record["carried"]
    measured_by(second, "older", "other")
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is None


def test_a_record_names_the_code_that_the_run_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, now = catalogue.module("critique/finite_sample"), ["began with"]
    measure = module.run

    def meanwhile(cfg, context):
        now[0] = "ended with"
        return measure(cfg, context)

    monkeypatch.setattr(record, "source_hash", lambda _: now[0])
    monkeypatch.setattr(module, "run", meanwhile)
    run(tmp_path)
    (path,) = tmp_path.glob("**/run.json")
    assert json.loads(path.read_text())["source_hash"] == "began with"


@pytest.mark.parametrize("shards", [[()], [("seeds=[0,1]",), ("seeds=[2,3]",)]])
@pytest.mark.parametrize("change", [lambda path: path.write_text("more"), Path.unlink])
def test_a_changed_input_makes_a_result_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards, change) -> None:
    data = tmp_path / "data"
    data.write_text("some")
    monkeypatch.setattr(catalogue.module("critique/finite_sample"), "inputs", lambda cfg: [data], raising=False)
    for overrides in shards:
        run(tmp_path, *overrides)
    found = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert found is not None
    assert not found.is_stale
    assert list(found.record["input_hashes"]) == [str(data)]
    change(data)
    found = result.read(tmp_path, "critique/finite_sample", "smoke")
    assert found is not None
    assert found.is_stale


def test_shards_of_two_versions_of_an_input_are_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.write_text("some")
    monkeypatch.setattr(catalogue.module("critique/finite_sample"), "inputs", lambda cfg: [data], raising=False)
    run(tmp_path, "seeds=[2,3]")
    data.write_text("more")
    run(tmp_path, "seeds=[0,1]")
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is None
    assert "lack seeds=[2, 3]" in result.problem(tmp_path, "critique/finite_sample")


def test_an_input_within_the_project_is_named_from_its_root() -> None:
    assert record._place(catalogue.ROOT / "configs" / ".." / "README.md") == "README.md"
    folders = (catalogue.ROOT / "results").rglob("run.json")
    read = [record.read_record(path.parent) for path in folders]
    assert all(not Path(name).is_absolute() for one in read if one for name in one["input_hashes"])


@pytest.mark.parametrize("content", ["", "[]", "null", "5", "{}", '{"experiment": 1}', b"\xff\xfe"])
def test_a_broken_record_is_no_result_and_is_measured_again(tmp_path: Path, content: str | bytes) -> None:
    run(tmp_path)
    path = tmp_path / "critique/finite_sample/smoke/run.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is None
    assert "measure again" in result.problem(tmp_path, "critique/finite_sample")
    run(tmp_path)
    assert result.read(tmp_path, "critique/finite_sample", "smoke") is not None


def test_a_new_shard_draws_the_joined_figure_anew(tmp_path: Path) -> None:
    run(tmp_path, "seeds=[0,1],[2,3]")
    report.write(tmp_path)
    figure = tmp_path / "critique/finite_sample/smoke/figure.png"
    assert figure.exists()
    run(tmp_path, "seeds=[0,1]", "force=true")
    assert not figure.exists()


def test_report_is_reproducible_and_the_check_sees_every_change(tmp_path: Path) -> None:
    run(tmp_path)
    report.write(tmp_path, redraw=True)
    assert report.differences(tmp_path) == []
    for name in ("claims.csv", "README.md", "index.html", "critique/finite_sample/smoke/figure.svg"):
        path = tmp_path / name
        content = path.read_text()
        changed = content.replace("not run", "reproduced", 1) if "not run" in content else content.replace("1", "2", 1)
        path.write_text(changed)
        assert report.differences(tmp_path) == [path]
        path.write_text(content)
    picture = tmp_path / "critique/finite_sample/smoke/figure.png"
    with Image.open(picture) as drawn:
        Image.new("RGB", drawn.size).save(picture)
    assert picture in report.differences(tmp_path)


def test_a_decision_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    claim = catalogue.claims("critique/finite_sample")[1]
    monkeypatch.setattr(type(claim), "verdict", lambda self, *_: 1 / (self.id != claim.id))
    with pytest.raises(BadInputError, match=f"the decision of {claim.id} on .* failed: ZeroDivisionError"):
        ledger.entries(ledger.load(tmp_path), tmp_path)


def test_figures_of_smaller_scales_are_drawn_and_checked_too(tmp_path: Path) -> None:
    for scale in ("smoke", "laptop"):
        run(tmp_path, f"scale={scale}")
    drawings = [tmp_path / "critique/finite_sample" / scale / "figure.svg" for scale in ("laptop", "smoke")]
    report.write(tmp_path, redraw=True)
    assert report.differences(tmp_path) == []
    for drawing in drawings:
        drawing.write_text("another")
    assert set(drawings) <= set(report.differences(tmp_path))  # the page holds the larger scale's
    report.write(tmp_path, redraw=True)
    assert report.differences(tmp_path) == []


def test_claims_csv_has_the_promised_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(ledger.as_csv(ledger.entries({})))))
    columns = "id,source,location,statement,printed,measured,low,high,verdict,scale,experiment,note,measures"
    assert list(rows[0]) == columns.split(",")
    assert {row["verdict"] for row in rows} <= set(VERDICTS)


def test_stale_results_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    monkeypatch.setattr(result, "source_hash", lambda experiment: "another")
    (entry, *_) = [entry for entry in ledger.entries(ledger.load(tmp_path)) if entry.scale]
    assert entry.verdict.note.endswith("The code changed since this was measured.")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (float("nan"), ""), ("(k-1)/4", "(k-1)/4"), (-0.245, "-0.245"), (1 / 3, "0.333333"), (0.0, "0")],
)
def test_numbers_have_six_digits(value: float | str | None, text: str) -> None:
    assert ledger.number(value) == text


def test_names_in_a_drawing_do_not_depend_on_the_last_bits_of_a_layout() -> None:
    drawing = b'<use xlink:href="#m381638f5f9" clip-path="url(#p902e1f7d52)"/><clipPath id="p902e1f7d52"> #0072b2'
    renamed = drawing.replace(b"902e1f7d52", b"73c55a6ee7")
    assert style._numbered(drawing) == style._numbered(renamed)
    assert style._numbered(drawing) == b'<use xlink:href="#m0" clip-path="url(#p1)"/><clipPath id="p1"> #0072b2'
