"""The trained experiments: their frames, their decisions on made-up frames, broken variants, and resuming."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.gap import (
    _methods,
    _particle,
    particle_dimensions,
    particle_implementation,
    particle_inference,
    particle_losses,
    particle_mas,
    particle_precision,
    particle_samplers,
)
from experiments.harness import arguments, catalogue
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED, Verdict
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes
from experiments.harness.schema import BadInputError
from imitation.ebm.mlp import MLPEnergy
from imitation.population import Generators

MODULES = (
    particle_mas,
    particle_precision,
    particle_samplers,
    particle_losses,
    particle_inference,
    particle_dimensions,
    particle_implementation,
)


def smoke(module):
    return catalogue.canonical(f"gap/{module.__name__.rpartition('.')[2]}", "smoke")


def rows(success: dict[str, list[float]], **more) -> pd.DataFrame:
    """A frame in which the variants ended with these successes, one per seed, and no member diverged."""
    made = [
        {"variant": name, "seed": seed, "step": 100, "metric": metric, "value": value, "iterations": 10, "decides": 1}
        for name, values in success.items()
        for seed, share in enumerate(values)
        for metric, value in (("success", share), ("diverged", 0.0))
    ]
    return pd.DataFrame(made).assign(**more)


def jitter(center: float, seeds: int = 5, width: float = 0.01) -> list[float]:
    return list(center + width * np.linspace(-1, 1, seeds))


@pytest.mark.parametrize("module", MODULES)
def test_smoke_run_is_whole_and_can_be_drawn_and_judged(module):
    cfg = smoke(module)
    frame = module.run(cfg, Context())
    found = frame[frame.metric == "success"]
    assert found.value.between(0, 1).all()
    assert set(found.seed) == set(cfg.seeds)
    assert not frame[frame.metric == "diverged"].value.any()
    for claim in module.CLAIMS:
        verdict = claim.verdict(frame, "smoke")
        assert verdict.verdict == INCONCLUSIVE or (verdict.verdict, verdict.note[:8]) == (NOT_RUN, "Not run:")
    module.figure(frame)


def test_a_killed_training_goes_on_to_the_same_frame(tmp_path, monkeypatch):
    cfg = dataclasses.replace(smoke(particle_mas), steps=9, validations=3, inference_iterations=[2])
    used = ("Ibc", "Correct, MAS+MaxEnt")
    monkeypatch.setattr(particle_mas, "VARIANTS", {name: particle_mas.VARIANTS[name] for name in used})
    whole = particle_mas.run(cfg, Context())
    monkeypatch.setattr(_particle, "KEEP_SECONDS", 0)
    steps = 0

    class KilledError(Exception):
        pass

    real = particle_mas._particle.progress

    def killing(*arguments):
        nonlocal steps
        steps += 1
        if steps == 14:  # in the second variant, between two validations
            raise KilledError
        real(*arguments)

    monkeypatch.setattr(_particle, "progress", killing)
    with pytest.raises(KilledError):
        particle_mas.run(cfg, Context(tmp_path, "key"))
    resumed = particle_mas.run(cfg, Context(tmp_path, "key"))
    pd.testing.assert_frame_equal(whole, resumed, check_exact=True)


def test_a_member_of_a_run_is_the_run_of_its_seed_alone(monkeypatch):
    # float32 products round by their layout: the training metrics of a few steps agree to rounding.
    cfg, variant = smoke(particle_mas), "Correct, MAS+MaxEnt"
    monkeypatch.setattr(particle_mas, "VARIANTS", {variant: particle_mas.VARIANTS[variant]})
    both = particle_mas.run(cfg, Context())
    alone = particle_mas.run(dataclasses.replace(cfg, seeds=cfg.seeds[1:]), Context())
    for metric in ("loss", "distance", "success"):
        first = _particle.last(both, metric)[cfg.seeds[1]]
        second = _particle.last(alone, metric)[cfg.seeds[1]]
        assert first == pytest.approx(second, rel=1e-4)


def test_the_true_form_steps_twice_as_far_and_acting_has_a_noise_of_its_own():
    cfg = dataclasses.replace(smoke(particle_mas), noise_scale=0.3, inference_noise_scale=0.2)
    (ibc, sizes), (true, doubled) = (cfg.chain(form, 7) for form in ("ibc", "true"))
    assert doubled == [2 * size for size in sizes]
    assert (ibc.form, ibc.noise_scale, true.form, true.noise_scale) == ("ibc", 0.3, "true", 1)
    minimiser = cfg.minimiser(7)
    assert (minimiser.kernel.form, minimiser.kernel.noise_scale, minimiser.step_sizes) == ("ibc", 0.2, sizes)


@pytest.mark.parametrize("module", MODULES[:5])
def test_every_training_has_the_recipes_penalty(module, monkeypatch):
    real, seen = _particle.learner, []

    def watched(*given):
        seen.append(given[-1].penalty)
        return real(*given)

    monkeypatch.setattr(_particle, "learner", watched)
    cfg = dataclasses.replace(smoke(module), steps=1, validations=1, penalty=0.5)
    module.run(cfg, Context())
    assert seen
    assert set(seen) == {0.5}


def test_every_sampler_has_the_recipes_precision():
    cfg = dataclasses.replace(smoke(particle_mas), precision="bfloat16")
    made = [particle_mas.proposal(cfg, one, Context().generators(cfg.seeds)) for one in particle_mas.VARIANTS]
    assert {one.precision for one in made} == {torch.bfloat16}


def test_a_diverged_member_fails_and_counts():
    cfg = smoke(particle_mas)
    data = _particle.task(cfg, 2, cfg.seeds, torch.device("cpu"))
    random = Context().generators(cfg.seeds)
    one = _particle.learner(cfg, data, lambda _: cfg.short_chains(), random, particle_mas.Objective())
    with torch.no_grad():
        one.energy.weights[0][1] = torch.nan
    validation = _particle.Validation(one, data, {10: cfg.minimiser(10)}, cfg.seeds, cfg.episodes)
    frame = _particle.train(one, cfg, cfg.seeds, Context(), "x", validation, lambda share: None)
    assert _particle.last(frame, "diverged").tolist() == [0.0, 1.0]
    assert _particle.success(frame)[cfg.seeds[1]] == 0.0


def test_a_row_of_training_is_the_mean_of_its_own_steps():
    cfg = dataclasses.replace(smoke(particle_mas), steps=6, validations=2)
    data = _particle.task(cfg, 2, cfg.seeds, torch.device("cpu"))
    random = Context().generators(cfg.seeds)
    one = _particle.learner(cfg, data, lambda _: cfg.short_chains(), random, particle_mas.Objective())
    validation = _particle.Validation(one, data, {1: cfg.minimiser(1)}, cfg.seeds, cfg.episodes)
    real, seen = one.step, []
    one.step = lambda: seen.append(real()) or seen[-1]
    frame = _particle.train(one, cfg, cfg.seeds, Context(), "x", validation, lambda share: None)
    for metric in ("loss", "nearest"):
        found = frame[frame.metric == metric].pivot(index="step", columns="seed", values="value")
        steps = torch.stack([getattr(info, metric) for info in seen]).double().numpy()
        assert found.index.tolist() == [3, 6]
        assert found.to_numpy() == pytest.approx(steps.reshape(2, 3, -1).mean(1))


def test_training_and_validation_share_no_episode():
    cfg = smoke(particle_mas)
    data = _particle.task(cfg, 2, [0, 1], torch.device("cpu"))
    fresh = _particle.validation_starts(2, [0, 1], 50, torch.device("cpu"))
    demonstrated = data.inputs[:, ::50, :2]  # where episodes begin
    assert not torch.isin(fresh.position[..., 0], demonstrated[..., 0]).any()
    assert not torch.isin(data.inputs[0, :, 0], data.inputs[1, :, 0]).any()


# -- gap.fig2


def on_par(**changed):
    return rows({name: jitter(0.8) for name in particle_mas.VARIANTS} | changed)


def test_fig2_needs_every_variant_within_the_margin():
    assert particle_mas.decide_all(on_par()).verdict == REPRODUCED
    broken = on_par(**{"Correct, MAS": jitter(0.6)})  # negative control: a variant that is clearly worse
    assert particle_mas.decide_all(broken).verdict == REFUTED
    assert particle_mas.decide_variant(broken, "Ibc, MAS").verdict == REPRODUCED
    unclear = on_par(**{"Correct, MAS": jitter(0.78, width=0.2)[::-1]})
    assert particle_mas.decide_all(unclear).verdict == INCONCLUSIVE


def test_variants_that_all_fail_are_not_on_par():
    failed = rows({name: jitter(0.0, width=0) for name in particle_mas.VARIANTS})
    assert particle_mas.decide_all(failed).verdict == INCONCLUSIVE


def test_a_missing_seed_is_not_passed_over():
    frame = on_par()
    lacking = frame[~((frame.variant == "Ibc") & (frame.seed == 0))]
    with pytest.raises(ValueError, match="must be the same"):
        particle_mas.decide_all(lacking)


# -- what the losses need


def trained(few: dict[str, list[float]] | None = None, **changed: list[float]) -> pd.DataFrame:
    """Each variant's success from 512 starts, .1 without the norm; and from 16, `few` or half of it."""
    alone = (particle_losses.MCMC_ALONE, particle_losses.MAXENT_ALONE)
    most = {name: jitter(0.1 if name in alone else 0.8) for name in particle_losses.VARIANTS} | changed
    fewest = {name: [share / 2 for share in shares] for name, shares in most.items()} | (few or {})
    both = [rows(most, starts=512), rows(fewest, starts=16, decides=0)]
    return pd.concat(both, ignore_index=True).drop(columns="iterations")


