"""Light and edges of a picture: exposure, contrast, borders, and how sharp a face is."""

from __future__ import annotations

import numpy as np

from installation.training.picture import resize

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
# A line is flat when its values differ by less than this (grey levels, standard deviation); scanned paper has about 2, JPEG 1.
_FLAT = 4.0
_STEP = 14.0


def luma(pixels: np.ndarray) -> np.ndarray:
    """float32 [H,W], 0..255, of uint8 [H,W,3]."""
    return pixels @ _LUMA


def exposure(grey: np.ndarray) -> dict[str, float]:
    """brightness: the median, 0..1. contrast: between the 2nd and 98th percentile, 0..1. crushed, blown: shares of pixels that are
    black (below 3 of 255) or white (above 252)."""
    low, middle, high = (float(each) / 255 for each in np.percentile(grey[::2, ::2], (2, 50, 98)))
    return {
        "brightness": round(middle, 3),
        "contrast": round(high - low, 3),
        "crushed": round(float((grey < 3).mean()), 3),
        "blown": round(float((grey > 252).mean()), 3),
    }


def border(grey: np.ndarray) -> float:
    """The widest flat strip along a side that ends in a straight step, as a part of that dimension, 0..0.5. grey: float [H,W].

    A plain studio background is flat too, but has no straight step at its end.
    """
    if min(grey.shape) < 16:
        return 0.0
    return round(max(_strip(lines) for lines in (grey, grey[::-1], grey.T, grey.T[::-1])), 3)


def _strip(lines: np.ndarray) -> float:
    """Of the side where `lines` begin."""
    half = len(lines) // 2
    first = lines[: half + 2]
    flat = first.std(axis=1) < _FLAT
    level = np.abs(first.mean(1) - first[: max(1, half // 50)].mean()) < _FLAT
    depth = int(np.argmin(flat & level)) if not (flat & level).all() else half
    if depth == 0:
        return 0.0
    # Scans blur the edge over a few px.
    inside = first[min(depth + 3, half + 1)]
    stepped = float((np.abs(inside - first[depth - 1]) > _STEP).mean())
    return depth / len(lines) if stepped > 0.6 else 0.0


def sharpness(face: np.ndarray) -> float:
    """How much of a face's fine structure is there, 0..1: about 0.1 out of focus, 0.3 and more sharp. face: uint8 [H,W,3], its box.

    Power of the Laplacian over that of the structure two octaves below, in the box at 128 px or its own size where that is less: the same
    for light and dark.
    """
    side = int(np.clip(min(face.shape[:2]), 16, 128))
    small = resize(luma(face)[:, :, None], side, side)
    fine, coarse = (_laplacian(each[:, :, 0]) for each in (small, resize(small, side // 4, side // 4)))
    return round(float(np.sqrt((fine**2).mean() / ((coarse**2).mean() + 1.0))), 3)


def _laplacian(grey: np.ndarray) -> np.ndarray:
    return grey[1:-1, 1:-1] * 4 - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
