"""From closed segments to the deliverable, without encoding anything again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from installation import locks
from installation.errors import OutputError
from installation.files import flush_folder
from installation.output.video import disk, ffmpeg
from installation.output.video.manifest import Head, Segment, intact, read_segments, require_head
from installation.output.video.presets import Preset, preset

_LISTING, _LOCK = "join.ffconcat", "join.lock"
_QUIET = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-progress", "pipe:1")


def join(folder: Path, out: Path, *, frames: int | None = None) -> int:
    """Makes `out` of the recording in `folder`, which stays as it is: a video file, or a folder of pictures. Gives its frames.

    frames: how many there must be; None for as many as are closed. Every segment is read and checked against its
    sha256 first. OutputError when one is missing, damaged or out of turn, or when the disk refuses; a file already
    at `out` then stays as it was.
    """
    head = require_head(folder)
    segments = list(read_segments(folder).values())
    total = _check(folder, head, segments, frames)
    kind = preset(head.preset)
    part = draft(out, kind)
    try:
        lock = locks.take(folder / _LOCK)
    except Timeout:
        raise OutputError("another process is joining this film", where=str(folder), fix="Wait for it") from None
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror or error})", where=str(folder)) from error
    try:
        _remove(part)  # what a kill left: as large as the film
        disk.require(out.parent, sum(segment.bytes for segment in segments) if kind.suffix else 0)
        out.parent.mkdir(parents=True, exist_ok=True)
        if kind.picture:
            _gather(folder, segments, part)
        else:
            _concatenate(folder, head, segments, kind, part, total)
            disk.sync(part)
        part.replace(out)
        flush_folder(out.parent)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", where=str(out)) from error
    finally:
        with suppress(OSError):
            _remove(part)
        lock.release()
    return total


def draft(out: Path, kind: Preset) -> Path:
    """The name that a film has while it is joined."""
    return out.with_name(f".{out.name}.part{kind.suffix}")


def frames_in(film: Path, kind: Preset) -> int:
    """The frames of a file, or of a folder of pictures; 0 where it is neither."""
    if kind.picture:
        return sum(1 for _ in film.glob(f"frame_*{kind.picture}"))
    command = [ffmpeg.program(), *_QUIET, "-i", str(film.absolute()), "-map", "0:v", "-c", "copy", "-f", "null", "-"]
    return _count(subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout)


def _count(progress: str) -> int:
    counts = [int(line[6:]) for line in progress.splitlines() if line.startswith("frame=")]
    return counts[-1] if counts else 0


def _remove(part: Path) -> None:
    shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def _check(folder: Path, head: Head, segments: Sequence[Segment], frames: int | None) -> int:
    """The number of frames of a complete recording."""
    expected = 0
    for place, segment in enumerate(segments):
        if segment.index != place or segment.first != expected:
            raise OutputError(f"segment {place} is missing", where=str(folder), fix="Make it with --resume")
        if segment.frames != head.segment_frames and place != len(segments) - 1:
            raise OutputError(f"segment {place} is short and not the last", where=str(folder))
        if not intact(folder, segment):
            fix = f"Remove {segment.file} and make it again with --resume"
            raise OutputError(f"segment {place} is missing or damaged", where=str(folder), fix=fix)
        expected += segment.frames
    if expected == 0 or (frames is not None and frames != expected):
        wanted = "some" if frames is None else str(frames)
        raise OutputError(f"{expected} frames are closed and {wanted} are wanted", where=str(folder), fix="--resume")
    return expected


def _concatenate(folder: Path, head: Head, segments: Sequence[Segment], kind: Preset, part: Path, total: int) -> None:
    # Without a duration the last B-frames of a segment push the next one a frame away. The demuxer adds the durations up, in whole
    # microseconds: each is the difference of two rounded times, so that nothing adds up but the film.
    def at(frame: int) -> int:
        return round(frame / head.fps * 1_000_000)

    listing = folder / _LISTING
    try:
        rows = (f"file {one.file}\nduration {at(one.first + one.frames) - at(one.first)}us\n" for one in segments)
        listing.write_text("ffconcat version 1.0\n" + "".join(rows))
        rate = f"{head.fps.numerator}/{head.fps.denominator}"
        command: list[str] = [ffmpeg.program(), *_QUIET]
        command += ["-f", "concat", "-i", str(listing.absolute()), "-map", "0:v", "-c", "copy", "-map_metadata", "-1"]
        # The last frame's duration, which no frame behind it tells: FFmpeg would take 1/120 s for 1001/120000.
        command += ["-bsf:v", f"setts=pts=PTS:dts=DTS:duration=round({head.fps.denominator}/{head.fps.numerator}/TB)"]
        command += ["-fflags", "+bitexact", "-r", rate, *kind.tags, *kind.muxer]
        if kind.suffix in (".mp4", ".mov"):
            command += ["-video_track_timescale", str(head.fps.numerator)]
        answer = subprocess.run(
            [*command, "-y", str(part.absolute())], capture_output=True, text=True, errors="replace", check=False
        )
    finally:
        listing.unlink(missing_ok=True)
    if answer.returncode:
        raise OutputError(
            f"the segments cannot be joined: {ffmpeg.reason(answer.stderr.splitlines(), answer.returncode)}",
            where=str(part.parent),
            fix="The segments are kept; put right what it says, then --resume",
        )
    if (count := _count(answer.stdout)) != total:
        raise OutputError(f"joining gave {count} frames of {total}", where=str(part.parent))


def _gather(folder: Path, segments: Sequence[Segment], part: Path) -> None:
    """The segments' pictures under one roof, as hard links where the disk can: no byte is written twice."""
    part.mkdir()
    for segment in segments:
        for picture in sorted((folder / segment.file).iterdir()):
            try:
                os.link(picture, part / picture.name)
            except OSError:
                shutil.copyfile(picture, part / picture.name)
