"""How close a recording comes to what it is made of, and whether its memory stays flat.

    python -m benchmarks.record                          # throughput
    python -m benchmarks.record --memory-frames 2000     # and memory at 3840x2160

Throughput: the generator alone, the encoder alone (with the very frames) and both together as `installation record`
runs them, in one run on the same machine, networks with random weights. Together should reach 0.9 of the slower one. That
presumes that the two do not share cores: with a GPU they do not; on a CPU each gets half of the cores, alone as
together.

Memory: the resident size of this process and its encoders over a long recording of 4K frames. There the network is left
out: a few prepared light frames take its place, because drawing is not what could grow. Everything behind it (queues,
look, read-back, encoders, manifest) is the real thing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from installation import cli, cli_record, record
from installation.cli_record import Wish
from installation.models import checkpoint, random_weights
from installation.output.video.look import FilmLook
from installation.output.video.segments import SegmentWriter
from installation.recording import Recording
from installation.render.film import FilmRenderer
from installation.resources import shaders_dir
from installation.show.state import ShowState

GOAL = 0.9
_SAMPLES = 8


def show(folder: Path, threads: int) -> Path:
    """A show of 512 px with random weights: a generator and two upscalers, about as slow as the encoder on a CPU."""
    networks = {
        "base": random_weights.dcgan(1, channels=[128, 64, 32]),
        "x4": random_weights.srvgg(2, scale=4, num_feat=24, num_conv=4),
    }
    for name, network in networks.items():
        described = checkpoint.describe(network, name=name, licence="made by the benchmark")
        checkpoint.save(folder / f"{name}.safetensors", network.state_dict(), described)
    path = folder / "show.toml"
    path.write_text(
        f"[cascade]\nbase = 'base.safetensors'\nstages = ['x4.safetensors', 'x4.safetensors']\nthreads = {threads}\n"
        "[params]\ndrift.speed = 0.3\n"
    )
    return path


def recording(path: Path, *, size: str, **wish) -> Recording:
    options = Wish(cli._parse_size(size), "25", None, None, False, 0.0, None, "0s", None, None, None, None, 0)
    loaded = cli._load_show(str(path), {})
    return cli_record.plan(
        *loaded,
        replace(options, **wish),
        lambda changed: cli._session(path, changed, headless=True, verbose=False),
        lambda text: None,
    )


def alone_generating(made: Recording, renderer: FilmRenderer) -> float:
    """fps."""
    light = np.empty((renderer.size[1], renderer.size[0], 4), np.float16)
    began = time.perf_counter()
    for state in made.film.states(made.session.show):
        assert state is not None
        renderer.draw(state, light)
    return made.film.total / (time.perf_counter() - began)


def alone_encoding(made: Recording, renderer: FilmRenderer) -> float:
    """fps, segments and manifest included. Every frame is a picture of the film, over and over the same sixteen."""
    look = FilmLook(made.session.show, made.spec, made.picture, shaders_dir())
    light = np.empty((renderer.size[1], renderer.size[0], 4), np.float16)
    frames = []
    for _, state in zip(range(16), made.film.states(made.session.show), strict=False):
        assert state is not None
        renderer.draw(state, light)
        frames.append(np.empty(made.spec.frame_shape, np.uint8 if made.spec.depth == 8 else np.uint16))
        look.draw(state, light, frames[-1])
    look.close()
    writer = SegmentWriter(made.folder, made.spec)
    began = time.perf_counter()
    for number in range(made.film.total):
        writer.write(frames[number % 16])
    writer.close()
    return made.film.total / (time.perf_counter() - began)


def together(made: Recording, renderer: FilmRenderer) -> float:
    """fps, from the first frame drawn to the last segment closed."""
    began = time.perf_counter()
    record.make(made, range(made.segments), renderer)
    return made.film.total / (time.perf_counter() - began)


class Prepared(FilmRenderer):
    """Gives prepared light frames in turn."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        rng = np.random.default_rng(1)
        small = rng.random((3, size[1] // 16, size[0] // 16, 4), np.float32)
        self._lights = [np.kron(one, np.ones((16, 16, 1))).astype(np.float16) for one in small]
        self._count = 0

    def draw(self, state: ShowState, out: np.ndarray) -> None:
        np.copyto(out, self._lights[self._count % len(self._lights)])
        self._count += 1


def memory(path: Path, out: Path, frames: int, preset: str, say: Callable[[str], None]) -> Table:
    """The resident size at points of a recording of 4K frames."""
    made = recording(path, frames=frames, size="3840x2160", preset=preset, out=out)
    size = made.picture
    this = psutil.Process()
    table = Table(
        "frames", "this process, MB", "its encoders, MB", title=f"memory, 3840x2160, {made.preset}, prepared frames"
    )
    due = [max(frames * k // _SAMPLES, 1) for k in range(1, _SAMPLES + 1)]
    began = time.perf_counter()

    def progress(written: int, closed: int) -> None:
        if due and written >= due[0]:
            due.pop(0)
            encoders = sum(_rss(child) for child in this.children())
            table.add_row(str(written), f"{_rss(this) / 1e6:.0f}", f"{encoders / 1e6:.0f}")
            say(f"{written} frames, {written / (time.perf_counter() - began):.2f} fps, {_rss(this) / 1e6:.0f} MB")

    record.make(made, range(made.segments), Prepared(size), progress=progress)
    return table


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # ended meanwhile
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="960x960")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="museum-h264")
    parser.add_argument("--memory-frames", type=int, default=0, help="0 leaves it out")
    options = parser.parse_args()
    console = Console()
    on_gpu = torch.cuda.is_available()
    threads = 0 if on_gpu else max((os.cpu_count() or 2) // 2, 1)
    with tempfile.TemporaryDirectory(prefix="installation-record-") as temporary:
        folder = Path(temporary)
        path = show(folder, threads)
        made = recording(
            path, frames=options.frames, size=options.size, preset=options.preset, out=folder / "film", threads=threads
        )
        renderer = record.open_renderer(made)
        console.print(renderer.describe(), f"· {made.preset} · {made.frames} frames", highlight=False)
        alone_generating(made.model_copy(update={"frames": 10}), renderer)
        # In turn, and the best of each: what else the machine does meanwhile falls on all three alike.
        figures: tuple[list[float], ...] = ([], [], [])
        for _ in range(options.rounds):
            for measure, found in zip((alone_generating, alone_encoding, together), figures, strict=True):
                found.append(measure(made, renderer))
                shutil.rmtree(made.folder, ignore_errors=True)
        generator, encoder, both = map(max, figures)
        share = both / min(generator, encoder)
        table = Table("what", "fps", title="throughput")
        for name, fps in (("generator alone", generator), ("encoder alone", encoder), ("recording", both)):
            table.add_row(name, f"{fps:.2f}")
        verdict = "reached" if share >= GOAL else "missed"
        table.add_row("recording / slower of the two", f"{share:.2f}  (goal {GOAL} {verdict})")
        console.print(table)
        if options.memory_frames:
            console.print(memory(path, folder / "long", options.memory_frames, options.preset, console.print))


if __name__ == "__main__":
    main()
