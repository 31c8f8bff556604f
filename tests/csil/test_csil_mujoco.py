"""The MuJoCo study: decisions on made-up frames, own demonstrations, what is refused, and a run that was killed."""

from dataclasses import asdict, replace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from experiments.csil import _scores, _study
from experiments.csil import mujoco as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked
from imitation.control import experts
from imitation.demonstrations import load_demonstrations, save_minari

SMOKE = catalogue.canonical("csil/mujoco", "smoke")
QUICK = replace(SMOKE, methods=["CSIL"], demonstrations=replace(SMOKE.demonstrations, counts=[1]))


def made_up(scores: dict[str, list[float]], counts=(1, 3), env="HalfCheetah-v5", spread=0.02):
    """Scores along the updates; of the clones one score at each number of steps. Random has -100, the expert 900."""
    rows = []
    for count in counts:
        for seed in range(6):
            curves = {"expert": [1.0], "random": [0.0], **scores}
            for method, curve in curves.items():
                for update, score in enumerate(curve):
                    value = -100 + 1000 * (
                        score + (method not in ("expert", "random")) * spread * np.sin(9 * seed + len(method))
                    )
                    place = {"env": env, "method": method, "demonstrations": count, "seed": seed, "update": update}
                    rows.append(
                        {**place, "steps": 250_000 * (update + 1) // len(curve), "metric": "return", "value": value}
                    )
                    rows.append({**place, "steps": 250_000, "metric": "diverged", "value": 0.0})
    return pd.DataFrame(rows)


ALL, OVER = experiment.CLAIMS[:3], {claim.id.split(".")[-1]: claim for claim in experiment.CLAIMS[3:]}


def verdicts(frame) -> dict[str, str]:
    """Of what is claimed of all rivals together."""
    return {claim.id.removeprefix("csil."): claim.decide(frame).verdict for claim in ALL}


def test_scores_are_zero_for_random_and_one_for_the_expert():
    rows = _scores.scores(made_up({"BC": [0.25], "CSIL": [0.5, 0.75]}, spread=0))
    assert set(rows[rows.method == "CSIL"].score.round(12)) == {0.5, 0.75}
    assert not set(rows.method) & {"expert", "random"}


@pytest.mark.parametrize(("other", "lowest"), [(-0.5, -0.5), (0.5, 0.0)])
def test_a_diverged_member_has_the_lowest_score_of_all_and_at_most_zero(other, lowest):
    rows = _scores.scores(made_up({"BC": [other], "CSIL": [float("nan")]}, spread=0))
    assert set(rows[rows.method == "CSIL"].score.round(12)) == {lowest}


REST = {"IQ-Learn": [0.1, 0.2], "P2IL": [0.1, 0.2]}


def test_a_method_that_leads_is_seen_to_lead():
    scores = {"BC": [0.1, 0.4], "CSIL": [0.3, 0.95], "SQIL": [0.2, 0.5]}
    led = dict.fromkeys(("mujoco.cheetah", "one-demonstration"), REPRODUCED)
    rivals = verdicts(made_up(scores | REST | {"DAC": [0.1, 0.2]}))
    assert rivals == led | {"mujoco": REPRODUCED}
    # Of rivals that were not run nothing is known.
    assert verdicts(made_up(scores)) == led | {"mujoco": INCONCLUSIVE}
    assert experiment.decide_mujoco(made_up(scores)).note.endswith("Not run: IQ-Learn, DAC, P2IL.")
    del scores["SQIL"]
    assert verdicts(made_up(scores))["mujoco.cheetah"] == INCONCLUSIVE


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({"BC": [0.1, 0.4], "CSIL": [0.9, 0.3], "SQIL": [0.2]}, REFUTED),  # the last evaluation counts, not the best
        ({"BC": [0.1, 0.4], "CSIL": [0.6], "SQIL": [0.8]}, REFUTED),
        ({"BC": [0.4, 0.1], "CSIL": [0.405], "SQIL": [0.2]}, INCONCLUSIVE),  # the strongest clone, not the last
    ],
)
def test_a_method_that_does_not_lead_is_seen(scores, verdict):
    assert verdicts(made_up(scores))["mujoco"] == verdict


