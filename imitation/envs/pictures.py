"""Pictures of planar MuJoCo bodies from the side, drawn from observations: no graphics card or display is needed.

Bodies that move in the plane of x and z are made of capsules, which an observation places but for x. The camera goes
along in x with the body's root, over a floor whose shade is a wave in x, so that pictures tell how fast the body moves
as those of MuJoCo's own camera and checkered floor do. What a picture shows depends on observations alone, and on how
far the body has moved by their velocities.
"""

from math import pi
from typing import Any

import mujoco
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from imitation.envs.control import OPTIONS
from imitation.envs.making import make

PLANAR = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")
SIDE = 2.2  # metres, of what the square picture shows
BELOW = 0.2  # metres of it that are below the floor's surface
WAVE = 2.0  # metres from one bright place of the floor to the next
FLOOR, DEPTH = 0.25, 0.15  # mean brightness of the floor, and how far its wave goes up and down
FAR = 0.6  # brightness of what is on the left, behind the rest, which has 1
CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)  # type: ignore[attr-defined]


def ends_of(data: Any, numbers: Int[np.ndarray, " K"], half: Float[np.ndarray, " K"]) -> Float[np.ndarray, "K 2 2"]:
    """Both ends (x, z) in metres of the axes of capsules of these numbers and half lengths, where `data` has them."""
    middle = data.geom_xpos[numbers][:, ::2]
    axis = data.geom_xmat[numbers][:, 2::6] * half[:, None]  # x and z of its third column
    return np.stack([middle - axis, middle + axis], 1)


class SideView:
    """Draws one kind of body.

    Args:
        name: of the environment, one of `PLANAR`.
        pixels: along each side of a picture.

    Attributes:
        seconds: from one observation to the next.

    Raises:
        ValueError: a body that is not planar, or no pixel.
    """

    def __init__(self, name: str, pixels: int = 32) -> None:
        if name not in PLANAR or pixels < 1:
            raise ValueError(f"{name} in {pixels} pixels: the body must be one of {', '.join(PLANAR)}, pixels positive")
        env = make(name, OPTIONS.get(name))
        self._model: mujoco.MjModel = env.unwrapped.model  # type: ignore[attr-defined]
        self.seconds = float(env.unwrapped.dt)  # type: ignore[attr-defined]
        env.close()
        self._data, self.pixels = mujoco.MjData(self._model), pixels  # type: ignore[attr-defined]
        self._parts = np.flatnonzero(self._model.geom_type == CAPSULE)
        self._half, self.radius = self._model.geom_size[self._parts, 1], self._model.geom_size[self._parts, 0]
        names = [self._model.geom(number).name for number in self._parts]
        self._shade = torch.tensor([FAR if "left" in one else 1.0 for one in names])
        middles = (torch.arange(pixels) + 0.5) * SIDE / pixels
        self._across, self._up = middles - SIDE / 2, SIDE - BELOW - middles  # first line of a picture is the highest

    def speed(self, observation: Float[Tensor, "*rows Do"]) -> Float[Tensor, "*rows"]:
        """The root's velocity in x, metres per second: the first after the positions, of which x is left out."""
        return observation[..., self._model.nq - 1]

    def capsules(self, observation: Float[Tensor, "N Do"]) -> Float[np.ndarray, "N K 2 2"]:
        """Both ends (x, z) in metres of each capsule's axis, x as seen from the root."""
        ends = np.empty((len(observation), len(self._parts), 2, 2))
        self._data.qpos[0] = 0
        for row, positions in zip(ends, observation[:, : self._model.nq - 1].double().cpu().numpy(), strict=True):
            self._data.qpos[1:] = positions
            mujoco.mj_kinematics(self._model, self._data)  # type: ignore[attr-defined]
            row[:] = ends_of(self._data, self._parts, self._half)
        return ends

    def draw(self, observation: Float[Tensor, "N Do"], place: Float[Tensor, " N"]) -> UInt8[Tensor, "N H W"]:
        """Pictures (N, pixels, pixels), 0 black and 255 white, on the CPU.

        Args:
            observation: (N, Do).
            place: of the root in x, metres, for the floor.
        """
        ends = torch.from_numpy(self.capsules(observation)).float()[..., None, None]
        x, z = (self._across - ends[:, :, 0, 0]), (self._up[:, None] - ends[:, :, 0, 1])
        along_x, along_z = (ends[:, :, 1] - ends[:, :, 0]).unbind(2)
        length = along_x.square() + along_z.square()
        share = (x * (along_x / length) + z * (along_z / length)).clamp_(0, 1)  # of the axis, at its nearest point
        distance = torch.hypot(x - share * along_x, z - share * along_z)
        radius = torch.from_numpy(self.radius).float()[:, None, None]
        cover = ((radius - distance) * (self.pixels / SIDE) + 0.5).clamp_(0, 1)  # of each pixel, as if straight edges
        body = (cover * self._shade[:, None, None]).amax(1)
        return (255 * torch.maximum(body, self._floor(place))).round().to(torch.uint8)

    def _floor(self, place: Float[Tensor, " N"]) -> Float[Tensor, "N H W"]:
        phase = (self._across + place.cpu()[:, None]) * (2 * pi / WAVE)
        shade = (FLOOR + DEPTH * phase.sin()).float()
        return shade[:, None] * (self._up[:, None] < 0)
