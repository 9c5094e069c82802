"""A packed dataset: one `.safetensors` file that opens at once and is read through the page cache. Imports no torch.

The file holds one tensor, `images` uint8 [N,3,S,S] (sRGB), and in `__metadata__` the string `dataset`: JSON with the pictures' names,
the manifest and the sha256 of the tensor's bytes. It is a plain safetensors file: any reader of that format opens it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from installation import files
from installation.errors import OutputError

FORMAT = 1
METADATA_KEY = "dataset"
# A second face of the picture `a.jpg` is named `a.jpg#face2`: both go to the same side of a split.
FACE_MARK = "#face"
# The safetensors library itself stops at 100 MB; 100,000 pictures with their facts take about 30 MB.
MAX_INDEX_BYTES = 96 << 20
_SPARE_BYTES = 16 << 20
_PACK = "Make it again with `installation data pack`"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A memory-mapped dataset.

    images: uint8 [N,3,S,S], read-only, sRGB. manifest: sources, counts kept and dropped, licences, sha256 of each source picture, tool
    versions. names: the source's name of each picture. sha256: of the tensor's bytes, as written (`verify` computes it again).
    """

    path: Path
    size: int
    images: np.ndarray = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)
    names: list[str] = field(repr=False)
    sha256: str

    @property
    def manifest_sha256(self) -> str:
        """sha256 of the manifest, licences included, as JSON with sorted keys."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.names)

    def split(self, held_out: float = 0.08, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Indices (train, held out), int64, ascending. held_out: the share, 0..1.

        A picture's side hangs on its source's name and the seed alone, so it stays when pictures are added or dropped.
        """
        out = np.array([_place(name, seed) < held_out for name in self.names], dtype=bool)
        return np.flatnonzero(~out), np.flatnonzero(out)

    def verify(self) -> None:
        """Read all bytes. OutputError if they are not what was written."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(image.tobytes())
        if digest.hexdigest() != self.sha256:
            raise OutputError(
                "the pictures are not what was written: the file is damaged", where=str(self.path), fix=_PACK
            )


def open_dataset(path: Path | str) -> Dataset:
    """The dataset in a file; costs no more than its index. OutputError says what is wrong with the file."""
    path = Path(path)
    where = str(path)
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            if len(prefix) < 8:
                raise OutputError("the file is too short to be a dataset", where=where, fix=_PACK)
            (length,) = struct.unpack("<Q", prefix)
            if length > MAX_INDEX_BYTES:
                raise OutputError("not a safetensors file, or its index is larger than 96 MiB", where=where, fix=_PACK)
            if 8 + length > total:
                raise OutputError("the file is cut short within its index", where=where, fix=_PACK)
            raw = file.read(length)
    except FileNotFoundError as error:
        raise OutputError("there is no such dataset", where=where, fix=_PACK) from error
    except OSError as error:
        raise OutputError(f"cannot be read: {error.strerror or error}", where=where) from error
    shape, facts = _parse_index(raw, total - 8 - length, where)
    images = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length, shape=shape)
    return Dataset(path, shape[2], images, facts["manifest"], facts["names"], facts["sha256"])


def write_dataset(
    path: Path | str,
    images: Iterable[np.ndarray],
    *,
    names: Sequence[str],
    manifest: dict[str, Any],
    size: int,
) -> Dataset:
    """Write a dataset and open it. Streams: one picture is in memory at a time. Atomic: `path` is whole or untouched.

    images: uint8 [3,size,size] each, as many as names (which are unique). OutputError if there are none, if one has another shape, or
    if the disk is full or refuses. What `images` raises passes through, and nothing is left behind.
    """
    path = Path(path)
    where = str(path)
    names = list(names)
    if not names:
        raise OutputError("no picture to pack", where=where, fix="Look at the manifest: was every picture dropped?")
    if len(set(names)) != len(names):
        raise OutputError("two pictures have the same name", where=where)
    shape = (len(names), 3, size, size)
    nbytes = len(names) * 3 * size * size
    index = _index(shape, nbytes, {"format": FORMAT, "names": names, "manifest": manifest, "sha256": "0" * 64})
    try:
        digest = hashlib.sha256()
        with files.replacing(path) as draft, draft.open("wb") as file:
            _check_space(path.parent, nbytes + len(index), where)
            file.write(struct.pack("<Q", len(index)))
            file.write(index)
            count = 0
            for image in images:
                if count == len(names) or image.shape != shape[1:] or image.dtype != np.uint8:
                    raise OutputError(
                        f"picture {count} is {image.dtype} {list(image.shape)}; {shape[0]} of uint8 {list(shape[1:])} were announced",
                        where=where,
                    )
                data = image.tobytes()
                digest.update(data)
                file.write(data)
                count += 1
            if count != len(names):
                raise OutputError(f"{len(names)} pictures were announced, {count} came", where=where)
            file.seek(8)
            # The digest has a fixed length, so it is put in last without moving anything.
            file.write(index.replace(b"0" * 64, digest.hexdigest().encode(), 1))
    except OSError as error:
        full = error.errno == errno.ENOSPC
        what = "the disk is full" if full else f"the dataset could not be written ({error})"
        fix = "Make room and give the same command again" if full else "May this user write there?"
        raise OutputError(what, where=where, fix=fix) from error
    return open_dataset(path)


def _index(shape: tuple[int, ...], nbytes: int, facts: dict[str, Any]) -> bytes:
    """The safetensors index, padded so that the tensor begins at a multiple of 64. The first run of 64 zeros is the digest's place."""
    # sha256 leads: no name or fact can come before it.
    ordered = {"sha256": facts["sha256"], **facts}
    text = json.dumps(ordered, ensure_ascii=False, allow_nan=False)
    index = {
        "__metadata__": {METADATA_KEY: text},
        "images": {"dtype": "U8", "shape": list(shape), "data_offsets": [0, nbytes]},
    }
    raw = json.dumps(index, ensure_ascii=False).encode()
    raw += b" " * (-(8 + len(raw)) % 64)
    if len(raw) > MAX_INDEX_BYTES:
        raise OutputError("the manifest is larger than 96 MiB", fix="Pack fewer pictures into one file")
    return raw