def test_a_lead_on_average_does_not_make_up_for_a_condition_that_is_lost():
    low = {name: [0.1] for name in experiment.RIVALS}
    ahead = made_up(low | {"BC": [0.1], "CSIL": [0.9]}, counts=(1, 3))
    behind = made_up(low | {"BC": [0.9], "CSIL": [0.3]}, counts=(10,))
    assert verdicts(ahead)["mujoco"] == REPRODUCED
    assert verdicts(pd.concat([ahead, behind]))["mujoco"] == INCONCLUSIVE


def test_rivals_one_by_one():
    scores = {"BC": [0.1, 0.4], "CSIL": [0.3, 0.6], "SQIL": [0.2, 0.9], "P2IL": [0.1, 0.6]}
    found = {name: claim.decide(made_up(scores)).verdict for name, claim in OVER.items()}
    assert found == {"bc": REPRODUCED, "sqil": REFUTED, "p2il": INCONCLUSIVE, "iq-learn": NOT_RUN, "dac": NOT_RUN}


def test_dac_is_a_rival_only_where_no_episode_ends():
    scores = {"BC": [0.1], "CSIL": [0.6], "DAC": [0.9]}
    endless, ends = made_up(scores | {"DAC": [0.1]}), made_up(scores, env="Hopper-v5")
    assert OVER["dac"].decide(ends).verdict == NOT_RUN
    found = OVER["dac"].decide(pd.concat([endless, ends]))
    assert found.verdict == REPRODUCED
    assert "Hopper" not in found.note
    assert OVER["bc"].decide(pd.concat([endless, ends])).note.count("Hopper-v5 (") == 2


def test_the_table_tells_falls_from_each_seeds_best_so_far():
    frame = made_up({"BC": [0.1], "CSIL": [0.2, 0.8, 0.3, 0.5], "SQIL": [0.1, 0.2]}, counts=(3, 1), spread=0)
    table = experiment.table(frame)
    assert list(table.demonstrations) == [1, 1, 3, 3]
    own = table[table.method == "CSIL"]
    assert set(own["deepest fall"]) == {"0.50"}
    assert set(own["best score"]) == {"0.80"}
    assert set(own["last score"]) == {"0.50 [0.50, 0.50]"}
    assert set(own["sd over seeds"]) == {"0.00"}
    assert set(table[table.method == "SQIL"]["deepest fall"]) == {"0.00"}


def test_a_diverged_member_is_counted_and_not_drawn_as_free_of_collapse():
    place = [(seed, steps) for seed in (0, 1) for steps in (10, 20)]
    values = {"diverged": [0, 0, 0, 1], "at_limits": [0.4, 0.6, 0.2, 0.0], "value_share": [0.1, 0.1, 0.1, np.nan]}
    frame = pd.DataFrame(
        {"env": "Hopper-v5", "method": "CSIL", "demonstrations": 1, "seed": seed, "steps": steps, "metric": metric,
         "value": value}
        for metric, column in values.items()
        for (seed, steps), value in zip(place, column, strict=True)
    )  # fmt: skip
    axis = Figure().subplots()
    experiment._draw_collapse(axis, frame)
    assert axis.lines[0].get_ydata() == pytest.approx([0.3, 0.6])  # not .3, with the diverged member's 0
    assert axis.get_legend().get_title().get_text() == "1 of 2 diverged"


def test_the_overnight_study_has_every_rival_and_as_many_steps_as_published():
    paper, overnight = (asdict(catalogue.canonical("csil/mujoco", scale)) for scale in ("paper", "overnight"))
    assert overnight["methods"] == paper["methods"] == ["CSIL", *experiment.RIVALS]
    for one in (paper, overnight):
        assert one["updates"] * one["copies"] == 250_000
    changed = {"env", "demonstrations", "seeds", "episodes", "evaluations", "updates", "copies", "batch", "hidden"}
    assert {key for key in paper if paper[key] != overnight[key]} == changed | {"features", "temperature"}


def test_few_seeds_without_an_effect_rarely_decide():
    rng = np.random.default_rng(0)
    draws = [pd.DataFrame(rng.normal(size=(5, 3)) + rng.normal(size=(5, 1))) for _ in range(400)]
    found = [_scores.lead(one, 0 * one).verdict for one in draws]
    assert found.count(REPRODUCED) <= 20  # 10 expected; 27 by a percentile bootstrap
    assert found.count(REFUTED) <= 20


