"""What JPEG did to a picture: quality from its tables, and the 8-px grid in its pixels, which also betrays a JPEG saved again as PNG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# ITU-T T.81, table K.1 (luminance), by rows. The family of qualities is this table times a factor (IJG's jpeg_set_quality).
_K1 = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    float,
).ravel()


def quality(table: Sequence[int] | None) -> int | None:
    """IJG quality 1..100 whose table is nearest; None for a picture without one. table: luminance, 64 entries."""
    if table is None or len(table) != 64:
        return None
    # Sorted: tables are stored in zig-zag or row order depending on the reader, and the comparison needs neither.
    found = np.sort(np.asarray(table, float))
    return min(range(1, 101), key=lambda q: float(np.abs(_table(q) - found).sum()))


def _table(q: int) -> np.ndarray:
    scale = 5000 / q if q < 50 else 200 - 2 * q
    return np.sort(np.clip(np.floor((_K1 * scale + 50) / 100), 1, 255))


def blockiness(grey: np.ndarray) -> float | None:
    """Steps across the strongest 8-px grid over those at other places, 1 for none. None for less than 64 px. grey: float [H,W], 0..255.

    Second differences, so that gradients do not count; the grid's offset is searched, so that cropping does not hide it. A photograph
    has 1.0 to 1.5, quality 30 about 1.8, quality 15 more than 2 (80 portraits); saving once more on another grid hides half of it.
    """
    if min(grey.shape) < 64:
        return None
    ratios = []
    for lines in (grey, grey.T):
        step = lines[:, 1:] - lines[:, :-1]
        # The step itself beyond what its neighbours would continue; busy places are capped so that texture does not drown the grid.
        jump = np.abs(step[:, 1:-1]) - (np.abs(step[:, :-2]) + np.abs(step[:, 2:])) / 2
        profile = np.clip(jump, -8, 8).mean(0)
        level = float(np.abs(step).clip(0, 8).mean()) + 0.25
        phases = np.array([profile[phase::8].mean() for phase in range(8)])
        ratios.append(1 + max(0.0, float(phases.max() - np.median(phases))) / level)
    return round(float(np.mean(ratios)), 3)