def _parse_index(raw: bytes, data_bytes: int, where: str) -> tuple[tuple[int, int, int, int], dict[str, Any]]:
    """Shape and facts, after everything was compared with the file's size."""
    try:
        index = json.loads(raw)
        row = index["images"]
        n, channels, height, width = (int(side) for side in row["shape"])
        begin, end = row["data_offsets"]
        facts = json.loads(index["__metadata__"][METADATA_KEY])
        names, manifest, digest = facts["names"], facts["manifest"], facts["sha256"]
        written = int(facts["format"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = "this is no dataset of ours: its index cannot be understood"
        raise OutputError(what, where=where, fix=_PACK) from error
    if written > FORMAT:
        raise OutputError(
            f"the dataset has format {written}, this program reads {FORMAT}", where=where, fix="Update this program"
        )
    nbytes = n * channels * height * width
    sound = row["dtype"] == "U8" and channels == 3 and height == width > 0 < n and (begin, end) == (0, nbytes)
    if not sound or set(index) != {"__metadata__", "images"}:
        raise OutputError("the file does not hold square uint8 pictures [N,3,S,S]", where=where, fix=_PACK)
    if data_bytes != nbytes:
        raise OutputError(
            f"the file has {data_bytes} bytes of pictures, its index says {nbytes}", where=where, fix=_PACK
        )
    named = isinstance(names, list) and len(names) == n and all(isinstance(name, str) for name in names)
    if not named or not isinstance(manifest, dict) or not isinstance(digest, str):
        raise OutputError("names or manifest do not fit the pictures", where=where, fix=_PACK)
    return (n, channels, height, width), facts


def source_of(name: str) -> str:
    """The picture that a face or window of that name was cut from."""
    return name.rsplit(FACE_MARK, 1)[0]


def _place(name: str, seed: int) -> float:
    """A number 0..1 from a picture's source, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{source_of(name)}".encode()).digest()[:7], "big") / 2**56


def _check_space(folder: Path, nbytes: int, where: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < nbytes + _SPARE_BYTES:
        mib = 1 << 20
        what = f"the disk has {free / mib:.1f} MiB free; the dataset takes {nbytes / mib:.1f} MiB, and {_SPARE_BYTES / mib:.0f} stay free"
        raise OutputError(what, where=where, fix="Make room and give the same command again")
