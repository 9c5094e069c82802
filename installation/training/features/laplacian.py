"""Random features of Laplacian bands: no weight of them is trained, so nobody can have trained against it or been licensed it.

A picture's Laplacian pyramid, each band through three fixed random convolutions; what is kept is how much energy each filter finds,
and the shape of its answer once that energy is divided out. The plain mean and deviation of random convolutions see neither noise nor
JPEG nor a checkerboard; with bands, contrast normalisation and the logarithm they see all three.
Pyramid: Burt and Adelson, "The Laplacian Pyramid as a Compact Image Code", IEEE Trans. Comm. 31(4), 1983.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from installation.training.picture import to_img

VERSION = "laplacian-bands-1"
SEED = 20261101
SMALLEST = 16
PER_BAND = 512
# Inputs, outputs, kernel of the three convolutions.
_LAYERS = ((3, 64, 5), (64, 96, 3), (96, 128, 3))
_EPS = 1e-8


class LaplacianFeatures:
    """The features on one device. size: side of the pictures, px, at least 16; halved while it is even and the half is no smaller than 16.

    fingerprint: sha256 of the random weights. They are drawn by numpy's frozen legacy generator, the same on every machine and release.
    """

    def __init__(self, size: int, device: torch.device | str = "cpu") -> None:
        if size < SMALLEST:
            raise ValueError(f"pictures of {size} px are smaller than {SMALLEST}")
        self.size, self.device = size, torch.device(device)
        self.bands = 1
        while size % 2 == 0 and size // 2 >= SMALLEST:
            size //= 2
            self.bands += 1
        rng, digest = np.random.RandomState(SEED), hashlib.sha256(VERSION.encode())
        self._weights: list[list[Tensor]] = []
        for _ in range(self.bands):
            band = []
            for inputs, outputs, kernel in _LAYERS:
                fan = inputs * kernel * kernel
                drawn = rng.standard_normal((outputs, inputs, kernel, kernel)) / np.sqrt(fan)
                weight = drawn.astype("<f4")
                digest.update(weight.tobytes())
                band.append(torch.from_numpy(weight).to(self.device))
            self._weights.append(band)
        self.fingerprint = digest.hexdigest()
        binomial = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=self.device) / 16
        self._blur = (binomial[:, None] * binomial).expand(3, 1, 5, 5).contiguous()

    @property
    def width(self) -> int:
        """Features of a picture: 512 a band, 1,536 at 64 px."""
        return PER_BAND * self.bands

    @torch.inference_mode()
    def embed(self, images: np.ndarray, *, batch: int = 32) -> np.ndarray:
        """images uint8 [N, 3, size, size], sRGB -> float32 [N, width]."""
        if images.dtype != np.uint8 or images.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"uint8 pictures [N, 3, {self.size}, {self.size}] expected, not {list(images.shape)}")
        parts = []
        for i in range(0, len(images), batch):
            raw = torch.from_numpy(np.ascontiguousarray(images[i : i + batch])).to(self.device)
            bands = zip(self.pyramid(to_img(raw)), self._weights, strict=True)
            parts.append(torch.cat([_describe(band, weights) for band, weights in bands], dim=1).cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, self.width), np.float32)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, size, size] -> its bands, finest first, and what is left at the smallest size. They add up to x again."""
        bands = []
        for _ in range(self.bands - 1):
            small = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), self._blur, stride=2, groups=3)
            bands.append(x - F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False))
            x = small
        return [*bands, x]


def _describe(x: Tensor, weights: list[Tensor]) -> Tensor:
    """One band [N, 3, h, w] -> [N, 512]: log mean squares of layers 1 and 2, means of 2 and 3, deviations of 3."""
    found = []
    for i, weight in enumerate(weights):
        if i:
            x = F.avg_pool2d(x, 2)
        x = F.leaky_relu(F.conv2d(x, weight, padding=weight.shape[2] // 2), 0.2)
        energy = x.square().mean((2, 3))
        if i < 2:
            found.append((energy + _EPS).log())
            x = x * (energy + _EPS).rsqrt()[:, :, None, None]
        if i > 0:
            found.append(x.mean((2, 3)))
    found.append(x.std((2, 3)))
    return torch.cat(found, dim=1)
