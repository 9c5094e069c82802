"""One show, one run: a second `installation run` of the same show is refused with the number of the first.

The operating system frees the lock when its process dies, however it dies; a file left behind means nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from pathlib import Path

from filelock import Timeout

from installation import locks
from installation.errors import OutputError
from installation.service.runfolder import default_bases, make_private

log = logging.getLogger(__name__)


class ShowLock:
    """Held from the moment it is made until `close`, or the end of the process.

    show: the show's file, or any name. folder: made when missing; user_state_path("installation") is a good one.
    spare: used instead when that cannot be written to, because a machine with a read-only disk runs its show too;
    default: the user's own folder among the temporary ones. OutputError when the show runs already, or neither can be
    written to.
    """

    def __init__(self, show: str | Path, folder: Path, *, spare: Path | None = None) -> None:
        self._name = Path(show).stem or "show"
        self._key = identity(show)
        try:
            self._acquire(folder)
        except OSError as fault:
            log.warning("%s cannot be written to (%s): nothing is kept for the next run", folder, _text(fault))
            try:
                spare = spare or default_bases()[-1]
                make_private(spare)
                self._acquire(spare)
            except OSError as error:
                raise OutputError(
                    f"cannot keep a lock file ({_text(error)})",
                    where=f"{folder}, {spare}",
                    fix="Make one of these folders writable for this user",
                ) from error
        try:
            # Beside the lock and not in it: Windows lets nobody read a locked file.
            self._pid_file.write_text(f"{os.getpid()}\n")
        except OSError:  # a full disk: the file is empty, and the lock holds without a number
            return

    def _acquire(self, folder: Path) -> None:
        """OSError when the folder refuses."""
        self._pid_file = folder / f"{self._key}.pid"
        try:
            self._lock = locks.take(folder / f"{self._key}.lock")
        except Timeout:
            raise OutputError(
                f"the show {self._name!r} is running already{self._holder()}",
                fix="Stop that one first, or give this machine's second wall a show file of its own",
            ) from None

    def close(self) -> None:
        self._pid_file.unlink(missing_ok=True)
        self._lock.release()

    def _holder(self) -> str:
        try:
            text = self._pid_file.read_text().strip()
        except (OSError, ValueError):
            return ""
        return f" (process {text})" if text.isdigit() else ""


def _text(error: OSError) -> str:
    return error.strerror or str(error)


def identity(show: str | Path) -> str:
    """A short file name for what is a show's own, its lock and what is kept of it: the same for each way to write its path."""
    path = str(Path(show).expanduser().resolve())
    name = re.sub(r"[^A-Za-z0-9_-]", "_", Path(show).stem)[:40]
    return f"{name}-{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"
