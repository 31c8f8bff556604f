"""Ta, Cousineau, Zhao, Feng 2022: Conditional Energy-Based Models for Implicit Policies."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="Conditional Energy-Based Models for Implicit Policies: The Gap between Theory and Practice",
    authors="Ta et al.",
    year=2022,
    reading_order=("langevin_moments", "langevin_forms", "temperature", "near_descent"),
    planned={
        "gap.integral": (
            "Section III, eq. (2)",
            "The sum over negatives approximates the integral only if they are uniform; importance weights repair it.",
        ),
        "gap.mcmc-loss": (
            "Section III, eq. (4)",
            "The MCMC loss has the gradient of the negative log-likelihood.",
        ),
        "gap.maxent-derivation": (
            "Appendix A",
            "The entropy-regularised loss has the gradient derived; its extra terms are half the energies' variance.",
        ),
        "gap.infonce-bound": (
            "Section V",
            "log(M+1) - L is a lower bound of the mutual information if negatives are independent draws of p(y).",
        ),
        "gap.deep-valley": (
            "Section V",
            "A small noise scale puts negatives near positives and so lowers the conditional entropy.",
        ),
        "gap.joint-overfit": (
            "Section IV",
            "A joint energy model with a replay buffer fits the training data and generalises poorly.",
        ),
        "gap.noise-scale": ("Section III", "In IBC's form a small noise scale (.01 to .1) trains better than 1."),
        "gap.chains": ("Section III", "Many short chains beat one long chain with burn-in."),
        "gap.mcmc-vs-infonce": ("Section III", "The MCMC loss gives no significant improvement over InfoNCE."),
        "gap.maxent-conditional": (
            "Section IV",
            "True Langevin with the entropy regulariser is reasonable, but not better than IBC's with small noise.",
        ),
        "gap.fig2": (
            "Fig. 2, Section V",
            "The marginal action sampler is on par with IBC's Langevin on the 2-D particle task, 300 episodes.",
        ),
        "gap.implementation": (
            "Appendix C",
            "DFO and Langevin follow the expected evolution in 2-D and 16-D, on 1 episode and on 2000.",
        ),
        "gap.dimensions": (
            "Section II, after Florence et al. 2021",
            "Implicit policies beat explicit regression and nearest neighbour as the dimension grows.",
        ),
    },
)
