"""Small pictures that need no files, and a kit of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from installation.training.dataset import Dataset, write_dataset
from installation.training.judge.kit import Kit, make_kit


def faces(count: int, size: int, seed: int = 0) -> np.ndarray:
    """uint8 [count, 3, size, size]: an oval with eyes, a mouth and hair on a ground, every part varied, with fine grain."""
    rng = np.random.RandomState(seed)
    rows, columns = np.indices((size, size)) / size - 0.5
    found = []
    for _ in range(count):
        y, x, tall, wide = rng.uniform(-0.06, 0.06, 2).tolist() + rng.uniform(0.26, 0.4, 2).tolist()
        image = np.empty((3, size, size))
        image[:] = rng.uniform(30, 220, 3)[:, None, None] * (1 + 0.4 * rows)
        head = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 < 1
        skin = rng.uniform(90, 230) * np.array([1.0, 0.82, 0.7])
        image[:, head] = (skin[:, None, None] * (1 - 0.5 * columns))[:, head]
        image[:, head & (rows < y - 0.6 * tall)] = rng.uniform(10, 160, 3)[:, None]
        for side in (-1, 1):
            eye = ((rows - y + 0.1 * tall) / 0.04) ** 2 + ((columns - x - side * 0.4 * wide) / 0.06) ** 2 < 1
            image[:, eye] = rng.uniform(0, 90, 3)[:, None]
        image[:, (np.abs(rows - y - 0.5 * tall) < 0.02) & (np.abs(columns - x) < 0.3 * wide)] = 60
        strands = rng.uniform(5, 14) * np.sin(rng.uniform(60, 110) * columns + rng.uniform(0, 9) + 20 * rows)
        found.append(image + strands + 2 * rng.standard_normal(image.shape))
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def packed(path: Path, count: int, size: int, seed: int = 0) -> Dataset:
    names = [f"face{seed}-{i:04d}.png" for i in range(count)]
    return write_dataset(path, list(faces(count, size, seed)), names=names, manifest={}, size=size)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("data") / "faces.safetensors", 420, 32)


@pytest.fixture(scope="session")
def kit(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Kit:
    """Laplacian bands alone: 120 pictures made, about 120 held out."""
    return make_kit(dataset, tmp_path_factory.mktemp("kit"), n=120, held_out=0.3, trained=False)
