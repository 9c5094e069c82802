"""Small facts that every record of training carries, and the one way in which they are written. Imports no torch."""

from __future__ import annotations

import io
import json
import os
import platform
import time
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from installation import files
from installation.errors import OutputError, unwritable
from installation.machine import version

# A folder with this file holds what was made here, crops or sheets of a run: no scan takes it for a source of pictures.
MADE = ".made-by-installation"


def write_json(path: Path, data: Any) -> Path:
    """As `write_bytes`, of JSON for people."""
    return write_bytes(
        path, json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True).encode("utf-8")
    )


def write_png(path: Path, frame: np.ndarray) -> Path:
    """As `write_bytes`, of a picture uint8 [H, W, 3]."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(data, format="PNG")
    return write_bytes(path, data.getvalue())


def write_bytes(path: Path, data: bytes) -> Path:
    """Whole or not at all (files.write_whole). OutputError where the disk refuses."""
    try:
        files.write_whole(path, data)
    except OSError as error:
        raise unwritable(error, path) from error
    return path


def mark_made(folder: Path) -> None:
    """Makes the folder, as one of what was made here. OutputError where the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MADE).touch()
    except OSError as error:
        raise unwritable(error, folder) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. OutputError where it cannot be read or is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path.name} is damaged: it is not JSON", where=str(path)) from error
    if not isinstance(data, dict):
        raise OutputError(f"{path.name} is damaged: it is no JSON object", where=str(path))
    return data


@lru_cache(maxsize=1)
def code_version() -> str:
    """The package's version and twelve digits of a sha256 over its Python files: unlike a commit, it also tells local changes."""
    package = Path(__file__).resolve().parents[1]
    digest = sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).as_posix()):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version() or 'uninstalled'}+{digest.hexdigest()[:12]}"


def machine(device: str) -> dict[str, Any]:
    """What a number may hang on besides the code. device: what it was computed on, by name."""
    return {
        "device": device,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "torch": version("torch"),
        "numpy": version("numpy"),
    }


def now() -> str:
    """The moment, UTC, to the second; sorts as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
