"""Where a step's pictures come from: crops of the dataset, and the previous stage's samples. All follows from the generator given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from installation.errors import ConfigError
from installation.files import fingerprint
from installation.models import checkpoint
from installation.models.cascade import Cascade
from installation.models.device import send
from installation.training.dataset import Dataset

CROPS_A_SAMPLE = 4  # of one generated picture: making it costs more than training on a crop
ANGLE = 0.03  # between two moments of a walk, radians of the latent sphere
PSI = (0.6, 1.0)  # truncations that samples are drawn at: a wall shows about 0.7


class Crops:
    """Random square crops of some pictures of a dataset, at their native scale."""

    def __init__(self, dataset: Dataset, indices: np.ndarray, side: int, device: torch.device) -> None:
        """ConfigError if the dataset's pictures are smaller than `side` px, or there are none."""
        if dataset.size < side:
            fix = "Set a smaller crop (scale more than it is read), or pack larger pictures: they are never enlarged"
            raise ConfigError(
                f"its pictures are {dataset.size} px, crops of {side} px are needed", where=str(dataset.path), fix=fix
            )
        if len(indices) == 0:
            raise ConfigError(
                "no picture is left to train on", where=str(dataset.path), fix="Lower held_out, or add pictures"
            )
        self.dataset, self.indices, self.side, self.device = dataset, indices, side, device

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """[n, 3, side, side] float32 -1..1; every second one mirrored, on average."""
        room = self.dataset.size - self.side + 1
        rows = [
            (self._pick(len(self.indices), rng), self._pick(room, rng), self._pick(room, rng), self._pick(2, rng))
            for _ in range(n)
        ]
        crops = [
            self.dataset.images[self.indices[i], :, top : top + self.side, left : left + self.side][
                :, :, :: -1 if mirrored else 1
            ]
            for i, top, left, mirrored in rows
        ]
        return send(torch.from_numpy(np.stack(crops)), self.device).float().div_(127.5).sub_(1)

    def fixed(self, n: int) -> Tensor:
        """[n, 3, side, side]: the centres of pictures spread over all."""
        at = (self.dataset.size - self.side) // 2
        chosen = self.indices[np.linspace(0, len(self.indices) - 1, n).round().astype(int)]
        crops = np.stack([self.dataset.images[i, :, at : at + self.side, at : at + self.side] for i in chosen])
        return send(torch.from_numpy(crops), self.device).float().div_(127.5).sub_(1)

    @staticmethod
    def _pick(count: int, rng: torch.Generator) -> int:
        return int(torch.randint(count, (), generator=rng))


class Previous:
    """The cascade so far, frozen: a base generator, and any stages after it."""

    def __init__(self, paths: Sequence[Path], device: torch.device) -> None:
        """paths: checkpoints, the generator first. CheckpointError or ModelError as `checkpoint.load` and `Cascade` say."""
        first, *later = (checkpoint.load(path) for path in paths)
        dtype = "auto" if device.type == "cuda" else "float32"
        self.cascade = Cascade(first, later, device=str(device), dtype=dtype, graph=False)
        self.fingerprints = [fingerprint(path) for path in paths]
        self.size = self.cascade.size

    @torch.no_grad()
    def at(self, z: Tensor, psi: Tensor | float) -> tuple[Tensor, Tensor]:
        """z [N, z_dim] -> img [N, 3, h, w] float32, -1..1, and the w [N, w_dim] of each; gradients may be computed from both."""
        ws = self.cascade.truncate(self.cascade.mapping(z), psi)
        return self.cascade(ws).clone().clamp_(-1, 1), self.cascade.generator.stage_w(ws).clone()

    def draw(self, n: int, side: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """[n, 3, side, side] float32, -1..1: crops of samples; and the w [n, w_dim] of each."""
        img, w = self.at(self.latents(math.ceil(n / CROPS_A_SAMPLE), rng), self._psi(rng))
        of = [i % len(img) for i in range(n)]
        return torch.cat([self._crop(img[i][None], side, rng) for i in of]), w[of]

    def walk(self, n: int, side: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Two times [n, 3, side, side]: the same crops of two moments of a walk.

        And the w [2 n, w_dim] of the first's crops, then of the second's.
        """
        here, there = self.latents(1, rng), self.latents(1, rng)
        psi = self._psi(rng)
        moments = [self.at(z, psi) for z in (here, here * math.cos(ANGLE) + there * math.sin(ANGLE))]
        both, w = (torch.cat(rows) for rows in zip(*moments, strict=True))
        crops = torch.cat([self._crop(both, side, rng) for _ in range(n)])
        return crops[0::2], crops[1::2], w.repeat_interleave(n, dim=0)

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        """z [n, z_dim], standard normal, on the cascade's device."""
        return send(torch.randn(n, self.cascade.generator.z_dim, generator=rng), self.cascade.placement.device)

    @staticmethod
    def _psi(rng: torch.Generator) -> float:
        return PSI[0] + (PSI[1] - PSI[0]) * float(torch.rand((), generator=rng))

    def _crop(self, img: Tensor, side: int, rng: torch.Generator) -> Tensor:
        top, left = (int(torch.randint(length - side + 1, (), generator=rng)) for length in img.shape[2:])
        return img[:, :, top : top + side, left : left + side]
