"""Encoder: one FFmpeg process that makes one file, or one run of numbered pictures, from frames written to its pipe.

The frame counter is the clock: frame n is shown at n / fps exactly. Runs in the thread that writes; a second thread
reads FFmpeg's messages, a third its count of frames. Its death, its silence and its exit code are noticed: imageio's
own writer reads none of them, and a full disk then loses a film without a word.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from installation.errors import OutputError
from installation.output.video import ffmpeg
from installation.output.video.spec import VideoSpec

STALL_S = 300.0
"""So long may the encoder take nothing: x265 at 4K needs seconds a frame and drains forty of them at the end."""
_CHUNK = 1 << 20
_SLICES = (16, 64, 144)
_SLICE_PX = 2_500_000  # FFV1 of 16 bits holds 2.6 million in one
_MESSAGES = 60
_END_S = 10.0
_AGAIN = "give the command again (`record`: with --resume)"


def command(spec: VideoSpec, target: Path, *, first: int = 0) -> list[str]:
    """FFmpeg's command line for a file, or for a folder of pictures numbered from `first`."""
    width, height = spec.size
    line = [ffmpeg.program(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-progress", "pipe:1"]
    line += ["-f", "rawvideo", "-pixel_format", "rgba" if spec.depth == 8 else "rgb48le"]
    rate = f"{spec.fps.numerator}/{spec.fps.denominator}"
    # Without the second rate 120000/1001 is taken for 120.
    line += ["-video_size", f"{width}x{height}", "-framerate", rate, "-r", rate]
    line += ["-i", "pipe:0", "-an", "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    line += ["-vf", ",".join(spec.preset.filters), "-fps_mode", "passthrough", "-c:v", spec.preset.encoder]
    line += spec.preset.options
    if "-g" not in spec.preset.options:
        line += ["-g", str(spec.segment_frames)]
    if spec.preset.encoder == "ffv1":
        line += ["-slices", str(next(count for count in _SLICES if width * height <= count * _SLICE_PX))]
    if spec.threads:
        line += ["-threads", str(spec.threads), "-filter_threads", str(spec.threads)]
        if spec.preset.encoder == "libx265":
            line += ["-x265-params", f"pools={spec.threads}"]
        elif spec.preset.encoder == "libsvtav1":
            line += ["-svtav1-params", f"lp={spec.threads}"]
    place = str(target.absolute())  # a relative name with a colon would be taken for a protocol
    if spec.preset.picture:
        pattern = Path(place.replace("%", "%%")) / f"frame_%08d{spec.preset.picture}"
        return [*line, "-f", "image2", "-start_number", str(first), str(pattern)]
    return [*line, "-f", "nut", "-y", place]


class Encoder:
    """target: a file that is replaced, or an existing folder. stall_s: how long it may take nothing."""

    def __init__(self, spec: VideoSpec, target: Path, *, first: int = 0, stall_s: float = STALL_S) -> None:
        self._spec, self._where, self._stall_s = spec, str(target), stall_s
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        try:
            # A group of its own: Ctrl-C in the terminal is for the recorder to hear, which then closes things in order. Not a session
            # of its own: Linux would share the cores with it as with an equal, however far the recorder steps back.
            self._process = subprocess.Popen(
                command(spec, target, first=first),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0 if os.name == "posix" else None,
                creationflags=flags,
            )
        except OSError as error:
            raise OutputError(f"the encoder does not start ({error.strerror})", where=ffmpeg.program()) from error
        messages, progress = self._process.stderr, self._process.stdout
        assert self._process.stdin
        assert messages
        assert progress
        self._pipe: IO[bytes] = self._process.stdin
        self._messages: deque[str] = deque(maxlen=_MESSAGES)
        self._encoded = 0
        self._busy = self._stalled = False
        self._moved = time.monotonic()  # when it last took or gave something
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._read_messages, args=(messages,), daemon=True),
            threading.Thread(target=self._read_progress, args=(progress,), daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.frames = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, frame: np.ndarray) -> None:
        """One frame, as the spec says. Waits while the encoder is busy. OutputError when it is dead or stalled."""
        wanted = np.uint8 if self._spec.depth == 8 else np.uint16
        if frame.shape != self._spec.frame_shape or frame.dtype != wanted:
            raise ValueError(f"a frame is {wanted.__name__} {self._spec.frame_shape}, not {frame.dtype} {frame.shape}")
        data = np.ascontiguousarray(frame).data.cast("B")
        self._busy = True
        try:
            at = 0
            while at < len(data):
                self._moved = time.monotonic()
                at += self._pipe.write(data[at : at + _CHUNK])
        except (OSError, ValueError) as error:
            raise self._fault() from error
        finally:
            self._busy = False
        self.frames += 1

    def finish(self) -> None:
        """Closes the file. OutputError when the encoder failed or did not write as many frames as it was given."""
        self._moved, self._busy = time.monotonic(), True
        with suppress(OSError):
            self._pipe.close()
        code = self._process.wait()
        self._end()
        if code != 0:
            raise self._fault()
        if self._encoded != self.frames:
            raise OutputError(
                f"the encoder was given {self.frames} frames and wrote {self._encoded}", where=self._where
            )

    def interrupt(self) -> None:
        """In any thread: a `write` or `finish` that waits fails at once."""
        self._process.kill()

    def kill(self) -> None:
        """Ends it at once. The file is of no use then."""
        self.interrupt()
        with suppress(OSError):
            self._pipe.close()
        self._process.wait()
        self._end()

    def _fault(self) -> OutputError:
        with suppress(OSError):
            self._pipe.close()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._end()
        if self._stalled:
            what = f"the encoder took nothing for {self._stall_s:g} s and was ended"
            return OutputError(what, where=self._where, fix="Look at the machine's load and disk, then " + _AGAIN)
        what = f"the encoder failed: {ffmpeg.reason(list(self._messages), code)}"
        fix = "Every closed segment is kept: put right what it says, then " + _AGAIN
        return OutputError(what, where=self._where, fix=fix)

    def _end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _read_messages(self, pipe: Iterable[bytes]) -> None:
        for line in pipe:
            self._messages.append(line.decode(errors="replace").rstrip())

    def _read_progress(self, pipe: Iterable[bytes]) -> None:
        for line in pipe:
            if line.startswith(b"frame="):
                count = int(line[6:])
                if count != self._encoded:
                    self._encoded, self._moved = count, time.monotonic()

    def _watch(self) -> None:
        """Ends an encoder that hangs: a write to its pipe would wait for ever."""
        while not self._ended.wait(min(self._stall_s / 4, 1.0)):
            # Between frames it is we who are slow, not the encoder.
            if self._busy and time.monotonic() - self._moved > self._stall_s:
                self._stalled = True
                self._process.kill()
                return
