"""A contact sheet of a network's axes, to find names for them: a row for each axis, the portrait moved along it from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from installation.errors import ModelError
from installation.latent.sphere import seed_z, to_sphere
from installation.models import axes, checkpoint
from installation.models.device import choose
from installation.models.network import Generator
from installation.models.pack import pack_slow
from installation.render.axes import direction
from installation.render.device import to_device
from installation.show.config import Axis

SIGMAS = (-3, -2, -1, 0, 1, 2, 3)
_GAP = 4  # px between pictures
_MARGIN = 56  # px for the labels
_INK = (220, 220, 220)


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is on it. side: of a small picture, its longer one, px. psi, seed: of the portrait in the middle column."""

    axes: Sequence[Axis]
    seed: int = 0
    psi: float = 0.7
    side: int = 128


@torch.inference_mode()
def draw(file: Path, sheet: Sheet) -> np.ndarray:
    """The sheet as a Frame [H, W, 4], labelled. ModelError for a network that is no generator, or has no such axes."""
    network = checkpoint.load(file)
    if not isinstance(network, Generator):
        raise ModelError("it enlarges pictures and has no axes", where=str(file), fix="Name a generator")
    spread = axes.spread_of(network, file)
    rows = [direction(axis, network, spread) for axis in sheet.axes]
    place = choose()
    network.requires_grad_(False).eval().place(place.device, place.dtype)
    z = to_device(to_sphere(seed_z(sheet.seed, network.z_dim))[None], place.device)
    ws = network.truncate(network.mapping(z), sheet.psi)
    lines = []
    for row in rows:
        moved = row.to(place.device)
        lines.append([_small(network.synthesis(ws + sigma * moved), sheet.side) for sigma in SIGMAS])
    return _laid_out(lines, [f"{axis.source} {axis.index}" for axis in sheet.axes])


def _small(img: Tensor, side: int) -> np.ndarray:
    """A thumbnail of img [1, 3, h, w] as a Frame."""
    h, w = img.shape[2:]
    scale = side / max(h, w)
    size = (max(round(h * scale), 1), max(round(w * scale), 1))
    return pack_slow(F.interpolate(img.float(), size, mode="bicubic", antialias=True, align_corners=False))


def _laid_out(lines: Sequence[Sequence[np.ndarray]], names: Sequence[str]) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    height, width = lines[0][0].shape[:2]
    pitch_y, pitch_x = height + _GAP, width + _GAP
    sheet = Image.new("RGB", (_MARGIN + len(SIGMAS) * pitch_x, _MARGIN // 2 + len(lines) * pitch_y), (24, 24, 24))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, sigma in enumerate(SIGMAS):
        pen.text((_MARGIN + column * pitch_x + width // 2, 14), f"{sigma:+d} sigma", _INK, font=font, anchor="mm")
    for row, (name, line) in enumerate(zip(names, lines, strict=True)):
        top = _MARGIN // 2 + row * pitch_y
        pen.text((_MARGIN // 2, top + height // 2), name, _INK, font=font, anchor="mm")
        for column, frame in enumerate(line):
            sheet.paste(Image.fromarray(frame[..., :3]), (_MARGIN + column * pitch_x, top))
    return np.asarray(sheet.convert("RGBA"))
