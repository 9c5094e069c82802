"""What is said on the terminal: answers on standard output, remarks and the log on standard error."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import typer

from installation.errors import OutputError


def fill_streams() -> None:
    """Puts the null device where who started us closed a standard stream, for this process and its children.

    Else the next file of the show would get its number, and what libraries write there; and GLFW's wheel does not load.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, this one
            os.set_inheritable(number, True)


def log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    for noisy in ("filelock", "PIL", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def answer(what: Any) -> None:
    """Text and paths as they are; tables to a terminal at its width, into a file or pipe wide enough that nothing is cut."""
    if sys.stdout is None:  # closed by who started us
        return
    try:
        if isinstance(what, (str, os.PathLike)):
            text = str(what)
            typer.echo(text, nl=not text.endswith("\n"))
        else:
            from rich.console import Console

            Console(width=width()).print(what)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # typer ends quietly, as everybody does in front of `head`
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"cannot be written ({error.strerror})", where="standard output") from error


def width() -> int:
    """Columns of the terminal that answers go to; of a file or pipe so many that nothing is cut."""
    from rich.console import Console

    return Console().width if sys.stdout is not None and sys.stdout.isatty() else 200


def cell(text: str) -> str:
    """What others wrote, for a table of rich's: its brackets are brackets, and its lines one, or they would pass for rows."""
    from rich.markup import escape

    return escape(printable(" ".join(text.splitlines())))


def printable(text: str) -> str:
    """What a file says may hold commands for the terminal; they are shown as the replacement character."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def say(text: str) -> None:
    """A remark for people; a full or closed standard error is no reason to end a show."""
    try:
        typer.echo(printable(text), err=True)
    except OSError:
        return
