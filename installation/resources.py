"""Where the files that ship with the program lie: shaders, default shows, tracked networks.

In a checkout (an editable install included) they are folders at the top of the repository, easy to find and to edit.
In a wheel they ride inside the package as `installation/_resources`. Standard library and errors only; any process.
"""

from __future__ import annotations

import os
from pathlib import Path

from installation.errors import ConfigError, did_you_mean
from installation.files import home

_PACKAGE = Path(__file__).resolve().parent


def _root() -> Path:
    packed = _PACKAGE / "_resources"
    return packed if packed.is_dir() else _PACKAGE.parent


def _folder(name: str) -> Path:
    folder = _root() / name
    if not folder.is_dir():
        raise ConfigError("the folder is missing", where=str(folder), fix="Install the program again: `pip install .`")
    return folder


def shaders_dir() -> Path:
    """The folder of the GLSL files. ConfigError where the installation is damaged."""
    return _folder("shaders")


def checkpoints_dir() -> Path:
    """The folder of the networks that ship with the program; those added later lie in the user's data folder."""
    return _folder("checkpoints")


def shows() -> list[str]:
    """Names of the default shows, sorted."""
    return sorted(path.stem for path in _folder("show_configs").glob("*.toml"))


def show_config(name_or_path: str | Path) -> Path:
    """The TOML file of a show: a default show's name (`first_light`), or the path of a file of one's own.

    Anything that ends in .toml or has a folder in it is a path. ConfigError where there is no such show or file.
    """
    text = str(name_or_path)
    path = home(text)
    if path.suffix.lower() == ".toml" or len(path.parts) != 1:
        if os.path.isfile(path):  # says no, where pathlib raises: names too long, folders that refuse
            return path.resolve()
        raise ConfigError(_no_file(path) + did_you_mean(path.stem, shows()), where=text, fix=_choice())
    if text in shows():
        return _folder("show_configs") / f"{text}.toml"
    raise ConfigError(f"there is no show named {text!r}{did_you_mean(text, shows())}", fix=_choice())


def _no_file(path: Path) -> str:
    return "this is a folder, not a show's TOML file" if os.path.isdir(path) else "there is no such file"


def _choice() -> str:
    known = shows()
    return (
        f"Name one of {', '.join(known)}, or give the path of a .toml file"
        if known
        else "Give the path of a .toml file"
    )