CLEAR, LESS = jitter(0.8), jitter(0.3)
NO_BETTER = [
    (particle_losses.decide_mcmc, particle_losses.MCMC, particle_losses.REFERENCE),
    (particle_losses.decide_maxent, particle_losses.MAXENT, particle_losses.SMALL),
]


@pytest.mark.parametrize(("decide", "name", "reference"), NO_BETTER)
def test_a_loss_that_learns_is_no_better_or_it_is(decide, name, reference):
    assert decide(trained()).verdict == REPRODUCED
    assert decide(trained(**{name: jitter(0.6)})).verdict == REPRODUCED
    assert decide(trained(**{name: jitter(0.95)})).verdict == REFUTED  # negative control: a clear improvement
    assert decide(trained(**{name: LESS})).verdict == REFUTED  # negative control: a loss that teaches too little
    assert decide(trained(**{name: jitter(0.5, width=0.1)})).verdict == INCONCLUSIVE
    assert decide(trained(**{name: LESS, reference: LESS})).verdict == INCONCLUSIVE  # nothing to compare with
    assert decide(trained(few={name: jitter(0.0)})).verdict == REPRODUCED  # the few starts do not decide


def test_the_norm_must_help_both_losses():
    assert particle_losses.decide_anchor(trained()).verdict == REPRODUCED
    for name in (particle_losses.MCMC_ALONE, particle_losses.MAXENT_ALONE):  # negative control: as good without it
        assert particle_losses.decide_anchor(trained(**{name: jitter(0.9)})).verdict == REFUTED
        assert particle_losses.decide_anchor(trained(**{name: jitter(0.8, width=0.3)[::-1]})).verdict == INCONCLUSIVE


