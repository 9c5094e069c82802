"""The models on this machine: where they lie, and finding one by name. Imports no torch.

A model is `NAME.safetensors` in the data folder of the user, with its sha256 in `NAME.safetensors.sha256` (sums.py). bring.py adds one,
info.py tells all about one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from installation.errors import CheckpointError, InstallationError, ModelError, did_you_mean
from installation.models.catalogue import CATALOGUE
from installation.models.header import AXES_SUFFIX, Header, read_header

SUFFIX = ".safetensors"

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


def models_dir(override: Path | None = None) -> Path:
    """The folder that networks are brought to: the given one, or `models` in the user's data folder of this platform. It need not exist."""
    return override if override is not None else platformdirs.user_data_path("installation", appauthor=False) / "models"


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
    for place in (*extra_dirs, models_dir(data_dir)):
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
    places = (*extra_dirs, models_dir(data_dir))
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
