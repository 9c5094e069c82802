"""A model's file put in its place: under its lock, loaded before the old one goes, its sum noted beside it.

The sum is in `NAME.safetensors.sha256`, in the format of sha256sum. Several processes may be at it: one writes, the others wait.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from installation import locks
from installation.errors import ModelError, OutputError, unwritable
from installation.files import fingerprint
from installation.models.header import Header
from installation.models.importers.wheel import Progress

if TYPE_CHECKING:
    from torch import Tensor

LOCK_S = 1800.0  # 45 MB at the slowest line that people still wait for

_log = logging.getLogger(__name__)


def put(target: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write, load what was written, and only then put it in the old model's place. In `locked`. OutputError where the disk refuses."""
    from installation.models import checkpoint

    unproved = target.with_name(f".{target.stem}.new{target.suffix}")
    try:
        try:
            try:
                checkpoint.save(unproved, tensors, header, only_writer=True)  # we hold the lock of this model
            except OutputError as error:
                raise OutputError(error.what, where=str(target.parent), fix=error.fix) from error
            checkpoint.load(unproved)
            # In this order: a kill in between leaves a model without a sum, never one with a wrong sum.
            sum_file(target).unlink(missing_ok=True)
            os.replace(unproved, target)
        finally:
            unproved.unlink(missing_ok=True)
        try:
            note(target)
        except OSError as error:  # the model is whole, and is loaded once to find its sum anew
            sum_file(target).unlink(missing_ok=True)
            _log.debug("no sum noted: %s", error)
    except OSError as error:
        raise unwritable(error, error.filename or target) from None


def note(path: Path) -> None:
    """Writes the sum of the file that is there. OSError where the folder refuses."""
    sum_file(path).write_text(f"{fingerprint(path)}  {path.name}\n", encoding="ascii")


def noted(path: Path) -> str | None:
    """The sum noted when the model was written; "" where the note is damaged, None where there is none to be read."""
    note = sum_file(path)
    try:
        if not note.is_file():  # to open a pipe would be to wait for it
            return None
        text = note.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return "".join(text.split()[:1])


def sum_file(path: Path) -> Path:
    """Where the sum of a model's file is noted."""
    return path.with_name(f"{path.name}.sha256")


@contextmanager
def locked(target: Path, progress: Progress) -> Iterator[None]:
    """Holds the lock of one model, made by the operating system, so that a killed process lets go of it.

    ModelError where another process has it for half an hour, OutputError where the folder cannot be written.
    """
    place = target.with_name(f".{target.stem}.lock")
    try:
        try:
            lock = locks.take(place)
        except Timeout:
            progress(f"another process is adding {target.stem}; waiting for it", None)
            lock = locks.take(place, wait_s=LOCK_S)
    except Timeout:
        raise ModelError(
            f"another process has been adding {target.stem} for {LOCK_S / 60:.0f} minutes", fix="End it"
        ) from None
    except OSError as error:
        what = f"the models folder cannot be written ({error.strerror or error})"
        raise OutputError(what, where=str(target.parent), fix="Give another folder or the right to write") from None
    try:
        yield
    finally:
        lock.release()
