"""What outlives a run: the last good picture and the last show state, so that the next run has something on the wall at
once.

Two files a record. A write goes to the older one, through a temporary file, fsync and rename, so at least one whole
generation exists at every instant. A damaged, cut, newer or unreadable file is worth one log line and is then ignored.

Written by the supervisor, read by any process. Never raises for what the disk does.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from installation.counted_log import CountedLog
from installation.files import write_whole

FORMAT = 1
LONGEST_SIDE = 2048  # px of a kept picture: 16 MiB at most. Raw: 1024 px are read and checked in 12 ms, written in 20
_MAGIC = b"INSTKEEP"
_HEAD = struct.Struct(
    "<8sIIIQQ16s"
)  # magic, format, width, height (0 x 0: a state), serial, length of the body, BLAKE2b of all
_LARGEST = _HEAD.size + 4 * LONGEST_SIDE**2


class Store:
    """The records of one show. show: a file name that is its own (lock.identity)."""

    def __init__(self, show: str, folder: Path, *, log: CountedLog | None = None) -> None:
        self.folder, self._name = folder, show
        self._log = log or CountedLog(__name__, quiet_s=600.0)

    def save_state(self, payload: bytes) -> bool:
        """Keeps a show state (JSON bytes). Whether it is on the disk."""
        return self._save("state", 0, 0, payload)

    def load_state(self) -> bytes | None:
        found = self._load("state")
        return None if found is None else found[2]

    def save_picture(self, picture: NDArray[np.uint8]) -> bool:
        """Keeps a Frame uint8 [H, W, 4], made smaller by a whole number when a side is over 2048. Whether it is on the
        disk."""
        small = _shrink(picture)
        return self._save("picture", small.shape[1], small.shape[0], small.tobytes())

    def load_picture(self) -> NDArray[np.uint8] | None:
        """A Frame uint8 [H, W, 4], read-only, at its kept size; None when there is none."""
        found = self._load("picture")
        if found is None:
            return None
        width, height, body = found
        if not body or len(body) != width * height * 4:
            self._log.say("store", f"{self._name}: the kept picture has a wrong size and is not used")
            return None
        return np.frombuffer(body, np.uint8).reshape(height, width, 4)

    def _paths(self, kind: str) -> list[Path]:
        return [self.folder / f"{self._name}.{kind}.{generation}" for generation in (0, 1)]

    def _save(self, kind: str, width: int, height: int, body: bytes) -> bool:
        paths = self._paths(kind)
        try:
            serials = [_serial(path) for path in paths]
            older = serials.index(min(serials))
            # No draft of a failed write stays: half a picture would take the last of a full disk from the state, which is small.
            write_whole(paths[older], _seal(width, height, max(serials) + 1, body), only_writer=True)
        except OSError as error:
            self._log.say("store", f"cannot keep the last {kind} in {self.folder}: {error.strerror or error}")
            return False
        return True

    def _load(self, kind: str) -> tuple[int, int, bytes] | None:
        for path in sorted(self._paths(kind), key=_serial, reverse=True):
            try:
                if path.stat().st_size > _LARGEST:
                    raise ValueError("it is larger than any that is kept")
                return _unseal(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                self._log.say("store", f"{path} is not used: {error}")
        return None


def _seal(width: int, height: int, serial: int, body: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, FORMAT, width, height, serial, len(body), _digest(width, height, serial, body)) + body


def _unseal(data: bytes) -> tuple[int, int, bytes]:
    """(width, height, body). ValueError says what is wrong."""
    if len(data) < _HEAD.size:
        raise ValueError("it is empty or cut short")
    magic, version, width, height, serial, length, digest = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("it is of another kind")
    if version != FORMAT:
        raise ValueError(f"it is of format {version}, this program writes {FORMAT}")
    body = data[_HEAD.size :]
    if length != len(body):
        raise ValueError("it is cut short")
    if digest != _digest(width, height, serial, body):
        raise ValueError("its checksum does not fit")
    return width, height, body


def _digest(width: int, height: int, serial: int, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16, key=struct.pack("<IIIQ", FORMAT, width, height, serial)).digest()


def _serial(path: Path) -> int:
    """The serial of a whole-looking file; -1 for a missing or damaged one, which is then written over first."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return -1
            magic, version, _, _, serial, length, _ = _HEAD.unpack(head)
            whole = os.fstat(file.fileno()).st_size == _HEAD.size + length
    except OSError:
        return -1
    return serial if whole and magic == _MAGIC and version == FORMAT else -1


def _shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means over k x k pixels, k whole, so that no side is over LONGEST_SIDE."""
    height, width = picture.shape[:2]
    k = -(-max(height, width) // LONGEST_SIDE)
    if k == 1:
        return picture
    rows, columns = height // k, width // k
    sums = np.zeros((rows, columns, 4), np.uint32)
    for y in range(k):
        for x in range(k):
            sums += picture[y : rows * k : k, x : columns * k : k]
    return ((sums + k * k // 2) // (k * k)).astype(np.uint8)
