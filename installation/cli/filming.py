"""What `record`, `shard` and `join` do with a Recording: begin or go on, make it here or in shards, join; and what people see meanwhile."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from installation import machine
from installation.errors import ConfigError, OutputError
from installation.terminal import cell, say

if TYPE_CHECKING:
    from installation.film.recording import Recording
    from installation.output.video.claims import Claim

_SAY_EVERY_S = 30.0
_BYTES_A_PIXEL = 260  # this process 132, measured at 4096 and 8192 px; x264 and x265 about as much again


def begin(recording: Recording, own: Claim, *, resume: bool, say: Callable[[str], None]) -> list[int]:
    """Writes the recording's description, or checks it against the one there. Gives the segments that are to be made.

    own: this process's claim on the folder. OutputError: another process is at work there, or an unfinished recording that
    `resume` does not ask for. ConfigError: it is another one.
    """
    from installation.film import making
    from installation.film.recording import FILE
    from installation.output.video.manifest import forget, read_segments

    folder = recording.folder
    begun = (folder / FILE).exists()
    if not resume and (begun or read_segments(folder)):
        with own.only() as alone:
            if not alone:
                raise OutputError(
                    "another process is recording here", where=str(folder), fix="Wait for it, or choose another --out"
                )
            if read_segments(folder):
                raise OutputError(
                    "holds an unfinished recording",
                    where=str(folder),
                    fix="Go on with --resume, or remove the folder to begin anew",
                )
            forget(folder)  # of a beginning that was killed
            (folder / FILE).unlink(missing_ok=True)
        begun = False
    if begun:
        settle(recording)
    wanted = making.missing(recording)
    making.require_space(recording, wanted)
    _weigh(recording, say)
    if not begun:
        settle(recording)
    if resume and len(wanted) < recording.segments:
        say(f"{recording.segments - len(wanted)} of {recording.segments} segments are closed already")
    return wanted


def _weigh(recording: Recording, say: Callable[[str], None]) -> None:
    """Says so where the frames on their way may be more than the machine's memory."""
    from installation.output.video.disk import megabytes

    width, height = recording.size
    needed, there = width * height * _BYTES_A_PIXEL, machine.total_memory()
    if there is not None and needed > there:
        say(
            f"frames of {width}x{height} need about {megabytes(needed)} of memory, and there are {megabytes(there)} here"
        )


def run(
    recording: Recording, *, resume: bool, keep: bool, workers: int, executor: str, say: Callable[[str], None]
) -> None:
    """Makes the film: in this process, or its shards in several."""
    if executor not in ("local", "ray"):
        raise ConfigError("local or ray is wanted", where="--executor")
    if executor == "ray" and recording.shards == 1:
        raise ConfigError("ray makes shards, and there is one", where="--executor", fix="Give --shards too")
    if not _finished(recording, resume=resume):
        with stoppable(), _at_work(recording, "film") as own:
            wanted = begin(recording, own, resume=resume, say=say)
            if recording.shards == 1:
                _make(recording, wanted, say)
            elif wanted:
                _farm(recording, wanted, workers, executor, say)
    join(recording, keep=keep, say=say)


@contextmanager
def _at_work(recording: Recording, name: str) -> Iterator[Claim]:
    """A claim on the recording's folder. A beginning of which nothing is closed binds nobody: after a fault the next may be another
    film. But shards of the same film may be at work in the folder that this one made."""
    from installation.film.recording import FILE
    from installation.output.video.claims import claim
    from installation.output.video.manifest import read_segments

    with claim(recording.folder, name) as own:
        try:
            yield own
        except BaseException:
            with suppress(OutputError):  # what went wrong before is to be told
                if own.new and not read_segments(recording.folder):
                    own.remove(FILE)
            raise


def _finished(recording: Recording, *, resume: bool) -> bool:
    """Whether the film is there and this recording's, whole: then at most its segments are left to remove. OutputError: what is there
    is another, or is not asked for. ConfigError: the segments beside it are another recording's."""
    from installation.film import making
    from installation.film.recording import FILE, Recording

    if not recording.out.exists():
        return False
    if resume:
        if (path := recording.folder / FILE).exists():
            recording.check_unchanged(Recording.read(path))
        if making.is_finished(recording):
            return True
    raise OutputError("is there already", where=str(recording.out), fix="Move it away, or choose another --out")


def join(
    recording: Recording,
    *,
    keep: bool,
    say: Callable[[str], None],
    remedy: Callable[[int], str] = lambda segment: "The same command with --resume makes it",
) -> None:
    """The closed segments become the film. remedy: what to do about a segment that is missing."""
    from installation.film import making

    if _finished(recording, resume=True):
        say(f"{recording.out}: is finished already")
    else:
        with stoppable():
            making.finish(recording, remedy)
    _tidy(recording, keep=keep, say=say)


def _tidy(recording: Recording, *, keep: bool, say: Callable[[str], None]) -> None:
    """With the film there its segments go."""
    from installation.film import making

    if not keep and recording.folder.exists() and not making.remove_segments(recording):
        say(f"{recording.folder}: stays, for another process is at work there or the disk refuses")
    frames = recording.film.total
    say(f"{recording.out}: {frames} frames, {recording.size[0]}x{recording.size[1]} at {recording.fps} fps")


