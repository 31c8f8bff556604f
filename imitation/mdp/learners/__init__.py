"""Tabular learners that see an expert's actions: behavioural cloning, its softmax form, and DAgger."""

from imitation.mdp.learners.cloning import cloned, stationary_clone, time_indexed_clone
from imitation.mdp.learners.dagger import aggregated, dagger
from imitation.mdp.learners.softmax import fit_softmax, softmax_law

__all__ = [
    "aggregated",
    "cloned",
    "dagger",
    "fit_softmax",
    "softmax_law",
    "stationary_clone",
    "time_indexed_clone",
]
