"""Lecture 18: why imitation learning needs interaction, inverse reinforcement learning as a game, MaxEnt IRL."""

from experiments.harness.catalogue import Source

SOURCE = Source(
    title="Lecture 18: why imitation needs interaction, and maximum-entropy inverse reinforcement learning",
    authors="Lecture 18",
    year=None,
    planned={
        "lecture.fig-18-1": (
            "Fig. 18.1",
            "Two policies with equal cloning loss lose order eps H and order eps H^2.",
        ),
        "lecture.epsilon-sources": (
            "Section 18.2.2.1",
            "Of finite samples, optimisation and misspecification only the last survives more data and compute.",
        ),
        "lecture.fig-18-2": ("Fig. 18.2", "Which of two mistakes matters depends on the reward."),
        "lecture.dagger": (
            "Sections 18.2.2.1 and 18.4.1",
            "Interaction (DAgger) brings an error linear in the horizon.",
        ),
        "lecture.ill-posed": (
            "Section 18.4, below (18.1)",
            "Without the learner's value in the game a constant reward is optimal.",
        ),
        "lecture.lemma-1": ("Lemma 1, eq. (18.3)", "An eps-equilibrium has a performance gap of at most eps H."),
        "lecture.fig-18-3": ("Fig. 18.3", "Equilibria lie on the Pareto frontier."),
        "lecture.sample-efficiency": (
            "Fig. 18.3, caption",
            "The game needs fewer demonstrations than behavioural cloning.",
        ),
        "lecture.dual": (
            "eqs. (18.4)-(18.8)",
            "MaxEnt IRL by best response and online gradient matches moments with maximal causal entropy.",
        ),
        "lecture.primal": ("Section 18.5", "The primal game (policy gradient) reaches the same equilibrium."),
        "lecture.soft-value-iteration": ("eqs. (18.11)-(18.14)", "The closed form of the soft best response."),
        "lecture.softmax-family": ("Section 18.6", "It is the softmax of Hedge and of natural policy gradient."),
        "lecture.quadratic-penalty": (
            "Footnote 1",
            "With misspecified moments a quadratic penalty keeps the multipliers bounded.",
        ),
        "lecture.errata": ("throughout", "Every printed formula beside its corrected form, with a counterexample."),
    },
)
