"""Imitation learning, written to be checked: one algorithm per file, no configuration, plotting or tables.

Sub-packages: `mdp` (tabular decision processes), `ebm` (energies, samplers, diagnostics), `envs`
(Gymnasium environments); `population` gives every member of a population its own random stream.
"""
