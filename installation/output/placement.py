"""Where a picture lies on the wall: fit and rotation as plain arithmetic. Pure Python.

The wall is turned (a screen hung on its side), so the picture is laid out on an upright *logical* output first and
that is turned clockwise by 0, 90, 180 or 270° on to the real one.
"""

import math
from dataclasses import dataclass
from typing import get_args

from installation.show.config import Fit, Rotation

FITS: tuple[str, ...] = get_args(Fit)
ROTATIONS: tuple[int, ...] = get_args(Rotation)
_MOST_TAPS = 16
_MOST_ENLARGED = 2.0  # in area: more would cost memory in every history slot, and the mount enlarges as well

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Placement:
    """One drawing. viewport: x, y, width, height in output pixels, origin lower left as GL counts.

    origin: picture coordinate (0..1, origin top left) at the viewport's lower left corner; across, up: its change over
    the viewport's width and height. exact: pixels map one to one. taps: samples a side and output pixel.
    """

    viewport: tuple[int, int, int, int]
    origin: Point
    across: Point
    up: Point
    exact: bool
    taps: int

    @property
    def per_x(self) -> Point:
        return self.across[0] / self.viewport[2], self.across[1] / self.viewport[2]

    @property
    def per_y(self) -> Point:
        return self.up[0] / self.viewport[3], self.up[1] / self.viewport[3]


def upright(size: tuple[int, int], source: tuple[int, int] | None = None) -> Placement:
    """The whole picture on a target of `size`, first row first in memory. source: the picture's size where it is
    another."""
    source = source or size
    return Placement((0, 0, *size), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), source == size, _taps(source, size))


def place(
    picture: tuple[int, int],
    output: tuple[int, int],
    *,
    fit: str,
    rotate: int,
    source: tuple[int, int] | None = None,
) -> Placement:
    """Lays a picture (width, height) on an output (width, height). source: the size at which the picture is there
    already, if not its own. ValueError for an unknown fit or rotation."""
    return put(_fitted(picture, _logical(output, rotate), fit), source or picture, output, rotate)


def shown_size(picture: tuple[int, int], output: tuple[int, int], *, fit: str, rotate: int) -> tuple[int, int]:
    """The size at which a picture appears on an output, before rotation and before what hangs over is cut."""
    return _fitted(picture, _logical(output, rotate), fit)[2:]


def work_size(
    picture: tuple[int, int], output: tuple[int, int], *, fit: str, rotate: int, largest: int
) -> tuple[int, int]:
    """The size at which to keep the frames of a picture for an output: that at which they appear, before rotation.

    Where they appear more than twice as large, or a side would pass `largest` px: no side more than the picture's.
    ValueError for an unknown fit or rotation.
    """
    w, h = shown_size(picture, output, fit=fit, rotate=rotate)
    if w * h <= _MOST_ENLARGED * picture[0] * picture[1] and max(w, h) <= largest:
        return w, h
    return min(w, picture[0]), min(h, picture[1])


def put(rect: tuple[int, int, int, int], picture: tuple[int, int], output: tuple[int, int], rotate: int) -> Placement:
    """Lays a picture on `rect` (x, y, width, height on the logical output, origin top left), cut at the edges."""
    logical = _logical(output, rotate)
    x, y, w, h = rect
    left, top = max(x, 0), max(y, 0)
    right, bottom = max(min(x + w, logical[0]), left + 1), max(min(y + h, logical[1]), top + 1)
    corners = [_turned(corner, output, rotate) for corner in ((left, top), (right, bottom))]
    px0, px1 = sorted(corner[0] for corner in corners)
    py0, py1 = sorted(corner[1] for corner in corners)

    def uv(px: float, py: float) -> Point:
        lx, ly = _unturned((px, py), output, rotate)
        return (lx - x) / w, (ly - y) / h

    origin, right_end, top_end = uv(px0, py1), uv(px1, py1), uv(px0, py0)
    return Placement(
        viewport=(px0, output[1] - py1, px1 - px0, py1 - py0),
        origin=origin,
        across=(right_end[0] - origin[0], right_end[1] - origin[1]),
        up=(top_end[0] - origin[0], top_end[1] - origin[1]),
        exact=(w, h) == picture,
        taps=_taps(picture, (w, h)),
    )


def _taps(picture: tuple[int, int], shown: tuple[int, int]) -> int:
    shrink = max(picture[0] / shown[0], picture[1] / shown[1])
    return min(max(math.ceil(shrink - 0.01), 1), _MOST_TAPS)


def _logical(output: tuple[int, int], rotate: int) -> tuple[int, int]:
    if rotate not in ROTATIONS:
        raise ValueError(f"rotation is {rotate!r}; it must be 0, 90, 180 or 270 degrees")
    return (output[1], output[0]) if rotate in (90, 270) else output


def _fitted(picture: tuple[int, int], logical: tuple[int, int], fit: str) -> tuple[int, int, int, int]:
    if fit not in FITS:
        raise ValueError(f"fit is {fit!r}; it must be one of {', '.join(FITS)}")
    if fit == "fill":
        return (0, 0, *logical)
    if fit == "native":
        w, h = picture
    else:
        scales = logical[0] / picture[0], logical[1] / picture[1]
        scale = min(scales) if fit == "contain" else max(scales)
        w, h = max(round(picture[0] * scale), 1), max(round(picture[1] * scale), 1)
    return (logical[0] - w) // 2, (logical[1] - h) // 2, w, h


def _turned(point: tuple[int, int], output: tuple[int, int], rotate: int) -> tuple[int, int]:
    """Logical to real output, both with their origin top left."""
    x, y = point
    w, h = output
    return {0: (x, y), 90: (w - y, x), 180: (w - x, h - y), 270: (y, h - x)}[rotate]


def _unturned(point: Point, output: tuple[int, int], rotate: int) -> Point:
    x, y = point
    w, h = output
    return {0: (x, y), 90: (y, w - x), 180: (w - x, h - y), 270: (h - y, x)}[rotate]
