"""Lanczos against Pillow's, and what any resampling owes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from installation.models.lanczos import Lanczos, weights


@pytest.mark.parametrize("target", [(250, 300), (40, 37), (100, 91), (100, 300), (33, 90), (200, 45)])
def test_it_is_what_pillow_makes(target):
    picture = np.random.default_rng(1).random((100, 90), np.float32)
    height, width = target
    wanted = np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    img = torch.from_numpy(picture).expand(1, 3, 100, 90)
    made = Lanczos((100, 90), target)(img)
    assert made.shape == (1, 3, *target)
    assert np.abs(made.numpy() - wanted).max() < 2e-6


@pytest.mark.parametrize(("source", "target"), [(100, 257), (257, 100), (64, 64), (5, 400)])
def test_weights_sum_to_one(source, target):
    assert weights(source, target).sum(axis=1) == pytest.approx(np.ones(target))


def test_another_size_than_promised_is_refused():
    with pytest.raises(ValueError, match="expected"):
        Lanczos((8, 8), (16, 16))(torch.zeros(1, 3, 8, 9))
