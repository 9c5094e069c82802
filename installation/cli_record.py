"""The verbs `record` and `shard`: arguments to a Recording, the Recording to a film, and what people see meanwhile."""

from __future__ import annotations

import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from installation import machine
from installation.errors import ConfigError, OutputError
from installation.terminal import cell, say

if TYPE_CHECKING:
    from installation.output.video.claims import Claim
    from installation.output.video.presets import Preset
    from installation.recording import Recording
    from installation.session import Session
    from installation.show.config import Show

_NTSC_NEAR = Fraction(5, 1000)  # 23.98 and 29.970 are ways to write 24000/1001 and 30000/1001
# Below this a network's enlargement would cost sixteen times the pixels for what nobody sees.
_CLIMB_FROM = 1.1
_SAY_EVERY_S = 30.0
_BYTES_A_PIXEL = 260  # this process 132, measured at 4096 and 8192 px; x264 and x265 about as much again


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line; see `installation record --help`. size: None for the cascade's own."""

    size: tuple[int, int] | None
    fps: str
    seconds: float | None
    frames: int | None
    loop: bool
    start_s: float
    end_s: float | None
    leader: str
    preset: str | None
    fit: str | None
    seed: int | None
    out: Path | None
    threads: int
    shards: int = 1


OpenSession = Callable[["Show"], "Session"]


def plan(path: Path, show: Show, wish: Wish, open_session: OpenSession, say: Callable[[str], None]) -> Recording:
    """The Recording that is wished for; say: remarks for people. ConfigError, ModelError, OutputError before anything is written."""
    from installation import record
    from installation.output.video import ffmpeg
    from installation.output.video.presets import preset
    from installation.output.video.spec import VideoSpec
    from installation.recording import Recording

    kind = preset(wish.preset or show.record.preset)
    if kind.live:
        raise ConfigError(
            "is for the wall's own films", where=kind.name, fix="museum-h264 is for those made afterwards"
        )
    fps = parse_fps(wish.fps)
    leader = round(parse_seconds(wish.leader, "--leader") * fps)
    if wish.seed is not None:
        show = show.model_copy(update={"params": {**show.params, "walk/seed": wish.seed}})
    show, frames = _length(show, wish, fps, leader, say)
    session = open_session(show)
    size = wish.size or session.size
    spec = VideoSpec.of(size, fps, kind, threads=wish.threads)
    ffmpeg.require(kind)
    out = film_path(path, wish.out, kind)
    session = _climb(session, size, open_session, say)
    return Recording(
        session=session,
        size=size,
        fps=f"{fps.numerator}/{fps.denominator}",
        frames=frames,
        start_s=wish.start_s,
        leader_frames=leader,
        preset=kind.name,
        segment_frames=spec.segment_frames,
        threads=wish.threads,
        placement=record.placement(session),
        hashes=record.hashes(session),
        out=out,
        shards=wish.shards,
    )


def of_take(wish: Wish, duration_s: float) -> Wish:
    """The wish for a film of a take: without a length all of it. ConfigError for what a take does not have."""
    if wish.loop or wish.seed is not None:
        raise ConfigError(
            "a take is one performance: it closes into no loop and has its own seed",
            where="--loop" if wish.loop else "--seed",
            fix="Leave it out",
        )
    left_s = Fraction(round((duration_s - wish.start_s) * 1_000_000), 1_000_000)
    if left_s <= 0:
        raise ConfigError(f"the take is {duration_s:.2f} s long", where="--from", fix="Begin earlier")
    fps = parse_fps(wish.fps)
    if wish.seconds is None and wish.frames is None and wish.end_s is None:
        return replace(wish, frames=max(math.floor(left_s * fps), 1))
    end_s = wish.end_s if wish.end_s is not None else wish.start_s + (wish.seconds or (wish.frames or 0) / fps)
    if float(end_s) > duration_s + float(1 / fps):
        raise ConfigError(
            f"the take is {duration_s:.2f} s long, and the film is to end at {float(end_s):.2f} s",
            where="record",
            fix="Make it shorter; without a length it has the take's own",
        )
    return wish


def begin(recording: Recording, own: Claim, *, resume: bool, say: Callable[[str], None]) -> list[int]:
    """Writes the recording's description, or checks it against the one there. Gives the segments that are to be made.

    own: this process's claim on the folder. OutputError: another process is at work there, or an unfinished recording that
    `resume` does not ask for. ConfigError: it is another one.
    """
    from installation import record
    from installation.output.video.manifest import forget, read_segments
    from installation.recording import FILE

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
    wanted = record.missing(recording)
    record.require_space(recording, wanted)
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
    if _finished(recording, resume=resume):
        return _tidy(recording, keep=keep, say=say)
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
    from installation.output.video.claims import claim
    from installation.output.video.manifest import read_segments
    from installation.recording import FILE

    with claim(recording.folder, name) as own:
        try:
            yield own
        except BaseException:
            with suppress(OutputError):  # what went wrong before is to be told
                if own.new and not read_segments(recording.folder):
                    own.remove(FILE)
            raise


