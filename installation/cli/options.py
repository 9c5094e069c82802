"""What verbs of several files ask for alike."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_SHOW = "portraits"

# Thirty years: no show is longer, and positions on the walk are still exact to a millionth of a keyframe.
MOST_S = 1e9

# None tells "none was named" from the default show's name: a take has its own.
OptionalShow = Annotated[
    str | None,
    typer.Argument(help="A default show's name or a .toml file.", metavar="[SHOW]", show_default=DEFAULT_SHOW),
]
ShowArgument = Annotated[str, typer.Argument(help="A default show's name or a .toml file.", metavar="[SHOW]")]


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of WIDTHxHEIGHT. BadParameter."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) <= 5 and 1 <= int(part) <= 16384 for part in parts):
        raise typer.BadParameter(f"{text!r} is not WIDTHxHEIGHT with 1 to 16384 pixels each", param_hint="--size")
    return int(parts[0]), int(parts[1])
