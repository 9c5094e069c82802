"""The manifest: which segments of a recording are closed, as lines of JSON that are only ever appended.

The first line says what the recording is; each later one names one closed segment. A line is on the disk before the
next is written, so a kill or a power cut can at most leave the last line torn, and a torn line is no line. Several
writers (the shards of a farm) each have a manifest of their own in the same folder, with the same first line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from filelock import Timeout

from installation import locks
from installation.errors import OutputError
from installation.files import flush_folder
from installation.output.video.spec import VideoSpec

FORMAT = 1
_READ = 1 << 20
_SIDE = ".manifest.jsonl"
_MOST_INDEX = 10_000_000  # four months in segments of a second


@dataclass(frozen=True, slots=True)
class Segment:
    """index: its place in the film. first: number of its first frame. frames, bytes: how many. sha256: of the file, or of a
    folder's pictures one after another. file: its name in the recording's folder.
    """

    index: int
    first: int
    frames: int
    bytes: int
    sha256: str
    file: str


@dataclass(frozen=True, slots=True)
class Head:
    """What a recording is made of. config: hash of all that decides the pictures; "" for a live one. The encoder's version counts
    too: segments of two versions do not join.
    """

    config: str
    size: tuple[int, int]
    fps: Fraction
    preset: str
    depth: int
    segment_frames: int
    encoder: str

    @classmethod
    def of(cls, spec: VideoSpec, config: str, encoder: str) -> Head:
        return cls(config, spec.size, spec.fps, spec.preset.name, spec.depth, spec.segment_frames, encoder)


class Manifest:
    """Appends to one manifest of a recording's folder. writer: names it among several. OutputError when the disk refuses, or when
    what is there belongs to another recording.
    """

    def __init__(self, folder: Path, head: Head, *, writer: str = "0") -> None:
        self.folder, self.head = folder, head
        self._path = folder / f"{writer}{_SIDE}"
        try:
            self._lock = locks.take(folder / f"{writer}.lock")
        except Timeout:
            fix = "Wait for it, or stop it"
            raise OutputError("another recorder is writing here", where=str(self._path), fix=fix) from None
        except OSError as error:
            raise _refused(error, self._path) from error
        try:
            require_same(folder, head)
            whole = _whole_lines(self._path) if self._path.exists() else b""
            self._file = self._path.open("r+b" if self._path.exists() else "xb")
            self._file.truncate(len(whole))  # a torn line would spoil the next one
            self._file.seek(len(whole))
            if not whole:
                self._append({"format": FORMAT, **asdict(head), "fps": str(head.fps)})
        except OSError as error:
            self._lock.release()
            raise _refused(error, self._path) from error
        except OutputError:
            self._lock.release()
            raise

    def add(self, segment: Segment) -> None:
        """One closed segment; on the disk when this returns."""
        try:
            self._append(asdict(segment))
        except OSError as error:
            raise _refused(error, self._path) from error

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def _append(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        flush_folder(self.folder)


def read_head(folder: Path) -> Head | None:
    """What the recording in the folder is; None where there is none. OutputError: damaged, or two recordings in one."""
    heads = {head for path in _manifests(folder) if (head := _read(path)[0])}
    if len(heads) > 1:
        raise OutputError("two recordings lie in one folder", where=str(folder), fix="Remove the folder")
    return heads.pop() if heads else None


def require_head(folder: Path) -> Head:
    """As `read_head`, OutputError where there is none."""
    head = read_head(folder)
    if head is None:
        raise OutputError("holds no recording", where=str(folder))
    return head


def require_same(folder: Path, head: Head) -> None:
    """OutputError where the recording in the folder is another; it says what changed."""
    there = read_head(folder)
    if there is None or there == head:
        return
    names = ", ".join(name for name in asdict(head) if getattr(there, name) != getattr(head, name))
    raise OutputError(
        f"it holds another recording: {names} changed since it was begun",
        where=str(folder),
        fix="Go on with the same show, networks and options, or record to another --out",
    )


def read_segments(folder: Path) -> dict[int, Segment]:
    """The closed segments by index, as the manifests name them; none where there is no folder. Whether the files are there, `intact`
    says."""
    found: dict[int, Segment] = {}
    for path in _manifests(folder):
        of_this: dict[int, Segment] = {}
        for segment in _read(path)[1]:
            of_this[segment.index] = segment  # written again where the file had been lost: the newest line counts
        for index, segment in of_this.items():
            # Written again by another writer: which was later the manifests do not say, but the file does.
            if index not in found or (segment != found[index] and not intact(folder, found[index])):
                found[index] = segment
    return dict(sorted(found.items()))


def forget(folder: Path) -> None:
    """Removes the manifests. OutputError when the disk refuses."""
    for path in _manifests(folder):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(error, path) from error


def intact(folder: Path, segment: Segment) -> bool:
    """Whether the segment's file is there, whole and unchanged. Reads all of it."""
    path = folder / segment.file
    with suppress(OSError):
        return digest(path) == (segment.bytes, segment.sha256)
    return False


def digest(path: Path) -> tuple[int, str]:
    """(bytes, sha256) of a file, or of the pictures in a folder in the order of their names."""
    total, sha = 0, hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            while piece := opened.read(_READ):
                sha.update(piece)
                total += len(piece)
    return total, sha.hexdigest()


def _manifests(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob(f"*{_SIDE}"))


def _whole_lines(path: Path) -> bytes:
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]


def _read(path: Path) -> tuple[Head | None, list[Segment]]:
    try:
        rows = [json.loads(line) for line in _whole_lines(path).splitlines()]
        if not rows:
            return None, []
        head = rows[0]
        if head.pop("format") != FORMAT:
            raise ValueError("it was written by another version of this program")
        head = Head(**{**head, "size": tuple(head["size"]), "fps": Fraction(head["fps"])})
        return head, [_segment(row) for row in rows[1:]]
    except OSError as error:
        raise OutputError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        fix = "Remove the folder, or what a kept copy has of this file"
        raise OutputError(f"the manifest is damaged: {str(error)[:100]}", where=str(path), fix=fix) from error


def _segment(row: dict[str, Any]) -> Segment:
    segment = Segment(**row)
    numbers = segment.index, segment.first, segment.frames
    if Path(segment.file).name != segment.file or min(numbers) < 0 or segment.index > _MOST_INDEX:
        raise ValueError(f"segment {row!r:.80}")
    return segment


def _refused(error: OSError, path: Path) -> OutputError:
    return OutputError(
        f"cannot be written ({error.strerror})", where=str(path), fix="Check the folder and its free space"
    )
