"""How close a recording comes to what it is made of, and whether its memory stays flat.

    python -m benchmarks.record                                                     # throughput
    python -m benchmarks.record --show first_light --size 1920x1080 --frames 40     # of a real show
    python -m benchmarks.record --memory-frames 2000                                # and memory at 3840x2160

Throughput: the generator alone, the look with its read-back alone, the encoder alone (with the very frames) and all
together as `installation record` runs them, in turn, in one run on the same machine. The film should reach 0.9 of the
slower of generator and encoder. With a GPU those two share nothing. On a CPU they share its cores: each gets half of them,
alone as together (`threads` of [cascade], `--threads` of the encoder). Two figures
help to read a miss: all cores divided by the CPU time of generator, look and encoder, which no film can pass; and the
generator in one thread beside look and encoder in another, neither waiting for the other, which shows how much sharing
costs. That one is no goal: look and encoder then do more than a film asks of them. Without --show the
networks have random weights and are about as slow as the encoder, where sharing costs most.

Memory: the resident size of this process and its encoders over a long recording of 4K frames. There the network is left
out: a few prepared light frames take its place, because drawing is not what could grow. Everything behind it (queues,
look, read-back, encoders, manifest) is the real thing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from installation import opening
from installation.cli.options import parse_size
from installation.film import making
from installation.film.recording import Recording
from installation.film.wish import Wish, plan
from installation.models import checkpoint, random_weights
from installation.output.video.look import FilmLook
from installation.output.video.segments import SegmentWriter
from installation.render.film import FilmRenderer
from installation.resources import shaders_dir
from installation.show.state import ShowState

GOAL = 0.9
_SAMPLES = 8
_PICTURES = 16


def show(folder: Path) -> Path:
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
        "[cascade]\nbase = 'base.safetensors'\nstages = ['x4.safetensors', 'x4.safetensors']\n[params]\ndrift.speed = 0.3\n"
    )
    return path


def recording(name: str, *, size: str, threads: int, **wish) -> Recording:
    """Of the show of that name or file. threads: CPU threads of the networks, and of the encoder. The rest: see Wish."""
    options = Wish(parse_size(size), "25", None, None, False, 0.0, None, "0s", None, None, None, None, threads)
    path, loaded = opening.load_show(name, {"cascade": {"threads": threads}})
    return plan(
        path,
        loaded,
        replace(options, **wish),
        lambda changed: opening.open_session(path, changed, headless=True, verbose=False),
        lambda text: None,
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """fps: frames a second. cpu_s: CPU time of this process and its encoders for a frame."""

    fps: float
    cpu_s: float


@contextmanager
def measured(frames: int, figures: list[Figure]) -> Iterator[None]:
    """Adds the figure of what is done meanwhile."""
    began, before = time.perf_counter(), _cpu_s()
    yield
    figures.append(Figure(frames / (time.perf_counter() - began), (_cpu_s() - before) / frames))


def _cpu_s() -> float:
    """Of this process and of all children that have ended."""
    return sum(os.times()[:4])


class Parts:
    """What a recording is made of, each measured alone, and all of it together."""

    def __init__(self, made: Recording, renderer: FilmRenderer) -> None:
        self._made, self._renderer = made, renderer
        self._light = self._light_frame()
        self._states = [state for state in made.film.states(made.session.show) if state is not None]
        self._frames: list[np.ndarray] = []
        look = self._look()
        for state in self._states[:_PICTURES]:
            renderer.draw(state, self._light)
            self._frames.append(self._frame())
            look.draw(state, self._light, self._frames[-1])
        look.close()

    def generator(self, figures: list[Figure]) -> None:
        with measured(len(self._states), figures):
            for state in self._states:
                self._renderer.draw(state, self._light)

    def look(self, figures: list[Figure]) -> None:
        """The look and its read-back, over and over the same light frame."""
        look, out = self._look(), self._frame()
        look.draw(self._states[0], self._light, out)  # compiles
        with measured(len(self._states), figures):
            for state in self._states:
                look.draw(state, self._light, out)
        look.close()

    def encoder(self, figures: list[Figure]) -> None:
        """Segments and manifest included. Every frame is a picture of the film, over and over the same sixteen."""
        with measured(len(self._states), figures), self._writer() as writer:
            for number in range(len(self._states)):
                writer.write(self._frames[number % len(self._frames)])

    def beside(self, figures: list[Figure]) -> None:
        """The generator, and look and encoder, each as fast as it can while the other works. The figure is the slower one's."""
        rest, done = [], [threading.Event(), threading.Event()]

        def look_and_encode() -> None:
            look, light, out = self._look(), self._light.copy(), self._frame()
            with self._writer() as writer:
                self._until(done, 1, lambda state: (look.draw(state, light, out), writer.write(out)), rest)
            look.close()

        other = threading.Thread(target=look_and_encode)
        other.start()
        drawn: list[Figure] = []
        self._until(done, 0, lambda state: self._renderer.draw(state, self._light), drawn)
        other.join()
        figures.append(min(*drawn, *rest, key=lambda figure: figure.fps))

    def together(self, figures: list[Figure]) -> None:
        """From the first frame drawn to the last segment closed."""
        with measured(len(self._states), figures):
            making.make(self._made, range(self._made.segments), self._renderer)
        shutil.rmtree(self._made.folder, ignore_errors=True)

    def _until(
        self, done: list[threading.Event], own: int, work: Callable[[ShowState], object], figures: list[Figure]
    ) -> None:
        """Works on every state, which is what counts, and then goes on until all are done."""
        with measured(len(self._states), figures):
            for state in self._states:
                work(state)
        done[own].set()
        for state in itertools.cycle(self._states):
            if all(event.is_set() for event in done):
                return
            work(state)

    @contextmanager
    def _writer(self) -> Iterator[SegmentWriter]:
        writer = SegmentWriter(self._made.folder, self._made.spec)
        yield writer
        writer.close()
        shutil.rmtree(self._made.folder, ignore_errors=True)

    def _look(self) -> FilmLook:
        made = self._made
        return FilmLook(made.session.show, made.spec, made.picture, shaders_dir())

    def _light_frame(self) -> np.ndarray:
        return np.empty((self._renderer.size[1], self._renderer.size[0], 4), np.float16)

    def _frame(self) -> np.ndarray:
        return np.empty(self._made.spec.frame_shape, np.uint8 if self._made.spec.depth == 8 else np.uint16)