def test_more_starts_must_help_the_regularised_model():
    assert particle_losses.decide_starts(trained()).verdict == REPRODUCED
    few = {particle_losses.MAXENT: jitter(0.9)}  # negative control: fewer starts do better
    assert particle_losses.decide_starts(trained(few=few)).verdict == REFUTED


def test_the_losses_differ_as_their_names_say(monkeypatch):
    real, seen = _particle.learner, []

    def watched(recipe, data, proposal, random, objective):
        kernel = proposal(random).kernel
        seen.append((objective.loss.__name__, objective.anchor, kernel.form, kernel.noise_scale))
        return real(recipe, data, proposal, random, objective)

    monkeypatch.setattr(_particle, "learner", watched)
    frame = particle_losses.run(dataclasses.replace(smoke(particle_losses), steps=1, validations=1), Context())
    assert seen == [
        ("infonce", 0, "ibc", 0.1),
        ("infonce", 0, "ibc", 0.01),
        ("mcmc", 10, "ibc", 0.1),
        ("mcmc", 0, "ibc", 0.1),
        ("entropy_regularised", 10, "true", 1),
        ("entropy_regularised", 0, "true", 1),
    ]
    ends = frame[frame.metric == "success"]
    assert ends.groupby("starts").decides.unique().map(list).to_dict() == {4: [1], 2: [0]}


