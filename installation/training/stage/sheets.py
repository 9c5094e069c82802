"""What a run shows: sheets of enlargements beside bicubic and real ones, a strip along a walk, numbers on held-out pictures, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from installation.models import projection
from installation.models.network import Upscaler
from installation.training.curves import draw_curves
from installation.training.picture import frame_of
from installation.training.records import write_png
from installation.training.run_info import read_metrics
from installation.training.runs import METRICS_FILE, Run
from installation.training.stage.degrade import Degradation, pair
from installation.training.stage.source import Crops, Previous
from installation.training.stage.steadiness import flicker, shift_loss

ROWS = 4
FRAMES = 6  # of the strip
STEP = 0.03  # radians between frames: about a tenth of a second of a slow wall
MARGIN = 4  # small px at a crop's border, not measured: the world ends there
CURVES = (
    "psnr", "detail", "flicker", "shift_levels", "l1", "perceptual", "critic", "sure", "gan", "r1", "shift", "walk", "images_per_s",
)  # fmt: skip
_SEED = 7


class Sheets:
    """Draws into a run's folder. Everything on them is fixed, so that two moments of a run can be laid over one another."""

    def __init__(
        self, run: Run, crops: Crops, previous: Previous | None, degradation: Degradation, scale: int, multiple: int
    ) -> None:
        """crops: of held-out pictures. multiple: that a stage wants its input's sides in."""
        self.run, self.previous, self.scale = run, previous, scale
        self.side = crops.side // (scale * multiple) * multiple * scale
        self.real = crops.fixed(ROWS)[:, :, : self.side, : self.side]
        self.lo, self.target = pair(self.real, scale, degradation, torch.Generator().manual_seed(_SEED))
        self.samples, self.walk = [], []
        if previous is not None:
            rng = torch.Generator().manual_seed(_SEED)
            small = min(self.side // scale, min(previous.size) // multiple * multiple)
            self.samples = [_sample(previous, previous.latents(1, rng), small) for _ in range(ROWS)]
            here, there = previous.latents(1, rng), previous.latents(1, rng)
            places = [here * math.cos(STEP * k) + there * math.sin(STEP * k) for k in range(FRAMES)]
            self.walk = [_sample(previous, z, small) for z in places]

    @torch.no_grad()
    def draw(self, stage: Upscaler, nimg: int) -> Mapping[str, float]:
        """Writes the pictures; gives numbers (see the comments) on held-out pictures and, where there is one, the previous stage's walk."""
        scale = self.scale
        out = torch.cat([stage(lo[None]) for lo in self.lo])
        plain = torch.cat([_bicubic(lo[None], scale) for lo in self.lo])
        rows = [_row(self.lo[i], plain[i], out[i], self.target[i], scale) for i in range(len(out))]
        self.run.picture("held_out", frame_of(torch.cat(rows, dim=1)), nimg)
        inner = slice(MARGIN * scale, -MARGIN * scale)
        detail, wanted = (x - projection.up(self.lo, scale) for x in (out, self.target))
        numbers = {
            "psnr": _psnr(out, self.target, inner),
            "psnr_bicubic": _psnr(plain, self.target, inner),
            # How much detail, as a share of what is there in truth: below 1 blurs, above 1 invents.
            "detail": float((detail.square().mean() / wanted.square().mean().clamp_min(1e-12)).sqrt()),
            # Detail that hangs on where the pixel grid lies, in 8-bit levels.
            "shift_levels": 127.5 * self._shift(stage),
        }
        if self.samples:
            rows = [_row(lo[0], _bicubic(lo, scale)[0], stage.styled(lo, w)[0], None, scale) for lo, w in self.samples]
            self.run.picture("previous", frame_of(torch.cat(rows, dim=1)), nimg)
            walk = [stage.styled(lo, w) for lo, w in self.walk]
            self.run.picture("walk", frame_of(torch.cat([img[0] for img in walk], dim=2)), nimg)
            numbers["flicker"] = flicker([lo for lo, _ in self.walk], walk, scale)
        folder = self.run.folder
        rows = [*read_metrics(folder / METRICS_FILE), {"nimg": nimg, **numbers}]
        write_png(folder / "curves.png", draw_curves({folder.name: rows}, CURVES))
        return numbers

    def _shift(self, stage: Upscaler) -> float:
        side = self.side - self.scale * stage.input_multiple
        img = self.real[:, :, : side + self.scale, : side + self.scale]
        return float(shift_loss(stage, img, self.scale, (1, self.scale // 2), MARGIN * self.scale))


def _row(lo: Tensor, plain: Tensor, out: Tensor, real: Tensor | None, scale: int) -> Tensor:
    """[3, H, W] each, side by side: lo by nearest neighbour, bicubic, the stage, the truth if there is one."""
    blocks = lo.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    return torch.cat([blocks, plain, out, *([] if real is None else [real])], dim=2)


def _bicubic(lo: Tensor, scale: int) -> Tensor:
    return F.interpolate(lo, scale_factor=scale, mode="bicubic", align_corners=False)


def _psnr(a: Tensor, b: Tensor, inner: slice) -> float:
    """dB, of a range of 2."""
    error = (a - b)[:, :, inner, inner].clamp(-2, 2).square().mean().clamp_min(1e-12)
    return float(10 * (4 / error).log10())


def _sample(previous: Previous, z: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The centre [1, 3, side, side] of z's picture, and its w."""
    img, w = previous.at(z, 0.7)
    top, left = ((length - side) // 2 for length in img.shape[2:])
    return img[:, :, top : top + side, left : left + side], w