def test_no_episode_serves_two_purposes():
    cfg = replace(SMOKE, seeds=[0, _study.LARGEST_SEED])
    blocks = [range(start, start + _study.LARGEST_SEED + 1) for start in (0, _study.TRAINING, _study.EVALUATION)]
    chosen = [experts.EVALUATION, experts.MEASUREMENT]  # what the experts were chosen by and measured on
    every = [set(one) for one in blocks] + [set(chosen)]
    assert sum(map(len, every)) == len(set.union(*every))
    with pytest.raises(BadInputError, match="must be between 0 and 999999"):
        checked(experiment.Config, asdict(cfg) | {"seeds": [1_000_000]})


def test_one_demonstration_must_fail_the_clone_and_suffice():
    fine = {"BC": [0.4], "CSIL": [0.95]}
    assert verdicts(made_up(fine))["one-demonstration"] == REPRODUCED
    assert verdicts(made_up(fine | {"BC": [0.93]}))["one-demonstration"] == REFUTED
    assert verdicts(made_up(fine | {"CSIL": [0.7]}))["one-demonstration"] == REFUTED
    assert verdicts(made_up(fine, counts=(3,)))["one-demonstration"] == NOT_RUN


def test_a_short_training_refutes_nothing():
    frame = made_up({"BC": [0.4], "CSIL": [0.3], "SQIL": [0.2]})
    for claim in ALL:
        assert claim.verdict(frame, "laptop").verdict == INCONCLUSIVE
        assert claim.verdict(frame, "paper").verdict == REFUTED


def test_a_comparison_in_as_many_updates_is_refuted_by_as_many():
    frame = made_up({"BC": [0.4], "CSIL": [0.3], "SQIL": [0.2]})
    assert OVER["bc"].verdict(frame, "laptop").verdict == INCONCLUSIVE
    assert OVER["bc"].verdict(frame, "overnight").verdict == REFUTED
    assert OVER["sqil"].verdict(frame, "overnight").verdict == REPRODUCED
    assert {OVER["dac"].verdict(frame, scale).verdict for scale in ("laptop", "overnight")} == {NOT_RUN}


def test_a_diverged_member_counts_as_worse_than_any():
    frame = made_up({"BC": [0.4], "CSIL": [0.95], "SQIL": [0.2]})
    assert verdicts(frame)["mujoco.cheetah"] == REPRODUCED
    bad = (frame.method == "CSIL") & (frame.metric == "return") & (frame.seed < 4)
    assert verdicts(frame.assign(value=frame.value.mask(bad)))["mujoco.cheetah"] != REPRODUCED


def test_improvement_is_the_chance_that_one_beats_the_other():
    first = pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 0.0]})
    second = pd.DataFrame({"a": [0.0, 3.0], "b": [0.0, 0.0]})
    assert _scores.better(first, second) == 0.5
    assert _scores.better(first + 5, second) == 1


def save_own(path, episodes: int, rewards: bool = True) -> None:
    """Random episodes of Hopper, in the layout of a person's own npz file."""
    parts: dict[str, list] = {"observations": [], "actions": [], "rewards": [], "lengths": [], "terminations": []}
    env = gym.make("Hopper-v5")
    env.action_space.seed(0)
    for number in range(episodes):
        parts["observations"].append(env.reset(seed=number)[0])
        before, terminated = len(parts["actions"]), False
        while not terminated:
            parts["actions"].append(env.action_space.sample())
            observation, reward, terminated, _, _ = env.step(parts["actions"][-1])
            parts["observations"].append(observation)
            parts["rewards"].append(reward)
        parts["lengths"].append(len(parts["actions"]) - before)
        parts["terminations"].append(True)
    env.close()
    arrays = {name: np.array(values) for name, values in parts.items() if rewards or name != "rewards"}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def of_own(path, count: int = 2):
    """A configuration for a file of one's own."""
    demonstrations = replace(SMOKE.demonstrations, source=str(path), counts=[count], keep=1)
    return replace(QUICK, env=["Hopper-v5"], demonstrations=demonstrations)