def test_every_start_is_one_of_inference(monkeypatch):
    real, seen = MLPEnergy.action_gradient, []

    class Counted:
        def __init__(self, gradient):
            self.gradient = gradient

        def __call__(self, actions, *more):
            seen.append(actions.shape[2])
            return self.gradient(actions, *more)

    def watched(self, observation, precision=None):
        return Counted(real(self, observation, precision))

    monkeypatch.setattr(MLPEnergy, "action_gradient", watched)
    cfg = dataclasses.replace(smoke(particle_losses), steps=1, validations=1, negatives=3, starts=[7, 5])
    particle_losses.run(cfg, Context())
    assert set(seen) == {3, 7, 5}


# -- how the models act


def acted(few: dict[str, list[float]] | None = None, long: dict[str, list[float]] | None = None, **changed):
    """Each variant's success from 512 starts by 10 iterations; from 16, `few` or a tenth; by 30, `long` or as by 10."""
    behind = [particle_inference.LARGE, *particle_inference.LONG]
    first = {name: jitter(0.6 if name in behind else 0.8) for name in particle_inference.VARIANTS} | changed
    fewest = {name: jitter(0.1) for name in first} | (few or {})
    longest = first | (long or {})
    each = ((first, 512, 10, 1), (longest, 512, 30, 0), (fewest, 16, 10, 0), (fewest, 16, 30, 0))
    made = [rows(success, starts=starts, iterations=its, decides=decides) for success, starts, its, decides in each]
    return pd.concat(made, ignore_index=True)


def test_models_with_a_marginal_sampler_are_on_par_by_the_inference_that_decides():
    decide, name = particle_inference.decide_marginal, "Correct, MAS"
    assert decide(acted()).verdict == REPRODUCED
    assert decide(acted(**{name: jitter(0.6)})).verdict == REFUTED  # negative control: a variant that is clearly worse
    assert decide(acted(**{name: jitter(0.78, width=0.2)[::-1]})).verdict == INCONCLUSIVE
    assert (
        decide(acted(few={name: jitter(0.5)}, long={name: jitter(0.3)})).verdict == REPRODUCED
    )  # others do not decide
    assert decide(acted(**{name: jitter(0.1) for name in particle_inference.VARIANTS})).verdict == INCONCLUSIVE


def test_and_by_the_most_iterations_from_the_most_starts():
    decide, name = particle_inference.decide_iterations, "Ibc, MAS"
    assert decide(acted()).verdict == REPRODUCED
    broken = acted(long={name: jitter(0.5)})  # negative control: more iterations lead a variant astray
    assert decide(broken).verdict == REFUTED
    assert particle_inference.decide_marginal(broken).verdict == REPRODUCED
    assert decide(acted(**{name: jitter(0.5)}, long={name: jitter(0.8)})).verdict == REPRODUCED
    one = broken.metric.eq("diverged") & broken.variant.eq(name) & broken.seed.eq(0)
    assert "Diverged: 1." in decide(broken.assign(value=broken.value.mask(one, 1.0))).note


@pytest.mark.parametrize(
    ("decide", "behind"),
    [
        (particle_inference.decide_chains, particle_inference.LONG),
        (particle_inference.decide_noise_scale, [particle_inference.LARGE]),
    ],
)
def test_short_chains_and_small_noise_are_ahead_of_every_rival(decide, behind):
    assert decide(acted()).verdict == REPRODUCED
    for name in behind:
        assert decide(acted(**{name: jitter(0.9)})).verdict == REFUTED  # negative control: a rival that is better
        assert decide(acted(**{name: jitter(0.8, width=0.3)[::-1]})).verdict == INCONCLUSIVE
        assert decide(acted(few={name: jitter(0.9)}, long={name: jitter(0.9)})).verdict == REPRODUCED


