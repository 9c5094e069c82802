"""A few lines of text over the picture, for the person who hangs it.

Drawn on the mount, never on the look: no snapshot and no recording has it. Pillow's built-in face is used, so no
font file is needed; Pillow is imported with the first line drawn. Runs in the wall process.
"""

from dataclasses import dataclass

import numpy as np

_MAX_LINES, _MAX_COLUMNS = 24, 96
_PANEL = (0, 0, 0, 150)
_INK = (255, 255, 255, 255)


@dataclass(frozen=True, slots=True)
class HudText:
    """What the HUD says, line by line."""

    lines: tuple[str, ...]


def text_height(output_height: int) -> int:
    """Letter height in px for an output of this height: 1/48 of it, at least 10."""
    return max(output_height // 48, 10)


def rasterise(text: HudText, px: int) -> np.ndarray:
    """uint8 [h, w, 4] RGBA, premultiplied, origin top left: the lines at letter height `px` on a dim panel.

    At most 24 lines of 96 characters; anything a line cannot print becomes a space.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(px)
    lines = [
        "".join(c if c.isprintable() else " " for c in line[:_MAX_COLUMNS]) or " " for line in text.lines[:_MAX_LINES]
    ]
    pitch, edge = round(px * 1.35), round(px * 0.6)
    width = round(max((font.getlength(line) for line in lines), default=0.0)) + 2 * edge
    image = Image.new("RGBA", (max(width, 1), max(pitch * len(lines), 1) + 2 * edge), _PANEL)
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        draw.text((edge, edge + i * pitch), line, font=font, fill=_INK)
    pixels = np.asarray(image, dtype=np.uint16)
    rgb = (pixels[..., :3] * pixels[..., 3:] + 127) // 255
    return np.concatenate([rgb, pixels[..., 3:]], axis=2).astype(np.uint8)
