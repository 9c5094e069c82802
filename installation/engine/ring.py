"""Ring: the newest pictures of the engine in shared memory. A picture that is not whole is never handed out as valid.

Picture `index` (1, 2, 3, …) lies in slot `index % slots`. A slot's header holds a sequence number (odd while the pixels
are written), the index, the show time and a CRC-32 over the three. A writer killed in the middle leaves its number odd:
that slot is invisible until the next writer, which takes the same slot because the index was never published.

One writer (engine process), any number of readers, no lock between processes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from installation.engine.cell import fence

SLOT_HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Header:
    """What one slot says about its picture. stamp: show time in s."""

    sequence: int
    index: int
    stamp: float


class Slot:
    """One picture's place: header [64 bytes] and pixels uint8 [H, W, 4]."""

    def __init__(self, head: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
        self._words = head.view(np.uint64)
        self._reals = head.view(np.float64)
        self.pixels = pixels

    def open(self) -> None:
        """Marks the pixels as not whole."""
        self._words[0] = (int(self._words[0]) + 1) | 1
        fence()

    def publish(self, index: int, stamp: float) -> None:
        """Marks the pixels as picture `index`."""
        sequence = int(self._words[0]) + 1
        self._words[1], self._reals[2] = index, stamp
        self._words[3] = _checksum(sequence, index, stamp)
        fence()
        self._words[0] = sequence

    def header(self) -> Header | None:
        """None while the slot is empty or its pixels are not whole."""
        sequence = int(self._words[0])
        if sequence == 0 or sequence & 1:
            return None
        fence()
        index, stamp, checksum = int(self._words[1]), float(self._reals[2]), int(self._words[3])
        fence()
        if int(self._words[0]) != sequence or checksum != _checksum(sequence, index, stamp):
            return None
        return Header(sequence, index, stamp)


@dataclass(frozen=True, slots=True)
class FrameView:
    """A picture as it lies in shared memory: copy `pixels` first, then ask `valid()`; a copy that is not valid is
    thrown away.

    index: counts from 1 for ever, over engine restarts. stamp: show time in s. pixels: Frame, read-only.
    """

    index: int
    stamp: float
    pixels: NDArray[np.uint8]
    _slot: Slot
    _header: Header

    def valid(self) -> bool:
        """Whether the pixels were this picture's, whole, at every moment until now."""
        fence()
        return self._slot.header() == self._header


class Ring:
    """The slots, in order."""

    def __init__(self, slots: list[Slot]) -> None:
        self._slots = slots
        self._open_index = 0

    def newest(self) -> int:
        """Index of the newest whole picture; 0 when there is none."""
        return max((header.index for slot in self._slots if (header := slot.header())), default=0)

    def begin(self) -> NDArray[np.uint8]:
        """The pixels of the slot that is next in turn, to write to; invalid for readers until `commit`. A picture that
        is begun again without a commit is dropped."""
        self._open_index = self.newest() + 1
        slot = self._slots[self._open_index % len(self._slots)]
        slot.open()
        return slot.pixels

    def commit(self, stamp: float) -> int:
        """Publishes what was written since `begin`; its index. RuntimeError without a `begin`."""
        if not self._open_index:
            raise RuntimeError("commit without begin")
        index, self._open_index = self._open_index, 0
        self._slots[index % len(self._slots)].publish(index, stamp)
        return index

    def frame(self, index: int) -> FrameView | None:
        """None when that picture is not made yet, or written over."""
        slot = self._slots[index % len(self._slots)]
        header = slot.header()
        if header is None or header.index != index:
            return None
        pixels = slot.pixels.view()
        pixels.flags.writeable = False
        return FrameView(index, header.stamp, pixels, slot, header)


def _checksum(sequence: int, index: int, stamp: float) -> int:
    return zlib.crc32(struct.pack("<QQd", sequence, index, stamp))