def test_the_trainings_are_those_of_the_two_other_experiments(monkeypatch):
    """The same bytes of training and of the first inference, where the starts are the same."""
    cfg = dataclasses.replace(smoke(particle_inference), starts=[2], anchor=0.5)
    found = particle_inference.run(cfg, Context())
    columns = [name for name in found.columns if name != "starts"]
    for module in (particle_mas, particle_samplers):
        names = {field.name for field in dataclasses.fields(module.Config)}
        same = {name: value for name, value in dataclasses.asdict(cfg).items() if name in names}
        theirs = module.run(dataclasses.replace(smoke(module), **same), Context())
        shared = [name for name in particle_inference.VARIANTS if name in set(theirs.variant)]
        assert len(shared) == 4
        for name in shared:
            expected, mine = (one[one.variant == name][columns] for one in (theirs, found))
            expected = expected[expected.metric.isin(mine.metric)]
            assert frame_bytes(mine.astype({"step": int})) == frame_bytes(expected.astype({"step": int}))


# -- gap.precision


def precisions(half: list[float], single: list[float]) -> pd.DataFrame:
    return rows({particle_precision.REFERENCE: single, particle_precision.HALF: half})


@pytest.mark.parametrize(
    ("half", "single", "verdict"),
    [
        (jitter(0.78), jitter(0.8), REPRODUCED),
        (jitter(0.6), jitter(0.8), REFUTED),  # negative control: bfloat16 costs success
        (jitter(0.95), jitter(0.8), REFUTED),  # nor is it on par where it is better
        (jitter(0.8, width=0.3), jitter(0.8)[::-1], INCONCLUSIVE),
        (jitter(0.0, width=0), jitter(0.0, width=0), INCONCLUSIVE),  # neither has learnt
    ],
)
def test_precisions_are_on_par_or_not(half, single, verdict):
    assert particle_precision.decide(precisions(half, single)).verdict == verdict


def test_the_precisions_differ_in_the_sampler_alone(monkeypatch):
    cfg, seen = dataclasses.replace(smoke(particle_precision), steps=1, validations=1), []
    real = MLPEnergy.action_gradient

    def watched(self, observation, precision=None):
        trains = observation.shape[1] == cfg.batch
        seen.append([precision, trains, self.weights[0].dtype, self.weights[0].detach().sum(), observation.sum()])
        return real(self, observation, precision)

    monkeypatch.setattr(MLPEnergy, "action_gradient", watched)
    particle_precision.run(cfg, Context())
    # Training and acting, first the one run and then the other.
    used = [(precision, trains) for precision, trains, *_ in seen]
    assert list(dict.fromkeys(used)) == [(torch.float32, True), (torch.float32, False), (torch.bfloat16, True),
                                         (torch.bfloat16, False)]  # fmt: skip
    first = [next(one[2:] for one in seen if one[:2] == [kind, True]) for kind in (torch.float32, torch.bfloat16)]
    assert first[0] == first[1]  # the same weights, of the same type, on the same batch


# -- gap.noise-scale, gap.chains, gap.mcmc-vs-infonce, gap.maxent-conditional

S = particle_samplers
AS_PRINTED = {
    S.REFERENCE: 0.8, S.SMALL: 0.8, S.LARGE: 0.4, S.LONG: 0.5, S.STEADY: 0.6, S.MCMC: 0.78, S.MAXENT: 0.7,
}  # fmt: skip
DECISIONS = (S.decide_noise_scale, S.decide_chains, S.decide_mcmc, S.decide_maxent)


def samplers(**changed):
    made = rows({name: jitter(value) for name, value in (AS_PRINTED | changed).items()})
    told = ("nearest", "distance", "positive_energy", "negative_energy")
    more = [made[made.metric == "diverged"].assign(metric=name, value=0.3) for name in told]
    return pd.concat([made, *more], ignore_index=True)


def test_decisions_on_results_as_printed():
    assert [decide(samplers()).verdict for decide in DECISIONS] == [REPRODUCED] * 4


@pytest.mark.parametrize(
    ("decide", "changed"),
    [
        (S.decide_noise_scale, {S.LARGE: 0.9}),  # large noise is as good as small
        (S.decide_noise_scale, {S.SMALL: 0.2}),  # one of the small scales is worse
        (S.decide_chains, {S.LONG: 0.95}),
        (S.decide_chains, {S.STEADY: 0.95}),  # the other way of stepping is better than short chains
        (S.decide_mcmc, {S.MCMC: 0.95}),
        (S.decide_maxent, {S.MAXENT: 0.95}),  # better than small noise
        (S.decide_maxent, {S.MAXENT: 0.1}),  # not reasonable
    ],
)
def test_broken_variants_are_refuted(decide, changed):
    assert decide(samplers(**changed)).verdict == REFUTED


