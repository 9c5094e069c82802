"""A contact sheet of a manifest as PNG: pictures in rows, each with its number and the reason against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from installation.errors import OutputError
from installation.training.data.manifest import Decision, Entry, Manifest
from installation.training.picture import PictureError, read_picture, resize, to_uint8
from installation.training.records import write_png

_CELL, _LINE = 176, 30


@dataclass(frozen=True, slots=True)
class Sheet:
    """shown: pictures on the page. among: that are so decided."""

    shown: int
    among: int


def sheet(
    manifest_path: Path | str, png: Path | str, *, decision: Decision = "uncertain", columns: int = 8, limit: int = 64
) -> Sheet:
    """Write the first `limit` pictures so decided. OutputError if there are none or the file cannot be written."""
    from PIL import Image, ImageDraw

    manifest = Manifest.read(manifest_path)
    every = [entry for entry in manifest.entries.values() if entry.decision == decision and not entry.error]
    if not every:
        raise OutputError(f"no picture is {decision}", where=str(manifest.path))
    if Path(png).resolve() in {manifest.place(name).resolve() for name in manifest.entries}:
        raise OutputError("one of the pictures has this name", where=str(png), fix="Name another file")
    chosen = every[:limit]
    rows = -(-len(chosen) // columns)
    page = Image.new("RGB", (min(columns, len(chosen)) * _CELL, rows * (_CELL + _LINE)), (24, 24, 24))
    draw = ImageDraw.Draw(page)
    for i, entry in enumerate(chosen):
        x, y = i % columns * _CELL, i // columns * (_CELL + _LINE)
        thumbnail = _thumbnail(manifest, entry)
        page.paste(thumbnail, (x + (_CELL - thumbnail.width) // 2, y))
        for line, text in enumerate(_caption(i, entry)):
            draw.text((x + 2, y + _CELL + 2 + line * 13), text[:29], fill=(230, 230, 230))
    write_png(Path(png), np.asarray(page))
    return Sheet(len(chosen), len(every))


def _thumbnail(manifest: Manifest, entry: Entry):
    from PIL import Image

    try:
        pixels = read_picture(manifest.place(entry.name)).pixels
    except PictureError:
        return Image.new("RGB", (_CELL - 4, _CELL), (60, 20, 20))
    scale = min((_CELL - 4) / pixels.shape[1], _CELL / pixels.shape[0])
    width, height = (max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
    return Image.fromarray(to_uint8(resize(pixels, width, height)))


def _caption(number: int, entry: Entry) -> Sequence[str]:
    # Pillow's own font has only Latin-1.
    name = entry.name.split("/")[-1].encode("latin-1", "replace").decode("latin-1")
    return (f"{number} {name}", ", ".join(reason.split(":")[0] for reason in entry.reasons) or entry.decision)
