"""The spectrum of pictures above the Nyquist frequency of what they were enlarged from. NumPy only."""

from __future__ import annotations

import numpy as np

RINGS = 12
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Half a rounding step of 8 bits spread evenly over the spectrum: below it there is nothing to compare.
_NOISE = 1.0 / 12.0


def high_frequencies(images: np.ndarray, scale: int) -> np.ndarray:
    """images uint8 [N, 3, S, S] -> float64 [N, 12]: mean power in rings from 0.5 / scale to 0.71 cycles a pixel, dB.

    Luminance of the display values, under a Hann window, so that the border is no edge.
    """
    side = images.shape[3]
    window = np.hanning(side + 2)[1:-1]
    window = window[:, None] * window
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    edges = np.geomspace(0.5 / scale, np.sqrt(0.5) + 1e-9, RINGS + 1)
    ring = np.digitize(frequency, edges) - 1
    inside = [np.flatnonzero(ring == i) for i in range(RINGS)]
    found = []
    for image in images:
        grey = np.tensordot(_LUMINANCE, image.astype(np.float64), axes=1)
        power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)).ravel() ** 2 / (window**2).sum()
        found.append([10 * np.log10(power[cells].mean() + _NOISE) if len(cells) else 0.0 for cells in inside])
    return np.array(found)
