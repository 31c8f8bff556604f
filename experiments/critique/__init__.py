"""Swamy, Choudhury, Bagnell, Wu 2021: A Critique of Strictly Batch Imitation Learning."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="A Critique of Strictly Batch Imitation Learning",
    authors="Swamy et al.",
    year=2021,
    reading_order=(
        *("pseudo_visitation", "sum_out", "gradient_sign", "inconsistency", "finite_sample"),
        "sgld_temperature",
        "benchmarks",
        "square",
    ),
    planned={},
)
