"""What both soft actor-critics of `benchmarks/sac.py` share: the task, the sizes, the blocks that are timed."""

ENVIRONMENT = "HalfCheetah-v5"
HIDDEN, BATCH, WARM_UP, CAPACITY = 256, 256, 1000, 200_000
RATE, DISCOUNT, SMOOTHING = 3e-4, 0.99, 0.005
BLOCK = 100  # environment steps, with one update each, in one timed call
EVALUATIONS, EPISODES = 5, 5  # along a curve, and episodes in each
HELD_OUT = 10_000  # seeds of the evaluations' episodes begin here


def curve_seeds(seeds: int) -> list[int]:
    """Those of the trainings whose returns are compared."""
    return list(range(1, seeds + 1))
