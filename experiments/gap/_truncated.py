"""Energies on the box [-1, 1]^D whose integral is known: per coordinate a sum of equal Gaussian bumps, cut at the box.

exp(-E(y)) is the product over coordinates of f(y) = sum over centres c of exp(-(y - c)^2 / (2 w^2)), so that every
integral is a power of a one-dimensional one. All arithmetic is in float64.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)  # on [-1, 1]


@dataclass(frozen=True)
class Bumps:
    """Centres and the one width w of the bumps in each coordinate."""

    centres: tuple[float, ...]
    width: float

    def value(self, y: np.ndarray) -> np.ndarray:
        """f, elementwise; 0 outside the box."""
        total = sum(np.exp(-(((y - centre) / self.width) ** 2) / 2) for centre in self.centres)
        return np.where(np.abs(y) <= 1, total, 0.0)

    def constant(self) -> float:
        """The integral Z of f over [-1, 1], by the error function."""
        return sum(_mass(centre, self.width) for centre in self.centres)

    def overlap(self) -> float:
        """The integral of f^2 over [-1, 1]: products of bumps are narrower bumps between them."""
        narrow = self.width / math.sqrt(2)
        return sum(
            math.exp(-(((a - b) / self.width) ** 2) / 4) * _mass((a + b) / 2, narrow)
            for a in self.centres
            for b in self.centres
        )

    def density(self, y: np.ndarray) -> np.ndarray:
        """f / Z, elementwise."""
        return self.value(y) / self.constant()

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Exact independent draws of f / Z: a bump by its mass, then its inverse distribution function."""
        masses = np.array([_mass(centre, self.width) for centre in self.centres])
        centre = np.asarray(self.centres)[rng.choice(len(masses), shape, p=masses / masses.sum())]
        low, high = ndtr((-1 - centre) / self.width), ndtr((1 - centre) / self.width)
        return centre + self.width * ndtri(low + (high - low) * rng.random(shape))


def integral(values: np.ndarray) -> float:
    """Quadrature over [-1, 1] of a function given at NODES."""
    return float(WEIGHTS @ values)


def _mass(centre: float, width: float) -> float:
    return width * math.sqrt(2 * math.pi) * float(ndtr((1 - centre) / width) - ndtr((-1 - centre) / width))
