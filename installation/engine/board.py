"""Board: everything the supervisor, the wall and the engine share, in one memory-mapped file of the run folder.

The newest show state, a ring of pictures, a pulse and a short note of each process. It outlives the wall and the
engine, so either can be killed and started again and goes on where things were. The supervisor makes and removes it.

A plain file and not `multiprocessing.shared_memory`: that module's resource tracker removes a segment when any process
that opened it ends.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from installation.engine.cell import Cell
from installation.engine.pulse import PULSE_BYTES, ROLES, Phase, Pulse
from installation.engine.ring import SLOT_HEAD_BYTES, FrameView, Ring, Slot
from installation.errors import OutputError

__all__ = ["Board", "FrameView", "Phase", "Pulse"]

STATE_BYTES = 65536  # a show with 800 looks; one with three takes 2 KiB
STATUS_BYTES = 512
SLOTS = 4  # pictures of the ring

_MAGIC = b"INSTBRD2"
_HEAD = struct.Struct("<8sIIIIQ")  # magic, width, height, slots, CRC-32 of the rest, bytes of the file
_PAGE = 4096


class Board:
    """Made with `create` or `open`. Sizes in pixels. Each part has one writing process; any process reads."""

    def __init__(self, path: Path, memory: mmap.mmap, width: int, height: int, slots: int) -> None:
        self.path, self.width, self.height, self.slots = path, width, height, slots
        self._memory: mmap.mmap | None = memory
        self._counts: dict[str, int] = dict.fromkeys(ROLES, 0)
        every = np.frombuffer(memory, np.uint8)
        at = _PAGE

        def take(size: int) -> NDArray[np.uint8]:
            nonlocal at
            at += size
            return every[at - size : at]

        self._state = Cell(take(Cell.size(8 + STATE_BYTES)))
        self._pulses = {role: Cell(take(Cell.size(PULSE_BYTES))) for role in ROLES}
        self._notes = {role: Cell(take(Cell.size(STATUS_BYTES))) for role in ROLES}
        self._verdict = Cell(take(Cell.size(STATUS_BYTES)))
        heads = [take(SLOT_HEAD_BYTES) for _ in range(slots)]
        at = -(-at // _PAGE) * _PAGE
        pixels = width * height * 4
        stride = -(-pixels // _PAGE) * _PAGE
        bodies = [take(stride)[:pixels].reshape(height, width, 4) for _ in range(slots)]
        self._ring = Ring([Slot(head, body) for head, body in zip(heads, bodies, strict=True)])

    @staticmethod
    def size(width: int, height: int, slots: int = SLOTS) -> int:
        """Bytes the file of such a board takes."""
        fixed = _PAGE + Cell.size(8 + STATE_BYTES) + len(ROLES) * (Cell.size(PULSE_BYTES) + Cell.size(STATUS_BYTES))
        fixed += Cell.size(STATUS_BYTES)
        fixed += slots * SLOT_HEAD_BYTES
        return -(-fixed // _PAGE) * _PAGE + slots * (-(-width * height * 4 // _PAGE) * _PAGE)

    @classmethod
    def create(cls, path: Path, *, width: int, height: int, slots: int = SLOTS) -> Board:
        """A new, empty board. OutputError when the file is there already or its disk is full: all room is taken now,
        because a mapped page that finds no room later ends the process with SIGBUS."""
        if not (1 <= width <= 32768 and 1 <= height <= 32768 and 2 <= slots <= 64):
            raise ValueError(f"no board of {width}x{height} pixels and {slots} slots")
        size = cls.size(width, height, slots)
        rest = struct.pack("<8sIIIQ", _MAGIC, width, height, slots, size)
        try:
            with open(path, "x+b") as file:
                try:
                    _take_room(file, size)
                    file.write(_HEAD.pack(_MAGIC, width, height, slots, zlib.crc32(rest), size))
                    file.flush()
                    memory = mmap.mmap(file.fileno(), size)
                except (OSError, ValueError):
                    file.close()
                    path.unlink(missing_ok=True)
                    raise
        except (OSError, ValueError) as error:
            fix = f"Free {size >> 20} MiB there, or choose a smaller picture"
            raise OutputError(f"cannot make the picture board ({error})", where=str(path), fix=fix) from error
        return cls(path, memory, width, height, slots)

    @classmethod
    def open(cls, path: Path) -> Board:
        """A board that another process made. OutputError when it is missing, damaged or of another version."""
        try:
            with open(path, "r+b") as file:
                head = file.read(_HEAD.size)
                size = os.fstat(file.fileno()).st_size
                if len(head) < _HEAD.size:
                    raise ValueError("it is cut short")
                magic, width, height, slots, checksum, said = _HEAD.unpack(head)
                if magic != _MAGIC:
                    raise ValueError("it is no board, or one of another version")
                if checksum != zlib.crc32(struct.pack("<8sIIIQ", magic, width, height, slots, said)):
                    raise ValueError("its header is damaged")
                if size != said or said != cls.size(width, height, slots):
                    raise ValueError("it is cut short")
                memory = mmap.mmap(file.fileno(), size)
        except (OSError, ValueError) as error:
            fix = "Start the show again with `installation run`"
            raise OutputError(f"cannot open the picture board ({error})", where=str(path), fix=fix) from error
        return cls(path, memory, width, height, slots)

    # -- state: written by the wall

    def write_state(self, index: int, payload: bytes) -> None:
        """Publishes the show state of tick `index`. payload: at most 64 KiB, else ValueError."""
        self._state.write(index.to_bytes(8, "little") + payload)

    def read_state(self) -> tuple[int, bytes] | None:
        """(tick, payload) of the newest whole state; None before the first."""
        value = self._state.read()
        return (int.from_bytes(value[:8], "little"), value[8:]) if value else None

    # -- pictures: written by the engine

    def begin_frame(self) -> NDArray[np.uint8]:
        """A writable Frame uint8 [H, W, 4]: the oldest slot. Not seen by readers until `commit_frame`; begun again, it
        is dropped."""
        return self._ring.begin()

    def commit_frame(self, stamp: float) -> int:
        """Publishes the begun picture. stamp: its show time in s. Gives its index."""
        return self._ring.commit(stamp)

    def newest(self) -> int:
        """Index of the newest picture, 0 when there is none."""
        return self._ring.newest()

    def frame(self, index: int) -> FrameView | None:
        """The picture `index` where it lies; None when it is not made yet, or gone. Check `valid()` after copying."""
        return self._ring.frame(index)

    # -- signs of life: each process writes its own

    def beat(self, role: str, phase: Phase, *, expect_s: float = 0.0) -> None:
        """One sign of life. expect_s: the longest the next one may take by the caller's own reckoning, 0 = no
        opinion."""
        self._counts[role] += 1
        pulse = Pulse(os.getpid(), phase, self._counts[role], time.monotonic(), expect_s)
        self._pulses[role].write(pulse.pack())

    def clear_pulse(self, role: str) -> None:
        """Back to "has not beaten yet": for the supervisor, before it starts a process."""
        self._pulses[role].write(Pulse().pack())

    def pulse(self, role: str) -> Pulse:
        return Pulse.unpack(self._pulses[role].read())

    def put_status(self, role: str, text: str) -> None:
        """A short note for the HUD. Cut to 512 bytes of UTF-8."""
        self._notes[role].write(text.encode(errors="replace")[:STATUS_BYTES])

    def status(self, role: str) -> str:
        return (self._notes[role].read() or b"").decode(errors="ignore")

    # -- models: written by the engine

    def put_model(self, shown: str, refused: tuple[str, float] | None) -> None:
        """The model that is drawn, and the last one that could not be, with the show time at which it was chosen."""
        text = json.dumps([shown, refused], ensure_ascii=False).encode()
        if len(text) <= STATUS_BYTES:
            self._verdict.write(text)

    def model(self) -> tuple[str, tuple[str, float] | None] | None:
        """What `put_model` said; None before the first."""
        value = self._verdict.read()
        if not value:
            return None
        shown, refused = json.loads(value)
        return shown, tuple(refused) if refused else None

    def close(self) -> None:
        """Lets go of the memory; twice is once. Views still held by a caller stay usable and keep it mapped until they
        are gone."""
        if self._memory is None:
            return
        del self._state, self._pulses, self._notes, self._verdict, self._ring
        memory, self._memory = self._memory, None
        try:
            memory.close()
        except BufferError:  # a view of it is alive: the mapping ends with the last one
            return

    def unlink(self) -> None:
        """Removes the file; processes that have it open keep their memory. Windows refuses while it is open: left for
        the owner."""
        try:
            self.path.unlink(missing_ok=True)
        except PermissionError:
            return


def _take_room(file: BinaryIO, size: int) -> None:
    """Makes the file `size` bytes of zeros that are really there. OSError when the disk has no room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(1 << 20)
    file.writelines(block[: size - start] for start in range(0, size, len(block)))
    file.seek(0)
