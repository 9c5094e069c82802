"""A small dataset of edges, hair and grain that needs no file, and a base generator that is not trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from installation.models import checkpoint, random_weights
from installation.training.dataset import Dataset, write_dataset

TINY = {
    "widths": "8,12",
    "blocks": "0,1",
    "critic_widths": "8,12,16",
    "crop": "32",
    "batch": "4",
    "lr_stage": "0.002",
    "warm_kimg": "0",
    "show_kimg": "1000",
    "ema_kimg": "0.05",
}


def textures(n: int, size: int, seed: int = 0) -> np.ndarray:
    """uint8 [n, 3, size, size]: gratings of many directions and widths behind a few sharp edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    pictures = []
    for _ in range(n):
        img = np.full((size, size, 3), 128.0)
        for _ in range(6):
            angle, period = rng.uniform(0, np.pi), rng.uniform(3, 24)
            wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 6))
            edge = x * np.cos(angle + 1) + y * np.sin(angle + 1) > rng.uniform(-0.3, 1) * size
            img += (wave * edge)[:, :, None] * rng.uniform(8, 30, 3)
        pictures.append(np.clip(img, 0, 255).astype(np.uint8).transpose(2, 0, 1))
    return np.stack(pictures)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    images = textures(24, 64)
    path = tmp_path_factory.mktemp("dataset") / "textures.safetensors"
    names = [f"{i}.png" for i in range(len(images))]
    return write_dataset(path, images, names=names, manifest={"licences": {"textures": "CC0-1.0"}}, size=64)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = random_weights.dcgan()
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    checkpoint.save(path, network.state_dict(), checkpoint.describe(network, name="base"))
    return path


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
