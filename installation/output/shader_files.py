"""The GLSL files of a folder: read with care, put together, and watched for changes.

The files are edited while the show runs, so any of them may be missing, half-written or not text at all. Reading one
gives its source or a ShaderFault; nothing else is raised. No GL here.

`#include "name"` on a line of its own takes in another file of the same folder. Every line remembers where it came
from, so that a driver's complaint can be told in the artist's terms. (`#line` cannot do that: Mesa reports every file
as number 0.)
"""

import hashlib
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from installation.files import write_whole

POLL_S = 0.5
_MAX_BYTES = 1 << 20
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([A-Za-z0-9_.-]+)"\s*(?://.*)?$')
_VERSION = re.compile(r"^\s*#\s*version\s+(.*)$")
# Mesa "0:12(5): error: …", NVIDIA "0(12) : error C1008: …", AMD, Intel and Apple "ERROR: 0:12: …"
_REPORT = re.compile(r"\d+(?::(\d+)(?:\(\d+\))?|\((\d+)\))\s*:\s*(?:error\b\s*(?:C\d+)?\s*:?)?\s*(.+)")


class ShaderFault(Exception):
    """A shader that cannot be used. The text names the file, the line where known, and what the driver said."""


@dataclass(frozen=True, slots=True)
class Source:
    """One shader, ready for the driver. origins: file and line of each line of the text."""

    name: str
    text: str
    origins: tuple[tuple[str, int], ...]

    def with_defines(self, defines: Mapping[str, int]) -> "Source":
        """The same with `#define`s after the version line."""
        version, rest = self.text.split("\n", 1)
        added = [f"#define {name} {value}" for name, value in defines.items()]
        origins = self.origins[:1] + ((self.name, 1),) * len(added) + self.origins[1:]
        return Source(self.name, "\n".join([version, *added, rest]), origins)

    def explain(self, log: str) -> str:
        """The first error of a driver's log as "file:line: message"."""
        for line in log.splitlines():
            report = _REPORT.search(line)
            if report is None or "warning" in line.lower():
                continue
            number = int(report[1] or report[2])
            if 1 <= number <= len(self.origins):
                file, at = self.origins[number - 1]
                return f"{file}:{at}: {report[3].strip()}"
        return f"{self.name}: {' '.join(log.split()) or 'the driver gave no reason'}"


@dataclass(slots=True)
class ShaderFiles:
    """A folder of shaders. `read` notes which files were asked for; `changed` watches exactly those."""

    folder: Path
    _seen: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    _hashes: dict[str, bytes | None] = field(default_factory=dict)
    _data: dict[str, bytes] = field(default_factory=dict)
    _next_look: float = 0.0

    def read(self, name: str) -> Source:
        """One shader with its includes. ShaderFault when any of them cannot be read as text, or has no version."""
        lines = self._expand(name, set())
        version = next((i for i, (text, _) in enumerate(lines) if _VERSION.match(text)), None)
        if version is None:
            empty = not any(text.strip() for text, _ in lines)
            raise ShaderFault(f"{name}: the file {'is empty' if empty else 'has no #version line'}")
        lines.insert(0, lines.pop(version))  # the version must come first; comments above it move below
        return Source(name, "\n".join(text for text, _ in lines) + "\n", tuple(origin for _, origin in lines))

    def keep(self, folder: Path) -> None:
        """Writes what was read last into another folder. OSError when it refuses."""
        for name, data in self._data.items():
            write_whole(folder / name, data)

    def changed(self, now: float) -> bool:
        """Whether a file that was read differs since the last call that said so; looks at most every 0.5 s of `now`.

        A touch that leaves the bytes alone is no change. Costs a stat a file, and a read where the stat differs.
        """
        if now < self._next_look:
            return False
        self._next_look = now + POLL_S
        different = False
        for name, before in list(self._seen.items()):
            state = self._stat(name)
            if state == before:
                continue
            self._seen[name] = state
            digest = self._digest(name)
            different |= digest != self._hashes.get(name)
            self._hashes[name] = digest
        return different

    def _expand(self, name: str, taken: set[str]) -> list[tuple[str, tuple[str, int]]]:
        taken.add(name)
        lines: list[tuple[str, tuple[str, int]]] = []
        for number, text in enumerate(self._text(name).splitlines(), start=1):
            include = _INCLUDE.match(text)
            if include is None:
                lines.append((text, (name, number)))
            elif include[1] in taken:
                raise ShaderFault(f"{name}:{number}: {include[1]} is included twice")
            else:
                lines += self._expand(include[1], taken)
        return lines

    def _text(self, name: str) -> str:
        self._seen[name], self._hashes[name] = self._stat(name), None
        data = self._bytes(name)
        self._hashes[name], self._data[name] = hashlib.sha256(data).digest(), data
        if b"\0" in data:
            raise ShaderFault(f"{name}: the file is not text")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ShaderFault(f"{name}: the file is not UTF-8 text (byte {error.start})") from None

    def _bytes(self, name: str) -> bytes:
        path = self.folder / name
        try:
            info = path.stat()
            if not stat.S_ISREG(info.st_mode):  # a pipe would block the wall
                raise ShaderFault(f"{name}: not a regular file")
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise ShaderFault(f"{name}: {error.strerror or error} ({path})") from None
        if len(data) > _MAX_BYTES:
            raise ShaderFault(f"{name}: larger than {_MAX_BYTES // 1024} KiB")
        return data

    def _stat(self, name: str) -> tuple[int, ...] | None:
        try:
            info = (self.folder / name).stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino, info.st_ctime_ns

    def _digest(self, name: str) -> bytes | None:
        try:
            return hashlib.sha256(self._bytes(name)).digest()
        except ShaderFault:
            return None
