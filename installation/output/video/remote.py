"""Recorder: the wall's handle of the process that films it, and a control source.

What `record/on` says, it does: it is told the values each tick and starts or ends the process. A film that ends by
itself (a full disk, a dead encoder) is said back as `record/on` false. A film begins when the one before it is closed: a
process takes seconds to come and go, and a button that flutters would have dozens of them. Starting and listening are a
thread's business, so the wall never waits. The process outlives a killed wall long enough to close its film.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from installation.show.messages import ControlMessage
from installation.show.params import Value

log = logging.getLogger(__name__)

ON = "record/on"
_CLOSE_S = 1.0
_FAULT_S = 60.0  # so long a fault stands in the HUD


class Recorder:
    """command: the recording process for a film's file. name_film: a new file, named on this machine alone.

    Everything but the reader's thread is the wall's loop.
    """

    name = "recorder"

    def __init__(self, command: Callable[[Path], Sequence[str]], name_film: Callable[[], Path]) -> None:
        self._command, self._name_film = command, name_film
        self._film: _Filming | None = None
        self._ending: list[_Filming] = []
        self._wanted = self._due = self._closed = False
        self._count = {"films": 0, "frames": 0, "dropped": 0, "faults": 0}

    def publish(self, values: Mapping[str, Value]) -> None:
        wanted = bool(values.get(ON, False)) and not self._closed
        if wanted != self._wanted:
            self._wanted = self._due = wanted
            if not wanted:
                self._end()
        if self._due and all(film.ended for film in self._ending):
            self._due = False
            path = self._name_film()
            self._count["films"] += 1
            self._film = _Filming(self._command(path), path)

    def poll(self) -> list[ControlMessage]:
        """Nothing, or `record/on` false once the film has ended by itself."""
        if self._film is None or not self._film.ended or self._closed:
            return []
        self._count["faults"] += 1
        self._end()
        return [ControlMessage(ON, False, None, self.name)]

    def counters(self) -> Mapping[str, int]:
        running = self._film
        frames, dropped = (running.frames, running.dropped) if running else (0, 0)
        return {
            **self._count,
            "frames": self._count["frames"] + frames,
            "dropped": self._count["dropped"] + dropped,
        }

    def text(self) -> str:
        """For the HUD: whether it records, for how long, and what was dropped; else a fault of the last minute, or nothing."""
        if self._film is not None:
            seconds = int(self._film.seconds)
            dropped = f"{self._film.dropped} dropped"
            return (
                f"recording {seconds // 60}:{seconds % 60:02} · {dropped}" if self._film.ready else "recording begins"
            )
        if self._due:
            return "recording waits: the film before is being closed"
        now = time.monotonic()
        fault = next(
            (film.fault for film in reversed(self._ending) if film.fault and now - film.ended_s < _FAULT_S), ""
        )
        return f"not recording: {fault}" if fault else ""

    def close(self) -> None:
        self._closed, self._due = True, False
        self._end()
        for film in self._ending:
            film.join(_CLOSE_S)

    def _end(self) -> None:
        if self._film is not None:
            film, self._film = self._film, None
            self._count["frames"] += film.frames
            self._count["dropped"] += film.dropped
            self._ending = [*(other for other in self._ending if not other.ended), film]
            film.stop()


class _Filming:
    """One film's process. Its standard input ends it ("stop", or the end of the wall); each line of its standard output
    is `SECONDS FRAMES DROPPED`, or `fault` and why."""

    def __init__(self, command: Sequence[str], path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stop = False
        self.seconds, self.frames, self.dropped, self.fault = 0.0, 0, 0, ""
        self.ready = self.ended = False
        self.ended_s = math.inf  # monotonic
        self._thread = threading.Thread(target=self._run, args=(list(command),), name="recorder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stop = True
            if self._process and self._process.stdin:
                with suppress(OSError):
                    self._process.stdin.close()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self, command: list[str]) -> None:
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        try:
            # A session of its own: what ends the wall must not end the film before it is closed.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=os.name == "posix",
                creationflags=flags,
            )
        except OSError as error:
            log.warning("no recording: the process does not start (%s)", error.strerror)
            self.fault = f"the process does not start ({error.strerror})"
            self._end()
            return
        with self._lock:
            self._process = process
        if self._stop:
            self.stop()
        assert process.stdout
        for line in process.stdout:
            self._hear(line.decode(errors="replace").strip())
        code = process.wait()
        process.stdout.close()
        if code and not self.fault:
            self.fault = f"its process ended with {code}"
        self._end()

    def _end(self) -> None:
        self.ended_s, self.ended = time.monotonic(), True

    def _hear(self, line: str) -> None:
        if line.startswith("fault "):
            self.fault = line.removeprefix("fault ")[:200]
            return
        with suppress(ValueError):
            seconds, frames, dropped = line.split()
            self.seconds, self.frames, self.dropped, self.ready = float(seconds), int(frames), int(dropped), True
