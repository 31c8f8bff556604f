"""Environments. Importing this package registers "Particle-v0", the particle task of implicit behavioural cloning."""

import gymnasium as gym

gym.register("Particle-v0", entry_point="imitation.envs.particle_env:ParticleEnv")
