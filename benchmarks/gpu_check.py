"""What only a CUDA machine can tell, in one run: recorded graph against eager, half against float32, that the host never waits for the
device, and how long a picture takes; for every family of generators, for cascades, and for a show in which everything moves.

    python -m benchmarks.gpu_check [--device cuda:0] [--only WORD ...]

Exit code 0 if every check holds (and on a machine without CUDA, where it says so), 1 otherwise. Random weights, but for the shows of
this repository; nothing is fetched.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import pairs
from installation import opening
from installation.models import checkpoint, random_weights
from installation.models import device as devices
from installation.models.cascade import Cascade
from installation.models.network import Generator, Network
from installation.models.pack import Packer, pack_slow
from installation.render.renderer import Renderer
from installation.show.clock import FrameClock
from installation.show.config import Show
from installation.show.messages import ControlMessage
from installation.show.reading import parse
from installation.show.state import first_state
from installation.show.step import step

Networks = tuple[Generator, Sequence[Network]]

# A grey level of 255 is 0.0078 of the range -1..1. Half keeps 11 bits; single pixels differ by several roundings.
HALF_TOLERANCE = 0.03
FLOAT32_TOLERANCE = 5e-3  # cuDNN runs float32 convolutions in TF32
REPEATS = 50
SHOW = "a show in which all moves"
SHIPPED = "portraits"  # the show whose models are all in this repository
WIDE = [512, 512, 512, 512, 256, 128, 64, 32, 16]
HEAD = "{:30}{:>10}{:>10}{:>10}{:>9}{:>13}{:>11}  {}"
ROW = "{:30}{:10.2f}{:10.2f}{:10.2f}{:9.2f}{:13.2g}{:11.2g}  {}"


def cases() -> dict[str, Callable[[], Networks]]:
    """name -> the networks of one row, not placed yet."""
    rows: dict[str, Callable[[], Networks]] = {
        f"{name} {size}": partial(_alone, name, size)
        for name, family in pairs.FAMILIES.items()
        for size in family.published[:1]
    }
    wide = partial(random_weights.stylegan2, z_dim=512, w_dim=512)
    rows["stylegan2 1024"] = lambda: (wide(channels=WIDE), [])
    rows["stylegan2 1024, no clamp"] = lambda: (wide(channels=WIDE, conv_clamp=None), [])
    rows["stylegan2 256 > 1024"] = lambda: (wide(channels=WIDE[:7]), [_compact(0)])
    rows["dcgan 64 > 256 > 1024"] = lambda: (
        random_weights.dcgan(z_dim=100, channels=WIDE[3:7]),
        [_compact(0), _compact(1)],
    )
    rows["lucidrains 256, attention"] = lambda: (pairs.lucidrains(256, attention=[3, 4], constant=False).network, [])
    rows["projected-gan 256, classes"] = lambda: (pairs.fastgan(256, width=128, projected=True, classes=5).network, [])
    path, shipped = opening.load_show(SHIPPED, {})
    rows |= {f"{SHIPPED}: {model}": partial(_of_show, path, shipped, model) for model in shipped.chains()}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...")
    parser.add_argument("--only", nargs="+", default=[""], help="the rows whose names hold one of these words")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("This check needs a machine with CUDA: torch finds no device here. Nothing was checked.")
        return 0
    torch.cuda.set_device(devices.choose(options.device).device)
    print(f"{torch.cuda.get_device_name(options.device)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print(HEAD.format("cascade", "graph ms", "eager ms", "fp32 ms", "pack ms", "graph-eager", "half-fp32", "result"))

    def wanted(name: str) -> bool:
        return any(word in name for word in options.only)

    good = [check(name, make(), options.device) for name, make in cases().items() if wanted(name)]
    if wanted(SHOW):
        faults = show_faults(options.device, random_weights.stylegan2(c_dim=4, channels=WIDE[:7]), [_compact(0)])
        print(f"{SHOW:30}{_result(faults)}")
        good.append(not faults)
    print("all checks hold" if all(good) else "A CHECK FAILED")
    return 0 if all(good) else 1


def check(name: str, networks: Networks, device: str, *, repeats: int = REPEATS) -> bool:
    """One row. Held: same picture with and without graph, close in half, input honoured on replay, no waiting, exact packing.

    On a CPU, for this program's own test: nothing is recorded there, all is float32, and nobody could wait.
    """

    def cascade(where: str, **options: object) -> Cascade:
        generator, stages = copy.deepcopy(networks)
        return Cascade(generator, stages, device=where, **options)  # pyright: ignore[reportArgumentType]

    z = torch.randn(3, networks[0].z_dim, generator=torch.Generator().manual_seed(0))
    graphed, eager = cascade(device), cascade(device, graph=False)
    exact, on_cpu = cascade(device, dtype="float32", graph=False), cascade("cpu")
    faults, pictures, graph_error, half_error = [], [], 0.0, 0.0
    ws = graphed.mapping(z[:1])
    for row in z:
        ws = graphed.truncate(graphed.mapping(row[None]), 0.7)
        pictures = [each(ws).clone() for each in (graphed, eager, exact)]
        graph_error = _larger(graph_error, _difference(pictures[0], pictures[1]))
        half_error = _larger(half_error, _difference(pictures[1], pictures[2]))
    if not _difference(pictures[2].cpu(), on_cpu(ws.cpu())) < FLOAT32_TOLERANCE:
        faults.append("float32 differs from the CPU's")
    if torch.device(device).type == "cuda" and (graphed._graphed is None or not graphed._graphed.recorded):
        faults.append("no graph was recorded")
    if not graph_error < HALF_TOLERANCE / 10:
        faults.append("graph differs from eager")
    if not half_error < HALF_TOLERANCE:
        faults.append("half differs from float32")
    ws = graphed.truncate(graphed.mapping(z[:1].to(device)), torch.tensor(0.7, device=device)).contiguous()
    packer, psi = Packer(*graphed.size, device=device), torch.tensor(1.0, device=device)
    for kind, each in (("recorded", graphed), ("eager", eager)):
        try:
            with never_waiting(device):
                packer.start(each(each.truncate(ws, psi)))
        except RuntimeError as error:
            faults.append(f"{kind}, the host waits for the device ({str(error).splitlines()[0][:80]})")
    frame = np.zeros((graphed.size[1], graphed.size[0], 4), np.uint8)
    img = graphed(ws)
    if not packer.pack(img, frame) or np.abs(frame.astype(int) - pack_slow(img)).max() > 1:
        faults.append("packing differs from its definition")
    if packer.pack(img.index_fill(3, torch.tensor([0], device=device), float("nan")), frame):
        faults.append("NaN was not noticed")
    times = [_milliseconds(partial(each, ws), device, repeats) for each in (graphed, eager, exact)]
    packing = _milliseconds(lambda: packer.pack(img, frame), device, repeats)
    print(ROW.format(name, *times, packing, graph_error, half_error, _result(faults)), flush=True)
    return not faults


def show_faults(device: str, generator: Generator, stages: Sequence[Network]) -> list[str]:
    """From state to picture, as the engine goes it: a walk over many keyframes, axes, a second portrait, fading classes and cutoff."""
    axes = [{"name": "smile", "index": 0}, {"name": "light", "source": "sefa", "index": 1, "layers": [2, 4]}]
    cascade = {"base": "none", "device": device}
    show = parse({"cascade": cascade, "axes": axes, "walk": {"space": "w"}}, where="gpu_check", folder=Path("."))
    renderer, clock, state = Renderer(show, generator, stages), FrameClock(25), first_state(show)
    packer = Packer(*renderer.size, device=device)
    said = {
        0: [ControlMessage("drift/speed", 4.0, 0.0), ControlMessage("axis/smile", 2.0, 1.0)],
        5: [ControlMessage("style/mix", 0.7, 0.5), ControlMessage("latent/cutoff", 3.0, 0.5)],
        10: [ControlMessage("class/select", 2, 0.4), ControlMessage("axis/light", -2.0, 0.3)],
        20: [ControlMessage("walk/seed", 9, 0.3), ControlMessage("style/seed", 4, 0.3)],
    }
    for number in range(40):
        state = step(state, said.get(number, ()), clock.tick(), show)
        try:
            with never_waiting(device if number else "cpu"):  # the first picture is where the graph is recorded
                packer.start(renderer.img(state))
        except RuntimeError as error:
            return [f"picture {number}: the host waits for the device ({str(error).splitlines()[0][:80]})"]
        if not packer.finish(np.empty((packer.height, packer.width, 4), np.uint8)):
            return [f"picture {number} is not finite"]
    return []


@contextmanager
def never_waiting(device: str) -> Iterator[None]:
    """RuntimeError, by torch's own watch, where the host waits for a CUDA device; nothing is watched on others."""
    if torch.device(device).type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _alone(name: str, size: int) -> Networks:
    return pairs.FAMILIES[name].make(size).network, []


def _of_show(path: Path, config: Show, model: str) -> Networks:
    files = opening.find_networks(config, path.parent)
    generator, *stages = (checkpoint.load(files[name]) for name in config.chains()[model])
    assert isinstance(generator, Generator)
    return generator, stages


def _compact(seed: int) -> Network:
    return random_weights.srvgg(seed, num_feat=64, num_conv=16, scale=4, unit_range=True)


def _result(faults: list[str]) -> str:
    return "; ".join(faults) or "ok"


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference as a share of b's range. NaN anywhere gives NaN."""
    return float((a - b).abs().max() / (b.max() - b.min()))


def _larger(a: float, b: float) -> float:
    """The larger one; NaN if either is."""
    return float(np.maximum(a, b))


def _milliseconds(call: Callable[[], object], device: str, repeats: int) -> float:
    """Median wall-clock time of a call with its work on the device finished."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None
    times = []
    for _ in range(repeats):
        wait()
        begin = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - begin)
    return 1e3 * sorted(times)[repeats // 2]


if __name__ == "__main__":
    sys.exit(main())
