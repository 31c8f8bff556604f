"""The ablations: which settings a variant changes, controls without anything to learn, decisions on made-up frames."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.csil import _study
from experiments.csil import ablations as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.control.replay import Transitions

SMOKE = catalogue.canonical("csil/ablations", "smoke")
NAMES = [*experiment.WITHOUT, "beta = 0.5 alpha", "beta = 1 alpha", "beta = 3 alpha", "clone of 10 steps",
         "clone of 900 steps", experiment.NOISE, experiment.SHUFFLED]  # fmt: skip


@pytest.fixture(scope="module")
def task():
    return _study.task(SMOKE, "Hopper-v5", Context().device)


def made_up(levels: dict[str, float], others: float = 0.2):
    """All variants at `others`, those named at their own level, spread by .02 over six seeds."""
    rows = []
    for seed in range(6):
        scores = {"expert": 1.0, "random": 0.0, "BC": 0.1, experiment.PUBLISHED: 0.6}
        for number, (method, score) in enumerate((scores | dict.fromkeys(NAMES, others) | levels).items()):
            noise = 0.02 * np.sin(9 * seed + number) * (method not in ("expert", "random"))
            place = {"env": "Hopper-v5", "method": method, "demonstrations": 3, "seed": seed, "update": 5, "steps": 5}
            rows += [{**place, "metric": "return", "value": 100 * (score + noise)}]
            rows += [{**place, "metric": name, "value": 0.0} for name in ("diverged", "demonstrated", "replayed")]
    return pd.DataFrame(rows)


def verdicts(frame):
    return {claim.id.removeprefix("csil."): claim.decide(frame).verdict for claim in experiment.CLAIMS}


def test_what_is_needed_is_seen():
    assert set(verdicts(made_up({})).values()) == {REPRODUCED}


def test_of_the_rewards_leads_the_smallest_is_told():
    reward = next(claim for claim in experiment.CLAIMS if claim.id == "csil.reward")
    assert reward.decide(made_up({experiment.SHUFFLED: 0.4})).measured == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("claim", "variant"),
    [("refinement", "no refinement"), ("jacobian", "no Jacobian penalty"), ("prior", "no divergence from the clone"),
     ("temperature", "beta = 1 alpha"), ("temperature", "beta = 3 alpha"), ("pretraining", "clone of 10 steps"),
     ("pretraining", "clone of 900 steps"), ("reward", experiment.NOISE), ("reward", experiment.SHUFFLED)],
)  # fmt: skip
def test_what_is_not_needed_is_seen(claim, variant):
    found = verdicts(made_up({variant: 0.9}))
    assert found.pop(claim) == REFUTED
    assert set(found.values()) == {REPRODUCED}
    assert verdicts(made_up({variant: 0.6}))[claim] == INCONCLUSIVE


def test_a_short_run_refutes_nothing():
    frame = made_up({"no Jacobian penalty": 0.9})
    jacobian = next(claim for claim in experiment.CLAIMS if claim.id == "csil.jacobian")
    assert [jacobian.verdict(frame, scale).verdict for scale in ("laptop", "paper")] == [INCONCLUSIVE, REFUTED]
    assert jacobian.verdict(frame, "laptop").note.startswith("Not so at laptop scale")
    assert jacobian.verdict(made_up({}), "laptop").verdict == REPRODUCED


def test_a_temperature_below_alpha_says_nothing_against_the_claim():
    assert verdicts(made_up({"beta = 0.5 alpha": 0.9}))["temperature"] == REPRODUCED


@pytest.fixture(scope="module")
def clones(task):
    return _study.cloned(task, "BC", Context(), SMOKE.cloning)[0]


@pytest.fixture
def learner(task, clones):
    """All variants on the same demonstrations, and the slice of members of each; fresh, as tests draw and update."""
    every = experiment.variants(SMOKE, 3)
    members = len(task.members)
    whole = task.beside(*[task] * (len(every) - 1))
    policies = [clones[one.steps or SMOKE.start] for one in every.values()]
    place = {name: slice(number * members, (number + 1) * members) for number, name in enumerate(every)}
    return experiment.learner(whole, list(every.values()), policies), place, whole


def test_variants_change_what_their_names_say(learner, clones):
    one, place, _ = learner
    torch.testing.assert_close(one.temperature[place["beta = 1 alpha"]], one.alpha[place["beta = 1 alpha"]])
    assert one.temperature[place[experiment.PUBLISHED], 0].tolist() == pytest.approx([0.01, 0.01])
    changed = {
        "no refinement": one.rate,
        "no Jacobian penalty": one.jacobian,
        "no divergence from the clone": one.prior,
    }
    for name, values in changed.items():
        off = [other for other in place if not values[place[other]].any()]
        assert {name, "none of the three"} <= set(off) <= {name, "none of the three", experiment.NOISE}
    for steps in (1, 4):
        for name, value in clones[steps].named_parameters():
            assert torch.equal(one.cloned.get_parameter(name)[place[f"clone of {steps} steps"]], value)


def test_a_member_among_all_variants_learns_as_it_would_alone(learner, task, clones):
    one, place, whole = learner
    alone = experiment.learner(task, [experiment.Variant({})], [clones[SMOKE.start]])
    for each, demonstrations in ((one, whole), (alone, task)):
        random = demonstrations.generators(9)
        for _ in range(3):
            each.update(demonstrations.rows.at(demonstrations.rows.places(8, random)))
    for name, value in alone.actor.named_parameters():
        torch.testing.assert_close(one.actor.get_parameter(name)[place[experiment.PUBLISHED]], value)


def test_the_noise_knows_nothing_of_the_rows(learner):
    one, place, whole = learner
    many = Transitions(*(value.repeat_interleave(100, 1) for value in whole.rows.rows))
    ratio = one.log_ratio(many).detach()
    noise = ratio[place[experiment.NOISE]]
    assert abs(float(noise.mean())) < 0.1
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    own = ratio[place[experiment.PUBLISHED]].unflatten(1, (-1, 100))
    assert bool((own == own[..., :1]).all())


def test_nor_does_the_noisy_critic_after_its_pretraining(learner):
    one, place, whole = learner
    rows = whole.rows.rows
    ended = Transitions(*rows)._replace(terminated=torch.ones_like(rows.terminated))
    nothing = torch.zeros(*rows.reward.shape, 4 * 3)
    target = one._sarsa_target(ended, torch.full_like(rows.reward, 7.0), nothing)
    assert bool((target[place[experiment.NOISE]] < 6).all())
    assert bool((target[place[experiment.PUBLISHED]] == 7).all())


def test_shuffled_actions_are_the_same_ones_in_other_places(task):
    mixed = task.shuffled()
    for own, other, count in zip(task.rows.rows.action, mixed.rows.rows.action, task.rows.counts, strict=True):
        assert torch.equal(own[:count].sort(0).values, other[:count].sort(0).values)
        assert not torch.equal(own[:count], other[:count])
        assert torch.equal(own[count:], other[count:])
    assert torch.equal(task.rows.rows.observation, mixed.rows.rows.observation)
    assert mixed.rows.following_action.isnan().all()


def test_every_variant_is_measured(task):
    frame = experiment.run(replace(SMOKE, seeds=[0, 1]), Context())
    named = {"expert", "random", "BC", experiment.PUBLISHED, *experiment.WITHOUT, "beta = 1 alpha", "clone of 1 steps",
             "clone of 4 steps", experiment.NOISE, experiment.SHUFFLED}  # fmt: skip
    assert set(frame.method) == named
    assert frame.value.notna().all()
    assert len(experiment.figure(frame).axes) == 3
