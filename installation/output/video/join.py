"""From closed segments to the deliverable, without encoding anything again."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from filelock import Timeout

from installation import locks
from installation.errors import OutputError, unwritable
from installation.files import flush_folder
from installation.output.video import disk, ffmpeg
from installation.output.video.manifest import Head, Segment, intact, read_segments, require_head
from installation.output.video.presets import Preset, preset

_LISTING, _LOCK = "join.ffconcat", "join.lock"
_MOST_NAMES = 8


def join(
    folder: Path,
    out: Path,
    *,
    frames: int | None = None,
    remedy: Callable[[int], str] = lambda segment: "",
    leave_out: Callable[[str], None] | None = None,
    made: Callable[[Path], None] = lambda draft: None,
) -> int:
    """Makes `out` of the recording in `folder`, which stays as it is: a video file, or a folder of pictures. Gives its frames.

    frames: how many there must be; None for as many as are closed. Every segment is read and checked against its
    sha256 first. OutputError when some are missing or damaged, or when the disk refuses; a file already at `out` then stays
    as it was. remedy: what to do about a segment that is missing. leave_out: the film is made without those that are, each a cut,
    and this is told which. made(draft): the film is whole, and next takes its place; its times stay.
    """
    head = require_head(folder)
    segments = _whole(folder, head, frames, remedy, leave_out)
    total = sum(segment.frames for segment in segments)
    kind = preset(head.preset)
    part = draft(out, kind)
    try:
        lock = locks.take(folder / _LOCK)
    except Timeout:
        raise OutputError("another process is joining this film", where=str(folder), fix="Wait for it") from None
    except OSError as error:
        raise unwritable(error, folder) from error
    try:
        _remove(part)  # what a kill left: as large as the film
        disk.require(out.parent, sum(segment.bytes for segment in segments) if kind.suffix else 0)
        out.parent.mkdir(parents=True, exist_ok=True)
        if kind.picture:
            _gather(folder, segments, part)
        else:
            _concatenate(folder, head, segments, kind, part, out)
            disk.sync(part)
        made(part)
        part.replace(out)
        flush_folder(out.parent)
    except OSError as error:
        raise unwritable(error, out) from error
    finally:
        with suppress(OSError):
            _remove(part)
        lock.release()
    return total


def draft(out: Path, kind: Preset) -> Path:
    """The name that a film has while it is joined."""
    return out.with_name(f".{out.name}.part{kind.suffix}")


def _remove(part: Path) -> None:
    shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def _whole(
    folder: Path,
    head: Head,
    frames: int | None,
    remedy: Callable[[int], str],
    leave_out: Callable[[str], None] | None,
) -> list[Segment]:
    """The segments of the film, in order."""
    closed = read_segments(folder)
    wanted = max(closed, default=-1) + 1 if frames is None else math.ceil(frames / head.segment_frames)
    if any(index >= wanted for index in closed):
        raise OutputError(f"more is closed than the {frames} frames of this film", where=str(folder))
    segments, missing = [], []
    for index in range(wanted):
        segment, first = closed.get(index), index * head.segment_frames
        rest = head.segment_frames if frames is None else min(head.segment_frames, frames - first)
        last = frames is None and index == wanted - 1  # as long as it happens to be
        if (
            segment is None
            or segment.first != first
            or not (last or segment.frames == rest)
            or not intact(folder, segment)
        ):
            missing.append(index)
        else:
            segments.append(segment)
    if missing and leave_out is None:
        raise OutputError(f"{_named(missing)} missing or damaged", where=str(folder), fix=remedy(missing[0]))
    if not segments:
        raise OutputError("no segment is closed: there is nothing to join", where=str(folder))
    if missing and leave_out is not None:
        leave_out(f"{_named(missing)} left out")
    return segments


def _named(segments: Sequence[int]) -> str:
    """ "segments 0 to 2, 5 are" """
    runs: list[list[int]] = []
    for index in segments:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    names = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    more = f" and {len(names) - _MOST_NAMES} more stretches" if len(names) > _MOST_NAMES else ""
    return f"segment{'s'[: len(segments) > 1]} {', '.join(names[:_MOST_NAMES])}{more} {'is' if len(segments) == 1 else 'are'}"


def _concatenate(folder: Path, head: Head, segments: Sequence[Segment], kind: Preset, part: Path, out: Path) -> None:
    # Without a duration the last B-frames of a segment push the next one a frame away. The demuxer adds the durations up, in whole
    # microseconds: each is the difference of two rounded times, so that nothing adds up but the film.
    def at(frame: int) -> int:
        return round(frame / head.fps * 1_000_000)

    ends = list(accumulate(segment.frames for segment in segments))
    listing = folder / _LISTING
    try:
        rows = (
            f"file {one.file}\nduration {at(end) - at(end - one.frames)}us\n"
            for one, end in zip(segments, ends, strict=True)
        )
        listing.write_text("ffconcat version 1.0\n" + "".join(rows))
        rate = f"{head.fps.numerator}/{head.fps.denominator}"
        command = [
            ffmpeg.program(),
            "-hide_banner",
            "-nostdin",
            "-nostats",
            "-loglevel",
            "error",
            "-progress",
            "pipe:1",
        ]
        # In the folder, by names alone: FFmpeg takes the listing's path for an address, which ends at a # or ?.
        command += ["-f", "concat", "-i", _LISTING, "-map", "0:v", "-c", "copy", "-map_metadata", "-1"]
        # The last frame's duration, which no frame behind it tells: FFmpeg would take 1/120 s for 1001/120000.
        command += ["-bsf:v", f"setts=pts=PTS:dts=DTS:duration=round({head.fps.denominator}/{head.fps.numerator}/TB)"]
        command += ["-fflags", "+bitexact", "-r", rate, *kind.tags, *kind.muxer]
        if kind.suffix in (".mp4", ".mov"):
            command += ["-video_track_timescale", str(head.fps.numerator)]
        answer = subprocess.run(
            [*command, "-y", str(part.absolute())],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    finally:
        listing.unlink(missing_ok=True)
    if answer.returncode:
        raise OutputError(
            f"the segments cannot be joined: {ffmpeg.reason(answer.stderr.splitlines(), answer.returncode)}",
            where=str(out),
            fix="The segments are kept: put right what it says, then join again (`record`: with --resume)",
        )
    counts = [int(line[6:]) for line in answer.stdout.splitlines() if line.startswith("frame=")]
    if not counts or counts[-1] != ends[-1]:
        raise OutputError(f"joining gave {counts[-1] if counts else 0} frames of {ends[-1]}", where=str(out))


def _gather(folder: Path, segments: Sequence[Segment], part: Path) -> None:
    """The segments' pictures under one roof, as hard links where the disk can: no byte is written twice."""
    part.mkdir()
    for segment in segments:
        for picture in sorted((folder / segment.file).iterdir()):
            try:
                os.link(picture, part / picture.name)
            except OSError:
                shutil.copyfile(picture, part / picture.name)
