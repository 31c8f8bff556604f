"""The joint model against the conditional one: what the measures read off known models, and frames that must fail."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.gap import _particle
from experiments.gap import joint_overfit as experiment
from experiments.gap.joint_overfit import CONDITIONAL, HELD_OUT, JOINT, SETS, TRAINING
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes, read_frame
from experiments.harness.schema import BadInputError
from experiments.harness.style import rendered
from imitation.ebm.mlp import MLPEnergy

SMOKE = catalogue.canonical("gap/joint_overfit", "smoke")
CLAIMS = {claim.id.removeprefix("gap.joint-overfit"): claim for claim in experiment.CLAIMS}
SEEDS = range(5)
# Rank, error, energy, energy of wrong actions at training and at held-out pairs, and success: as the paper has it.
GOOD = {TRAINING: (0.01, 0.03, -5.0, 5.0), HELD_OUT: (0.02, 0.04, -4.9, 5.0), "success": 0.9}
OVERFIT = {TRAINING: (0.0, 0.01, -5.0, 5.0), HELD_OUT: (0.4, 0.5, 4.0, 6.0), "success": 0.1}


def made(conditional=None, joint=None, seeds: Sequence[int] = SEEDS):
    """A frame of two models, seeds a little apart."""
    rows = []
    for model, values in ((CONDITIONAL, conditional or GOOD), (JOINT, joint or OVERFIT)):
        for seed in seeds:
            base = {"model": model, "seed": seed, "step": 100}
            nudge = 1e-3 * np.random.default_rng([seed, len(model)]).normal(size=10)
            rows.append(base | {"metric": "success", "value": values["success"] + nudge[0], "iterations": 10})
            rows[-1]["decides"] = 1.0
            rows.append(base | {"metric": "diverged", "value": 0.0})
            for shift, pairs in enumerate(SETS):
                for number, metric in enumerate(("rank", "error", "energy", "wrong energy")):
                    value = values[pairs][number] + nudge[1 + number + 4 * shift]
                    rows.append(base | {"metric": metric, "pairs": pairs, "value": value})
    return pd.DataFrame(rows)


def verdicts(frame):
    """Of both parts together, training, validation, energies."""
    return [claim.decide(frame).verdict for claim in experiment.CLAIMS]


@pytest.fixture(scope="module")
def smoke():
    return experiment.run(SMOKE, Context())


def test_the_paper_s_case_is_reproduced():
    assert verdicts(made()) == [REPRODUCED] * 4


def test_a_joint_model_that_generalises_refutes_all_but_the_fit():
    same = OVERFIT | {HELD_OUT: OVERFIT[TRAINING]}
    assert verdicts(made(joint=same)) == [REFUTED, REPRODUCED, REFUTED, REFUTED]


def test_a_conditional_model_passed_off_as_joint_reproduces_no_failure():
    assert verdicts(made(joint=GOOD)) == [REFUTED, REPRODUCED, REFUTED, REFUTED]


def test_a_joint_model_that_does_not_fit_its_training_pairs_refutes_the_fit():
    nowhere = (0.5, 0.5, 0.0, 1.0)
    poor = {TRAINING: nowhere, HELD_OUT: nowhere, "success": 0.0}
    assert verdicts(made(joint=poor)) == [REFUTED, REFUTED, REFUTED, REFUTED]


def test_a_joint_model_that_is_no_worse_than_a_conditional_one_that_misses_the_goal_does_not_fit():
    wide = (0.09, 0.5, 0.0, 1.0)  # an error beyond the goal's radius
    both = {TRAINING: wide, HELD_OUT: wide, "success": 0.9}
    assert verdicts(made(joint=both, conditional=both))[1] == REFUTED


def test_poor_generalisation_of_both_models_is_none_of_the_joint_one():
    assert verdicts(made(conditional=OVERFIT | {"success": 0.9}))[2] == REFUTED


def test_a_joint_model_that_succeeds_as_often_does_not_generalise_very_poorly():
    assert verdicts(made(joint=OVERFIT | {"success": 0.9}))[2] == REFUTED


def test_a_conditional_model_that_fails_too_says_nothing_of_the_joint_one_s_failures():
    frame = made(conditional=GOOD | {"success": 0.3}, joint=OVERFIT | {"success": 0.25})
    assert verdicts(frame)[:3] == [INCONCLUSIVE, REPRODUCED, INCONCLUSIVE]


def test_energies_that_rise_less_than_half_way_are_not_treated_as_negatives():
    little = OVERFIT | {HELD_OUT: (0.4, 0.5, -1.0, 6.0)}
    assert verdicts(made(joint=little)) == [REPRODUCED, REPRODUCED, REPRODUCED, REFUTED]


@pytest.mark.parametrize("metric", ["error", "energy"])
def test_a_seed_that_diverged_is_never_dropped(metric):
    broken = made()
    rows = (broken.model == JOINT) & (broken.seed == 3) & (broken.metric == metric)
    earlier = broken[rows].assign(step=50)  # what it was before says nothing
    broken.loc[rows, "value"] = np.nan
    found = verdicts(pd.concat([earlier, broken], ignore_index=True))
    assert found == ([INCONCLUSIVE] * 3 + [REPRODUCED] if metric == "error" else [REPRODUCED] * 3 + [INCONCLUSIVE])


def test_one_seed_decides_nothing():
    assert verdicts(made(seeds=[0])) == [INCONCLUSIVE] * 4


def test_a_conditional_model_that_learnt_nothing_is_nothing_to_compare_with():
    chance = (0.5, 0.5, 0.0, 0.0)
    unlearnt = {TRAINING: chance, HELD_OUT: chance, "success": 0.0}
    found = CLAIMS[".validation"].decide(made(conditional=unlearnt))
    assert found.verdict == INCONCLUSIVE
    assert "too little" in found.note


def test_wrong_actions_of_less_energy_leave_the_energies_undecided():
    upside_down = OVERFIT | {TRAINING: (0.0, 0.01, 5.0, -5.0)}
    assert verdicts(made(joint=upside_down))[3] == INCONCLUSIVE


# ---- what is measured ----


def validation(seeds=(0, 1), **changes):
    config = dataclasses.replace(SMOKE, seeds=list(seeds), **changes)
    context = Context()
    data = _particle.task(config, 2, config.seeds, context.device)
    one = experiment.LEARNERS[JOINT](config, data, context.generators(config.seeds))
    return experiment.PairValidation(one, data, config)


def measured(one, pairs=TRAINING):
    rows = pd.DataFrame(one._pair_rows(pairs))
    return rows.pivot(index="seed", columns="metric", values="value")


def test_a_flat_energy_ranks_at_chance_and_broken_weights_rank_nowhere():
    one = validation()
    with torch.no_grad():
        for weight in one.energy.parameters():
            weight.zero_()
        one.energy.biases[0][1] = torch.nan
    found = measured(one)
    assert found["rank"].tolist() == [0.5, pytest.approx(np.nan, nan_ok=True)]
    assert np.isnan(found["energy"][1])


def test_an_energy_that_knows_the_action_ranks_first_and_finds_it(monkeypatch):
    # Of so many episodes the box of actions holds those of the held-out ones, or nearly.
    one = validation(inference_samples=32, demonstrations=40)

    class Knowing(MLPEnergy):
        """Squared distance from the action that was demonstrated at the nearest held-out observation."""

        def nearest(self, x):
            inputs, actions = one.sets[HELD_OUT]
            known = one.data.input_scaling.scaled(inputs).float()
            index = torch.stack([torch.cdist(a, b).argmin(-1) for a, b in zip(x, known, strict=True)])
            return one.data.action_scaling.scaled(actions).float().take_along_dim(index[..., None], 1)

        def forward(self, observation, action):
            return (action - self.nearest(observation)[:, :, None]).square().sum(-1)

        def action_gradient(self, observation, precision=None):
            return lambda y: 2 * (y - self.nearest(observation)[:, :, None])

    monkeypatch.setattr(experiment.PairValidation, "energy", Knowing(16, 2, torch.Generator()))
    found = measured(one, HELD_OUT)
    assert (found["rank"] == 0).all()
    assert (found["error"] < 0.05).all()
    assert (found["energy"] < 1e-9).all()


def test_held_out_pairs_are_of_other_episodes_at_the_same_times():
    one = validation(pairs=150)
    (training, _), (held, _) = (one.sets[name] for name in SETS)
    assert training.shape == held.shape == (2, 150, 16)
    goals, others = (pairs[..., 12:].flatten(0, 1) for pairs in (training, held))
    assert torch.cdist(goals, others).min() > 0
    still = [(pairs[..., 10:12] == 0).all(-1) for pairs in (training, held)]  # at rest: the start of an episode
    assert torch.equal(*still)
    assert still[0].sum() == 2 * 3


def test_the_measures_see_a_joint_model_that_overfits():
    """Two episodes, and steps enough to learn them by heart: the error grows on pairs of others, the success is nil."""
    config = dataclasses.replace(
        SMOKE, hidden=[64, 64], demonstrations=2, steps=250, learning_rate=0.003, inference_samples=16, candidates=63
    )
    context = Context()
    data = _particle.task(config, 2, config.seeds, context.device)
    one = experiment.LEARNERS[JOINT](config, data, context.generators(config.seeds))
    for _ in range(config.steps):
        one.step()
    watched = experiment.PairValidation(one, data, config)
    training, held = measured(watched), measured(watched, HELD_OUT)
    assert (training["rank"] < 0.1).all()
    assert (held["error"] - training["error"] > experiment.GOAL_RADIUS).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"observation_scaling": "z_score"}, "observation_scaling=z_score"),
        ({"buffer": 127}, "at least .*128"),
        ({"penalty": 1.0}, "penalty=1.0"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(wrong, message):
    with pytest.raises(BadInputError, match=message):
        experiment.run(dataclasses.replace(SMOKE, **wrong), Context())


# ---- the whole of it ----


def test_smoke_decides_nothing_and_draws(smoke):
    assert {claim.verdict(smoke, "smoke").verdict for claim in experiment.CLAIMS} == {INCONCLUSIVE}
    assert set(rendered(experiment.figure(smoke))) == {"figure.png", "figure.svg"}


def test_decisions_read_the_file_alone(smoke, tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(frame_bytes(smoke))
    kept = read_frame(path)
    assert [claim.decide(smoke) for claim in experiment.CLAIMS] == [claim.decide(kept) for claim in experiment.CLAIMS]


def test_a_member_is_measured_as_if_alone(smoke):
    alone = experiment.run(dataclasses.replace(SMOKE, seeds=[1]), Context())
    for metric in ("rank", "error", "energy", "success"):
        both = smoke[(smoke.seed == 1) & (smoke.metric == metric)].value.to_numpy()
        np.testing.assert_allclose(both, alone[alone.metric == metric].value.to_numpy(), rtol=0, atol=1e-4)


def test_a_killed_training_goes_on_from_its_checkpoint(tmp_path, smoke, monkeypatch):
    """Killed in the joint model, with a checkpoint at every step: the frame is that of a run never killed."""
    monkeypatch.setattr(_particle, "KEEP_SECONDS", -1)
    step, left = experiment.JointLearner.step, iter(range(3))

    def killed(one):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(one)

    monkeypatch.setattr(experiment.JointLearner, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(SMOKE, Context(tmp_path, "key"))
    monkeypatch.setattr(experiment.JointLearner, "step", step)
    pd.testing.assert_frame_equal(experiment.run(SMOKE, Context(tmp_path, "key")), smoke)
