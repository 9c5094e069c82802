"""What only a CUDA machine can tell, in one run: recorded graph against eager, half against float32, and how long a picture takes.

    python -m benchmarks.gpu_check [--device cuda:0]

Exit code 0 if every check holds (and on a machine without CUDA, where it says so), 1 otherwise. Random weights; nothing is fetched.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from installation.models import random_weights
from installation.models.cascade import Cascade
from installation.models.network import Generator, Network
from installation.models.pack import Packer, pack_slow

# A grey level of 255 is 0.0078 of the range -1..1. Half keeps 11 bits; single pixels differ by several roundings.
HALF_TOLERANCE = 0.03
FLOAT32_TOLERANCE = 5e-3  # cuDNN runs float32 convolutions in TF32
REPEATS = 50


def cases() -> dict[str, Callable[[], tuple[Generator, list[Network]]]]:
    """name -> networks made anew, with the same weights at each call."""
    wide = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    return {
        "dcgan 64 > 256 > 1024": lambda: (
            random_weights.dcgan(z_dim=100, channels=[512, 256, 128, 64]),
            [_compact(0), _compact(1)],
        ),
        "stylegan2 256 > 1024": lambda: (
            random_weights.stylegan2(z_dim=512, w_dim=512, channels=wide[:7]),
            [_compact(0)],
        ),
        "stylegan2 1024": lambda: (random_weights.stylegan2(z_dim=512, w_dim=512, channels=wide), []),
        "stylegan2 1024, no clamp": lambda: (
            random_weights.stylegan2(z_dim=512, w_dim=512, channels=wide, conv_clamp=None),
            [],
        ),
    }


def _compact(seed: int) -> Network:
    return random_weights.srvgg(seed, num_feat=64, num_conv=16, scale=4, unit_range=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...")
    device = parser.parse_args().device
    if not torch.cuda.is_available():
        print("This check needs a machine with CUDA: torch finds no device here. Nothing was checked.")
        return 0
    torch.cuda.set_device(torch.device(device))
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(
        f"{'cascade':28}{'graph ms':>10}{'eager ms':>10}{'fp32 ms':>10}{'pack ms':>9}{'graph-eager':>13}{'half-fp32':>11}  result"
    )
    good = [_check(name, make, device) for name, make in cases().items()]
    print("all checks hold" if all(good) else "A CHECK FAILED")
    return 0 if all(good) else 1


def _check(name: str, make: Callable[[], tuple[Generator, list[Network]]], device: str) -> bool:
    """One row. Held: same picture with and without graph, close in half, input honoured on replay, no synchronisation, exact packing."""
    z = torch.randn(3, make()[0].z_dim, generator=torch.Generator().manual_seed(0))
    graphed, eager = Cascade(*make(), device=device), Cascade(*make(), device=device, graph=False)
    exact = Cascade(*make(), device=device, dtype="float32", graph=False)
    on_cpu = Cascade(*make(), device="cpu")
    faults, pictures, graph_error, half_error = [], [], 0.0, 0.0
    ws = graphed.mapping(z[:1])
    for row in z:
        ws = graphed.truncate(graphed.mapping(row[None]), 0.7)
        pictures = [cascade(ws).clone() for cascade in (graphed, eager, exact)]
        graph_error = max(graph_error, _difference(pictures[0], pictures[1]))
        half_error = max(half_error, _difference(pictures[1], pictures[2]))
    if not _difference(pictures[2].cpu(), on_cpu(ws.cpu())) < FLOAT32_TOLERANCE:
        faults.append("float32 differs from the CPU's")
    if graphed._graphed is None or not graphed._graphed.recorded:
        faults.append("no graph was recorded")
    if not graph_error < HALF_TOLERANCE / 10:
        faults.append("graph differs from eager")
    if not half_error < HALF_TOLERANCE:
        faults.append("half differs from float32")
    ws = graphed.truncate(graphed.mapping(z[:1].to(device)), torch.tensor(0.7, device=device)).contiguous()
    faults += _synchronisations(graphed, ws)
    packer = Packer(*graphed.size, device=device)
    frame = np.zeros((graphed.size[1], graphed.size[0], 4), np.uint8)
    img = graphed(ws)
    if not packer.pack(img, frame) or np.abs(frame.astype(int) - pack_slow(img)).max() > 1:
        faults.append("packing differs from its definition")
    if packer.pack(img.index_fill(3, torch.tensor([0], device=device), float("nan")), frame):
        faults.append("NaN was not noticed")
    times = [_milliseconds(lambda cascade=cascade: cascade(ws)) for cascade in (graphed, eager, exact)]
    packing = _milliseconds(lambda: packer.pack(img, frame))
    numbers = "".join(f"{value:10.2f}" for value in times) + f"{packing:9.2f}{graph_error:13.2g}{half_error:11.2g}"
    print(f"{name:28}{numbers}  {'ok' if not faults else '; '.join(faults)}", flush=True)
    return not faults


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of b's range. NaN anywhere gives NaN."""
    return float((a - b).abs().max() / (b.max() - b.min()))


def _synchronisations(cascade: Cascade, ws: Tensor) -> list[str]:
    """Faults found with torch's own watch over host synchronisation."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        cascade(cascade.truncate(ws, torch.tensor(1.0, device=ws.device)))
    except RuntimeError as error:
        return [f"the host waits for the device ({str(error).splitlines()[0][:80]})"]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return []


def _milliseconds(call: Callable[[], object]) -> float:
    """Median wall-clock time of a call with its work on the device finished."""
    times = []
    for _ in range(REPEATS):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return 1e3 * sorted(times)[REPEATS // 2]


if __name__ == "__main__":
    sys.exit(main())
