"""Pictures of a generator in training: sheets, a walk as a film strip, a walk as a video. Frames are uint8 [H, W, 3], sRGB."""

from __future__ import annotations

import math
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation import files
from installation.errors import DISK_FIX, OutputError
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
    """uint8 [N, H, W, 3], sides even -> H.264 in MP4, 24 frames a second, replacing the file when it is whole. Needs imageio-ffmpeg.
    OutputError where the encoder fails or the disk refuses; what lay there stays."""
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width = frames.shape[1:3]
    command = [get_ffmpeg_exe(), "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", str(_FPS), "-i", "-", "-an"]
    command += ["-c:v", "libx264", "-crf", "15", "-pix_fmt", "yuv420p", "-f", "mp4"]
    try:
        with files.replacing(path, only_writer=True) as draft:  # the run is locked
            # Not by the package's own writer, which does not look at how ffmpeg ended: with a full disk it says nothing. In a group of
            # its own, since Ctrl-C is for the trainer, which ends in order.
            done = subprocess.run(
                [*command, str(draft)],
                input=np.ascontiguousarray(frames).data.cast("B"),
                capture_output=True,
                check=False,
                process_group=0 if os.name == "posix" else None,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            if done.returncode != 0:
                said = done.stderr.decode(errors="replace").strip().splitlines()
                why = said[-1] if said else f"it ended with {done.returncode}"
                raise OutputError(f"the video could not be encoded ({why})", where=str(path), fix=DISK_FIX)
    except OSError as error:
        raise OutputError(f"the video could not be written ({error})", where=str(path)) from error
