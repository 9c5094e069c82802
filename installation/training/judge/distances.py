"""Distances between two sets of pictures, given as features. NumPy only; float64 inside; no randomness but fixed directions.

Every distance can be measured on a part of both sets, told by the indices a (of the first) and b (of the second). What is
expensive is computed once, so dozens of parts cost little. An index may occur twice, as in a bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIRECTIONS = 128
_DIRECTION_SEED = 7
WHITENED = 64
NEIGHBOURS = 5


class KernelDistance:
    """Squared maximum mean discrepancy with the kernel (x·y / d + 1)^3, unbiased: its mean is 0 for two sets of one kind.

    Bińkowski et al. 2018 (arXiv:1801.01401). x [N, d], y [M, d]. As is usual, x 1000.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
        self._xx, self._yy, self._xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)

    def at(self, a: np.ndarray, b: np.ndarray) -> float:
        """A pair of a picture with itself never counts, however often it was drawn."""
        u = np.bincount(a, minlength=len(self._xx)).astype(np.float64)
        v = np.bincount(b, minlength=len(self._yy)).astype(np.float64)
        cross = float(u @ self._xy @ v) / (u.sum() * v.sum())
        return 1000.0 * (_within(self._xx, u) + _within(self._yy, v) - 2.0 * cross)


class SlicedDistance:
    """Sliced Wasserstein-2, squared: the mean over 128 fixed directions of the squared gap between sorted projections.

    Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", J. Math. Imaging Vis. 51, 2015. Biased upwards by small
    sets, so only sets of one size compare. x [N, d], y [M, d]; x 1000.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        directions = np.random.RandomState(_DIRECTION_SEED).standard_normal((x.shape[1], DIRECTIONS))
        directions /= np.linalg.norm(directions, axis=0)
        self._x, self._y = (np.asarray(side, np.float64) @ directions for side in (x, y))

    def at(self, a: np.ndarray, b: np.ndarray) -> float:
        """Sets of two sizes are read at as many places as the smaller has."""
        x, y = np.sort(self._x[a], axis=0), np.sort(self._y[b], axis=0)
        n = min(len(x), len(y))
        return 1000.0 * float(np.mean((_quantiles(x, n) - _quantiles(y, n)) ** 2))


class FrechetDistance:
    """Fréchet distance of two normal distributions fitted to whitened features, x and y [N or M, 64].

    Dowson and Landau, J. Multivariate Anal. 12, 1982; Heusel et al. 2017 (arXiv:1706.08500). Biased upwards by small sets.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self._x, self._y = np.asarray(x, np.float64), np.asarray(y, np.float64)

    def at(self, a: np.ndarray, b: np.ndarray) -> float:
        """At least two of each."""
        x, y = self._x[a], self._y[b]
        root = _root(np.cov(x, rowvar=False))
        product = _eigenvalues(root @ np.cov(y, rowvar=False) @ root)
        traces = x.var(axis=0, ddof=1).sum() + y.var(axis=0, ddof=1).sum()
        return float(((x.mean(0) - y.mean(0)) ** 2).sum() + traces - 2.0 * np.sqrt(np.maximum(product, 0.0)).sum())


class Neighbours:
    """Density and coverage among the five nearest: Naeem et al. 2020 (arXiv:2002.09797). x: made [N, d]; y: real [M, d]."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self._xy, self._yy = squared_distances(x, y), squared_distances(y, y)

    def at(self, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        """(density, coverage). Indices must not repeat."""
        k = min(NEIGHBOURS, len(b) - 1)
        reach = np.partition(self._yy[np.ix_(b, b)], k, axis=1)[:, k]  # its own distance, 0, comes first
        inside = self._xy[np.ix_(a, b)] <= reach
        return float(inside.sum(axis=1).mean() / k), float(inside.any(axis=0).mean())


@dataclass(frozen=True, slots=True)
class Whitening:
    """z-score, then principal components scaled to variance 1. mean, scale [d]; basis [d, 64], all float32."""

    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, most: int = WHITENED) -> Whitening:
        """From features [N, d]: `most` components, or a quarter of N where that is fewer."""
        features = np.asarray(features, np.float64)
        mean, scale = features.mean(0), features.std(0) + 1e-6
        _, values, axes = np.linalg.svd((features - mean) / scale, full_matrices=False)
        k = max(2, min(most, len(features) // 4, axes.shape[0]))
        spread = np.maximum(values[:k] / np.sqrt(len(features) - 1), 1e-6)
        return cls(mean.astype(np.float32), scale.astype(np.float32), (axes[:k].T / spread).astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """features [N, d] -> float32 [N, 64]."""
        return ((features - self.mean) / self.scale) @ self.basis


def nearest(x: np.ndarray, y: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """Distance of each x [N, d] to its nearest y [M, d]: float64 [N]. itself: x is y, and a picture is not its own neighbour."""
    found = []
    for i in range(0, len(x), 256):
        part = squared_distances(x[i : i + 256], y)
        if itself:
            part[np.arange(len(part)), np.arange(i, i + len(part))] = np.inf
        found.append(part.min(axis=1))
    return np.sqrt(np.concatenate(found))


def squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64 [N, M], not below 0."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2.0 * x @ y.T, 0.0)


def halves(n: int, m: int, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """`count` random halves of n and of m things, without repetition: the same for every judgement with one kit."""
    rng = np.random.RandomState(seed)
    return [(rng.permutation(n)[: n // 2], rng.permutation(m)[: m // 2]) for _ in range(count)]


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0).astype(np.float64) ** 3


def _within(kernel: np.ndarray, weights: np.ndarray) -> float:
    """The mean over pairs of different pictures."""
    own = float(weights**2 @ np.diagonal(kernel))
    return (float(weights @ kernel @ weights) - own) / (weights.sum() ** 2 - float((weights**2).sum()))


def _quantiles(ordered: np.ndarray, n: int) -> np.ndarray:
    """The sorted columns of [N, k] read at n evenly spread places: [n, k]."""
    if len(ordered) == n:
        return ordered
    at = np.clip((np.arange(n) + 0.5) * len(ordered) / n - 0.5, 0, len(ordered) - 1)
    low = np.floor(at).astype(int)
    share = (at - low)[:, None]
    return ordered[low] * (1 - share) + ordered[np.minimum(low + 1, len(ordered) - 1)] * share


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _eigenvalues(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh((matrix + matrix.T) / 2)
