"""Frames for the video tests, and what is in a file that was written from them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from installation.output.video.presets import PRESETS, Preset
from installation.output.video.spec import VideoSpec

SIZE = (256, 128)
COLOUR = (200, 60, 30)
BLACK_ROWS = 32
COUNT = 31  # numbers that a frame can show


def spec(preset: str = "museum-h264", *, fps: Fraction | int = 25, segment_frames: int = 8, **more) -> VideoSpec:
    return VideoSpec.of(SIZE, Fraction(fps), PRESETS[preset], segment_frames=segment_frames, threads=1, **more)


def frame(number: int, depth: int = 8) -> np.ndarray:
    """One flat colour; in the rows at the top so many columns of 8 px are white as the frame's number says."""
    code = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    code[:] = COLOUR
    code[:BLACK_ROWS] = 0
    code[:BLACK_ROWS, : (number % COUNT + 1) * 8] = 255
    if depth == 16:
        return code.astype(np.uint16) * 257
    return np.dstack([code, np.full(code.shape[:2], 255, np.uint8)])


def number_in(luma: np.ndarray) -> int:
    """The frame's number modulo COUNT, from the luma or green plane."""
    row = luma[BLACK_ROWS // 2].astype(float)
    return round(float((row > row.max() / 2).sum()) / 8) - 1


@dataclass(frozen=True, slots=True)
class Film:
    """pts: in units of one frame. planes: Y, U, V or R, G, B of each frame."""

    tag: str
    rate: Fraction
    pts: list[Fraction]
    planes: list[tuple[np.ndarray, ...]]
    bits: int
    tags: tuple[int, int, int, int]  # primaries, transfer curve, matrix, range as ITU-T H.273 and FFmpeg number them
    format: str


def decode(path: Path) -> Film:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        rate = Fraction(stream.average_rate or 0)
        base = Fraction(stream.time_base or 0)
        pts = [Fraction(frame.pts or 0) * base * rate for frame in frames]
        last, context = frames[-1], stream.codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        planes = [tuple(_plane(frame, i) for i in range(3)) for frame in frames]
        return Film(
            context.codec_tag.strip("\0"),
            rate,
            pts,
            planes,
            last.format.components[0].bits,
            tuple(int(tag) for tag in tags),  # pyright: ignore[reportArgumentType]
            last.format.name,
        )


def _plane(picture: av.VideoFrame, index: int) -> np.ndarray:
    """Plane `index`, or channel `index` of a packed picture: uint8 or uint16 [h, w]."""
    form = picture.format
    kind = np.uint16 if form.components[0].bits > 8 else np.uint8
    kind = np.dtype(kind).newbyteorder(">" if form.name.endswith("be") else "<")
    if len(picture.planes) == 1:
        plane = picture.planes[0]
        channels = 4 if form.name in ("rgb0", "rgba") else 3
        rows = np.frombuffer(memoryview(plane), kind).reshape(plane.height, -1)[:, : plane.width * channels]
        return rows.reshape(plane.height, plane.width, channels)[..., index].astype(kind.newbyteorder("="))
    order = (2, 0, 1) if form.name.startswith("gbr") else (0, 1, 2)
    plane = picture.planes[order[index]]
    return (
        np.frombuffer(memoryview(plane), kind)
        .reshape(plane.height, -1)[:, : plane.width]
        .astype(kind.newbyteorder("="))
    )


def bt709(rgb: tuple[float, float, float], bits: int) -> np.ndarray:
    """Y, Cb, Cr code values of R'G'B' in 0..255, limited range (ITU-R BT.709-6, item 3 and 4)."""
    r, g, b = (value / 255.0 for value in rgb)
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    cb, cr = (b - y) / 1.8556, (r - y) / 1.5748
    return np.array([16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr]) * 2 ** (bits - 8)


def presets(*, pictures: bool) -> list[Preset]:
    return [preset for preset in PRESETS.values() if bool(preset.picture) is pictures and "nvenc" not in preset.name]
