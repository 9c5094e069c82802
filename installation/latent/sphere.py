"""Latents as numpy arrays: the z of a seed, mixtures of keyframes, great circles."""

from __future__ import annotations

import math

import numpy as np


def seed_z(seed: int, z_dim: int) -> np.ndarray:
    """The z of a seed: float64 [z_dim], standard normal.

    numpy's legacy generator, whose stream is frozen for good and which NVIDIA's StyleGAN tools use: seeds found there
    name the same portraits here, and the same ones in ten years.
    """
    return np.random.RandomState(seed).standard_normal(z_dim)


def to_sphere(z: np.ndarray) -> np.ndarray:
    """z [n] scaled to length sqrt(n), where a normal z lies; a zero vector stays."""
    length = float(np.linalg.norm(z))
    return z * (math.sqrt(z.shape[-1]) / length) if length > 0.0 else z


def slerp(a: np.ndarray, b: np.ndarray, x: float) -> np.ndarray:
    """The point at x in 0..1 on the great circle from a to b (both on the sphere of length sqrt(n)).

    K. Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985. For opposite points, where no great circle
    is the shortest, it goes by way of a fixed third direction.
    """
    cosine = float(np.dot(a, b)) / a.shape[-1]
    if cosine > 1.0 - 1e-9:
        return to_sphere((1.0 - x) * a + x * b)
    if cosine < -1.0 + 1e-9:
        middle = to_sphere(_orthogonal(a))
        return slerp(a, middle, 2.0 * x) if x < 0.5 else slerp(middle, b, 2.0 * x - 1.0)
    angle = math.acos(cosine)
    return (math.sin((1.0 - x) * angle) * a + math.sin(x * angle) * b) / math.sin(angle)


def _orthogonal(a: np.ndarray) -> np.ndarray:
    axis = np.zeros_like(a)
    axis[int(np.argmin(np.abs(a)))] = 1.0
    return axis - a * (np.dot(a, axis) / np.dot(a, a))
