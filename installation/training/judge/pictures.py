"""What a blind comparison may show: a folder of pictures, a packed dataset, or what a generator makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from installation.errors import CheckpointError, ModelError
from installation.latent.sphere import seed_z
from installation.training.dataset import open_dataset
from installation.training.judge.kit import FIRST_SEED
from installation.training.picture import PictureError, read_picture, resize, to_uint8

_KINDS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def pictures_of(source: Path, size: int, *, count: int = 200, psi: float = 1.0, seed: int = 0) -> Sequence[np.ndarray]:
    """`count` pictures at most, uint8 [size, size, 3], middle squares, all through one resize so that none is told by its sharpness.

    source: a folder; a dataset's .safetensors, of which pictures are drawn at random; a generator's .safetensors, of which seeds are.
    ModelError where none can be used.
    """
    if source.is_dir():
        images = _of_folder(source, count, seed)
    elif source.suffix == ".safetensors":
        images = _of_file(source, count, psi, seed)
    else:
        images = []
    if not images:
        raise ModelError("no pictures", where=str(source), fix="Give a folder, a packed dataset or a generator")
    return [_square(image, size) for image in images]


def _of_folder(folder: Path, count: int, seed: int) -> list[np.ndarray]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _KINDS)
    found = []
    for i in np.random.RandomState(seed).permutation(len(files)):
        if len(found) == count:
            break
        try:
            found.append(read_picture(files[i]).pixels)
        except PictureError:  # one damaged file among many is no reason to stop
            continue
    return found


def _of_file(path: Path, count: int, psi: float, seed: int) -> list[np.ndarray]:
    from installation.models.header import read_header

    try:
        read_header(path)
    except CheckpointError:
        dataset = open_dataset(path)
        chosen = np.random.RandomState(seed).permutation(len(dataset))[:count]
        return [dataset.images[i].transpose(1, 2, 0) for i in chosen]
    return _of_generator(path, count, psi, seed)


def _of_generator(path: Path, count: int, psi: float, seed: int) -> list[np.ndarray]:
    import torch

    from installation.training.judge.base import fitted, load_generator

    generator = load_generator(path)
    found = []
    with torch.inference_mode():
        for i in range(count):
            z = torch.from_numpy(seed_z(FIRST_SEED + 7919 * seed + i, generator.z_dim)[None].astype(np.float32))
            img = generator(z, psi)
            found.append(fitted(img, min(generator.shape))[0].transpose(1, 2, 0))
    return found


def _square(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return to_uint8(resize(pixels, size, size, (left, top, left + side, top + side)))