def join_shards(recording: Recording, *, keep: bool, say: Callable[[str], None]) -> None:
    """The shards become the film."""

    def remedy(segment: int) -> str:
        shard = next(number for number in range(recording.shards) if segment in recording.shard(number))
        return f"`installation shard run PLAN {shard}` makes it"

    join(recording, keep=keep, say=say, remedy=remedy)


def run_shard(recording: Recording, number: int, say: Callable[[str], None]) -> None:
    """Makes one shard; what of it is closed already is left alone. The segments stay, for `shard join`."""
    from installation.film import making

    shard = recording.shard(number)
    if not shard:
        say(f"shard {number}: nothing to do, there are {recording.segments} segments for {recording.shards} shards")
        return
    if recording.out.exists():
        say(f"shard {number}: nothing to do, {recording.out} is there already")
        return
    with stoppable("the same command goes on"), _at_work(recording, str(number)):
        settle(recording)
        wanted = making.missing(recording, shard)
        making.require_space(recording, wanted)
        _make(recording, wanted, say, writer=str(number))
    say(f"shard {number}: segments {shard.start} to {shard.stop - 1} are closed")


def work(plan: Path) -> None:
    """A farm's worker: shard numbers come on standard input, a line each; what became of them goes to standard output.

    The network is opened once. When the farm's own process is gone, this one goes at once: nothing closed is lost.
    """
    from installation.errors import InstallationError
    from installation.film import making
    from installation.film.recording import Recording

    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    try:
        recording = Recording.read(plan)
        renderer = None
        while True:
            number = int(lines.get())
            renderer = renderer or making.open_renderer(recording)
            making.make_shard(recording, number, renderer, progress=_tell)
            print("done", number, flush=True)
    except InstallationError as error:
        print("failed", error.exit_code, str(error).replace("\n", "\\n"), flush=True)
        raise typer.Exit(error.exit_code) from None


def _tell(frames: int, size: int) -> None:
    print("frames", frames, size, flush=True)


def settle(recording: Recording) -> None:
    """Writes the description beside the segments, or checks this one against it. ConfigError: it is another one."""
    from installation.film.recording import FILE, Recording

    path = recording.folder / FILE
    if path.exists():
        recording.check_unchanged(Recording.read(path))
    recording.write()


def _farm(
    recording: Recording, wanted: Collection[int], workers: int, executor: str, say: Callable[[str], None]
) -> None:
    from installation.film import cluster, farm

    shards = [number for number in range(recording.shards) if not set(recording.shard(number)).isdisjoint(wanted)]
    workers = workers or min(len(shards), max(machine.cores() // 2, 1))
    say(f"{len(shards)} shards for {min(workers, len(shards))} workers ({executor})")
    frames = sum(map(recording.frames_of, wanted))
    with bar(recording.out.name, frames) as progress:
        if executor == "ray":
            cluster.run_ray(
                recording, shards, wanted=wanted, workers=workers, progress=progress, say=say,
                address=os.environ.get("RAY_ADDRESS", ""),
            )  # fmt: skip
        else:
            farm.run_local(recording, shards, wanted=wanted, workers=workers, progress=progress)


def _make(
    recording: Recording,
    wanted: Collection[int],
    say: Callable[[str], None],
    *,
    writer: str = "0",
) -> None:
    if not wanted:
        return
    from installation.film import making

    renderer = making.open_renderer(recording)
    say(renderer.describe())
    frames = sum(map(recording.frames_of, wanted))
    with bar(recording.out.name, frames) as progress:
        making.make(recording, wanted, renderer, writer=writer, progress=progress)


@contextmanager
def stoppable(again: str = "--resume goes on") -> Iterator[None]:
    """SIGTERM ends the recording as Ctrl-C does: in order. Exit code 130, as shells expect."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; every closed segment is kept: {again}")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def bar(name: str, frames: int) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with fps, time left and size; into a file or pipe a line now and then. Gives progress(frames, bytes)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from installation.output.video.disk import megabytes

    console = Console(stderr=True)
    began, said, lock = time.monotonic(), [time.monotonic()], threading.Lock()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} · {task.fields[size]} · left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=frames, rate="", size="")

        def progress(done: int, size: int) -> None:
            now = time.monotonic()
            rate = done / max(now - began, 1e-3)
            shown.update(task, completed=done, rate=f"{rate:.2f} fps", size=megabytes(size))
            with lock:
                if console.is_terminal or now - said[0] < _SAY_EVERY_S:
                    return
                said[0] = now
            left = f" · {(frames - done) / rate:.0f} s left" if done else ""
            console.print(
                f"{name}: {done} of {frames} frames · {rate:.2f} fps · {megabytes(size)} closed{left}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

        yield progress


def presets_table() -> Any:
    """The presets, and whether each works on this machine."""
    from rich.table import Table

    from installation.output.video import ffmpeg
    from installation.output.video.presets import PRESETS

    table = Table("preset", "what", "here")
    for kind in PRESETS.values():
        fault = ffmpeg.probe(kind)
        table.add_row(kind.name, kind.about, f"[yellow]no:[/] {cell(fault)}" if fault else "yes")
    return table
