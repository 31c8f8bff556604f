"""Imitation learning, written to be checked: one algorithm per file, no configuration, plotting or tables.

Sub-packages: `mdp` (tabular decision processes), `ebm` (energies, samplers, losses, implicit policies, EDM), `policies`
(explicit behavioural cloning, nearest neighbour, mixture density), `control` (soft actor-critic, CSIL and its rivals),
`envs` (Gymnasium environments), `demonstrations` (episodes, their checks, Minari), `nn` (networks that the others
share); `population` gives every member of a population its own random stream.
"""
