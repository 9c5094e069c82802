"""Free space: asked for before a recording and before each segment, so that a full disk is said and not met."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from installation.errors import OutputError

RESERVE_BYTES = 256 << 20


def require(folder: Path, needed: int) -> None:
    """OutputError when less than `needed` bytes are free where the folder is, or is going to be."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path("."))
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise OutputError(f"its free space cannot be read ({error.strerror})", where=str(folder)) from error
    if free < needed:
        raise OutputError(
            f"{megabytes(free)} are free on the disk and {megabytes(needed)} are needed",
            where=str(folder),
            fix="Free some space, then give the command again (`record`: with --resume); or name another disk with --out",
        )


def megabytes(count: float) -> str:
    """A size for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def sync(path: Path) -> None:
    """Puts a file, or all files of a folder, on the disk. OSError when it refuses."""
    for file in path.iterdir() if path.is_dir() else [path]:
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
