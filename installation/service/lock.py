"""One show, one run: a second `installation run` of the same show is refused with the number of the first.

The operating system frees the lock when its process dies, however it dies; a file left behind means nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from filelock import FileLock, Timeout

from installation.errors import OutputError


class ShowLock:
    """Held from the moment it is made until `close`, or the end of the process.

    show: the show's file, or any name. folder: made when missing; user_state_path("installation") is a good one.
    OutputError when the show runs already, or the folder cannot be written to.
    """

    def __init__(self, show: str | Path, folder: Path) -> None:
        self._name = Path(show).stem or "show"
        key = _key(show)
        self._pid_file = folder / f"{key}.pid"
        self._lock = FileLock(folder / f"{key}.lock", timeout=0)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise OutputError(
                f"the show {self._name!r} is running already{self._holder()}",
                fix="Stop that one first, or give this machine's second wall a show file of its own",
            ) from None
        except OSError as error:
            raise OutputError(
                f"cannot keep a lock file ({error.strerror or error})",
                where=str(folder),
                fix="Make the folder writable for this user",
            ) from error
        try:
            # Beside the lock and not in it: Windows lets nobody read a locked file.
            self._pid_file.write_text(f"{os.getpid()}\n")
        except OSError:  # a full disk: the file is empty, and the lock holds without a number
            return

    def close(self) -> None:
        self._pid_file.unlink(missing_ok=True)
        self._lock.release()

    def _holder(self) -> str:
        try:
            text = self._pid_file.read_text().strip()
        except OSError:
            return ""
        return f" (process {text})" if text.isdigit() else ""


def _key(show: str | Path) -> str:
    """A short file name that is the same for each way to write one path."""
    path = str(Path(show).expanduser().resolve())
    name = re.sub(r"[^A-Za-z0-9_-]", "_", Path(show).stem)[:40]
    return f"{name}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
