"""Lecture 18: why imitation learning needs interaction, inverse reinforcement learning as a game, MaxEnt IRL."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="Lecture 18: why imitation needs interaction, and maximum-entropy inverse reinforcement learning",
    authors="Lecture 18",
    year=None,
    planned={},
    reading_order=(
        "compounding",
        "epsilon_sources",
        "dagger",
        "rewards",
        "ill_posed",
        "pareto",
        "sample_efficiency",
        "lemma",
        "primal",
        "dual",
        "quadratic_penalty",
        "soft_value_iteration",
        "softmax_family",
        "errata",
    ),
)
