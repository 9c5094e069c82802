"""Sizes, sampling rates and filter widths of a StyleGAN3's layers: the table that follows from its resolution. No torch.

Karras et al. 2021 (arXiv:2106.12423), appendix C: cutoff and stopband rise geometrically from the first layer to the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bands:
    """What shapes the table. critical: layers at the end that keep every frequency. cutoff, stopband: of the first layer, cycles a picture
    width. last_stopband: of the last, relative to its cutoff. margin: px around the picture. taps: filter taps per sample of the lower
    rate. oversampling: of the signal while the leaky ReLU acts on it.
    """

    critical: int = 2
    cutoff: float = 2.0
    stopband: float = 2.0**2.1
    last_stopband: float = 2.0**0.3
    margin: int = 10
    taps: int = 6
    oversampling: int = 2


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """One layer. inputs, outputs: widths. size: its output's side, px, margin included. rate: its output's sampling rate, samples a
    picture width. cutoff: its output's bandwidth. up, down: sampling factors around the leaky ReLU. up_taps, down_taps: of the
    filters, 1 for none. radial: whether the down filter is round and not separable. pad: zeros (or, negative, cropping) before and after
    the up-sampled signal on each axis. colours: the last layer, which makes red, green and blue.
    """

    name: str
    inputs: int
    outputs: int
    size: int
    rate: int
    cutoff: float
    up: int
    down: int
    up_taps: int
    down_taps: int
    radial: bool
    pad: tuple[int, int]
    colours: bool


def plan(resolution: int, channels: Sequence[int], *, kernel: int, radial: bool, bands: Bands) -> list[LayerPlan]:
    """The layers L0..LN, the last of which makes colours. channels: widths of L0's input and output, then of each later hidden layer."""
    count = len(channels)
    cutoffs, rates, sizes = [], [], []
    for i in range(count + 1):
        exponent = min(i / (count - bands.critical), 1.0)
        cutoffs.append(bands.cutoff * (resolution / 2 / bands.cutoff) ** exponent)
        stopband = bands.stopband * (resolution / 2 * bands.last_stopband / bands.stopband) ** exponent
        rates.append(2 ** math.ceil(math.log2(min(2 * stopband, resolution))))
        sizes.append(rates[i] + 2 * bands.margin)
    sizes[-2:] = [resolution, resolution]
    widths = [*channels, 3]
    layers = []
    for i in range(count + 1):
        before, colours = max(i - 1, 0), i == count
        raised = max(rates[before], rates[i]) * (1 if colours else bands.oversampling)
        up, down = raised // rates[before], raised // rates[i]
        up_taps = bands.taps * up if up > 1 and not colours else 1
        down_taps = bands.taps * down if down > 1 and not colours else 1
        side = 1 if colours else kernel
        total = (sizes[i] - 1) * down + 1 - (sizes[before] + side - 1) * up + up_taps + down_taps - 2
        first = (total + up) // 2
        layers.append(
            LayerPlan(
                name=f"L{i}_{sizes[i]}_{widths[i]}",
                inputs=widths[before],
                outputs=widths[i],
                size=sizes[i],
                rate=rates[i],
                cutoff=cutoffs[i],
                up=up,
                down=down,
                up_taps=up_taps,
                down_taps=down_taps,
                radial=radial and down_taps > 1 and cutoffs[i] * 2 < rates[i],
                pad=(first, total - first),
                colours=colours,
            )
        )
    return layers
