"""Files that are whole or not there, and last through a power cut. The standard library alone, for every room; any thread or process."""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

_DRAFT = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")
_ABANDONED_S = 24 * 3600


@contextmanager
def replacing(path: Path, *, only_writer: bool = False, last: Path | None = None) -> Iterator[Path]:
    """`with replacing(path) as draft:` gives an empty file beside `path` to write; it is flushed to the disk and renamed over `path`.

    Makes the folder. Whatever is raised, OSError included, passes through: then what lay at `path` is untouched, and no draft is left.
    What a kill left of an earlier draft of `path` is removed when it is a day old: before that somebody may still be writing it.
    only_writer: nobody else writes `path` meanwhile; the draft then has one name, and what a kill left of it is written over.
    last: where what lay at `path` is kept, once nothing but the renaming is left to do.
    """
    draft = path.with_name(f".{path.name}.part" if only_writer else f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in _abandoned(path.parent.absolute()).pop(path.name, []):
        with suppress(OSError):
            left.unlink()
    try:
        draft.touch()
        mode = draft.stat().st_mode  # as this user's files are; safetensors makes its own unreadable for all others
        yield draft
        draft.chmod(mode)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        if last is not None and path.exists():
            os.replace(path, last)
        os.replace(draft, path)
    finally:
        with suppress(OSError):  # a folder that refuses even this was named in the error
            draft.unlink(missing_ok=True)
    flush_folder(path.parent)


@lru_cache(maxsize=1000)
def _abandoned(folder: Path) -> dict[str, list[Path]]:
    """Drafts that are a day old, by the name of what they were to become. Looked for once in a process: a folder may hold 20,000 crops."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (draft := _DRAFT.fullmatch(entry.name)) and entry.stat().st_mtime < time.time() - _ABANDONED_S:
                found.setdefault(draft[1], []).append(Path(entry.path))
    return found


def write_whole(path: Path, data: bytes, *, only_writer: bool = False) -> None:
    """As `replacing`, with these bytes."""
    with replacing(path, only_writer=only_writer) as draft:
        draft.write_bytes(data)


def home(path: Path | str) -> Path:
    """With the user's folder for a ~ that no shell has replaced, as in --out=~/film.mp4. One that names nobody stays."""
    return Path(os.path.expanduser(path))


def flush_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can: Windows opens no folders, and needs none opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def fingerprint(path: Path) -> str:
    """sha256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
