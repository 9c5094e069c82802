"""Laplacian-band features: the same for ever, and they see what plain random convolutions are blind to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from installation.training.features.laplacian import LaplacianFeatures
from installation.training.judge import planted


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 [48, 3, 64, 64]: discs of colour with some grain, no two alike."""
    rng = np.random.RandomState(0)
    rows, columns = np.indices((64, 64))
    found = []
    for _ in range(48):
        image = np.full((3, 64, 64), rng.randint(40, 200), np.float64)
        for _ in range(12):
            y, x, radius = rng.randint(0, 64), rng.randint(0, 64), rng.randint(3, 24)
            image[:, (rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.randint(0, 256, 3)[:, None]
        found.append(image + rng.standard_normal(image.shape))
    return planted.blur(np.clip(np.stack(found), 0, 255).astype(np.uint8), 0.6)


@pytest.mark.parametrize(("size", "bands"), [(16, 1), (32, 2), (64, 3), (48, 2), (256, 5)])
def test_a_band_for_each_halving_down_to_16(size: int, bands: int) -> None:
    features = LaplacianFeatures(size)
    assert features.width == 512 * bands
    assert features.embed(np.zeros((1, 3, size, size), np.uint8)).shape == (1, 512 * bands)


def test_the_random_weights_are_the_same_for_ever() -> None:
    assert LaplacianFeatures(64).fingerprint.startswith("119b94d78de7bcd8")


def test_the_bands_add_up_to_the_picture(pictures: np.ndarray) -> None:
    features = LaplacianFeatures(64)
    x = torch.from_numpy(pictures[:2]).float() / 127.5 - 1
    bands = features.pyramid(x)
    whole = bands[-1]
    for band in reversed(bands[:-1]):
        whole = torch.nn.functional.interpolate(whole, scale_factor=2, mode="bilinear", align_corners=False) + band
    assert torch.allclose(whole, x, atol=1e-5)


def test_features_do_not_depend_on_the_batch(pictures: np.ndarray) -> None:
    features = LaplacianFeatures(64)
    assert np.allclose(features.embed(pictures[:7], batch=2), features.embed(pictures[:7], batch=7), atol=1e-4)


def test_a_flat_picture_gives_finite_numbers() -> None:
    assert np.isfinite(LaplacianFeatures(32).embed(np.zeros((1, 3, 32, 32), np.uint8))).all()


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: planted.noise(x, 3),
        lambda x: planted.jpeg(x, 30),
        lambda x: planted.checkerboard(x, 2),
        lambda x: planted.blur(x, 0.5),
    ],
    ids=["noise", "jpeg", "checkerboard", "blur"],
)
def test_it_sees_faults_of_texture(pictures: np.ndarray, fault: Callable[[np.ndarray], np.ndarray]) -> None:
    features = LaplacianFeatures(64)
    clean, spoilt = features.embed(pictures), features.embed(fault(pictures))
    shift = np.abs(spoilt.mean(0) - clean.mean(0)) / (clean.std(0) + 1e-6)
    assert np.quantile(shift, 0.95) > 0.5


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        LaplacianFeatures(64).embed(np.zeros((1, 3, 32, 32), np.uint8))
