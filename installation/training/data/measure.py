"""All scores of one picture, in a worker process. Decides nothing: see `rules`.

Scores: format, mode, width, height, bits, frames, notes (see `picture`), grey; brightness, contrast, crushed, blown, border (see `tone`);
detail; jpeg_quality, blockiness; cues and drawing (see `drawing`); text (None where its detector is not installed).
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from installation.errors import ModelError, install_extra
from installation.training.data import drawing, duplicates, jpeg, resolution, text, tone
from installation.training.data.faces import find_faces
from installation.training.data.manifest import Entry
from installation.training.data.mtcnn import MTCNN
from installation.training.features.efficientnet import Features
from installation.training.picture import (
    Picture,
    PictureError,
    decode_picture,
    is_grey,
    resize,
    to_uint8,
    unicode_name,
)

# Below this there is nothing to judge.
MIN_SIDE = 32


@dataclass(frozen=True, slots=True)
class Task:
    """One file to measure. with_text: the slowest score, a third of the time."""

    name: str
    path: str
    with_text: bool = True


def measure(task: Task) -> Entry:
    """Everything about one file. A file that cannot be used gives an entry with `error`; missing libraries raise."""
    path = Path(task.path)
    if not unicode_name(path):
        return Entry(task.name, error="its name is not Unicode: rename the file")
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # reading from a pipe would wait for ever
            return Entry(task.name, error="is no file")
        data = path.read_bytes()
    except OSError as error:
        return Entry(task.name, error=f"cannot be read: {error.strerror or error}")
    entry = Entry(task.name, facts.st_size, facts.st_mtime_ns, hashlib.sha256(data).hexdigest())
    try:
        picture = decode_picture(data, where=task.path)
        if min(picture.width, picture.height) < MIN_SIDE:
            raise PictureError(f"{picture.width}×{picture.height} px is too small")
        return _scored(entry, picture, task.with_text)
    except PictureError as error:
        return _failed(entry, error.what)
    except MemoryError:
        return _failed(entry, "not enough memory to open it")


def complete(entry: Entry, task: Task) -> bool:
    """Whether an earlier entry holds every score that can be taken now: of libraries installed since, or text where it is asked for now."""
    if entry.error:
        return True
    text_missing = task.with_text and text.available() and entry.scores.get("text") is None
    return not text_missing and ("features" in entry.hashes or _features() is None)


def died(task: Task) -> Entry:
    """For a file that ended its process, twice."""
    return Entry(task.name, error="reading it ended the process (memory, or a fault in a decoder)")


def one_thread() -> None:
    """For a worker's beginning: there are as many workers as cores."""
    torch.set_num_threads(1)


def check_tools() -> list[str]:
    """Which optional scores will be missing, in words. MissingExtraError if what every score needs is not installed."""
    _detector()
    duplicates.hashes(np.zeros((32, 32, 3), np.uint8))
    missing = []
    if _features() is None:
        what = "features (near-duplicates by hashes alone; drawings from simpler cues)"
        missing.append(f"{what}: {install_extra('eval')}")
    if not text.available():
        missing.append(f"text and watermarks: {install_extra('data')}")
    return missing


def _scored(entry: Entry, picture: Picture, with_text: bool) -> Entry:
    pixels = picture.pixels
    grey = tone.luma(pixels)
    cues = drawing.measure_cues(pixels)
    codes = duplicates.hashes(pixels)
    features = _features()
    if features is not None:
        small = to_uint8(resize(pixels, 224, 224)).transpose(2, 0, 1)
        codes["features"] = duplicates.pack_features(features.embed(small[None])[0])
    scores: dict[str, Any] = {
        "format": picture.format,
        "mode": picture.mode,
        "width": picture.width,
        "height": picture.height,
        "bits": picture.bits,
        "frames": picture.frames,
        "notes": list(picture.notes),
        "grey": is_grey(pixels),
        **tone.exposure(grey),
        "border": tone.border(grey),
        "detail": resolution.detail(grey),
        "jpeg_quality": jpeg.quality(picture.quantisation),
        "blockiness": jpeg.blockiness(grey),
        "cues": cues,
        "drawing": drawing.drawing_chance(cues, codes.get("features", "")),
        "text": _text().area(pixels) if with_text and text.available() else None,
    }
    faces = [face.as_dict() for face in find_faces(_detector(), pixels)]
    return Entry(entry.name, entry.bytes, entry.mtime_ns, entry.sha256, scores=scores, faces=faces, hashes=codes)


def _failed(entry: Entry, why: str) -> Entry:
    return Entry(entry.name, entry.bytes, entry.mtime_ns, entry.sha256, error=why)


@cache
def _detector() -> MTCNN:
    return MTCNN()


@cache
def _text() -> text.TextDetector:
    return text.TextDetector()


@cache
def _features() -> Features | None:
    try:
        return Features()
    except ModelError:
        return None
