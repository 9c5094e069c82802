"""Locks of the operating system: one process at a time, and a killed one lets go."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from filelock import FileLock


def take(path: Path, *, wait_s: float = 0.0) -> FileLock:
    """The lock of this file, held; its folder is made.

    filelock.Timeout where another process holds it for longer than wait_s. Any other OSError where the place refuses it, a network
    file system without locks included. Timeout is an OSError too: catch it first.
    """
    lock = FileLock(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=wait_s)
    except NotImplementedError as error:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path)) from error
    return lock
