"""Does training run on this device, from the first line to a run that goes on, and how fast? The check to make before an hour of GPU.

    python -m benchmarks.training [--device cuda] [--config b128] [--seconds 3]

Prints two tables. Speed: steps launched one by one, replayed as CUDA graphs and compiled, with and without the projected critic (if its
weights are installed). Whole runs: a base and a stage on noise, begun, saved, gone on with. Exit code 1 if a run fails or a recorded step
does not learn what a plain one learns. Nothing is fetched; no picture is needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from installation.models import device as devices
from installation.training.base import train as base_train
from installation.training.base.config import BaseConfig, resolve
from installation.training.base.plan import Plan
from installation.training.base.probe import Probe, measure
from installation.training.base.trainee import BaseTrainee
from installation.training.dataset import write_dataset
from installation.training.features import efficientnet
from installation.training.feed import Feed
from installation.training.runs import STATE_NAME
from installation.training.stage.trainer import train_stage
from installation.training.team import Team

ROW = "{:34}{:>12}{:>10}{:>14}  {}"
MIB = 1 << 20
# After ten steps; sums on a GPU are not made in one order, and what is trained amplifies.
TOLERANCE = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--config", default="", help="b128 on CUDA, else tiny, if not given")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    options = parser.parse_args()
    device = devices.choose(options.device).device
    name = options.config or ("b128" if device.type == "cuda" else "tiny")
    print(
        f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else device}, torch {torch.__version__}, {name}"
    )
    speeds(resolve(name, {}), device, options.seconds)
    print(ROW.format("whole run", "images", "MiB", "seconds", "result"))
    with tempfile.TemporaryDirectory() as folder:
        good = [whole(kind, call) for kind, call in runs(name, device, Path(folder)).items()]
    if device.type == "cuda":
        worst = recorded_against_plain(replace(resolve(name, {}), batch=16, augment_kimg=0.0), device)
        good.append(worst < TOLERANCE)
        print(f"recorded steps against plain ones, relative: {worst:.2g}")
    print("all checks hold" if all(good) else "A CHECK FAILED")
    return 0 if all(good) else 1


def speeds(config: BaseConfig, device: torch.device, seconds: float) -> None:
    """The first table; the last column is how many times faster than the row above it that is launched one by one."""
    print(ROW.format("steps", "images/s", "MiB", "ms/step", "times"))
    on_gpu = device.type == "cuda"
    for batch in (32, 128) if on_gpu else (config.batch,):
        for projected in (1.0, 0.0) if efficientnet.installed() else (0.0,):
            recipe = replace(config, batch=batch, projected=projected)
            plain = 0.0
            plans = {"one by one": Plan(batch)}
            if on_gpu:
                plans |= {"replayed": Plan(batch, recorded=True), "compiled": Plan(batch, compiled=True)}
            for what, plan in plans.items():
                row = measure(recipe, plan, device, seconds)
                plain = plain or row.images_per_s
                label = f"{batch} at once, {'projected, ' if projected else ''}{what}"
                if not row.images_per_s:
                    print(ROW.format(label, "-", "-", "-", row.note), flush=True)
                    continue
                times = f"{row.images_per_s / plain:.2f}"
                numbers = (f"{row.images_per_s:.0f}", row.memory_mib or "-", f"{1e3 * batch / row.images_per_s:.1f}")
                print(ROW.format(label, *numbers, times), flush=True)


def runs(config: str, device: torch.device, folder: Path) -> dict[str, Callable[[float], tuple[int, Path]]]:
    """What is tried whole: name -> a call that trains to so many thousand images and gives how many were seen, and the run's folder."""
    recipe = resolve(config, {})
    pictures = noise(folder / "pictures.safetensors", recipe.size, 2 * recipe.batch)
    windows = noise(folder / "windows.safetensors", 160, 64)

    def base(kimg: float) -> tuple[int, Path]:
        # The probe has its own rows above.
        chosen = Plan(recipe.batch, recorded=device.type == "cuda")
        probe, base_train.probe = base_train.probe, lambda *_, **__: Probe((), chosen, 0.0)
        try:
            settings = {"held_out": "0", "show_kimg": "1000", "warm_kimg": "0"}
            out = base_train.train_base(
                pictures, folder / "base", config=config, kimg=kimg, device=str(device), overrides=settings
            )
        finally:
            base_train.probe = probe
        return out.nimg, folder / "base"

    def stage(kimg: float) -> tuple[int, Path]:
        settings = {"warm_kimg": "0.01", "show_kimg": "1000"}
        out = train_stage(
            windows, folder / "stage", config="nano", kimg=kimg, device=str(device), overrides=settings,
            previous=folder / "base" / "G_ema.safetensors",
        )  # fmt: skip
        return out.nimg, folder / "stage"

    steps = 20 if device.type == "cuda" else 2
    return {
        f"train base, {config}": lambda share: base(share * steps * recipe.batch / 1000),
        "train stage, nano": lambda share: stage(share * steps * 8 / 1000),
    }


def whole(name: str, call: Callable[[float], tuple[int, Path]]) -> bool:
    """Half of it, then the rest from the saved state."""
    began = time.perf_counter()
    try:
        first, folder = call(0.5)
        images, folder = call(1.0)
        fault = "" if images > first > 0 else f"it did not go on: {first} images, then {images}"
    except Exception as error:  # the row says so, and the other rows are still wanted
        print(ROW.format(name, "-", "-", "-", f"{type(error).__name__}: {str(error)[:120]}"), flush=True)
        return False
    size = (folder / STATE_NAME).stat().st_size / MIB
    print(ROW.format(name, images, f"{size:.0f}", f"{time.perf_counter() - began:.1f}", fault or "ok"), flush=True)
    return not fault


def recorded_against_plain(config: BaseConfig, device: torch.device, steps: int = 10) -> float:
    """Largest relative difference of the critic's loss in any of the first steps, recorded against launched one by one."""
    images = np.random.default_rng(0).integers(0, 256, (64, 3, config.size, config.size), np.uint8)
    losses = []
    for plan in (Plan(config.batch), Plan(config.batch, recorded=True)):
        feed = Feed(images, np.arange(len(images)), device, seed=0, flip=True)
        trainee = BaseTrainee(config, plan, feed, None, seed=0, device=device, team=Team(), on_show=lambda trainee: {})
        losses.append(torch.stack([trainee.step()["loss_critic"] for _ in range(steps)]).cpu())
    plain, recorded = losses
    return float(((recorded - plain).abs() / plain.abs().clamp_min(1e-3)).max())


def noise(path: Path, size: int, count: int) -> Path:
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 256, (3, size, size), np.uint8) for _ in range(count))
    write_dataset(path, pictures, names=[f"{i}.png" for i in range(count)], manifest={"licences": []}, size=size)
    return path


if __name__ == "__main__":
    sys.exit(main())
