"""SegmentWriter: frames in, closed segments and their manifest out. What is closed is never lost.

    spec = VideoSpec.of((1920, 1080), Fraction(25), preset("museum-h264"), depth=8)
    writer = SegmentWriter(folder, spec)            # the manifest is begun; nothing else happens yet
    writer.write(frame)                             # uint8 [H, W, 4] (depth 8) or uint16 [H, W, 3] (depth 16); waits
    writer.close()                                  # closes the last, short segment; `abort()` throws the open ones away
    join(folder, Path("film.mp4"))                  # join.py: one file, nothing encoded again

A segment is encoded by an FFmpeg process of its own, so each can be made again alone, bit for bit: after a kill, on
another machine of a farm. It is written beside its place and moved there when the encoder has ended well, its frames
were counted and its bytes are on the disk; then one line goes into the manifest. While a segment's encoder drains, the
next one already fills: at most two are open.

All but `interrupt` is called from one thread. `write` waits while the encoder is busy: whoever must not wait (a wall)
keeps a bounded queue in front of it and drops. Any fault is an OutputError, raised by the call that notices it; the
writer is then of no more use, and everything closed stays.
"""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from installation.errors import OutputError
from installation.files import flush_folder
from installation.output.video import disk, ffmpeg
from installation.output.video.encoder import STALL_S, Encoder
from installation.output.video.manifest import Head, Manifest, Segment, digest
from installation.output.video.spec import VideoSpec


@dataclass(frozen=True, slots=True)
class _Open:
    index: int
    first: int
    encoder: Encoder
    part: Path
    place: Path


class SegmentWriter:
    """folder: made if need be; one recording a folder. config: hash of what decides the pictures, "" for a live recording. writer:
    names this one among several in the folder. stall_s: see Encoder. reserve_bytes: free disk space below which no
    segment is begun.

    OutputError: the preset cannot be made here, the disk refuses, or the folder holds another recording.
    """

    def __init__(
        self,
        folder: Path,
        spec: VideoSpec,
        *,
        config: str = "",
        writer: str = "0",
        stall_s: float = STALL_S,
        reserve_bytes: int = disk.RESERVE_BYTES,
    ) -> None:
        ffmpeg.require(spec.preset)
        self.folder, self.spec = folder, spec
        self._writer, self._stall_s, self._reserve = writer, stall_s, reserve_bytes
        self._manifest = Manifest(folder, Head.of(spec, config, ffmpeg.version()), writer=writer)
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="segment")
        self._closing: tuple[_Open, Future[None]] | None = None
        self._open: _Open | None = None
        self._interrupted = False
        self._next = 0
        self._largest = 0
        self.closed_bytes = 0
        """Of the segments that this writer closed."""

    def seek(self, segment: int) -> None:
        """The next frame is the first of this segment. The one open is closed, short or not."""
        self._hand_over()
        self._next = segment

    def write(self, frame: np.ndarray) -> None:
        """One frame, in order."""
        try:
            if self._open is None:
                self._open = self._begin(self._next)
                self._next += 1
            self._open.encoder.write(frame)
            if self._open.encoder.frames == self.spec.segment_frames:
                self._hand_over()
        except BaseException:
            self.abort()
            raise

    def close(self) -> None:
        """Closes what is open and waits for it. OutputError when the last segments failed."""
        try:
            self._hand_over()
            self._wait()
        except BaseException:
            self.abort()
            raise
        self._end()

    def interrupt(self) -> None:
        """In any thread: a call that waits for an encoder fails at once. `abort` has to follow."""
        self._interrupted = True
        opened, closing = self._open, self._closing  # looked at once: the thread that writes moves them meanwhile
        for one in (opened, closing[0] if closing else None):
            if one is not None:
                one.encoder.interrupt()

    def abort(self) -> None:
        """Throws away what is not closed, quickly and without an error. Safe to call twice, and after `close`."""
        if self._open is not None:
            self._open.encoder.kill()
            _remove(self._open.part)
            self._open = None
        if self._closing is not None:
            opened, future = self._closing
            self._closing = None
            opened.encoder.kill()
            with suppress(OutputError):
                future.result()
        self._end()

    def _begin(self, index: int) -> _Open:
        disk.require(self.folder, self._reserve + 2 * self._largest)
        suffix = "" if self.spec.preset.picture else ".nut"
        place = self.folder / f"{index:06d}{suffix}"
        part = self.folder / f"{index:06d}{suffix}.{self._writer}.part"
        first = index * self.spec.segment_frames
        try:
            _remove(part)
            if self.spec.preset.picture:
                part.mkdir()
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", where=str(part)) from error
        encoder = Encoder(self.spec, part, first=first, stall_s=self._stall_s)
        if self._interrupted:
            encoder.interrupt()
        return _Open(index, first, encoder, part, place)

    def _hand_over(self) -> None:
        """Gives the open segment to the closing thread, once that has done the one before."""
        self._wait()
        if self._open is not None:
            opened, self._open = self._open, None
            self._closing = opened, self._closer.submit(self._close, opened)
            if self._interrupted:  # while it was in neither place
                opened.encoder.interrupt()

    def _wait(self) -> None:
        if self._closing is not None:
            self._closing[1].result()
            self._closing = None

    def _close(self, opened: _Open) -> None:
        """In the closing thread."""
        try:
            opened.encoder.finish()
            disk.sync(opened.part)
            size, sha256 = digest(opened.part)
            _remove(opened.place)  # one that no manifest names: of a run that was killed between the two
            opened.part.replace(opened.place)
            flush_folder(self.folder)
        except OSError as error:
            _remove(opened.part)
            raise OutputError(f"cannot be closed ({error.strerror})", where=str(opened.place)) from error
        except OutputError:
            _remove(opened.part)
            raise
        frames = opened.encoder.frames
        self._manifest.add(Segment(opened.index, opened.first, frames, size, sha256, opened.place.name))
        self._largest = max(self._largest, size)
        self.closed_bytes += size

    def _end(self) -> None:
        self._closer.shutdown()
        self._manifest.close()


def _remove(path: Path) -> None:
    """A file or a folder of pictures that counts for nothing; one that is not there, too."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
