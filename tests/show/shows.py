"""Shows for the tests, made from plain trees."""

from __future__ import annotations

from pathlib import Path

from installation.show.config import Show
from installation.show.reading import parse


def make_show(**tables) -> Show:
    return parse({"cascade": {"base": "none"}, **tables}, where="test", folder=Path("."))