def test_a_loss_that_teaches_nothing_is_no_sign_that_it_brings_no_improvement():
    verdict = S.decide_mcmc(samplers(**{S.MCMC: 0.02}))
    assert verdict.verdict == INCONCLUSIVE
    assert "has not clearly learnt the task" in verdict.note


def test_the_steady_chain_differs_from_the_long_one_in_its_steps_alone():
    cfg = smoke(particle_samplers)
    long, steady = (S.proposal(cfg, S.VARIANTS[name]) for name in (S.LONG, S.STEADY))
    assert set(steady.step_sizes) == {cfg.steady_step}
    assert len(steady.step_sizes) == len(long.step_sizes) == cfg.negatives * cfg.iterations
    assert dataclasses.replace(steady, step_sizes=long.step_sizes) == long


def test_a_reference_that_learnt_nothing_decides_nothing():
    frame = samplers(**{S.REFERENCE: 0.3})
    assert {decide(frame).verdict for decide in DECISIONS} == {INCONCLUSIVE}


# -- gap.dimensions, gap.implementation

D, C, M = particle_dimensions, particle_implementation, _methods


def dimensions(success: dict[tuple[str, int, int], float], **last) -> pd.DataFrame:
    """Successes by method, dimension and demonstrations; losses that fall and distances as expected unless changed."""
    metrics = {"loss": (2.0, 0.5), "positive_energy": (0.0, -1.0), "negative_energy": (0.0, 5.0), "distance": (1, 0.5)}
    made = []
    for (method, n, demonstrations), share in success.items():
        for seed, jump in enumerate(np.linspace(-0.01, 0.01, 6)):
            common = {"method": method, "dimension": n, "demonstrations": demonstrations, "seed": seed, "decides": 1}
            value = min(share + jump, 1.0) if demonstrations > 1 else float(share > 0.5)  # of one episode or of many
            made.append(common | {"metric": "success", "step": 2, "value": value})
            if method in (M.LANGEVIN, M.DFO):
                for metric, (first, end) in metrics.items():
                    end = last.get(metric, end)
                    if method == M.DFO and metric == "distance":
                        end = last.get("uniform", end + 0.5)
                    made += [
                        common | {"metric": metric, "step": s, "value": v + jump * s} for s, v in ((1, first), (2, end))
                    ]
    return pd.DataFrame(made)


GOOD = {
    (M.LANGEVIN, 2, 2000): 0.97, (M.DFO, 2, 2000): 0.9, (M.MSE, 2, 2000): 0.5, (M.NEAREST, 2, 2000): 0.1,
    (M.LANGEVIN, 16, 2000): 0.9, (M.DFO, 16, 2000): 0.1, (M.MSE, 16, 2000): 0.2, (M.NEAREST, 16, 2000): 0.0,
    (M.LANGEVIN, 2, 1): 0.99, (M.DFO, 2, 1): 0.99, (M.LANGEVIN, 16, 1): 0.99, (M.DFO, 16, 1): 0.99,
}  # fmt: skip
ALL = (partial(D.decide_dimensions, dimensions=(2, 16)), C.decide_dfo, C.decide_full, C.decide_overfit,
       C.decide_evolution)  # fmt: skip


def test_dimensions_as_reported():
    assert [decide(dimensions(GOOD)).verdict for decide in ALL[:2]] == [REPRODUCED] * 2
    assert [decide(dimensions(GOOD | {(M.LANGEVIN, 2, 2000): 0.985})).verdict for decide in ALL] == [REPRODUCED] * 5


@pytest.mark.parametrize(
    ("decide", "changed"),
    [
        (D.decide_dimensions, {(M.NEAREST, 16, 2000): 0.95}),
        (D.decide_dimensions, {(M.MSE, 16, 2000): 0.99}),
        (C.decide_dfo, {(M.DFO, 16, 2000): 0.9}),
        (C.decide_dfo, {(M.LANGEVIN, 16, 2000): 0.1}),
        (C.decide_full, {(M.LANGEVIN, 2, 2000): 0.8}),
        (C.decide_overfit, {(M.DFO, 16, 1): 0.1}),
    ],
)
def test_broken_dimensions_are_refuted(decide, changed):
    assert decide(dimensions(GOOD | changed)).verdict == REFUTED


