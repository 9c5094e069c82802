"""Faults planted into real pictures: the lower end of the score's scale, and the proof that the score ranks. Always the same.

Lengths are given for pictures of 64 px and grow with the size, so a fault looks alike at every size.
"""

from __future__ import annotations

import io
import math

import numpy as np

from installation.training.picture import to_uint8

MODES = 32


def blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian. images uint8 [N, 3, S, S]; sigma in px of a 64 px picture."""
    sigma = sigma * images.shape[3] / 64
    reach = max(1, math.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    return np.stack([to_uint8(_along(_along(image.astype(np.float32), taps, 1), taps, 2)) for image in images])


def noise(images: np.ndarray, sigma: float) -> np.ndarray:
    """Normal, independent in every value; sigma in steps of 255."""
    rng = np.random.RandomState(1)
    return np.stack([to_uint8(image + sigma * rng.standard_normal(image.shape)) for image in images])


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file with halved colour, as cameras and the web make it."""
    from PIL import Image

    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(
            file, "JPEG", quality=quality, subsampling=2
        )
        with Image.open(file) as back:
            found.append(np.asarray(back.convert("RGB")).transpose(2, 0, 1))
    return np.stack(found)


def checkerboard(images: np.ndarray, depth: float) -> np.ndarray:
    """Plus and minus `depth` steps of 255 in turn from pixel to pixel: what transposed convolutions leave."""
    rows, columns = np.indices(images.shape[2:])
    board = np.where((rows + columns) % 2 == 0, depth, -depth)
    return np.stack([to_uint8(image + board) for image in images])


def colour_shift(images: np.ndarray, depth: float) -> np.ndarray:
    """Every picture warmer by `depth` steps of 255: red up, blue down."""
    shift = np.array([depth, 0.0, -depth])[:, None, None]
    return np.stack([to_uint8(image + shift) for image in images])


def modes_of(features: np.ndarray) -> np.ndarray:
    """The mode each picture belongs to, 0..31, by k-means on features [N, d]; 0 is the largest. int64 [N]."""
    rng = np.random.RandomState(2)
    points = np.asarray(features, np.float32)
    centres = points[rng.permutation(len(points))[: min(MODES, len(points))]]
    nearest = np.zeros(len(points), np.int64)
    for _ in range(15):
        nearest = ((points**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * points @ centres.T).argmin(1)
        centres = np.stack(
            [points[nearest == k].mean(0) if (nearest == k).any() else centre for k, centre in enumerate(centres)]
        )
    order = np.argsort(-np.bincount(nearest, minlength=len(centres)), kind="stable")
    return np.argsort(order, kind="stable")[nearest]


def of_modes(modes: np.ndarray, kept: int, n: int) -> np.ndarray:
    """Indices of n pictures drawn from every (32 / kept)th mode alone, large and small ones; repeating only where they run out."""
    wanted = np.flatnonzero(modes % max(1, MODES // kept) == 0)
    return np.random.RandomState(3).choice(wanted, n, replace=len(wanted) < n)


def collapse(n: int, among: int, distinct: int) -> np.ndarray:
    """Indices of n pictures that repeat only `distinct` of `among`."""
    rng = np.random.RandomState(4)
    return rng.choice(rng.permutation(among)[:distinct], n)


def worst(images: np.ndarray, features: np.ndarray, n: int) -> np.ndarray:
    """The set that scores 0: four modes of 32, blurred with sigma 2. images uint8 [N, 3, S, S], features [N, d] -> [n, 3, S, S]."""
    return blur(images[of_modes(modes_of(features), 4, n)], 2.0)


def _along(x: np.ndarray, taps: np.ndarray, axis: int) -> np.ndarray:
    reach = len(taps) // 2
    pads = [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)]
    padded = np.pad(x, pads, mode="reflect" if reach < x.shape[axis] else "edge")
    side = x.shape[axis]
    return sum(
        (tap * np.take(padded, np.arange(i, i + side), axis=axis) for i, tap in enumerate(taps)), np.zeros_like(x)
    )
