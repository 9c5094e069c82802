"""Cell: one small value shared between processes that is always whole, whatever moment its writer is killed at.

Two copies lie side by side. A write goes to the copy that is not the newest, so a whole value exists at every instant.
Each copy carries a sequence number (odd while it is written), its length and a CRC-32 over number and bytes.

One writer at a time; any number of readers; no lock between processes, because a process killed with a lock in its hand
would keep it.
"""

from __future__ import annotations

import threading
import zlib

import numpy as np
from numpy.typing import NDArray

HEAD_BYTES = 24
RETRIES = 64

_lock = threading.Lock()


def fence() -> None:
    """Every store and load before this call happens before every store and load after it, as other processes see it.

    x86 keeps that order anyway; Arm does not, and Python has no fence of its own. A lock that is taken and freed is an
    atomic operation with acquire, then one with release order. One round would let the work before and the work after
    meet inside the critical section; in two rounds, the first release lies between them and the second acquire reads
    it, which no core may reorder. About 0.1 µs.
    """
    with _lock:
        pass
    with _lock:
        pass


class Cell:
    """A value of 0 to `capacity` bytes in shared memory.

    memory: writable uint8 array of `Cell.size(capacity)` bytes, 8-byte aligned; zeros mean "never written".
    """

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        half = len(memory) // 2
        self.capacity = half - HEAD_BYTES
        # Aligned uint64 elements of a numpy array are written with one store: a sequence number is never half new.
        self._heads = [memory[k * half : k * half + HEAD_BYTES].view(np.uint64) for k in (0, 1)]
        self._bodies = [memory[k * half + HEAD_BYTES : (k + 1) * half] for k in (0, 1)]

    @staticmethod
    def size(capacity: int) -> int:
        """Bytes of memory a cell of `capacity` bytes takes; a multiple of 128, so that no two cells share a cache
        line."""
        return 2 * (-(-(HEAD_BYTES + capacity) // 64) * 64)

    def write(self, value: bytes) -> None:
        """Replaces the value. ValueError when it is longer than the capacity."""
        if len(value) > self.capacity:
            raise ValueError(f"{len(value)} bytes do not fit into a cell of {self.capacity}")
        newest = self._newest()
        side = 1 - newest[2] if newest else 0
        last = max(int(head[0]) for head in self._heads)
        sequence = last + 2 - (last & 1)
        head, body = self._heads[side], self._bodies[side]
        head[0] = sequence - 1
        fence()
        head[1] = len(value)
        head[2] = _checksum(sequence, value)
        body[: len(value)] = np.frombuffer(value, np.uint8)
        fence()
        head[0] = sequence

    def read(self) -> bytes | None:
        """The newest whole value; None when there never was one."""
        for _ in range(RETRIES):
            newest = self._newest()
            if newest:
                return newest[1]
            if not any(int(head[0]) > 1 for head in self._heads):
                return None
        return None

    def _newest(self) -> tuple[int, bytes, int] | None:
        copies = [copy for side in (0, 1) if (copy := self._copy(side))]
        return max(copies) if copies else None

    def _copy(self, side: int) -> tuple[int, bytes, int] | None:
        """(sequence, value, side) of one copy; None while it is being written, or when its writer died in it."""
        head = self._heads[side]
        sequence = int(head[0])
        if sequence == 0 or sequence & 1:
            return None
        fence()
        length, checksum = int(head[1]), int(head[2])
        if length > self.capacity:
            return None
        value = self._bodies[side][:length].tobytes()
        fence()
        if int(head[0]) != sequence or checksum != _checksum(sequence, value):
            return None
        return sequence, value, side


def _checksum(sequence: int, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(sequence.to_bytes(8, "little")))
