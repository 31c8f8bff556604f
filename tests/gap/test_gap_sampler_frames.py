"""What every experiment on the samplers owes: the same bytes, seeds that can be split, a figure, verdicts from CSV."""

from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes, read_frame
from experiments.harness.style import rendered

NAMES = ["gap/langevin_moments", "gap/langevin_forms", "gap/temperature", "gap/near_descent"]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def smoke(name, **changes):
    """The frame of the smoke configuration."""
    return catalogue.module(name).run(replace(catalogue.canonical(name, "smoke"), **changes), Context())


def test_the_same_seeds_give_the_same_bytes_and_others_do_not(name):
    content = frame_bytes(smoke(name))
    assert frame_bytes(smoke(name)) == content
    assert frame_bytes(smoke(name, seeds=[5, 6])) != content


def test_runs_split_by_seeds_join_to_the_whole(name):
    assert catalogue.module(name).SHARD_AXES == ("seeds",)
    whole = smoke(name, seeds=[2, 0, 1])
    parts = pd.concat([smoke(name, seeds=[1]), smoke(name, seeds=[2, 0])], ignore_index=True)
    columns = [column for column in whole.columns if column not in ("value", "distance", "difference")]
    joined = [frame[whole.columns].sort_values(columns, ignore_index=True) for frame in (whole, parts)]
    pd.testing.assert_frame_equal(*joined, check_exact=True)


def test_verdicts_survive_the_csv_and_a_single_seed_decides_no_statistics(name):
    frame = smoke(name)
    again = read_frame(BytesIO(frame_bytes(frame)))
    alone = smoke(name, seeds=[0])
    for claim in catalogue.claims(name):
        assert claim.decide(again) == claim.decide(frame)
        assert claim.verdict(frame, "smoke").note
        if claim.smallest_scale != "smoke":
            assert claim.verdict(frame, "smoke").verdict == INCONCLUSIVE
            assert claim.decide(alone).verdict == INCONCLUSIVE


def test_the_figure_draws_and_draws_the_same_twice(name):
    module, frame = catalogue.module(name), smoke(name)
    pictures = rendered(module.figure(frame))
    assert pictures == rendered(module.figure(frame))
    assert set(pictures) == {"figure.png", "figure.svg"}


def test_the_figure_draws_without_the_shown_seed(name):
    rendered(catalogue.module(name).figure(smoke(name, seeds=[3, 4])))


def test_claims_name_the_paper_and_a_place(name):
    for claim in catalogue.claims(name):
        assert claim.id.startswith("gap.")
        assert claim.source == "Ta et al. 2022"
        assert claim.location
