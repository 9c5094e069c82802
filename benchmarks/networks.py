"""Each family of generators against its plain re-computation on this machine, in one run: `python -m benchmarks.networks [FAMILY ...]`.

Prints a table; judges nothing. The networks have random weights and the published widths; the plain side is the slow twin that the tests
compare pictures with, so both columns make the same picture, and how far apart they are is printed too. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.wall import sgemm_gflops
from installation.models import checkpoint, cost, random_weights, stylegan2_reference, stylegan3_reference
from installation.models.header import TensorInfo
from installation.models.network import Generator

SIZES = (256, 1024)
ROW = "{:<18}{:>8}{:>11}{:>11}{:>7}{:>9}{:>8}{:>8}"


@dataclass(frozen=True, slots=True)
class Family:
    """make: a network of about this side, px. plain: network, ws -> img, by the equations."""

    make: Callable[[int], Generator]
    plain: Callable[..., Tensor]


def stylegan2(size: int) -> Generator:
    """The paper's configuration F."""
    channels = [min(32768 >> level, 512) for level in range(2, size.bit_length())]
    return random_weights.stylegan2(z_dim=512, w_dim=512, channels=channels, mapping_layers=8)


def stylegan3(size: int, *, kernel: int, base: int, most: int) -> Generator:
    """The published T (kernel 3) and R (kernel 1)."""
    channels = [min(round(base / 2 / (2 * (size / 4) ** min(i / 12, 1))), most) for i in range(14)]
    options = {"kernel": kernel, "radial": kernel == 1}
    return random_weights.stylegan3(z_dim=512, w_dim=512, resolution=size, channels=channels, **options)


def r3gan(size: int) -> Generator:
    """The published FFHQ-256, and its widths halved on for larger pictures, of which none are published."""
    widths = [768, 768, 768, 768, 384, 192, 96, 48, 24][: size.bit_length() - 2]
    groups = [max(width // 8, 1) for width in widths]
    return random_weights.r3gan(z_dim=64, widths=widths, groups=groups, blocks=[2] * len(widths))


FAMILIES = {
    "stylegan2": Family(stylegan2, stylegan2_reference.synthesis),
    "stylegan3-t": Family(partial(stylegan3, kernel=3, base=32768, most=512), stylegan3_reference.synthesis),
    "stylegan3-r": Family(partial(stylegan3, kernel=1, base=65536, most=1024), stylegan3_reference.synthesis),
    "r3gan": Family(r3gan, lambda network, ws: network.synthesis_slow(ws)),
}


def main() -> None:
    assert __doc__
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("family", nargs="*", choices=[[], *FAMILIES], help="all where none is named")
    arguments.add_argument("--size", type=int, action="append", help="px; 256 and 1024 where none is given")
    arguments.add_argument("--times", type=int, default=3, help="calls of which the fastest counts")
    options = arguments.parse_args()
    peak = sgemm_gflops()
    print(ROW.format("network", "GFLOP", "plain", "fast", "gain", "GFLOP/s", f"of {peak:.0f}", "apart"))
    for name in options.family or FAMILIES:
        for size in options.size or SIZES:
            # Row by row: the large ones take minutes on a CPU.
            print(ROW.format(f"{name} {size}", *measure(FAMILIES[name], size, options.times, peak)), flush=True)


@torch.inference_mode()
def measure(family: Family, size: int, times: int, peak: float) -> list[str]:
    """The cells of one row, behind its name."""
    network = family.make(size)
    ws = network.mapping(torch.randn(1, network.z_dim, generator=torch.Generator().manual_seed(0)))
    expected = family.plain(network, ws)
    plain = fastest(lambda: family.plain(network, ws), times)
    network.place("cpu")
    apart = float((network.synthesis(ws) - expected).abs().max() / (expected.max() - expected.min()))
    fast = fastest(lambda: network.synthesis(ws), times)
    tensors = {key: TensorInfo("F32", tuple(tensor.shape), 0) for key, tensor in network.state_dict().items()}
    work = 2 * (cost.macs(checkpoint.describe(network, name="random"), tensors) or 0) / 1e9
    rate = work / fast
    times_ms = [f"{1e3 * plain:.0f} ms", f"{1e3 * fast:.0f} ms", f"{plain / fast:.1f}x"]
    return [f"{work:.1f}", *times_ms, f"{rate:.0f}", f"{rate / peak:.0%}", f"{apart:.0e}"]


def fastest(call: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of some calls. One went before, for the comparison of the pictures."""
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return min(durations)


if __name__ == "__main__":
    main()
