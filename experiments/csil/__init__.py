"""Watson, Huang, Heess 2023: Coherent Soft Imitation Learning."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="Coherent Soft Imitation Learning",
    authors="Watson et al.",
    year=2023,
    reading_order=("coherence", "stationary", "tabular", "faithful", "mujoco"),
    planned={
        "csil.temperature": ("Section 4", "The policy temperature must be below the reward temperature, beta < alpha."),
        "csil.refinement": ("Ablations", "Reward refinement helps with few demonstrations."),
        "csil.jacobian": ("Ablations", "Regularising the critic's Jacobian helps."),
        "csil.pretraining": ("Ablations", "Too little cloning hurts, and too much hurts exploration."),
        "csil.offline": ("Section 5", "The offline variant learns from sub-optimal data."),
        "csil.vision": ("Section 5", "The method scales to images."),
        "csil.recurrent": ("Open question 2", "The method works with a richer, recurrent policy class."),
    },
)