def throughput(made: Recording, renderer: FilmRenderer, rounds: int, say: Callable[[str], None]) -> Table:
    """In turn, and the best of each: what else the machine does meanwhile falls on all alike. Each is said when it is known."""
    parts = Parts(made, renderer)
    measures = {
        "generator alone": parts.generator,
        "look and read-back alone": parts.look,
        "encoder alone": parts.encoder,
        "slower of both, side by side": parts.beside,
        "recording": parts.together,
    }
    found: dict[str, list[Figure]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            measure(found[name])
            say(f"{name}: {found[name][-1].fps:.2f} fps")
    best = {name: max(figures, key=lambda figure: figure.fps) for name, figures in found.items()}
    table = Table("what", "fps", "CPU ms a frame", title="throughput")
    generator, look, encoder, beside, film = best.values()
    for name, figure in best.items():
        table.add_row(name, f"{figure.fps:.2f}", "" if figure is beside else f"{1e3 * figure.cpu_s:.1f}")
    slower = min(generator.fps, encoder.fps)
    share = film.fps / slower
    table.add_row(
        "recording / slower, alone", f"{share:.2f}", f"goal {GOAL} {'reached' if share >= GOAL else 'missed'}"
    )
    table.add_row("recording / slower, side by side", f"{film.fps / beside.fps:.2f}", "")
    cores = os.cpu_count() or 1
    limit = cores / (generator.cpu_s + look.cpu_s + encoder.cpu_s)
    table.add_row(f"{cores} cores / CPU time of all three", f"{limit:.2f}", f"{limit / slower:.2f} of the slower")
    return table


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


def memory(name: str, out: Path, frames: int, preset: str, say: Callable[[str], None]) -> Table:
    """The resident size at points of a recording of 4K frames."""
    made = recording(name, frames=frames, size="3840x2160", threads=0, preset=preset, out=out)
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

    making.make(made, range(made.segments), Prepared(size), progress=progress)
    return table


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # ended meanwhile
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", help="a show's name or file; without it networks with random weights")
    parser.add_argument("--size", default="960x960")
    parser.add_argument("--frames", type=int, default=300, help="the last segment's drain should not count")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--preset", default="museum-h264")
    parser.add_argument("--memory-frames", type=int, default=0, help="0 leaves it out")
    options = parser.parse_args()
    console = Console()
    threads = 0 if torch.cuda.is_available() else max((os.cpu_count() or 2) // 2, 1)
    with tempfile.TemporaryDirectory(prefix="installation-record-") as temporary:
        folder = Path(temporary)
        name = options.show or str(show(folder))
        wish = {"frames": options.frames, "size": options.size, "preset": options.preset}
        made = recording(name, threads=threads, out=folder / "film", **wish)
        renderer = making.open_renderer(made)
        console.print(renderer.describe(), f"· {made.preset} · {made.frames} frames", highlight=False)
        console.print(throughput(made, renderer, options.rounds, console.print))
        if options.memory_frames:
            console.print(memory(name, folder / "long", options.memory_frames, options.preset, console.print))


if __name__ == "__main__":
    main()
