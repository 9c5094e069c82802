"""Ranges of layers whose ends may lie between two layers, so that a fader over them has no steps."""

from __future__ import annotations

import numpy as np


def layer_weights(first: float, last: float, num_ws: int) -> np.ndarray:
    """How much each layer belongs to first..last, both included: float64 [num_ws] in 0..1.

    Whole numbers give 0 and 1 alone; in between, the layer at the end is in by that share.
    """
    layers = np.arange(num_ws)
    return np.clip(layers - first + 1.0, 0.0, 1.0) * np.clip(last - layers + 1.0, 0.0, 1.0)
