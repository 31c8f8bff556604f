"""Control from rewards: the soft actor-critic core, and what is built on it."""
