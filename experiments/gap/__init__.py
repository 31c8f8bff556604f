"""Ta, Cousineau, Zhao, Feng 2022: Conditional Energy-Based Models for Implicit Policies."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="Conditional Energy-Based Models for Implicit Policies: The Gap between Theory and Practice",
    authors="Ta et al.",
    year=2022,
    reading_order=(
        "particle_dimensions",
        "particle_implementation",
        "integral",
        "mcmc_loss",
        "langevin_moments",
        "particle_samplers",
        "particle_losses",
        "joint_overfit",
        "infonce_bound",
        "deep_valley",
        "particle_mas",
        "particle_precision",
        "particle_inference",
        "maxent_derivation",
        "langevin_forms",
        "temperature",
        "near_descent",
    ),
    planned={},
)