def _finished(recording: Recording, *, resume: bool) -> bool:
    """Whether the film is there and this recording's, whole: then it was stopped while its segments were removed. OutputError: what
    is there is another, or is not asked for. ConfigError: the segments beside it are another recording's."""
    from installation import record
    from installation.recording import FILE, Recording

    if not recording.out.exists():
        return False
    if resume and (path := recording.folder / FILE).exists():
        recording.check_unchanged(Recording.read(path))
        if record.is_joined(recording):
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
    from installation import record

    if not _finished(recording, resume=True):
        with stoppable():
            record.finish(recording, remedy)
    _tidy(recording, keep=keep, say=say)


def _tidy(recording: Recording, *, keep: bool, say: Callable[[str], None]) -> None:
    """With the film there its segments go."""
    from installation import record

    if not keep and not record.remove_segments(recording):
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
    from installation import record

    shard = recording.shard(number)
    if not shard:
        say(f"shard {number}: nothing to do, there are {recording.segments} segments for {recording.shards} shards")
        return
    if recording.out.exists():
        say(f"shard {number}: nothing to do, {recording.out} is there already")
        return
    with stoppable("the same command goes on"), _at_work(recording, str(number)):
        settle(recording)
        wanted = record.missing(recording, shard)
        record.require_space(recording, wanted)
        _make(recording, wanted, say, writer=str(number))
    say(f"shard {number}: segments {shard.start} to {shard.stop - 1} are closed")


def work(plan: Path) -> None:
    """A farm's worker: shard numbers come on standard input, a line each; what became of them goes to standard output.

    The network is opened once. When the farm's own process is gone, this one goes at once: nothing closed is lost.
    """
    from installation import record
    from installation.errors import InstallationError
    from installation.recording import Recording

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
            renderer = renderer or record.open_renderer(recording)
            record.make_shard(recording, number, renderer, progress=_tell)
            print("done", number, flush=True)
    except InstallationError as error:
        print("failed", error.exit_code, str(error).replace("\n", "\\n"), flush=True)
        raise typer.Exit(error.exit_code) from None


def _tell(frames: int, size: int) -> None:
    print("frames", frames, size, flush=True)


def settle(recording: Recording) -> None:
    """Writes the description beside the segments, or checks this one against it. ConfigError: it is another one."""
    from installation.recording import FILE, Recording

    path = recording.folder / FILE
    if path.exists():
        recording.check_unchanged(Recording.read(path))
    recording.write()


