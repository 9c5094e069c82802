"""Takes put together with shows, networks and folders, for the verbs: `run --take`, `run --take --replay`, `record --take`."""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from installation import machine
from installation.control import take_files
from installation.errors import ModelError, OutputError, TakeError
from installation.files import fingerprint, write_whole
from installation.models import library
from installation.models.catalogue import CATALOGUE
from installation.models.header import axes_file
from installation.resources import checkpoints_dir
from installation.show.config import Show
from installation.show.replay import Extent, extent
from installation.show.take import Header, NetworkMark, Record, header_bytes, network_fault, read_header, read_lines

log = logging.getLogger(__name__)

_MOST_NAMES = 10_000
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def begin(wanted: Path, show: Show, files: Mapping[str, Path]) -> Path | None:
    """A new take's folder with its header. files: the checkpoint of each of the show's networks, by name.

    A folder that holds a take already is left alone: the new one gets that name with a number, `evening-2`, so that a
    show that a machine starts by itself starts whatever lies there; nor does a full disk keep it from starting: None,
    and a warning. OutputError when the folder cannot be one of a take.
    """
    try:
        marks = tuple(
            NetworkMark(
                name,
                str(files[name].resolve()),
                files[name].stat().st_size,
                fingerprint(files[name]),
                _axes(files[name]) if name in show.measured() else "",
            )
            for name in show.networks
        )
        data = header_bytes(
            Header(show, marks), version=machine.version(), made=datetime.now(UTC).isoformat(timespec="seconds")
        )
        for folder in _names(wanted):
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / take_files.HEADER).exists():
                continue
            if any(folder.iterdir()):
                fix = "Name an empty folder, or one that is not there yet"
                raise OutputError("holds other files than a take's", where=str(folder), fix=fix)
            write_whole(folder / take_files.HEADER, data)
            return folder
    except OSError as error:
        if error.errno in _FULL:
            log.warning("no take is written: %s (%s). The show plays without one", error.strerror, wanted)
            return None
        fix = "Name a folder that can be written to"
        raise OutputError(f"no take can be written there ({error.strerror})", where=str(wanted), fix=fix) from error
    raise OutputError(f"holds {_MOST_NAMES} takes already", where=str(wanted), fix="Name another folder")


def _axes(checkpoint: Path) -> str:
    """sha256 of the axes that are kept beside it, "" where none are."""
    path = axes_file(checkpoint)
    return fingerprint(path) if path.is_file() else ""


def _names(wanted: Path) -> Iterator[Path]:
    if wanted.name in ("", ".."):  # a folder that is named by where it is
        wanted = wanted.resolve()
    yield wanted
    for number in range(2, _MOST_NAMES):
        yield wanted.parent / f"{wanted.name}-{number}"


def header(folder: Path, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Header:
    """The take's header; changes lie over its show. TakeError, ConfigError."""
    return read_header(take_files.header_bytes(folder), str(folder / take_files.HEADER), changes)


def records(folder: Path, show: Show) -> Iterator[Record]:
    """The take's log from its beginning; TakeError where it is damaged."""
    return read_lines(take_files.lines(folder), show)


def checked(folder: Path, show: Show) -> Extent:
    """Reads the whole log. TakeError for damage anywhere, and for a take that never moved."""
    found = extent(records(folder, show))
    if found.duration_s <= 0.0:
        raise TakeError("the take ended before its first picture", where=str(folder), fix="There is nothing to play")
    return found


def log_sha256(folder: Path) -> str:
    """sha256 of the log's whole lines: names one performance."""
    sha = hashlib.sha256()
    for _, line in take_files.lines(folder):
        sha.update(line)
    return sha.hexdigest()


def networks(take: Header, shown: Collection[str] | None = None) -> dict[str, Path]:
    """The files of the take's networks, by name: where they lay, else from the library. Each is the very same file, or
    TakeError says which is not, and what to do. shown: the models that were on the wall; of the others a network that is
    not there, or has changed, is left out. None: every network is wanted."""
    chains = take.show.chains()
    shown = chains.keys() if shown is None else {take.show.cascade.name, *shown}
    optional = set(take.show.networks) - {name for model in shown for name in chains[model]}
    found: dict[str, Path] = {}
    for mark in take.networks:
        try:
            found[mark.name] = path = _network(mark)
            if mark.axes and _axes(path) != mark.axes:
                log.warning("%s: not the axes of that evening: their faders may move otherwise", axes_file(path))
        except TakeError as error:
            if mark.name not in optional:
                raise
            log.warning("%s. The take plays without it: it was never on the wall", error)
    return found


def _network(mark: NetworkMark) -> Path:
    fault: TakeError | None = None
    for path in _candidates(mark):
        try:
            if not path.is_file():
                continue
            size = path.stat().st_size
            this = network_fault(mark, str(path), size, fingerprint(path) if size == mark.size else "")
        except (OSError, ValueError) as error:
            this = TakeError(f"cannot be read ({error})", where=str(path))
        if this is None:
            return path
        fault = fault or this
    if fault is not None:
        raise fault
    where = library.models_dir()
    fix = f"Run: installation models add {mark.name}" if mark.name in CATALOGUE else f"Copy its file into {where}"
    what = f"the take's network {mark.name!r:.80} (sha256 {mark.sha256[:12]}…) is not on this machine"
    raise TakeError(what, where=mark.file, fix=fix)


def _candidates(mark: NetworkMark) -> Iterator[Path]:
    """Where it lay; then the library. A take may come from anywhere, so only a checkpoint's path counts as one."""
    there = Path(mark.file)
    if there.is_absolute() and there.suffix == library.SUFFIX:
        yield there
    name = mark.name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(library.SUFFIX)
    try:
        yield library.find(name, [checkpoints_dir()])
    except ModelError:
        return