def test_demonstrations_of_ones_own(tmp_path, monkeypatch):
    save_own(tmp_path / "my.npz", 3)
    cfg = of_own(tmp_path / "my.npz")
    assert experiment.inputs(cfg) == [tmp_path / "my.npz"]
    made = load_demonstrations(tmp_path / "my.npz", "Hopper-v5").demonstrations
    save_minari(replace(made, expected_observation_dim=None), tmp_path / "own" / "made-v0")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    named = replace(cfg, demonstrations=replace(cfg.demonstrations, source="own/made-v0"))
    assert {path.name for path in experiment.inputs(named)} == {"main_data.hdf5", "metadata.json"}
    frame = experiment.run(cfg, Context())
    assert set(frame.method) == {"expert", "random", "BC", "CSIL"}
    assert frame[frame.metric != "pose"].value.notna().all()


def test_what_is_changed_in_ones_own_demonstrations_is_told(tmp_path, capsys):
    save_own(tmp_path / "my.npz", 2)
    experiment.inputs(of_own(tmp_path / "my.npz"))
    assert not capsys.readouterr().out
    arrays = dict(np.load(tmp_path / "my.npz"))
    arrays["actions"][0] = 1.5
    np.savez(tmp_path / "wide.npz", **arrays)
    experiment.inputs(of_own(tmp_path / "wide.npz"))
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert f"env=Hopper-v5: {3 / arrays['actions'].size:.2%} of the numbers in actions were moved" in told
    assert "0 episodes" in told


def test_too_few_steps_to_keep_some_are_refused_by_the_keys_name(tmp_path):
    save_own(tmp_path / "my.npz", 2)
    cfg = of_own(tmp_path / "my.npz")
    cfg = replace(cfg, demonstrations=replace(cfg.demonstrations, keep=5000))
    with pytest.raises(BadInputError, match=r"demonstrations\.keep=5000, env=Hopper-v5: "):
        _study.task(cfg, "Hopper-v5", Context().device)


def test_seeds_draw_their_own_episodes_and_fewer_are_part_of_more(tmp_path):
    save_own(tmp_path / "my.npz", 4)
    task = _study.task(of_own(tmp_path / "my.npz", 2), "Hopper-v5", Context().device)
    more = _study.task(of_own(tmp_path / "my.npz", 3), "Hopper-v5", Context().device)
    for member, count in enumerate(task.rows.counts):
        assert (more.rows.rows.observation[member, :count] == task.rows.rows.observation[member, :count]).all()
    assert not (task.rows.rows.observation[0, 0] == task.rows.rows.observation[1, 0]).all()


def test_a_member_that_diverges_in_training_has_no_return(tmp_path, monkeypatch):
    made = []

    class Noting(_study.Environments):
        def __init__(self, name, seeds, copies):
            made.append((seeds, copies))
            super().__init__(name, seeds, copies)

    monkeypatch.setattr(_study, "Environments", Noting)
    save_own(tmp_path / "my.npz", 1)
    task = _study.task(replace(of_own(tmp_path / "my.npz", 1), seeds=[4, 7]), "Hopper-v5", Context().device)
    learner = experiment.learner(task, "SQIL", None)
    with torch.no_grad():
        next(learner.actor.parameters())[0] = torch.nan
    frame = _study.train(task, "SQIL", learner, Context(), lambda _: None)
    table = frame.pivot_table(index=["seed", "update"], columns="metric", values="value", dropna=False).unstack(0)
    assert table.index.tolist() == [0, 2, 4]
    assert table["return"].isna().to_dict("list") == {4: [True] * 3, 7: [False] * 3}
    assert table["diverged"].to_dict("list") == {4: [1.0] * 3, 7: [0.0] * 3}
    # The episodes of the training are none of the evaluation's.
    assert made == [
        ([_study.TRAINING + 4, _study.TRAINING + 7], 2),
        ([_study.EVALUATION + 4, _study.EVALUATION + 7], 1),
    ]


