"""What a blind comparison may show: a folder of pictures, a packed dataset, or what a generator or a stage makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from installation.errors import CheckpointError, ModelError
from installation.latent.sphere import seed_z
from installation.training.dataset import open_dataset
from installation.training.judge.kit import FIRST_SEED
from installation.training.picture import PictureError, read_picture, resize, to_uint8
from installation.training.progress import Shared
from installation.training.run_info import network_in
from installation.training.runs import EXPORT_NAME

_KINDS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def pictures_of(
    source: Path,
    size: int,
    *,
    count: int = 200,
    psi: float = 1.0,
    base: Sequence[Path] = (),
    progress: Shared = lambda what, share: None,
) -> Sequence[np.ndarray]:
    """`count` pictures at most, uint8 [size, size, 3], middle squares, all through one resize so that none is told by its sharpness.

    source: a folder of pictures; a dataset's .safetensors, of which pictures are drawn at random; a network's .safetensors or the folder
    of its run, of which seeds are. base: the cascade before a stage, likewise, generator first. ModelError where none can be used.
    """
    path = network_in(source)
    if path.is_dir():
        images = _of_folder(path)
    elif path.suffix == ".safetensors":
        images = _of_file(path, psi, [network_in(one) for one in base])
    else:
        images = iter(())
    found = []
    for image in islice(images, count):
        found.append(_square(image, size))
        progress(name_of(source), len(found) / count)
    if not found:
        raise ModelError("no pictures", where=str(source), fix="Give a folder, a packed dataset, a network or a run")
    return found


def name_of(source: Path) -> str:
    """What people call it: a run's or folder's name, or a file's without its ending; a run's network is called as the run."""
    path = source.resolve()
    return path.parent.name if path.name == EXPORT_NAME else path.stem if path.is_file() else path.name


def _of_folder(folder: Path) -> Iterator[np.ndarray]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _KINDS)
    for i in np.random.RandomState(0).permutation(len(files)):
        try:
            yield read_picture(files[i]).pixels
        except PictureError:  # one damaged file among many is no reason to stop
            continue


def _of_file(path: Path, psi: float, base: Sequence[Path]) -> Iterator[np.ndarray]:
    from installation.models.header import read_header

    try:
        header = read_header(path)
    except CheckpointError:
        dataset = open_dataset(path)
        return (dataset.images[i].transpose(1, 2, 0) for i in np.random.RandomState(0).permutation(len(dataset)))
    if header.role == "generator":
        return _of_cascade([path], psi)
    if not base:
        raise ModelError(
            "is a stage: it enlarges pictures of another network", where=str(path), fix="Name it as --base"
        )
    return _of_cascade([*base, path], psi)


def _of_cascade(paths: Sequence[Path], psi: float) -> Iterator[np.ndarray]:
    """Endless."""
    import torch

    from installation.models import checkpoint
    from installation.models.cascade import Cascade
    from installation.training.judge.base import fitted, load_generator

    cascade = Cascade(
        load_generator(paths[0]), [checkpoint.load(path) for path in paths[1:]], device="cpu", graph=False
    )
    z_dim, side = cascade.generator.z_dim, min(cascade.size)
    seed = FIRST_SEED
    while True:
        with torch.inference_mode():
            z = torch.from_numpy(seed_z(seed, z_dim)[None].astype(np.float32))
            img = cascade(cascade.truncate(cascade.mapping(z), psi))
            yield fitted(img, side)[0].transpose(1, 2, 0)
        seed += 1


def _square(pixels: np.ndarray, size: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return to_uint8(resize(pixels, size, size, (left, top, left + side, top + side)))