def _farm(
    recording: Recording, wanted: Collection[int], workers: int, executor: str, say: Callable[[str], None]
) -> None:
    from installation import farm

    shards = [number for number in range(recording.shards) if not set(recording.shard(number)).isdisjoint(wanted)]
    workers = workers or min(len(shards), max((os.cpu_count() or 2) // 2, 1))
    say(f"{len(shards)} shards for {min(workers, len(shards))} workers ({executor})")
    frames = sum(map(recording.frames_of, wanted))
    with bar(recording.out.name, frames) as progress:
        if executor == "ray":
            farm.run_ray(recording, shards, wanted=wanted, workers=workers, progress=progress)
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
    from installation import record

    renderer = record.open_renderer(recording)
    say(renderer.describe())
    frames = sum(map(recording.frames_of, wanted))
    with bar(recording.out.name, frames) as progress:
        record.make(recording, wanted, renderer, writer=writer, progress=progress)


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


def parse_fps(text: str) -> Fraction:
    """ "25", "30000/1001", "29.97" (which means 30000/1001, as broadcasters write it). ConfigError."""
    try:
        fps = _fraction(text)
        if "." in text and fps.denominator != 1:
            ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
            fps = ntsc if abs(fps - ntsc) < _NTSC_NEAR else fps
        return fps
    except (ValueError, ZeroDivisionError):
        fix = "For example 25, 30000/1001 or 59.94"
        raise ConfigError(f"{text[:40]!r} is no frame rate", where="--fps", fix=fix) from None


def _fraction(text: str) -> Fraction:
    """ValueError, ZeroDivisionError. Without exponents: 1e99999999 would be computed before anyone could say that it is too large."""
    if "e" in text.lower():
        raise ValueError(text)
    return Fraction(text)


def parse_seconds(text: str, where: str) -> Fraction:
    """ "5", "5s", "2.5s". ConfigError."""
    try:
        seconds = _fraction(text.strip().removesuffix("s"))
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"{text[:40]!r} is no time", where=where, fix="For example 5s") from None
    if not 0 <= seconds <= 3600:
        raise ConfigError(f"{text[:40]!r} is not from 0 to 3600 s", where=where)
    return seconds


def _length(show: Show, wish: Wish, fps: Fraction, leader: int, say: Callable[[str], None]) -> tuple[Show, int]:
    """The show, as a loop where one is wished for, and its frames."""
    from installation.recording import MOST_FRAMES
    from installation.show.film import loop_of

    given = [wish.seconds is not None, wish.frames is not None, wish.end_s is not None]
    if sum(given) > 1 or not (any(given) or wish.loop):
        raise ConfigError(
            "how long it is to be is wanted once",
            where="record",
            fix="Give --seconds, --frames, --to, or --loop (with --seconds, --frames or --to for a turn of that length)",
        )
    frames = wish.frames
    if wish.seconds is not None:
        frames = round(Fraction(wish.seconds).limit_denominator(1_000_000) * fps)
    elif wish.end_s is not None:
        if wish.end_s <= wish.start_s:
            raise ConfigError("it ends before it begins", where="--to", fix=f"Give more than {wish.start_s:g}")
        frames = round(Fraction(wish.end_s - wish.start_s).limit_denominator(1_000_000) * fps)
    if wish.loop:
        if leader:
            raise ConfigError("a loop with black around it does not close", where="--leader", fix="Leave one out")
        before = float(show.first_value("drift/speed"))
        show, frames = loop_of(show, fps, frames)
        now = float(show.first_value("drift/speed"))
        say(f"a loop of {frames} frames; drift speed {now:.6g} keyframes/s for the show's {before:.6g}")
    if frames is None or not 1 <= frames <= MOST_FRAMES:
        raise ConfigError(f"{frames} frames are no film", where="record", fix="Make it longer")
    return show, frames


def _climb(session: Session, size: tuple[int, int], open_session: OpenSession, say: Callable[[str], None]) -> Session:
    """The session with as many of the show's record.stages as this size needs; what is left, Lanczos does."""
    from installation.output.placement import shown_size

    show, screen = session.show, session.show.screen
    stages = list(show.record.stages)

    def enlargement() -> float:
        shown = shown_size(session.size, size, fit=screen.fit, rotate=screen.rotate)
        return max(shown[0] / session.size[0], shown[1] / session.size[1])

    while stages and enlargement() > _CLIMB_FROM:
        cascade = session.show.cascade
        more = cascade.model_copy(
            update={"stages": (*cascade.stages, stages.pop(0)), "tile": show.record.tile or show.cascade.tile}
        )
        # The tile is the climb's: the other models do not climb, and may have stages that cannot be tiled.
        models = tuple(model.model_copy(update={"tile": show.tile_of(model.name)}) for model in show.models)
        session = open_session(session.show.model_copy(update={"cascade": more, "models": models}))
    if (left := enlargement()) > _CLIMB_FROM:
        width, height = session.size
        shown = shown_size(session.size, size, fit=screen.fit, rotate=screen.rotate)
        say(
            f"the cascade makes {width}x{height} px; Lanczos enlarges it {left:.2f} times to {shown[0]}x{shown[1]}. "
            "A network for that is named by stages in the show's [record]"
        )
    return session


def home(path: Path) -> Path:
    """With the user's folder for a ~ that no shell has replaced, as in --out=~/film.mp4. One that names nobody stays."""
    return Path(os.path.expanduser(path))


def film_path(path: Path, out: Path | None, kind: Preset) -> Path:
    """Where the film goes: as asked, or named for the show in the folder we are in. ConfigError, OutputError: it cannot go there."""
    from installation.output.video.join import draft
    from installation.output.video.presets import PRESETS

    out = out or Path((path.name if path.is_dir() else path.stem) + (kind.suffix or f"-{kind.name}"))
    out = home(out)
    if not out.name or out.name == "..":
        raise ConfigError(
            f"{str(out)!r} names no film", where="--out", fix="Give a file's name, or a folder's for pictures"
        )
    if not kind.suffix and out.suffix.lower() in {one.suffix for one in PRESETS.values()} - {""}:
        fix = f"Name a folder, for example {out.stem}"
        raise ConfigError(f"{kind.name} makes a folder of pictures, not {out.suffix}", where="--out", fix=fix)
    if kind.suffix and os.path.isdir(out):
        fix = f"Name the film too, for example {out / ('film' + kind.suffix)}"
        raise ConfigError("is a folder", where=str(out), fix=fix)
    if out.suffix.lower() != kind.suffix:
        if kind.suffix and out.suffix and not out.suffix[1:].isdecimal():
            fix = f"Name it {out.with_suffix(kind.suffix).name}"
            raise ConfigError(f"{kind.name} makes {kind.suffix} files, not {out.suffix}", where="--out", fix=fix)
        if kind.suffix:
            out = out.with_name(out.name + kind.suffix)
    out = out.absolute()
    try:  # of all names that are made of it the longest
        os.lstat(draft(out, kind))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"no film can be there ({error.strerror})", where=str(out)) from error
    return out
