"""Patterns that stick to the screen: a fine weave on skin, stripes on even ground. Critics do not mind them, an eye on a large wall does.

Every step of a generator's upsampling can leave a regular pattern of 2 to 5 px, weak and all over the picture. Means over many pictures
show it as a bump in their spectrum that the real pictures' spectrum has not (Durall et al. 2020, arXiv:2003.01826; Frank et al. 2020,
arXiv:2003.08685). The logarithm is taken in small windows before the mean, so that even ground, where a weave is seen, counts as much
as hair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from installation.training.base.batch import Batch
from installation.training.state import State
from installation.training.team import Team

_WINDOW = 32
# Cycles a pixel from which on a pattern counts as fine: below them lie features, which are the critics' affair.
_FINE = 0.19
# Share of a batch's spectrum in the running mean. A batch alone is mostly chance.
_NEWS = 0.1


class Grid:
    """Holds a generator's fine spectrum to the shape of the real pictures'. apart [cells]: made less real, of late."""

    name = "grid"

    def __init__(self, size: int, device: torch.device, weight: float = 1.0) -> None:
        self.weight = weight
        self.side = min(_WINDOW, size)
        along = torch.fft.rfftfreq(self.side)
        across = torch.fft.fftfreq(self.side)
        fine = across[:, None].square() + along.square() >= _FINE**2
        hann = torch.hann_window(self.side, periodic=False)
        taper = torch.outer(hann, hann)
        self.cells = fine.flatten().nonzero().flatten().to(device)
        self.taper = (taper / taper.norm()).to(device)
        self.apart = torch.zeros(len(self.cells), device=device)

    def spectrum(self, img: Tensor) -> Tensor:
        """img [N, 3, H, W], -1..1 -> [cells]: the mean logarithm of the power of fine patterns in windows of 32 px, all colours."""
        step = max(self.side // 2, 1)
        windows = (127.5 * img.float()).unfold(2, self.side, step).unfold(3, self.side, step)
        windows = (windows - windows.mean((-2, -1), keepdim=True)) * self.taper
        waves = torch.fft.rfft2(windows)
        # One 8-bit level squared is far below what is seen, and keeps the logarithm of an even window finite.
        power = (waves.real.square() + waves.imag.square() + 1).log()
        return power.mean((0, 1, 2, 3)).flatten()[self.cells]

    def loss(self, spectrum: Tensor) -> Tensor:
        """Its gradient is that of the variance of `apart`, as of the last steps: chance in one batch draws nowhere.

        Of the variance, not of the square: smoother or rougher pictures than the real ones are the critics' affair.
        """
        return 2 * ((self.apart - self.apart.mean()) * spectrum).mean()

    def hold(self, batch: Batch, made: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = self.spectrum(made)
        return self.loss(spectrum), spectrum.detach() - self.spectrum(batch.real)

    @torch.no_grad()
    def learn(self, seen: Tensor, team: Team) -> Tensor:
        """Takes in made minus real of one batch; gives the standard deviation of `apart` in dB. In place: a recorded step reads it."""
        self.apart.lerp_(team.average(seen), _NEWS)
        return self.apart.std(correction=0) * (10 / math.log(10))

    def tensors(self) -> dict[str, Tensor]:
        return {"grid": self.apart}

    def restore(self, state: State) -> None:
        self.apart.copy_(state.tensors["grid"])