def test_a_clone_of_fewer_demonstrations_sees_no_padding(tmp_path):
    save_own(tmp_path / "my.npz", 2)
    cfg = replace(of_own(tmp_path / "my.npz"), seeds=[0])
    both, one = (
        _study.task(replace(cfg, demonstrations=replace(cfg.demonstrations, counts=counts)), "Hopper-v5", "cpu")
        for counts in ([1, 2], [1])
    )
    assert both.rows.counts[0] < both.rows.counts[1]
    ours, alone = (_study.cloned(task, "BC", Context(), [4])[0][4] for task in (both, one))
    for mine, other in zip(ours.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(mine[:1], other)


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path):
    save_own(tmp_path / "few.npz", 1)
    save_own(tmp_path / "bare.npz", 2, rewards=False)
    wrong = {
        "2 episodes asked for, there are 1": of_own(tmp_path / "few.npz"),
        "no rewards": of_own(tmp_path / "bare.npz"),
        r"must be a numpy array \(\d+, 6\)": replace(of_own(tmp_path / "few.npz", 1), env=["HalfCheetah-v5"]),
    }
    for words, cfg in wrong.items():
        with pytest.raises(BadInputError, match=words) as refused:
            experiment.run(cfg, Context())
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["Nowhere-v5", "CartPole-v1", "Swimmer-v5"])
def test_environments_that_cannot_serve_are_refused_before_anything_runs(name):
    with pytest.raises(BadInputError, match=f"env={name}"):
        experiment.inputs(replace(SMOKE, env=[name]))


@pytest.mark.parametrize("during", ["BC", "SQIL", "CSIL"])
def test_a_killed_run_ends_in_the_same_frame(tmp_path, monkeypatch, during):
    cfg = replace(QUICK, env=["Hopper-v5"], methods=["SQIL", "CSIL"])  # whose early episodes are short
    whole = experiment.run(cfg, Context())
    keep = Context.keep

    def dying(self, name, state):
        keep(self, name, state)
        if name.endswith(during):
            raise KeyboardInterrupt

    monkeypatch.setattr(Context, "keep", dying)
    monkeypatch.setattr(_study, "KEEP_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(cfg, Context(tmp_path, "key"))
    monkeypatch.undo()
    pd.testing.assert_frame_equal(experiment.run(cfg, Context(tmp_path, "key")), whole)


@pytest.mark.parametrize(("method", "expected"), [("SQIL", 0.2), ("DAC", 0.2), ("P2IL", 0.2), ("IQ-Learn", 0.01)])
def test_a_temperature_that_is_learnt_begins_where_the_configuration_says(method, expected):
    cfg = replace(QUICK, env=["Hopper-v5"], temperature=0.2)
    task = _study.task(cfg, "Hopper-v5", Context().device)
    one = experiment.learner(task, method, torch.nn.Module())
    assert one.temperature[:, 0].tolist() == pytest.approx([expected] * len(task.members))
    assert bool(one.settings.temperature_rate) == (method != "IQ-Learn")


def test_the_command_line_takes_a_lone_environment_and_checks_what_is_nested():
    values = catalogue.paper_values("csil/mujoco")
    values.env = "Hopper-v5"
    assert checked(experiment.Config, values).env == ["Hopper-v5"]
    values.demonstrations.keep = 0
    with pytest.raises(BadInputError, match=r"demonstrations\.keep=0: must be between 1 and 10000"):
        checked(experiment.Config, values)


def test_departures_name_what_is_nested():
    found = catalogue.departures("csil/mujoco", "laptop")
    assert found["demonstrations.keep"] == {"paper": 1, "laptop": 5}
    assert "demonstrations.source" not in found


def test_the_figure_has_a_curve_panel_for_each_environment_and_number():
    frame = pd.concat([made_up({"BC": [0.3], "CSIL": [0.1, 0.6]}, env=env) for env in ("HalfCheetah-v5", "Hopper-v5")])
    looks = frame[(frame.method == "CSIL") & (frame.metric == "return")]
    frame = pd.concat([frame, *(looks.assign(metric=name, value=0.1) for name in ("at_limits", "value_share"))])
    assert len(experiment.figure(frame).axes) == 2 * (2 + 1) + 3  # curves and film, and three below


def test_a_film_holds_what_the_body_did(tmp_path):
    frame = experiment.run(QUICK, Context())
    poses = frame[frame.metric == "pose"]
    assert set(poses.method) == {"expert", "BC", "CSIL"}
    torso = poses[(poses.method == "expert") & (poses.time.isin([0, 240]))]
    assert float(torso[torso.time == 240].x0.mean()) > float(torso[torso.time == 0].x0.mean()) + 20  # it runs
    assert float(poses[["z0", "z1"]].min().min()) > -0.2
    assert len(experiment.figure(frame).axes) == 1 + 1 + 3
