"""Pictures from the side: capsules where MuJoCo has them, brightness by area, a floor that goes by."""

from math import pi

import mujoco
import numpy as np
import pytest
import torch

from imitation.envs.making import make
from imitation.envs.pictures import BELOW, DEPTH, FAR, FLOOR, PLANAR, SIDE, WAVE, SideView


def moving(name: str, steps: int = 12):
    """A body in motion: its environment, and what is observed of it."""
    env = make(name, None)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(steps):
        observation, *_ = env.step(env.action_space.sample())
    return env.unwrapped, torch.from_numpy(observation).float()


@pytest.mark.parametrize("name", PLANAR)
def test_capsules_are_where_the_simulation_has_them(name):
    env, observation = moving(name)
    mujoco.mj_kinematics(env.model, env.data)  # a step leaves the bodies where its last part began
    view, found, ahead = SideView(name), [], np.array([env.data.qpos[0], 0.0])
    for number in view._parts:
        place, turn = env.data.geom_xpos[number], env.data.geom_xmat[number].reshape(3, 3)
        tips = [place + turn @ [0, 0, sign * env.model.geom_size[number, 1]] for sign in (-1, 1)]
        assert np.ptp([tip[1] for tip in tips]) < 1e-9  # it moves in the plane
        found.append([tip[[0, 2]] - ahead for tip in tips])
    np.testing.assert_allclose(view.capsules(observation[None])[0], found, atol=1e-5)


@pytest.mark.parametrize("name", PLANAR)
def test_the_speed_is_the_roots(name):
    env, observation = moving(name)
    assert float(SideView(name).speed(observation)) == pytest.approx(float(env.data.qvel[0]), abs=1e-5)
    assert SideView(name).seconds == env.dt


def covered(view: SideView, observation: torch.Tensor, finer: int) -> np.ndarray:
    """How bright each pixel (H, W) is for the share of it that the body covers, by the points of a finer grid."""
    places = (np.arange(view.pixels * finer) + 0.5) * SIDE / (view.pixels * finer)
    points = np.stack(np.meshgrid(places - SIDE / 2, SIDE - BELOW - places), -1)
    bright = np.zeros(points.shape[:2])
    shades = [FAR if "left" in view._model.geom(one).name else 1.0 for one in view._parts]
    capsules = zip(view.capsules(observation[None])[0], view.radius, shades, strict=True)
    for (first, last), radius, shade in capsules:
        axis = last - first
        nearest = first + ((points - first) @ axis / (axis @ axis)).clip(0, 1)[..., None] * axis
        bright = np.maximum(bright, shade * (np.linalg.norm(points - nearest, axis=-1) <= radius))
    return bright.reshape(view.pixels, finer, view.pixels, finer).mean((1, 3))


@pytest.mark.parametrize("name", ["Hopper-v5", "Walker2d-v5"])
def test_a_pixel_is_as_bright_as_the_share_of_it_that_is_covered(name):
    view, observation = SideView(name, 64), moving(name)[1]
    above = slice(0, int((SIDE - BELOW) / SIDE * 64))  # the floor is below
    drawn = view.draw(observation[None], torch.zeros(1))[0].double().numpy()[above] / 255
    exact = covered(view, observation, 8)[above]
    assert abs(drawn.sum() / exact.sum() - 1) < 0.03
    assert np.abs(drawn - exact).max() < 0.4  # edges are drawn as if straight, and of two limbs the brighter one
    assert np.abs(drawn - exact).mean() < 0.01


def test_a_lone_capsule_has_its_area():
    view = SideView("Hopper-v5", 200)
    view._parts, view._half, view.radius = view._parts[1:2], view._half[1:2], view.radius[1:2]
    view._shade = view._shade[1:2]
    picture = view.draw(torch.zeros(1, 11).index_fill_(1, torch.tensor([0]), 1.25), torch.zeros(1))[0]
    above = picture[: int((SIDE - BELOW) / SIDE * 200)].double().sum() / 255 * (SIDE / 200) ** 2
    radius, length = float(view.radius[0]), 2 * float(view._half[0])
    assert float(above) == pytest.approx(2 * radius * length + pi * radius**2, rel=2e-3)


def test_the_floor_goes_by_and_comes_again():
    view, observation = SideView("HalfCheetah-v5"), moving("HalfCheetah-v5")[1]
    places = torch.tensor([0.0, WAVE / 4, WAVE, -7 * WAVE])
    here, farther, again, back = view.draw(observation.expand(4, -1), places)
    assert torch.equal(here, again)
    assert torch.equal(here, back)
    changed = (here != farther).any(1)
    assert bool(changed.any())
    assert not bool(changed[view._up >= 0].any())
    floor = here[view._up < 0].double() / 255
    assert float(floor[-1].mean()) == pytest.approx(FLOOR, abs=0.05)
    assert float(floor[-1].max()) <= FLOOR + DEPTH + 0.01


def test_a_picture_depends_on_its_own_observation_alone():
    view = SideView("Walker2d-v5")
    rows = torch.stack([moving("Walker2d-v5", steps)[1] for steps in (1, 8, 15)])
    place = torch.tensor([0.0, 0.3, 1.1])
    together = view.draw(rows, place)
    for number in range(3):
        assert torch.equal(view.draw(rows[number : number + 1], place[number : number + 1])[0], together[number])


@pytest.mark.parametrize(("name", "pixels"), [("Ant-v5", 32), ("Hopper-v5", 0)])
def test_what_cannot_be_drawn_is_refused(name, pixels):
    with pytest.raises(ValueError, match="must be one of HalfCheetah-v5"):
        SideView(name, pixels)
