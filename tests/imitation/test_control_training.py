"""Environments in populations, the loop and its checkpoints, experts and their cards."""

import gymnasium
import numpy as np
import pytest
import torch

from imitation.control import experts
from imitation.control.replay import Replay
from imitation.control.sac import Settings, SoftActorCritic
from imitation.control.training import Plan, Training, evaluate
from imitation.demonstrations import DemonstrationError, digest, load_demonstrations
from imitation.envs.control import OPTIONS, Environments
from imitation.envs.making import make
from imitation.population import Generators

PENDULUM = "Pendulum-v1"


def training(seeds=(0,), copies=1, updates=40):
    environments = Environments(PENDULUM, list(seeds), copies)
    sizes = environments.observation_dim, environments.action_dim
    learner = SoftActorCritic(*sizes, Generators(list(seeds)), Settings(hidden=(16, 16)))
    return Training(learner, environments, Replay(len(seeds), *sizes, 10_000), Plan(updates, 30, 16, 20))


def parameters(one):
    return torch.cat([value.flatten() for value in one.learner._values()])


def test_a_run_killed_and_resumed_ends_in_the_same_parameters(checkpoint):
    whole, first, second = training(), training(), training()
    whole.run(lambda _: None)
    second.load_state_dict(checkpoint(first))
    second.run(lambda _: None)
    assert torch.equal(parameters(whole), parameters(second))
    assert torch.equal(whole.replay.rows, second.replay.rows)


def test_a_member_of_a_population_is_its_single_run():
    together, alone = training(seeds=(3, 5)), training(seeds=(5,))
    for one in (together, alone):
        one.run(lambda _: None)
    ours = together.replay.rows[1, : len(together.replay)]
    torch.testing.assert_close(ours, alone.replay.rows[0, : len(alone.replay)], rtol=1e-3, atol=1e-3)


