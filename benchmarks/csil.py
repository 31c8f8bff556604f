"""How fast our update of CSIL is beside a plain writing of the published mathematics, in one run.

    python benchmarks/csil.py --repetitions 9

One thread, one learner, HetStat of width 256 and 256 demonstrated with 256 replayed rows, as published, at the sizes of
HalfCheetah. First both make the same updates from the same start with the same noise, and what they have become must
agree to rounding. A repetition times every contestant once before the next begins, and ratios divide times of the same
repetition. The other rows say what bfloat16, torch's compiler, smaller sizes and populations buy, per member. After
the same updates a compiled learner must agree with ours to rounding; how far bfloat16 comes from it is told. What
all this costs in return is measured by `csil/economies`.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import pandas as pd
import torch
from _peers.plain_csil import PlainCSIL
from langevin import repeated, show, spread, worded, write
from torch import Tensor

from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.control.csil_bfloat16 import HalvedImitation
from imitation.control.imitation_rows import Noted
from imitation.control.networks import SmoothCritics
from imitation.control.replay import Transitions
from imitation.nn.precision import bfloat16, without_private_products
from imitation.policies import HetStat
from imitation.population import Generators, normal_like

OBSERVATION, ACTION = 17, 6
PLAIN, OURS = "plain writing", "ours"
BAR, SAME, CHECKED = 1.7, 2e-4, 3  # ratio wanted; largest difference of Q after so many updates from the same start
SECONDS = 1.0  # a contestant runs at least


class Size(NamedTuple):
    """Members, HetStat's features, widths of the hidden layers, rows of each kind; and by what it is computed."""

    members: int = 1
    features: int = 256
    hidden: int = 256
    batch: int = 256
    bfloat16: bool = False
    compiled: bool = False


SMALL = Size(features=64, hidden=64, batch=64)
SIZES = {
    OURS: Size(),
    "ours, bfloat16": Size(bfloat16=True),
    "ours, bfloat16 and compiled": Size(bfloat16=True, compiled=True),
    "ours, 64 features": Size(features=64),
    "ours, and layers of 64": Size(features=64, hidden=64),
    "ours, and 64 + 64 rows": SMALL,
    "ours, and compiled": SMALL._replace(compiled=True),
    "ours, small, 15 members": SMALL._replace(members=15),
    "ours, and bfloat16, compiled": SMALL._replace(members=15, bfloat16=True, compiled=True),
}


def learner(size: Size) -> CoherentSoftImitation:
    """With noise on every parameter of the clone, so that no product is with zeros."""
    random = Generators(range(size.members))
    clone = HetStat(OBSERVATION, ACTION, random, (size.hidden,) * 2, features=size.features)
    with torch.no_grad():
        for value in clone.parameters():
            value += 0.05 * normal_like(value, random)
    make = HalvedImitation if size.bfloat16 else CoherentSoftImitation
    one = make(clone, random, CoherentSettings(hidden=(size.hidden,) * 2))
    if size.compiled:
        compile_networks(one)
    return one


def compile_networks(one: CoherentSoftImitation) -> None:
    """Let torch compile what the networks do, anew for each size; what it would leave uncompiled is an error."""
    torch._dynamo.config.recompile_limit = 64
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    for network in (one.actor, one.rewarder, one.critics, one.targets):
        network.forward = torch.compile(network.forward)
    assert isinstance(one.critics, SmoothCritics)
    one.critics.with_slope = torch.compile(one.critics.with_slope)


def arithmetic(size: Size) -> AbstractContextManager[None]:
    """What the size is computed by."""
    if size.bfloat16:
        return bfloat16()
    return without_private_products() if size.compiled else nullcontext()


def update(one: CoherentSoftImitation, given: Noted, size: Size) -> None:
    """One update."""
    with arithmetic(size):
        one.update(given)


