"""Ranges of layers: whole at whole numbers, and without a step in between."""

from __future__ import annotations

import numpy as np
import pytest

from installation.latent.layers import layer_weights


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [
        (0, 5, [1, 1, 1, 1, 1, 1]),
        (2, 3, [0, 0, 1, 1, 0, 0]),
        (1, 40, [0, 1, 1, 1, 1, 1]),
        (8, 31, [0, 0, 0, 0, 0, 0]),
        (0, -1, [0, 0, 0, 0, 0, 0]),
        (1.25, 2.5, [0, 0.75, 1, 0.5, 0, 0]),
        (4, 2, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_both_ends_are_included(first, last, wanted):
    assert layer_weights(first, last, 6).tolist() == wanted


def test_a_fader_over_an_end_moves_no_layer_by_more_than_itself():
    ends = np.linspace(-1.0, 7.0, 801)
    weights = np.array([layer_weights(0.0, end, 6) for end in ends])
    assert np.abs(np.diff(weights, axis=0)).max() <= 0.01 + 1e-9
