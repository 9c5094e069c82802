"""Each family of generators against its plain re-computation on this machine, in one run: `python -m benchmarks.networks`.

Prints a table, row by row; judges nothing. What is compared is in `pairs.py`: both sides make the same picture, and how far apart they
are is printed too, as a share of its range. Run it on an idle machine: with its default budget it ends within ten minutes on two cores.
Where the plain side would break the budget, the row has the fast side alone and says so.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.pairs import FAMILIES, Family
from benchmarks.wall import sgemm_gflops
from installation.cli.app import tune_libraries
from installation.models import checkpoint, cost
from installation.models.header import TensorInfo
from installation.models.network import Generator

SIZES = (256, 1024)
ROW = "{:<20}{:>8}{:>12}{:>12}{:>8}{:>9}{:>9}{:>8}  {}"


def main() -> None:
    assert __doc__
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--family", action="append", choices=FAMILIES, help="all where none is named")
    arguments.add_argument("--size", type=_side, action="append", help="px; 256 and 1024 if left out")
    arguments.add_argument("--threads", type=_count, default=os.cpu_count() or 1, help="all cores if left out")
    arguments.add_argument("--times", type=_count, default=4, help="at most so many calls, of which the fastest counts")
    arguments.add_argument("--quick", action="store_true", help="the smallest size of each family, two calls")
    arguments.add_argument("--budget", type=float, default=480.0, help="seconds for all rows; a call begun is finished")
    options = arguments.parse_args()
    end = time.perf_counter() + options.budget
    tune_libraries()
    peak, convolution = sgemm_gflops(threads=options.threads), convolution_gflops()
    print(
        f"threads: {options.threads}, sgemm: {peak:.0f} GFLOP/s, convolution: {convolution:.0f} GFLOP/s, float32, one picture a call"
    )
    print(ROW.format("network, px", "GFLOP", "plain", "fast", "gain", "GFLOP/s", "of sgemm", "apart", ""), flush=True)
    bench = Bench(peak, 2 if options.quick else options.times)
    rows = chosen(options.family or list(FAMILIES), options.size, quick=options.quick)
    for i, (name, size) in enumerate(rows):
        family, where = FAMILIES[name], f"{name} {size}"
        if (now := time.perf_counter()) >= end:
            cells = [""] * 7 + ["left out, the budget is spent: --family, or a larger --budget"]
        else:
            # An equal share of what is left to each row; what one does not need the others have.
            cells = bench.measure(name, family, size, now + (end - now) / (len(rows) - i), end)
        print(ROW.format(where, *cells).rstrip(), flush=True)


def chosen(names: list[str], sizes: list[int] | None, *, quick: bool) -> list[tuple[str, int]]:
    """(family, side) of each row, small pictures first: SIZES, and what is published beside them. quick: the smallest of each family."""
    each = {name: sizes or sorted({*SIZES, *FAMILIES[name].published}) for name in names}
    if sizes is None and quick:
        each = {name: sides[:1] for name, sides in each.items()}
    return sorted(((name, size) for name, sides in each.items() for size in sides), key=lambda row: row[1])


class Bench:
    """Measures row by row, and learns from each how long the plain side of the same family takes at another size."""

    def __init__(self, peak: float, times: int) -> None:
        self.peak, self.times = peak, times
        # Seconds by side**1.5. From 256 to 1024 px StyleGAN3-T's twin was measured to take seven times as long.
        self.plain_rates: dict[str, float] = {}

    @torch.inference_mode()
    def measure(self, name: str, family: Family, size: int, share: float, end: float) -> list[str]:
        """The cells of one row, behind its name. share: when the row should be done; end: when the whole run should."""
        pair = family.make(size)
        network = pair.network
        work = gflop(network)
        ws = network.mapping(torch.randn(1, network.z_dim, generator=torch.Generator().manual_seed(0)))
        remark = "" if size in family.published else "not a published size"
        network.place("cpu")
        img, fast = fastest(lambda: network.synthesis(ws), self.times, share)
        rate = work / fast
        speed = [f"{rate:.0f}", f"{rate / self.peak:.0%}"]
        guess = self.plain_rates.get(name, 0.0) * size**1.5
        if time.perf_counter() + guess > end:
            why = f"plain left out: about {guess:.0f} s, beyond the budget"
            return [f"{work:.1f}", "", _ms(fast), "", *speed, "", "; ".join(filter(None, (remark, why)))]
        expected, plain = fastest(lambda: pair.plain(ws), self.times, share)
        self.plain_rates[name] = plain / size**1.5
        apart = float((img - expected).abs().max() / (expected.max() - expected.min()))
        return [f"{work:.1f}", _ms(plain), _ms(fast), f"{plain / fast:.1f}x", *speed, f"{apart:.0e}", remark]


def convolution_gflops() -> float:
    """The best rate of one 3x3 convolution, 512 channels of 64 px, on torch's threads: on some CPUs above that of sgemm."""
    x = torch.randn(1, 512, 64, 64).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(512, 512, 3, 3).contiguous(memory_format=torch.channels_last)
    seconds = fastest(lambda: F.conv2d(x, kernel, padding=1), 6, math.inf)[1]
    return 2 * 9 * 512**2 * 64**2 / seconds / 1e9


def gflop(network: Generator) -> float:
    """Of one picture: what `models info` prints."""
    tensors = {key: TensorInfo("F32", tuple(tensor.shape), 0) for key, tensor in network.state_dict().items()}
    macs = cost.macs(checkpoint.describe(network, name="random"), tensors)
    return math.nan if macs is None else 2 * macs / 1e9


def fastest(call: Callable[[], Tensor], times: int, until: float) -> tuple[Tensor, float]:
    """The picture, and the seconds of the fastest of up to `times` calls: at least one, and none more that would end after `until`."""
    durations: list[float] = []
    while True:
        start = time.perf_counter()
        img = call()
        durations.append(time.perf_counter() - start)
        if len(durations) >= times or time.perf_counter() + min(durations) > until:
            return img, min(durations)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f} ms" if seconds < 0.1 else f"{1e3 * seconds:.0f} ms"


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return count


def _side(text: str) -> int:
    size = int(text)
    if not 32 <= size <= 1024 or size.bit_count() > 1:
        raise argparse.ArgumentTypeError(f"{text} is not one of 32, 64, 128, 256, 512, 1024")
    return size


if __name__ == "__main__":
    main()