class Point(gymnasium.Env):
    """A point on a line, moved by at most .25 a step; the reward is minus its distance from the origin."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Box(-0.25, 0.25, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 1)
        return self.place, {}

    def step(self, action):
        self.place = self.place + action
        return self.place, -float(abs(self.place[0])), False, False, {}


def test_a_point_is_brought_home_almost_as_fast_as_it_can():
    gymnasium.register("Point-v0", Point, max_episode_steps=20)
    environments = Environments("Point-v0", [0], 4)
    settings = Settings(hidden=(32, 32), actor_rate=3e-3, critic_rate=3e-3, temperature_rate=3e-3)
    learner = SoftActorCritic(1, 1, Generators([0]), settings)

    def returns(act):
        return evaluate(act, Environments("Point-v0", [10**6], 20)).mean()

    before, best = returns(learner.actor.mode), returns(lambda place: (-4 * place).clamp(-1, 1))
    Training(learner, environments, Replay(1, 1, 1, 20_000), Plan(1000, 100, 64, 1000)).run(lambda _: None)
    after = returns(learner.actor.mode)
    assert before < best - 2
    assert after > best - 0.5


def test_a_row_cut_by_a_time_limit_leads_to_where_the_episode_stopped(monkeypatch):
    gymnasium.register("Brief-v0", Point, max_episode_steps=5)
    environments, replay, steps = Environments("Brief-v0", [0], 2), Replay(1, 1, 1, 100), []
    step = environments.step
    monkeypatch.setattr(environments, "step", lambda actions: steps.append(step(actions)) or steps[-1])
    learner = SoftActorCritic(1, 1, Generators([0]), Settings(hidden=(8,)))
    Training(learner, environments, replay, Plan(1, 12, 4, 1)).run(lambda _: None)
    rows = replay.at(torch.arange(26)[None])
    assert [one.finished.all().item() for one in steps] == ([False] * 4 + [True]) * 2 + [False] * 3
    assert torch.equal(rows.following, torch.cat([one.following for one in steps], 1))
    assert not rows.terminated.any()
    goes_on = torch.ones(26, dtype=torch.bool)
    goes_on[[8, 9, 18, 19, 22, 23, 24, 25]] = False  # the last before a cut, before the checkpoint's reset, and of all
    assert torch.equal(rows.following[0, goes_on], rows.observation[0, 2:][goes_on[:-2]])
    assert (rows.following[0, :24][~goes_on[:24]] != rows.observation[0, 2:][~goes_on[:24]]).all()


# ---- environments ----


def test_actions_reach_the_environments_own_box():
    environment = make("Humanoid-v5")
    assert environment.action_space.high[0] == pytest.approx(0.4)
    ours, reference = Environments(PENDULUM, [0]), gymnasium.make(PENDULUM)  # its box is [-2, 2]
    seed = int(np.random.SeedSequence([0, 0, 0]).generate_state(1)[0])
    np.testing.assert_allclose(ours.reset()[0, 0], reference.reset(seed=seed)[0], rtol=1e-6)
    for action in (0.5, -1.0, 3.0):
        step = ours.step(torch.full((1, 1, 1), action))
        after, reward, *_ = reference.step(np.array([2 * np.clip(action, -1, 1)]))
        np.testing.assert_allclose(step.following[0, 0], after, rtol=1e-6)
        assert step.reward.item() == pytest.approx(reward, rel=1e-6)


def test_a_time_limit_is_no_end_and_begins_a_new_episode():
    environments = Environments(PENDULUM, [0])
    environments.reset()
    steps = [environments.step(torch.zeros(1, 1, 1)) for _ in range(200)]
    assert not any(step.terminated.any() for step in steps)
    assert [step.finished.item() for step in steps] == [False] * 199 + [True]
    assert not torch.equal(environments.observation, steps[-1].following)


def test_a_fall_is_an_end():
    environments = Environments("Hopper-v5", [0])
    environments.reset()
    steps = [environments.step(torch.ones(1, 1, 3)) for _ in range(300)]
    ends = [step for step in steps if step.terminated.any()]
    assert ends
    assert all(step.finished.all() for step in ends)


def test_resets_depend_on_seeds_and_their_number_alone():
    one, other = Environments(PENDULUM, [0, 1], 2), Environments(PENDULUM, [1], 2)
    first = one.reset()
    for _ in range(7):
        one.step(torch.zeros(2, 2, 1))
    second = one.reset()
    assert torch.equal(first[1], other.reset()[0])
    assert torch.equal(second[1], other.reset()[0])
    assert not torch.equal(first, second)
    assert len({tuple(row) for row in first.flatten(0, 1).tolist()}) == 4


def turn(observation):
    return (observation[..., 2:3] / 8).clamp(-1, 1)


def fall(observation):
    return torch.zeros_like(observation[..., :3])  # at 141 and 136 steps


@pytest.mark.parametrize(("name", "act", "together"), [(PENDULUM, turn, True), ("Hopper-v5", fall, False)])
def test_evaluation_is_the_return_of_one_whole_episode_each(name, act, together):
    ours, lengths = evaluate(act, Environments(name, [3], 2))[0], []
    for copy, total in enumerate(ours):
        environment = gymnasium.make(name)
        observation = environment.reset(seed=int(np.random.SeedSequence([3, 0, copy]).generate_state(1)[0]))[0]
        expected, length, over = 0.0, 0, False
        while not over:
            action = act(torch.from_numpy(observation).float()).numpy()
            observation, reward, fell, late, _ = environment.step(environment.action_space.high * action)
            expected, length, over = expected + float(reward), length + 1, fell or late
        assert total == pytest.approx(expected, rel=1e-4)
        lengths.append(length)
    assert (lengths[0] == lengths[1]) == together


@pytest.mark.parametrize(("name", "message"), [("Nowhere-v0", "Nowhere"), ("CartPole-v1", "vectors"), ("", "built")])
def test_unsuitable_environments_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        make(name)


def test_ant_has_the_27_observations_of_the_papers():
    assert make("Ant-v5", OPTIONS["Ant-v5"]).observation_space.shape == (27,)


@pytest.mark.parametrize("wrong", [{"updates": 0}, {"updates": 15}, {"updates": 10, "batch": 0}])
def test_plans_are_checked(wrong):
    with pytest.raises(ValueError, match="positive"):
        Plan(**({"every": 10} | wrong))


# ---- experts ----


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(experts, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr(experts, "WANTED", {PENDULUM: -100})
    return tmp_path


def test_training_an_expert_goes_on_where_it_was_cut_off_and_is_kept_with_a_card(kept, capsys):
    recipe = experts.Recipe(updates=40, copies=2, every=20)
    experts.train(PENDULUM, recipe, kept / "whole")
    experts.train(PENDULUM, experts.Recipe(updates=20, copies=2, every=20), kept / "parts")
    experts.train(PENDULUM, recipe, kept / "parts")
    whole, parts = (torch.load(kept / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    assert torch.equal(whole["training"]["replay"]["rows"], parts["training"]["replay"]["rows"])
    assert [row["updates"] for row in parts["curve"]] == [20, 40]
    card = experts.keep(PENDULUM, kept / "whole")
    assert card["environment"] == PENDULUM
    assert card["updates"] in (20, 40)
    assert card["return"]["episodes"] == 20
    expert = experts.load(PENDULUM)
    assert expert.card == card
    again = experts._returns(PENDULUM, expert.actor, "measurement")
    assert again["mean"] == pytest.approx(card["return"]["mean"], rel=1e-6)


def test_a_training_of_another_recipe_is_not_mixed_in(kept):
    experts.train(PENDULUM, experts.Recipe(updates=20, copies=1, every=20), kept / "one")
    with pytest.raises(ValueError, match="another recipe"):
        experts.train(PENDULUM, experts.Recipe(updates=20, copies=2, every=20), kept / "one")


def test_rates_fall_to_zero_in_steps_over_the_last_updates(kept, monkeypatch):
    """With a fall of 60 of 100 updates and evaluations after 20: full rates to 40, then 1, 2/3, 1/3 of them."""
    used = []

    class Noting(SoftActorCritic):
        def update(self, rows):
            used.append({name: one.param_groups[0]["lr"] for name, one in self.optimisers.items()})
            return super().update(rows)

    monkeypatch.setattr(experts, "SoftActorCritic", Noting)
    monkeypatch.setattr(experts, "WANTED", {PENDULUM: -1e9})  # reached at once, which must not end it
    recipe = experts.Recipe(updates=100, copies=1, every=20, anneal=60)
    experts.train(PENDULUM, experts.Recipe(updates=40, copies=1, every=20), kept / "one")  # all at full rates
    experts.train(PENDULUM, recipe, kept / "one")
    factors = [1] * 60 + [2 / 3] * 20 + [1 / 3] * 20
    for name in ("actor", "critic", "temperature"):
        assert [rates[name] for rates in used] == pytest.approx([3e-4 * factor for factor in factors])
    assert torch.load(kept / "one" / "best.pt", weights_only=True)["updates"] > 40
    assert experts.keep(PENDULUM, kept / "one")["command"].endswith("--seed 0 --updates 100 --anneal 60")
    with pytest.raises(ValueError, match="another recipe"):  # its rates have fallen already
        experts.train(PENDULUM, experts.Recipe(updates=200, copies=1, every=20), kept / "one")


def test_a_fall_of_the_rates_that_is_cut_off_goes_on_as_if_it_were_not(kept, monkeypatch):
    class CutError(Exception):
        pass

    recipe = experts.Recipe(updates=60, copies=1, every=20, anneal=40)
    experts.train(PENDULUM, recipe, kept / "whole")
    write = experts._write

    def cut(path, state):
        write(path, state)
        if path.name == "state.pt" and state["curve"][-1]["updates"] == 40:
            raise CutError

    monkeypatch.setattr(experts, "_write", cut)
    with pytest.raises(CutError):
        experts.train(PENDULUM, recipe, kept / "parts")
    monkeypatch.setattr(experts, "_write", write)
    experts.train(PENDULUM, recipe, kept / "parts")
    whole, parts = (torch.load(kept / name / "state.pt", weights_only=True) for name in ("whole", "parts"))
    for name, value in whole["training"]["learner"]["actor"].items():
        assert torch.equal(value, parts["training"]["learner"]["actor"][name])


def test_the_best_policy_before_the_fall_stays_until_the_fall(kept, monkeypatch):
    given = iter([5.0, 1.0, 3.0, 2.0])  # the first two before the fall
    monkeypatch.setattr(experts, "_returns", lambda *_: {"mean": next(given), "sd": 0.0, "least": 0.0})
    recipe, folder = experts.Recipe(updates=80, copies=1, every=20, anneal=40), kept / "one"
    found, write = [], experts._write

    def noted(path, state):
        write(path, state)
        found.append((path.name, state.get("updates")))

    monkeypatch.setattr(experts, "_write", noted)
    experts.train(PENDULUM, recipe, folder)
    assert [updates for name, updates in found if name == "best.pt"] == [20, 60]


def test_an_expert_whose_rates_have_still_to_fall_is_not_kept(kept):
    recipe, folder = experts.Recipe(updates=60, copies=1, every=20, anneal=40), kept / "one"
    experts.train(PENDULUM, recipe, folder)
    state = torch.load(folder / "state.pt", weights_only=True)
    state["training"]["learner"]["updates"] = 40
    torch.save(state, folder / "state.pt")
    with pytest.raises(ValueError, match="40 of 60 updates"):
        experts.keep(PENDULUM, folder)


def test_an_expert_trained_before_rates_could_fall_is_kept(kept):
    folder = kept / "one"
    experts.train(PENDULUM, experts.Recipe(updates=20, copies=1, every=20), folder)
    best = torch.load(folder / "best.pt", weights_only=True)
    del best["recipe"]["anneal"]
    torch.save(best, folder / "best.pt")
    assert experts.keep(PENDULUM, folder)["command"].endswith("--updates 20 --anneal 0")


@pytest.mark.parametrize("anneal", [-20, 15, 20, 60])
def test_a_fall_that_is_too_long_or_too_short_is_refused(anneal):
    with pytest.raises(ValueError, match="multiple of every=20 above it, up to updates=40"):
        experts.Recipe(updates=40, every=20, anneal=anneal)


@pytest.mark.parametrize("name", experts.RECIPES)
def test_the_command_on_a_card_is_the_recipe(name):
    card = experts.load(name).card
    assert card["command"] == experts._command(name, experts.RECIPES[name], card["updates"])


@pytest.mark.parametrize("last", [False, True])
def test_the_best_policy_is_kept_or_where_it_says_so_the_last(kept, monkeypatch, last):
    given = iter([2.0, 1.0])
    with monkeypatch.context() as patch:
        patch.setattr(experts, "_returns", lambda *_: {"mean": next(given), "sd": 0.0, "least": 0.0})
        experts.train(PENDULUM, experts.Recipe(updates=40, copies=1, every=20), kept / "one")
    monkeypatch.setattr(experts, "LAST", {PENDULUM} if last else set())
    assert experts.keep(PENDULUM, kept / "one")["updates"] == (40 if last else 20)
    actor = torch.load(kept / "one" / "state.pt", weights_only=True)["training"]["learner"]["actor"]
    assert (
        all(torch.equal(value, actor[name]) for name, value in experts.load(PENDULUM).actor.state_dict().items())
        == last
    )


def test_what_the_command_line_does_not_say_comes_from_the_recipe(kept, monkeypatch):
    monkeypatch.setattr(experts, "RECIPES", {PENDULUM: experts.Recipe(updates=40, copies=1, every=20, anneal=40)})
    assert experts.main(["train", PENDULUM, "--copies", "2", "--seed", "3", "--folder", str(kept / "own")]) == 0
    recipe = torch.load(kept / "own" / f"{PENDULUM}-3" / "state.pt", weights_only=True)["recipe"]
    assert {name: recipe[name] for name in ("updates", "copies", "seed", "anneal")} == {
        "updates": 40, "copies": 2, "seed": 3, "anneal": 40,
    }  # fmt: skip


def test_demonstrations_of_a_kept_expert_are_seeded_and_hash_checked(kept):
    experts.train(PENDULUM, experts.Recipe(updates=20, copies=1, every=20), kept / "one")
    card = experts.keep(PENDULUM, kept / "one")
    two = experts.demonstrations(PENDULUM, 2)
    loaded = load_demonstrations("expert", PENDULUM, episodes=1)
    assert digest(loaded.demonstrations) == card["first_episode"]
    np.testing.assert_array_equal(two.episodes[0].observations, loaded.demonstrations.episodes[0].observations)
    assert digest(experts.demonstrations(PENDULUM, 1, seed=1)) != card["first_episode"]
    path = experts.FOLDER / f"{PENDULUM}.json"
    path.write_text(path.read_text().replace(card["first_episode"], "0" * 64))
    with pytest.warns(RuntimeWarning, match="not bit for bit"):
        experts.demonstrations(PENDULUM, 1)
    for arguments in ((None, None, 1), (PENDULUM, None, None), (PENDULUM, {"g": 5.0}, 1), ("Hopper-v5", None, 1)):
        with pytest.raises(DemonstrationError):
            load_demonstrations("expert", *arguments)


def test_a_missing_or_damaged_expert_is_one_line(kept):
    with pytest.raises(ValueError, match="none is kept"):
        experts.load(PENDULUM)
    with pytest.raises(ValueError, match="train it first"):
        experts.keep(PENDULUM, kept / "nothing")
    experts.train(PENDULUM, experts.Recipe(updates=20, copies=1, every=20), kept / "one")
    experts.keep(PENDULUM, kept / "one")
    path = experts.FOLDER / f"{PENDULUM}.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="the hash differs"):
        experts.load(PENDULUM)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(ValueError, match="not the policy of its card"):
        experts.load(PENDULUM)


@pytest.mark.parametrize("name", sorted(one.stem for one in experts.FOLDER.glob("*.safetensors")))
def test_committed_experts_return_what_their_cards_say(name):
    expert = experts.load(name)
    stated = expert.card["return"]
    returns = evaluate(expert.act, Environments(name, [77], 3))[0]
    assert abs(returns.mean() - stated["mean"]) < 4 * stated["sd"] / 3**0.5
    assert stated["least"] <= stated["mean"]
