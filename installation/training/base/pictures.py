"""Pictures of a generator in training: sheets, a walk as a film strip, a walk as a video. Frames are uint8 [H, W, 3], sRGB."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation import files
from installation.errors import OutputError
from installation.training.base.generator import Generator
from installation.training.streams import torch_stream

_PASS = 16
_GAP = 2
_FPS = 24


@torch.no_grad()
def synthesise(generator: Generator, w: Tensor, psi: float) -> np.ndarray:
    """w [N, w_dim] -> uint8 [N, S, S, 3]. Needs `generator.centre()` to have been called."""
    centre = generator.mapping.w_avg
    w = centre + psi * (w - centre)
    img = torch.cat([generator.synthesis(part[:, None].expand(-1, generator.num_ws, -1)) for part in w.split(_PASS)])
    return to_frames(img)


def to_frames(img: Tensor) -> np.ndarray:
    """img [N, 3, H, W], -1..1 -> uint8 [N, H, W, 3]."""
    return ((img.float() * 127.5 + 127.5).round().clamp(0, 255)).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def latents(generator: Generator, n: int, seed: int) -> Tensor:
    """w [n, w_dim] of fixed latents: the same people at every look."""
    z = torch.randn(n, generator.z_dim, generator=torch_stream(seed, "samples"))
    return generator.mapping(z.to(generator.mapping.w_avg.device))


def sheet(frames: np.ndarray, columns: int) -> np.ndarray:
    """uint8 [N, H, W, 3] -> one picture, row by row, dark between."""
    n, height, width, _ = frames.shape
    rows = math.ceil(n / columns)
    out = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 16, np.uint8)
    for i, frame in enumerate(frames):
        y, x = (i // columns) * (height + _GAP), (i % columns) * (width + _GAP)
        out[y : y + height, x : x + width] = frame
    return out


@torch.no_grad()
def walk(generator: Generator, keyframes: int, steps: int, *, seed: int, psi: float) -> np.ndarray:
    """uint8 [keyframes * steps, S, S, 3]: a closed walk through `keyframes` people, in w, eased at none: it shows the space as it is."""
    w = latents(generator, keyframes, seed)
    t = torch.linspace(0, 1, steps + 1, device=w.device)[:-1, None]
    legs = [w[i] + t * (w[(i + 1) % keyframes] - w[i]) for i in range(keyframes)]
    return synthesise(generator, torch.cat(legs), psi)


def can_write_video() -> bool:
    """Whether imageio-ffmpeg is installed, an extra."""
    return find_spec("imageio_ffmpeg") is not None


def write_video(path: Path, frames: np.ndarray) -> None:
    """uint8 [N, H, W, 3] -> H.264 in MP4, 24 frames a second, replacing the file when it is whole. Needs imageio-ffmpeg. OutputError
    where the disk refuses."""
    import imageio_ffmpeg

    height, width = frames.shape[1:3]
    options = {"fps": _FPS, "quality": 7, "macro_block_size": 2, "output_params": ["-f", "mp4"]}
    try:
        with files.replacing(path, only_writer=True) as draft:  # the run is locked
            writer = imageio_ffmpeg.write_frames(str(draft), (width, height), **options)
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
            writer.close()
    except OSError as error:
        raise OutputError(f"the video could not be written ({error})", where=str(path)) from error
