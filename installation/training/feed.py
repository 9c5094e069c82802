"""Real pictures as batches. What comes at image n of a run is a matter of seed and n alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from installation.models.device import send
from installation.training.picture import to_img
from installation.training.streams import numpy_stream

# A dataset below this share of a GPU's memory is kept there: 20,000 pictures of 128 px are 1 GB.
_RESIDENT_SHARE = 0.2


class Feed:
    """Pictures of a dataset in a new order each epoch.

    images: uint8 [N, 3, S, S], any array that can be indexed, memory-mapped or not. rows: indices of those to show.
    flip: mirror each picture left to right with probability 1/2, decided anew each epoch.
    """

    def __init__(self, images: np.ndarray, rows: np.ndarray, device: torch.device, *, seed: int, flip: bool) -> None:
        self.images, self.rows, self.device, self.seed, self.flip = images, rows, device, seed, flip
        self.epoch = lru_cache(maxsize=2)(self._epoch)
        self.resident: Tensor | None = None
        if device.type == "cuda":
            nbytes = images[0].nbytes * len(rows)
            if nbytes < _RESIDENT_SHARE * torch.cuda.get_device_properties(device).total_memory:
                self.resident = torch.from_numpy(np.ascontiguousarray(images[rows])).to(device)

    def batch(self, nimg: int, n: int, part: slice = slice(None)) -> Tensor:
        """Images nimg ... nimg + n - 1 of the run, of these `part`: float32 [n, 3, S, S] in -1..1 on the device, channels_last."""
        chosen, mirrored = self._choose(nimg, n)
        chosen, mirrored = chosen[part], mirrored[part]
        if self.resident is not None:
            raw = self.resident[send(torch.from_numpy(chosen), self.device)]
        else:
            raw = send(torch.from_numpy(self.images[self.rows[chosen]]), self.device)
        img = to_img(raw.to(memory_format=torch.channels_last))
        if not self.flip:
            return img
        flips = send(torch.from_numpy(mirrored), self.device)[:, None, None, None]
        return torch.where(flips, img.flip(3), img)

    def _choose(self, nimg: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(places in `rows`, whether mirrored) of n images; a batch may reach into the next epoch."""
        count = len(self.rows)
        places, flips = [], []
        while n:
            epoch, start = divmod(nimg, count)
            order, mirror = self.epoch(epoch)
            taken = min(n, count - start)
            places.append(order[start : start + taken])
            flips.append(mirror[start : start + taken])
            nimg, n = nimg + taken, n - taken
        return np.concatenate(places), np.concatenate(flips)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = numpy_stream(self.seed, "epoch", epoch)
        return rng.permutation(len(self.rows)), rng.random(len(self.rows)) < 0.5
