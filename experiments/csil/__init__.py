"""Watson, Huang, Heess 2023: Coherent Soft Imitation Learning."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="Coherent Soft Imitation Learning",
    authors="Watson et al.",
    year=2023,
    reading_order=(
        "coherence",
        "stationary",
        "tabular",
        "faithful",
        "mujoco",
        "hopper",
        "ant",
        "stability",
        "ablations",
        "temperature",
        "features",
        "economies",
        "offline",
        "recurrent",
        "vision",
    ),
    planned={},
)
