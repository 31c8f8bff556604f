"""The particle task of implicit behavioural cloning (Florence et al. 2021), many episodes at once.

A point mass in N dimensions is pulled to a set-point a by a spring and a damper,

    u = 10 (a - x) - 5 v,        x <- x + v dt,        v <- v + u dt,

ten explicit Euler steps of dt = .005 s per control step, each with the velocity from before the step. It has 50
control steps to come near a first goal and to end near a second one. Neither actions nor states are clipped.
Starts come from Gymnasium's generator, so an episode of the original code with the same seed is another one.

Every operation rounds in the same way whatever the batch, so an episode does not depend on what is run beside it;
`imitation.envs.particle_env` is the same task for Gymnasium, equal bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from jaxtyping import Bool, Float64
from torch import Tensor

STIFFNESS = 10.0  # 1/s^2, of the spring that pulls to the set-point
DAMPING = 5.0  # 1/s
TIME_STEP = 0.005  # s
EULER_STEPS = 10  # per control step: control runs at 20 Hz
CONTROL_STEPS = 50  # an episode
GOAL_RADIUS = 0.05  # within it, strictly, a goal counts as visited
ORACLE_RADIUS = 0.01  # within it the oracle turns from the first goal to the second
MOST_DIMENSIONS = 32

Points = Float64[Tensor, "*batch N"]
Policy = Callable[[Tensor], Tensor]


class State(NamedTuple):
    """The agent and its goals: `position`, `velocity` (1/s), `first_goal`, `second_goal`, each (*batch, N)."""

    position: Points
    velocity: Points
    first_goal: Points
    second_goal: Points


class Rollout(NamedTuple):
    """Episodes of T control steps; distances are Euclidean and taken after each control step.

    Attributes:
        observations: (T+1, *batch, 4N), see `observe`.
        actions: (T, *batch, N), as applied.
        positions: (T+1, *batch, N).
        first_distance: (*batch), the smallest distance to the first goal.
        second_distance: (*batch), the smallest distance to the second goal.
        final_distance: (*batch), from the second goal, at the end.
        success: (*batch), all three distances below .05.
        reward: (*batch), of the last step, the others earn nothing: 1 if both smallest distances are below .05.
    """

    observations: Float64[Tensor, "T1 *batch D"]
    actions: Float64[Tensor, "T *batch N"]
    positions: Float64[Tensor, "T1 *batch N"]
    first_distance: Float64[Tensor, "*batch"]
    second_distance: Float64[Tensor, "*batch"]
    final_distance: Float64[Tensor, "*batch"]
    success: Bool[Tensor, "*batch"]
    reward: Float64[Tensor, "*batch"]


def check_dimensions(dimensions: Any) -> None:
    """Raise ValueError unless `dimensions` is an integer from 1 to 32."""
    if type(dimensions) is not int or not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(f"dimensions={dimensions!r}: must be an integer from 1 to {MOST_DIMENSIONS}")


def draw_start(generator: np.random.Generator, dimensions: int) -> State:
    """One start (N,): agent, first goal and second goal from U[0,1]^N, in this order, at rest."""
    position, first_goal, second_goal = torch.from_numpy(generator.random((3, dimensions)))
    return State(position, torch.zeros_like(position), first_goal, second_goal)


def starts(seeds: Sequence[int], dimensions: int) -> State:
    """The starts that `ParticleEnv.reset(seed=seed)` gives, tensors (E, N) for E seeds.

    Raises:
        ValueError: no seed, a negative seed, or dimensions outside 1..32.
    """
    check_dimensions(dimensions)
    if len(seeds) == 0 or min(seeds) < 0:
        raise ValueError(f"{len(seeds)} seeds, the smallest {min(seeds, default=None)}: need one, and none negative")
    drawn = [draw_start(np_random(int(seed))[0], dimensions) for seed in seeds]
    return State(*(torch.stack(field) for field in zip(*drawn, strict=True)))


def step(state: State, action: Points) -> State:
    """One control step of 0.05 s towards the set-point `action`, (*batch, N), which is not clipped."""
    position, velocity = state.position, state.velocity
    for _ in range(EULER_STEPS):
        acceleration = (action - position).mul_(STIFFNESS).sub_(velocity * DAMPING)
        position = position + velocity * TIME_STEP
        velocity = acceleration.mul_(TIME_STEP).add_(velocity)
    return state._replace(position=position, velocity=velocity)


def observe(state: State) -> Float64[Tensor, "*batch D"]:
    """Position, velocity, first goal, second goal side by side, (*batch, 4N)."""
    return torch.cat(state, dim=-1)


def distance(one: Float64[Tensor, "*#batch N"], other: Float64[Tensor, "*#batch N"]) -> Float64[Tensor, "*batch"]:
    """Euclidean distances. Squares are added one after another: library sums round by the layout of the batch."""
    return sum((one - other).square().unbind(-1), start=one.new_zeros(())).sqrt()


def oracle(state: State, reached: Bool[Tensor, "*batch"]) -> tuple[Points, Bool[Tensor, "*batch"]]:
    """The demonstrator: the first goal is the set-point until it has once been nearer than .01, then the second is.

    Args:
        state: fields (*batch, N).
        reached: (*batch), whether the first goal has been that near already; all False at the start.

    Returns:
        The action (*batch, N), and `reached` for the next step.
    """
    reached = reached | (distance(state.position, state.first_goal) < ORACLE_RADIUS)
    return torch.where(reached[..., None], state.second_goal, state.first_goal), reached


def rollout(policy: Policy, start: State, steps: int = CONTROL_STEPS) -> Rollout:
    """Run a policy from all starts at once, without gradients.

    Args:
        policy: maps the last two observations (*batch, 8N), float64, the older one first, to actions (*batch, N) in
            the environment's units. At the start the first observation stands twice. Actions are clipped to [0, 1].
        start: fields (*batch, N).
        steps: T, the length of the episodes.

    Returns:
        The episodes. An action that is not a number makes its episode fail, not the others.

    Raises:
        ValueError: `steps` below 1, or actions of another shape.
    """
    return _run(lambda _, history: policy(history), start, steps)


def rollout_oracle(start: State, steps: int = CONTROL_STEPS) -> Rollout:
    """The same for the demonstrator, which needs to remember whether it has reached the first goal."""
    reached = torch.zeros(start.position.shape[:-1], dtype=torch.bool, device=start.position.device)

    def choose(state: State, _: Tensor) -> Tensor:
        nonlocal reached
        action, reached = oracle(state, reached)
        return action

    return _run(choose, start, steps)


@torch.no_grad()
def _run(choose: Callable[[State, Tensor], Tensor], start: State, steps: int) -> Rollout:
    if steps < 1:
        raise ValueError(f"steps={steps}: must be at least 1")
    state, observation = start, observe(start)
    shape = state.position.shape
    observations = observation.new_empty((steps + 1, *observation.shape))
    actions = observation.new_empty((steps, *shape))
    observations[0] = observation
    for now in range(steps):
        history = torch.cat([observations[max(now - 1, 0)], observations[now]], dim=-1)
        action = choose(state, history)
        if action.shape != shape:
            raise ValueError(f"the policy gave actions of shape {tuple(action.shape)}, needed is {tuple(shape)}")
        actions[now] = action.clamp(0, 1)
        state = step(state, actions[now])
        observations[now + 1] = observe(state)
    return _judged(start, observations, actions)


def _judged(start: State, observations: Tensor, actions: Tensor) -> Rollout:
    positions = observations[..., : actions.shape[-1]]
    first = distance(positions[1:], start.first_goal)
    second = distance(positions[1:], start.second_goal)
    first_distance, second_distance, final_distance = first.amin(0), second.amin(0), second[-1]
    success, reward = verdict(first_distance, second_distance, final_distance)
    return Rollout(observations, actions, positions, first_distance, second_distance, final_distance, success, reward)


def verdict(
    first_distance: Float64[Tensor, "*batch"],
    second_distance: Float64[Tensor, "*batch"],
    final_distance: Float64[Tensor, "*batch"],
) -> tuple[Bool[Tensor, "*batch"], Float64[Tensor, "*batch"]]:
    """Success and the last step's reward, (*batch), from the distances that `Rollout` describes.

    The order of the visits is not checked, and the reward does not ask for the final distance.
    """
    visited = (first_distance < GOAL_RADIUS) & (second_distance < GOAL_RADIUS)
    return visited & (final_distance < GOAL_RADIUS), visited.to(first_distance)
