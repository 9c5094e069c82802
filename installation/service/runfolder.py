"""The run folder: where one run's processes meet. In memory where the system has such a place, private to the user, and
never
left behind: what a killed run leaves, the next one removes.

Supervisor process.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from installation.engine.board import Board
from installation.errors import OutputError

BOARD = "board"
_ALIVE = "alive.lock"
_GATE_S = 10.0


class RunFolder:
    """One run's folder; `path` is its place. A lock in it says that its supervisor lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, bytes] = {}
        self._alive = FileLock(path / _ALIVE, timeout=0)
        self._alive.acquire()

    @property
    def board_path(self) -> Path:
        return self.path / BOARD

    def remember(self) -> None:
        """Keeps a copy of what the processes are told here (a few kilobytes), for `restore`."""
        told = [path for path in self.path.iterdir() if path.name not in (BOARD, _ALIVE)]
        self._kept = {path.name: path.read_bytes() for path in told}

    def intact(self) -> bool:
        """False when somebody removed a file: a session manager that clears a user's shared memory at log-out does."""
        return all((self.path / name).exists() for name in (BOARD, _ALIVE, *self._kept))

    def restore(self) -> None:
        """Makes the folder, its lock and what `remember` saw again, under the same path; the board is its owner's.

        The base goes with the folder where everything of the user's is cleared. OSError while it cannot be.
        """
        self._alive.release(force=True)
        make_private(self.path.parent)
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._alive.acquire()
        for name, data in self._kept.items():
            (self.path / name).write_bytes(data)

    def remove(self) -> None:
        """Frees the lock and removes the folder."""
        self._alive.release(force=True)
        remove_tree(self.path)


def prepare(*, width: int, height: int, bases: Sequence[Path] | None = None) -> tuple[RunFolder, Board, list[str]]:
    """A fresh run folder with an empty board in it, and one line for each thing that was removed or did not work.

    bases: where to try, in order; default `default_bases()`. OutputError when none has room.
    """
    notes: list[str] = []
    for base in default_bases() if bases is None else bases:
        folder: RunFolder | None = None
        try:
            make_private(base)
            with FileLock(base / "gate.lock", timeout=_GATE_S):
                notes += sweep(base)
                folder = RunFolder(Path(tempfile.mkdtemp(prefix="run-", dir=base)))
            return folder, Board.create(folder.board_path, width=width, height=height), notes
        except (OSError, OutputError) as error:  # filelock's Timeout is an OSError
            notes.append(f"no run folder in {base}: {error}")
            if folder:
                folder.remove()
    size = Board.size(width, height) >> 20
    raise OutputError(
        f"no place for {size} MiB of shared pictures", where="; ".join(notes), fix="Free memory or disk space"
    )


def default_bases() -> list[Path]:
    """Memory first (Linux), then the temporary folder. One folder for each user."""
    name = f"installation-{os.getuid()}" if hasattr(os, "getuid") else "installation"
    roots = [Path("/dev/shm")] if sys.platform == "linux" and os.access("/dev/shm", os.W_OK) else []
    return [root / name for root in [*roots, Path(tempfile.gettempdir())]]


def sweep(base: Path) -> list[str]:
    """Removes the folders of dead supervisors in `base`, never those of living ones; a line for each."""
    notes = []
    for path in sorted(base.glob("run-*")):
        alive = FileLock(path / _ALIVE, timeout=0)
        try:
            alive.acquire()
        except Timeout:
            continue
        except OSError as error:
            notes.append(f"cannot look into {path}: {error}")
            continue
        alive.release()
        remove_tree(path)
        notes.append(f"removed what a killed run left: {path}")
    return notes


def remove_tree(path: Path) -> bool:
    """Removes a folder; whether it is gone. A process that still maps a file in it keeps its memory, except on Windows,
    where the file stays until that process ends."""
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def make_private(base: Path) -> None:
    """Makes `base` for this user only. PermissionError when someone else made it first: /dev/shm and /tmp are
    everybody's."""
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = os.lstat(base)
    if hasattr(os, "getuid") and (not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid()):
        raise PermissionError(f"{base} belongs to another user")
