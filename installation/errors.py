"""One exception family, by phase. Every error says what, where, and what to do; the command line turns it into one line and an exit code.

Exit codes: 0 ok · 1 a fault in the program · 2 usage or config · 3 display · 4 engine · 5 model or checkpoint · 6 files, ports, disk ·
75 temporary (a supervisor should start the process again).
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

EXIT_TEMPORARY = 75

DISK_FIX = "Is there space on the disk, and may this user write there?"


class InstallationError(Exception):
    """A fault the user can act on.

    what: the fact, without a full stop. where: a file and key, an address, a device. fix: what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        stop = " " if what.endswith("?") else ". "
        super().__init__(": ".join(part for part in (where, what) if part) + (stop + fix if fix else ""))


class ConfigError(InstallationError):
    """The show's TOML, an argument or a key map is wrong. All faults of one file are listed in one error."""

    exit_code = 2


class DisplayError(InstallationError):
    """No display, no monitor, no GL context, a shader that does not compile at start-up."""

    exit_code = 3


class EngineError(InstallationError):
    """The device is missing or failed, or the engine makes no usable picture."""

    exit_code = 4


class ModelError(InstallationError):
    """A network is missing, cannot be fetched, or does not fit the cascade."""

    exit_code = 5


class CheckpointError(ModelError):
    """A checkpoint file is damaged, hostile, or of an unknown kind. Nothing in it was run."""


class OutputError(InstallationError):
    """A file, port or disk refuses."""

    exit_code = 6


class TakeError(InstallationError):
    """A take is missing, damaged, hostile, or of another version of the program."""

    exit_code = 6


def install_extra(name: str) -> str:
    """The command that installs an extra: make's, where this runs in the environment that make set up in a checkout, or else pip's."""
    made = Path(__file__).parents[1] / ".venv"
    if made.resolve() == Path(sys.prefix).resolve():
        return f"make setup EXTRAS={name}"
    return f"pip install 'installation[{name}]'"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'speed'?` for the end of what is wrong, or nothing. Capitals do not count."""
    known = {known.casefold(): known for known in words}
    close = get_close_matches(word[:80].casefold(), known, n=1, cutoff=0.55)
    return f"; did you mean {known[close[0]]!r}?" if close else ""


def unwritable(error: OSError, where: object) -> OutputError:
    """A file or folder that the disk refuses."""
    return OutputError(f"cannot be written ({error.strerror or error})", where=str(where), fix=DISK_FIX)
