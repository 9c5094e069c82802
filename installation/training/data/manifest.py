"""The manifest: one JSON-lines file in which the curation of a set of pictures is kept. Every picture, every score, every reason.

The file grows by whole lines, each flushed as it is written: the newest line about a picture holds. Killed anywhere, it loses at most the
line that was being written. `save` writes it anew, atomically, with one line a picture. One process at a time: a lock lies beside it.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from filelock import Timeout

from installation import files, locks
from installation.errors import OutputError

FORMAT = 1
Decision = Literal["keep", "drop", "uncertain"]
DECISIONS: tuple[Decision, ...] = ("keep", "drop", "uncertain")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one picture.

    name: source folder's name and the path in it, with `/`. bytes, mtime_ns: of the file when it was measured. error: why it could not be
    decoded, or "". scores: see `measure`; None where it could not be told. faces: see `faces.Face`. hashes: "phash" and "dhash" (64 bit,
    hexadecimal) and "features" (base64, see `duplicates`). reasons: `code: text`, of the rules that spoke against it. by: who decided.
    crops: what `align` cut from it: file, size (px), face (index), sha256 of the file.
    """

    name: str
    bytes: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    error: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    faces: list[dict[str, Any]] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    decision: Decision = "uncertain"
    by: Literal["rule", "hand"] = "rule"
    reasons: list[str] = field(default_factory=list)
    crops: list[dict[str, Any]] = field(default_factory=list)


class Manifest:
    """A manifest open for reading, or for writing inside `Manifest.writing`. Not for several threads at once."""

    def __init__(self, path: Path, facts: dict[str, Any], entries: dict[str, Entry]) -> None:
        self.path, self.facts, self.entries = path, facts, entries
        self._file: Any = None

    @property
    def sources(self) -> dict[str, str]:
        """Source's name -> folder."""
        return self.facts["sources"]

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """OutputError if there is none, or if a line other than the last, torn one cannot be understood."""
        path = Path(path)
        try:
            raw = path.read_bytes()
        except FileNotFoundError as error:
            raise OutputError(
                "there is no such manifest", where=str(path), fix="Make it with `installation data scan`"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
        lines = raw[: raw.rfind(b"\n") + 1].splitlines()
        entries: dict[str, Entry] = {}
        facts: dict[str, Any] | None = None
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                if number == 1:
                    facts = _facts(row, path)
                else:
                    entry = _entry(row)
                    entries[entry.name] = entry
            except (ValueError, KeyError, TypeError) as error:
                what = f"line {number} cannot be understood ({error})"
                raise OutputError(what, where=str(path), fix="Restore the file, or scan into a new one") from error
        if facts is None:
            raise OutputError("this is no manifest", where=str(path), fix="Make it with `installation data scan`")
        return cls(path, facts, entries)

    @classmethod
    @contextmanager
    def writing(cls, path: Path | str, *, new: dict[str, Any] | None = None) -> Iterator[Manifest]:
        """The manifest, with the right to change it. new: the facts of one that is made where none is (None: it has to be there)."""
        path = Path(path)
        try:
            lock = locks.take(path.with_name(path.name + ".lock"))
        except Timeout as error:
            raise OutputError(
                "another command has this manifest open", where=str(path), fix="Wait for it, or stop it"
            ) from error
        except OSError as error:
            raise _refused(path, error) from error
        try:
            if new is not None and not path.exists():
                cls(path, {"manifest": FORMAT, **new}, {}).save()
            manifest = cls.read(path)
            try:
                manifest._append()
                yield manifest
            finally:
                manifest._close()
        finally:
            lock.release()

    def put(self, entry: Entry, *, sync: bool = False) -> None:
        """Append what is newest about a picture. sync: return only when it is on the disk (a decision by hand)."""
        self._write(asdict(entry), sync)
        self.entries[entry.name] = entry

    def save(self) -> None:
        """Write everything anew: facts, then one line a picture in the order of names. Atomic."""
        self._close()
        try:
            with files.replacing(self.path, only_writer=True) as draft, draft.open("wb") as file:
                file.write(_line(self.facts))
                for name in sorted(self.entries):
                    file.write(_line(asdict(self.entries[name])))
        except OSError as error:
            raise _refused(self.path, error) from error

    def counts(self) -> dict[str, int]:
        """How many pictures there are of each decision."""
        found = Counter(entry.decision for entry in self.entries.values())
        return {decision: found[decision] for decision in DECISIONS}

    def reasons(self, decision: Decision) -> dict[str, int]:
        """Reason codes of the pictures so decided, the most frequent first; a picture counts under each of its reasons."""
        codes = (
            "by-hand" if entry.by == "hand" else reason.split(":")[0]
            for entry in self.entries.values()
            if entry.decision == decision
            for reason in (entry.reasons or ["none"])
        )
        return dict(Counter(codes).most_common())

    def place(self, name: str) -> Path:
        """The file of a picture. Names come from the manifest, never from a browser."""
        source, _, rest = name.partition("/")
        return Path(self.sources[source], *rest.split("/"))

    def _append(self) -> Any:
        try:
            file = self.path.open("r+b")
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)  # a line that was torn when an earlier command was killed
            file.seek(whole)
        except OSError as error:
            raise _refused(self.path, error) from error
        self._file = file
        return file

    def _write(self, row: dict[str, Any], sync: bool) -> None:
        file = self._file or self._append()
        try:
            file.write(_line(row))
            file.flush()
            if sync:
                os.fsync(file.fileno())
        except OSError as error:
            raise _refused(self.path, error) from error

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                raise _refused(self.path, error) from error


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _facts(row: Any, path: Path) -> dict[str, Any]:
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("manifest"), int)
        or not isinstance(row.get("sources"), dict)
    ):
        raise OutputError("this is no manifest", where=str(path), fix="Make it with `installation data scan`")
    if row["manifest"] > FORMAT:
        raise OutputError(f"the manifest has format {row['manifest']}", where=str(path), fix="Update this program")
    return row


def _entry(row: dict[str, Any]) -> Entry:
    known = {each.name for each in fields(Entry)}
    entry = Entry(**{key: value for key, value in row.items() if key in known})
    if entry.decision not in DECISIONS or ".." in entry.name.split("/") or "/" not in entry.name:
        raise ValueError(f"decision {entry.decision!r}, name {entry.name!r}")
    return entry


def _refused(path: Path, error: OSError) -> OutputError:
    if error.errno == errno.ENOSPC:
        return OutputError(
            "the disk is full", where=str(path), fix="Make room and give the same command again: it goes on"
        )
    return OutputError(
        f"cannot be written: {error.strerror or error}", where=str(path), fix="May this user write there?"
    )