def test_only_the_published_size_refutes_a_dimension():
    behind, smaller = dimensions(GOOD | {(M.MSE, 2, 2000): 0.99}), ("smoke", "laptop", "overnight")
    planar = next(one for one in D.CLAIMS if one.id == "gap.dimensions.2-d")
    verdicts = [planar.verdict(behind, scale).verdict for scale in (*smaller, "paper")]
    assert verdicts == [INCONCLUSIVE] * 3 + [REFUTED]


def test_a_search_smaller_than_published_shows_no_failure_but_at_equal_cost():
    claims = {one.id.removeprefix("gap.implementation"): one for one in C.CLAIMS}
    good, found = dimensions(GOOD), dimensions(GOOD | {(M.DFO, 16, 2000): 0.9})
    assert [claims[""].verdict(good, scale).verdict for scale in ("overnight", "paper")] == [INCONCLUSIVE, REPRODUCED]
    assert [claims[".equal-cost"].verdict(one, "overnight").verdict for one in (good, found)] == [
        REPRODUCED,
        INCONCLUSIVE,  # only the published size refutes
    ]


def test_of_dimensions_that_were_not_run_nothing_is_known():
    whole = dimensions(GOOD)
    partly = D.decide_dimensions(whole)
    assert partly.verdict == INCONCLUSIVE
    assert partly.note.startswith("Not run: 32-D.")
    assert D.decide_dimensions(dimensions(GOOD | {(M.MSE, 16, 2000): 0.99})).verdict == REFUTED  # one against is enough
    assert D.decide_dimensions(whole, dimensions=(4,)) == Verdict(NOT_RUN, note="Not run: 4-D.")
    flat = whole[whole.dimension == 2]
    assert C.decide_dfo(flat).verdict == NOT_RUN
    for decide in (C.decide_overfit, C.decide_evolution):
        assert decide(flat).verdict == INCONCLUSIVE
        assert decide(flat, dimensions=(2,)).verdict == REPRODUCED


def test_three_seeds_that_redo_their_episode_are_too_few():
    frame = dimensions(GOOD)
    found = C.decide_overfit(frame[frame.seed < 3])
    assert (found.verdict, found.measured) == (INCONCLUSIVE, 1)


@pytest.mark.parametrize("changed", [{"loss": 3.0}, {"negative_energy": -9.0}, {"uniform": 0.1}])
def test_an_unexpected_evolution_is_refuted(changed):
    assert C.decide_evolution(dimensions(GOOD, **changed)).verdict == REFUTED


def test_one_demonstration_is_validated_on_itself():
    cfg = dataclasses.replace(smoke(C), demonstrations=1)
    data = _particle.task(cfg, 2, cfg.seeds, torch.device("cpu"))
    start = M.demonstrated(data)
    expected = _particle.starts([_particle.BLOCK * seed for seed in cfg.seeds], 2)
    for found, wanted in zip(start, expected, strict=True):
        torch.testing.assert_close(found[:, 0], wanted, rtol=0, atol=0)


def test_the_recipes_build_the_published_networks():
    wanted = {"ibc_paper": (18, 18), "ibc_code": (4, 0), "ta2022": (3, 0)}
    for recipe, (weights, estimates) in wanted.items():
        given = ["experiment=gap/particle_implementation", "scale=paper", f"recipe={recipe}"]
        cfg = arguments.plans(given, multirun=False)[0].config
        energy = cfg.energy(16, 2, Generators([0]))
        assert (len(energy.weights), len(list(energy.buffers()))) == (weights, estimates)


@pytest.mark.parametrize("changed", [["hidden=[8,8,8]"], ["hidden=[8,16]"], ["network=plain", "spectral_norm=true"]])
def test_networks_that_are_none_are_refused(changed):
    given = ["experiment=gap/particle_implementation", "scale=smoke", *changed]
    with pytest.raises(BadInputError, match="even number of equal widths"):
        arguments.plans(given, multirun=False)


def test_a_value_of_the_wrong_type_is_named():
    with pytest.raises(BadInputError, match="hidden"):
        arguments.plans(["experiment=gap/particle_mas", "scale=smoke", "hidden=[[1],[2]]"], multirun=False)
