"""What is wished for on the command line, as a Recording: length, rate, size, the stages that climb to it, the file's name."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from installation.errors import ConfigError, OutputError
from installation.files import home
from installation.film import making
from installation.film.recording import MOST_FRAMES, Recording
from installation.output.placement import shown_size
from installation.output.video import ffmpeg
from installation.output.video.join import draft
from installation.output.video.presets import PRESETS, Preset, preset
from installation.output.video.spec import VideoSpec
from installation.session import Session
from installation.show.config import Show
from installation.show.film import loop_of

_NTSC_NEAR = Fraction(5, 1000)  # 23.98 and 29.970 are ways to write 24000/1001 and 30000/1001
# Below this a network's enlargement would cost sixteen times the pixels for what nobody sees.
_CLIMB_FROM = 1.1


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


OpenSession = Callable[[Show], Session]


def plan(path: Path, show: Show, wish: Wish, open_session: OpenSession, say: Callable[[str], None]) -> Recording:
    """The Recording that is wished for; say: remarks for people. ConfigError, ModelError, OutputError before anything is written."""
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
        placement=making.placement(session),
        hashes=making.hashes(session),
        out=out,
        shards=wish.shards,
    )


def cut_to(duration_s: float, wish: Wish) -> Wish:
    """The wish for a film of a take of that length: without one of its own all of it. ConfigError for what a take does not have."""
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


def film_path(path: Path, out: Path | None, kind: Preset) -> Path:
    """Where the film goes: as asked, or named for the show in the folder we are in. ConfigError, OutputError: it cannot go there."""
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
