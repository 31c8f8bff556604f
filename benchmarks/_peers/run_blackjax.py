"""blackjax's unadjusted Langevin step (`blackjax.sgld` with full gradients), served to `benchmarks/langevin.py`.

Of the package's unadjusted steps it is the one that takes one gradient per step and no more: `overdamped_langevin` of
`blackjax.mcmc.diffusions` carries the next gradient in its state, so it takes one more than there are steps. The whole
chain is compiled, all chains of a batch share one key, and the compilation falls into the warm-up. jax's matrix product
is served too.
"""
# pyright: reportMissingImports=false
# The peer is installed in an environment of its own.

import sys
from collections.abc import Callable

import problem
import serving

REPLY = serving.open_reply()

import blackjax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402


def sampler(energy: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], steps: int, step_size: float) -> Callable:
    """A compiled function from a key to final positions; blackjax's step size is half of lambda."""
    force = jax.grad(lambda position: -energy(position).sum())
    step = blackjax.sgld(lambda position, _: force(position)).step

    @jax.jit
    def sample(key: jax.Array) -> jax.Array:
        first, rest = jax.random.split(key)
        start = jax.random.uniform(first, shape, minval=problem.LOW, maxval=problem.HIGH)
        advance = lambda position, key: (step(key, position, None, step_size / 2), None)  # noqa: E731
        return jax.lax.scan(advance, start, jax.random.split(rest, steps))[0]

    return sample


def bowl(position: jax.Array) -> jax.Array:
    """The Gaussian's energy (..., 2) -> (...)."""
    return ((position - jnp.array(problem.MEAN)) ** 2 / (2 * jnp.array(problem.SPREAD) ** 2)).sum(-1)


def network_energy() -> Callable[[jax.Array], jax.Array]:
    """The common network at the given observations: actions (B M, Dy) -> energies (B M)."""
    observation, weights, biases = problem.read(sys.argv[1])
    tiled = jnp.repeat(jnp.asarray(observation), problem.NEGATIVES, axis=0)
    layers = [(jnp.asarray(weight), jnp.asarray(bias)) for weight, bias in zip(weights, biases, strict=True)]

    def energy(action: jax.Array) -> jax.Array:
        value = jnp.concatenate([tiled, action], axis=-1)
        for weight, bias in layers[:-1]:
            value = jax.nn.relu(value @ weight + bias)
        return (value @ layers[-1][0] + layers[-1][1])[:, 0]

    return energy


def timed(sample: Callable) -> Callable[[], jax.Array]:
    """The sampler with a fresh key per call, waiting for the result."""
    keys = iter(range(2**31))
    return lambda: jax.block_until_ready(sample(jax.random.key(next(keys))))


if __name__ == "__main__":
    shape = (problem.CHAINS, len(problem.MEAN))
    rows = (problem.OBSERVATIONS * problem.NEGATIVES, problem.ACTION_DIM)
    gaussian = sampler(bowl, shape, problem.GAUSSIAN_STEPS, problem.GAUSSIAN_STEP_SIZE)
    network = sampler(network_energy(), rows, problem.NETWORK_STEPS, problem.NETWORK_STEP_SIZE)
    matrix = jax.random.normal(jax.random.key(0), (problem.MATRIX, problem.MATRIX))
    product = jax.jit(jnp.matmul)
    served = {
        "matmul/-/jax": lambda: jax.block_until_ready(product(matrix, matrix)),
        "gaussian/true/blackjax": timed(gaussian),
        "network/true/blackjax": timed(network),
    }
    serving.serve(REPLY, "blackjax", "jax", served)
