"""Overlapping tiles: an upscaler run piece by piece gives what it gives on the whole, to rounding.

Each tile is read with the stage's receptive field around it and only its core is kept, so no pixel kept has seen a cut. At the
picture's border a tile ends where the picture ends, so the network pads there as it does on the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from installation.errors import ModelError
from installation.models.network import Upscaler


@dataclass(frozen=True, slots=True)
class Span:
    """One tile along one axis, in input pixels: read start..start+window, keep begin..end."""

    start: int
    begin: int
    end: int


def plan(length: int, tile: int, overlap: int, multiple: int = 1) -> tuple[int, list[Span]]:
    """(window, spans) for one axis. Every window has the same size and starts at a multiple of `multiple`, so that a recorded graph or a
    tuned kernel serves all tiles; the first and last windows are moved inwards instead of cut.

    length: a multiple of `multiple`. tile: side of the core, at least 1.
    """
    tile, overlap = _up(tile, multiple), _up(overlap, multiple)
    window = min(length, tile + 2 * overlap)
    spans = [
        Span(min(max(begin - overlap, 0), length - window), begin, min(begin + tile, length))
        for begin in range(0, length, tile)
    ]
    return window, spans


def needed(stage: Upscaler, size: Sequence[int], tile: int | None) -> int | None:
    """The tile, or None where the stage draws a picture of that size (height, width) in one piece."""
    return None if tile is None or stage.fixed_side or max(size) <= tile else tile


def enlarge(stage: Upscaler, img: Tensor, tile: int | None, style: Tensor | None = None) -> Tensor:
    """stage(img), in tiles of tile x tile input pixels and their surroundings; whole if tile is None, one window covers img, or the stage
    takes one size alone.

    img [N, 3, h, w] -> [N, 3, h*scale, w*scale]. style: the w [N, w_dim] that every tile is given, see `Upscaler`; None for the neutral
    style. ModelError if img is larger than the tile and the stage's receptive field is not bounded.
    """
    if (tile := needed(stage, img.shape[2:], tile)) is None:
        return stage.styled(img, style)
    if stage.receptive_field is None:
        raise ModelError(
            f"this {stage.arch} network cannot be tiled: a pixel may depend on the whole picture",
            fix="Leave out the tile size",
        )
    n, _, height, width = img.shape
    h, rows = plan(height, tile, stage.receptive_field, stage.input_multiple)
    w, columns = plan(width, tile, stage.receptive_field, stage.input_multiple)
    if h == height and w == width:
        return stage.styled(img, style)
    s = stage.scale
    out = img.new_empty(n, 3, height * s, width * s)
    for row in rows:
        for column in columns:
            piece = stage.styled(img[:, :, row.start : row.start + h, column.start : column.start + w], style)
            top, left = (row.begin - row.start) * s, (column.begin - column.start) * s
            core = piece[:, :, top : top + (row.end - row.begin) * s, left : left + (column.end - column.begin) * s]
            out[:, :, row.begin * s : row.end * s, column.begin * s : column.end * s] = core
    return out


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
