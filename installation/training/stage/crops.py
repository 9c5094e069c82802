"""A dataset of crops for the upscaling stages: windows of large pictures at their native scale. Nothing is ever enlarged.

A stage learns skin, hair and cloth, for which no face need be found or upright; so large pictures that no gallery may show still teach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from installation.errors import OutputError
from installation.training.dataset import FACE_MARK, Dataset, write_dataset
from installation.training.picture import PictureError, read_picture, unicode_name
from installation.training.progress import Shared

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
SIZES = (32, 1024)
_CANDIDATES = 3  # windows looked at for each that is kept: half of a studio portrait is a plain wall


def make_crops(
    folder: Path,
    out: Path,
    *,
    size: int = 256,
    per_picture: int = 8,
    licence: str = "",
    seed: int = 0,
    progress: Shared = lambda what, share: None,
) -> Dataset:
    """Pack `per_picture` windows of size x size px from each picture below `folder` that is as large; of three windows the most detailed.

    licence: the pictures', for the model cards of what is trained on them. Files that are no pictures or too small are counted in the
    manifest and passed over. Windows of one picture stay on one side of a split. OutputError if nothing is left.
    """
    if not SIZES[0] <= size <= SIZES[1] or per_picture < 1:
        raise OutputError(f"{per_picture} crops of {size} px cannot be cut", fix=f"Use {SIZES[0]}..{SIZES[1]} px")
    if not folder.is_dir():
        raise OutputError("there is no such folder", where=str(folder))
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    kept: list[Path] = []
    sums: dict[str, str] = {}
    dropped = {"too_small": 0, "unreadable": 0, "name_not_unicode": 0}
    for number, path in enumerate(files):
        progress("looking", number / len(files))
        if not unicode_name(path):
            dropped["name_not_unicode"] += 1
            continue
        try:
            picture = read_picture(path)
        except PictureError:
            dropped["unreadable"] += 1
            continue
        if min(picture.width, picture.height) < size:
            dropped["too_small"] += 1
            continue
        kept.append(path)
        sums[path.relative_to(folder).as_posix()] = sha256(path.read_bytes()).hexdigest()
    if not kept:
        found = f"{len(files)} files, {dropped['unreadable']} unreadable, {dropped['too_small']} smaller than {size} px"
        raise OutputError(
            f"no picture to cut from: {found}", where=str(folder), fix="Use a smaller size or larger pictures"
        )
    names = [f"{folder.name}/{name}{FACE_MARK}{number}" for name in sums for number in range(per_picture)]
    manifest = {
        "made_by": "crops",
        "crops": {"size": size, "per_picture": per_picture, "seed": seed},
        "kept": len(kept),
        "dropped": dropped,
        "licences": {folder.name: licence},
        "sha256": sums,
    }
    images = _windows(kept, size, per_picture, np.random.default_rng(seed), progress)
    return write_dataset(out, images, names=names, manifest=manifest, size=size)


def _windows(
    files: Sequence[Path],
    size: int,
    per_picture: int,
    rng: np.random.Generator,
    progress: Shared,
) -> Iterator[np.ndarray]:
    for number, path in enumerate(files):
        progress("cutting", number / len(files))
        pixels = read_picture(path).pixels
        height, width = pixels.shape[:2]
        for _ in range(per_picture):
            places = zip(
                rng.integers(0, height - size + 1, _CANDIDATES),
                rng.integers(0, width - size + 1, _CANDIDATES),
                strict=True,
            )
            windows = [pixels[top : top + size, left : left + size] for top, left in places]
            yield np.ascontiguousarray(max(windows, key=_detail).transpose(2, 0, 1))


def _detail(window: np.ndarray) -> float:
    """Mean squared difference of neighbours, in green: what a flat wall lacks."""
    green = window[:, :, 1].astype(np.float32)
    return float(np.square(np.diff(green, axis=0)).mean() + np.square(np.diff(green, axis=1)).mean())
