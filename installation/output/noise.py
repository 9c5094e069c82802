"""Blue noise for dither and dissolve, made at start-up.

High-pass filtering and ranking in turn: after a few rounds the values are uniform and their spectrum is empty at low
frequencies. A 64 x 64 tile takes about 10 ms a channel, so none is shipped. Pure NumPy.
"""

import numpy as np

TILE = 64
_ROUNDS = 10
_CUTOFF = 0.35  # cycles per pixel; 0.5 is the finest


def blue_noise(seed: int) -> np.ndarray:
    """float32 [64, 64], each of 4,096 evenly spaced values of 0..1 once; tiles without a seam."""
    values = np.random.default_rng(seed).random((TILE, TILE))
    f = np.fft.fftfreq(TILE)
    keep = 1.0 - np.exp(-(f[:, None] ** 2 + f[None, :] ** 2) / (2.0 * (_CUTOFF / 2.0) ** 2))
    for _ in range(_ROUNDS):
        values = np.fft.ifft2(np.fft.fft2(values) * keep).real
        ranks = np.empty(TILE * TILE)
        ranks[np.argsort(values, axis=None)] = np.arange(TILE * TILE)
        values = ((ranks + 0.5) / (TILE * TILE)).reshape(TILE, TILE)
    return values.astype(np.float32)


def triangular(uniform: np.ndarray) -> np.ndarray:
    """Uniform 0..1 values with the same order but a triangular density over -1..1."""
    v = uniform * 2.0 - 1.0
    return (np.sign(v) * (1.0 - np.sqrt(1.0 - np.abs(v)))).astype(np.float32)


def noise_tile() -> np.ndarray:
    """float32 [64, 64, 4]: rgb triangular -1..1 for dither, alpha uniform 0..1 for thresholds."""
    return np.stack([triangular(blue_noise(1)), triangular(blue_noise(2)), triangular(blue_noise(3)), blue_noise(4)], 2)