def rows(one: CoherentSoftImitation, size: Size, seed: int = 0) -> Noted:
    """Random rows with their notes, as a `NotedReplay` gives them."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(size.members, 2 * size.batch, *shape, generator=random)

    ends = torch.zeros(size.members, 2 * size.batch)
    found = Transitions(normal(OBSERVATION), normal(ACTION).tanh(), normal(), normal(OBSERVATION), ends)
    return Noted.of(found, one.note(found))


def check() -> float:
    """Largest difference of Q between ours and the plain writing after some updates.

    Raises:
        RuntimeError: they are not the same.
    """
    size = Size()
    one = learner(size)
    plain, random = PlainCSIL(one), torch.Generator()
    random.set_state(one.random.members[0].get_state())
    for step in range(CHECKED):
        given = rows(one, size, step)
        one.update(given)
        plain.update(given, random)
    probe = rows(one, size, CHECKED)
    theirs = plain.critic(torch.cat([probe.observation, probe.action], -1)[0])[:, 0]
    apart = float((one.critics(probe.observation, probe.action)[0, 0] - theirs).detach().abs().max())
    if not apart <= SAME:
        raise RuntimeError(f"after {CHECKED} updates Q differs by {apart:.1e} from the plain writing's")
    return apart


def drift(size: Size) -> float:
    """Largest difference of Q between this arithmetic and ours after some updates from the same start.

    Raises:
        RuntimeError: it is above rounding, without bfloat16.
    """
    plain = size._replace(bfloat16=False, compiled=False)
    one, other = learner(size), learner(plain)
    for step in range(CHECKED):
        given = rows(other, size, step)
        update(one, given, size)
        update(other, given, plain)
    probe = rows(other, size, CHECKED)
    with arithmetic(size), torch.no_grad():
        mine = one.critics(probe.observation, probe.action)
    apart = float((mine - other.critics(probe.observation, probe.action)).detach().abs().max())
    if not (size.bfloat16 or apart <= SAME):
        raise RuntimeError(f"after {CHECKED} updates Q differs by {apart:.1e} from what is not compiled")
    return apart


def contestants() -> dict[str, tuple[Callable[[], object], Size]]:
    """What each runs once, and at which size."""
    plain_learner, random = learner(Size()), torch.Generator()
    plain, given = PlainCSIL(plain_learner), rows(plain_learner, Size())
    found: dict[str, tuple[Callable[[], object], Size]] = {PLAIN: (partial(plain.update, given, random), Size())}
    for name, size in SIZES.items():
        one = learner(size)
        found[name] = partial(update, one, rows(one, size), size), size
    return found


def seconds_of(run: Callable[[], object], at_least: float) -> float:
    """Mean time of a call."""
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < at_least:
        run()
        calls += 1
    return (time.perf_counter() - started) / calls


def operations(size: Size) -> float:
    """Multiplications and additions in the matrix products of one update, by member.

    HetStat: forwards at following states, forwards and backwards as actor and as reward. The critic: target; forwards
    and backwards, and on half the rows the slope forwards and backwards; forwards and to the actions for the actor.
    """
    features, hidden, batch = size.features, size.hidden, size.batch
    blocks = range(0, features, 64)
    triangles = ACTION * sum((features - start) * 64 for start in blocks) if features >= 64 else ACTION * features**2
    policy = OBSERVATION * hidden + hidden**2 + hidden * 12 + 12 * features // 2 + ACTION * features + triangles
    critic = (OBSERVATION + ACTION) * hidden + hidden**2 + hidden
    return 2 * 2 * batch * (7 * policy + 7.5 * critic)


def product() -> float:
    """Seconds of a square matrix product of the hidden layer's width and all rows, (512, 256) by (256, 256)."""
    one, other = torch.randn(512, 256), torch.randn(256, 256)
    return seconds_of(lambda: torch.ops.mkldnn._linear_pointwise(one, other, None, "none", [], ""), SECONDS / 4)


def measure(repetitions: int) -> pd.DataFrame:
    """A line per contestant."""
    apart = {OURS: f"; Q the plain writing's to {check():.0e}"}
    for name, size in SIZES.items():
        if size.bfloat16 or size.compiled:
            print(f"comparing: {name}", file=sys.stderr)
            apart[name] = f"; Q in float32, not compiled, to {drift(size):.0e}"
    every = contestants()
    times: dict[str, list[float]] = {name: [] for name in every}
    rates = []
    for repetition in range(repetitions + 1):
        products = product()
        for name, (run, size) in every.items():
            print(f"repetition {repetition} (0: warm-up): {name}", file=sys.stderr)
            seconds = seconds_of(run, SECONDS) / size.members
            times[name] += [seconds] if repetition else []
        rates += [2 * 512 * 256 * 256 / products] if repetition else []
    lines = []
    for name, (_, size) in every.items():
        ratios = [one / ours for one, ours in zip(times[name], times[OURS], strict=True)]
        line: dict[str, str | float] = {"workload": "CSIL update", "form": _worded(size), "contestant": name}
        line |= {"version": "this tree"} | spread("seconds", times[name]) | spread("ratio", ratios)
        shares = sorted(operations(size) / one / rate for one, rate in zip(times[name], rates, strict=True))
        said = f"{shares[len(shares) // 2]:.0%} of the matrix product's rate"
        said = "dense triangles, slopes by autograd twice" if name == PLAIN else said + apart.get(name, "")
        lines.append(line | {"repetitions": repetitions, "note": f"torch {torch.__version__}; {said}"})
    return pd.DataFrame(lines)


def _worded(size: Size) -> str:
    return f"{size.members} member{'s' * (size.members > 1)}"


def main() -> None:
    """Measure, write and show."""
    chosen = repeated("Time our update of CSIL beside a plain writing.", "csil", 9)
    torch.set_num_threads(1)
    table = measure(chosen.repetitions)
    write(table, chosen.output)
    columns = ["ratio_to_ours", "ratio_low", "ratio_high"]
    span = table.loc[table.contestant == PLAIN, columns].to_numpy()[0]
    reached = "reached" if span[0] >= BAR else "missed"
    print(show(table), f"plain writing over ours, aim {BAR}: {worded(span, 2)}, {reached}", sep="\n")


if __name__ == "__main__":
    main()
