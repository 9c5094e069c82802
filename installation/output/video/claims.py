"""Claims: who is at work in a recording's folder, so that nobody takes it away from under another.

Each process that works there holds a lock of its own. Coming and going pass one gate: who takes the folder away holds it, and sees
that nobody else's claim is held.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from installation import locks
from installation.errors import OutputError

_SIDE, _GATE = ".claim.lock", "gate.lock"
_GATE_S = 10.0
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that is held. new: whether the folder was made for it."""

    folder: Path
    name: str
    new: bool

    def alone(self) -> bool:
        """Whether no other process has a claim in the folder."""
        with _gate(self.folder):
            return self._alone()

    def remove(self, last: str) -> bool:
        """Takes the folder away, the file of that name after all others. False, and it stays, where another process has a claim."""
        with _gate(self.folder):
            if not self._alone():
                return False
            for path in self.folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != last and path.suffix != ".lock":
                    path.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            return True

    def _alone(self) -> bool:
        for path in self.folder.glob(f"*{_SIDE}"):
            if path.name != self.name + _SIDE:
                try:
                    locks.take(path).release()
                except OSError:  # held; or nobody can say
                    return False
        return True


@contextmanager
def claim(folder: Path, name: str) -> Iterator[Claim]:
    """The claim of this name, held while the block runs; the folder is made. OutputError: another process holds it, or the disk
    refuses."""
    new = not folder.exists()
    try:
        with _gate(folder):
            lock = locks.take(folder / f"{name}{_SIDE}")
    except Timeout:
        fix = "Wait for it, or stop it"
        raise OutputError("another process is recording here", where=str(folder), fix=fix) from None
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", where=str(folder)) from error
    try:
        yield Claim(folder, name, new)
    finally:
        lock.release()


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
