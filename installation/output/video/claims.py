"""Claims: who is at work in a recording's folder, so that nobody takes it away from under another.

Each process that works there holds a lock of its own. Coming and going pass one gate: who takes the folder away holds it, and sees
that no other lock in the folder is held.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from installation import locks
from installation.errors import OutputError, unwritable

_SIDE, _GATE = ".claim.lock", "gate.lock"
_GATE_S = 10.0
_TRIES = 100


class Held(OutputError):
    """Another process is at work there."""


@dataclass(slots=True)
class Claim:
    """A claim that is held. new: whether the folder was made for it. removed: whether `remove` took it away."""

    folder: Path
    name: str
    new: bool
    removed: bool = False

    @contextmanager
    def only(self) -> Iterator[bool]:
        """Whether no other process is at work in the folder; while the block runs none can come. OutputError: one is coming or going all
        the while, or the disk refuses."""
        with _refused(self.folder), _gate(self.folder):
            yield self._alone()

    def remove(self, last: str) -> bool:
        """Takes the folder away, the file of that name after all others. False, and it stays, where another process is at work there, or
        the disk refuses."""
        try:
            with self.only() as alone:
                if not alone:
                    return False
                for path in self.folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name != last and path.suffix != ".lock":
                        path.unlink(missing_ok=True)
                (self.folder / last).unlink(missing_ok=True)
                # The gate and this claim are open: some systems let them go only when they are closed.
                shutil.rmtree(self.folder, ignore_errors=True)
        except OutputError:
            return False
        self.removed = True
        return True

    def _alone(self) -> bool:
        # Joining and writing segments have locks of their own there.
        for path in self.folder.glob("*.lock"):
            if path.name not in (self.name + _SIDE, _GATE):
                try:
                    locks.take(path).release()
                except OSError:  # held; or nobody can say
                    return False
        return True


@contextmanager
def claim(folder: Path, name: str) -> Iterator[Claim]:
    """The claim of this name, held while the block runs; the folder is made. Held: another process has it. OutputError: the disk
    refuses."""
    new = not folder.exists()
    with _refused(folder), _gate(folder):
        lock = locks.take(folder / f"{name}{_SIDE}")
    own = Claim(folder, name, new)
    try:
        yield own
    finally:
        lock.release()
        if own.removed:
            with suppress(OSError):  # gone already, or another has come
                if os.name == "nt":  # there a file that another holds cannot be removed
                    for left in (f"{name}{_SIDE}", _GATE):
                        (folder / left).unlink(missing_ok=True)
                folder.rmdir()


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:
        fix = "Wait for it, or stop it"
        raise Held("another process is recording here", where=str(folder), fix=fix) from None
    except OSError as error:
        raise unwritable(error, folder) from error


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    path = folder / _GATE
    for left in reversed(range(_TRIES)):
        try:
            lock = locks.take(path, wait_s=_GATE_S)
        except FileNotFoundError:  # the folder went between its making and the lock
            if not left:
                raise
            continue
        if path.exists():
            break
        lock.release()  # it went while we waited for the gate
    else:
        raise OSError(f"{folder} comes and goes")
    try:
        yield
    finally:
        lock.release()
