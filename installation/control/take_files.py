"""The files of a take: reading. A folder with `take.json` and the parts of the log, `part-000001.jsonl` and on.

Nothing in a take names a file that is opened here. Any process, no thread.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from installation.errors import TakeError
from installation.show.take import LONGEST_LINE

HEADER = "take.json"

_PART = re.compile(r"part-([0-9]{6,9})\.jsonl", re.ASCII)
_HEADER_BYTES = 64 << 20
_PART_BYTES = 1 << 30


def header_bytes(folder: Path) -> bytes:
    """What `take.json` holds. TakeError where there is none."""
    path = folder / HEADER
    fix = "Give the folder that `installation run --take` wrote"
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise TakeError("is no file", where=str(path), fix=fix)
        with path.open("rb") as file:
            data = file.read(_HEADER_BYTES + 1)
    except OSError as error:
        raise TakeError(f"no take there ({error.strerror})", where=str(path), fix=fix) from error
    if len(data) > _HEADER_BYTES:
        raise TakeError(f"is larger than {_HEADER_BYTES >> 20} MiB", where=str(path), fix=fix)
    return data


def part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.jsonl"


def parts(folder: Path) -> list[tuple[int, Path]]:
    """(number, path) of the log's parts that are there, in order. OSError."""
    found = ((_PART.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(place, line) of every whole line, in order. A line without its end, at the end of a part, was being written when
    the wall was killed, and is left out. TakeError where a part cannot be read or is none."""
    try:
        found = parts(folder)
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror})", where=str(folder)) from error
    for _, path in found:
        yield from _lines(path)


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _PART_BYTES:
            raise TakeError("is no part of a take", where=str(path), fix="Move it away: the rest plays without it")
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LONGEST_LINE + 2):
                number += 1
                if line.endswith(b"\n") or len(line) > LONGEST_LINE:
                    yield f"{path}, line {number}", line
    except OSError as error:
        raise TakeError(f"cannot be read ({error.strerror})", where=str(path)) from error
