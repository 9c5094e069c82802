"""A farm: the shards of one Recording, made by several workers with the network warm, on this machine. cluster.py: on Ray's.

A worker that dies or hangs takes one shard's open segments with it, nothing else: another one is started and goes on from what is
closed. Runs in the process of the command line; the work is in the workers' processes.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from installation.errors import InstallationError, OutputError
from installation.film.recording import FILE, Recording
from installation.output.video.manifest import Segment, read_segments

MOST_TRIES = 4
"""So often a shard is begun before its worker's death is put down to the shard."""
HANG_S = 900.0
"""A worker that says nothing for so long, and it says every frame, is taken for dead: a driver that hangs."""
_LISTEN_S = 0.2  # on Windows a wait without a limit would not hear Ctrl-C

Progress = Callable[[int, int], None]


class WorkerError(InstallationError):
    """A worker's own error, with the exit code it ended with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code


class Closed:
    """What this run closed, as the manifests say it, whichever machine wrote them. wanted: the segments it is to make."""

    def __init__(self, recording: Recording, wanted: Collection[int]) -> None:
        self._recording, self._folder, self._wanted = recording, recording.folder, set(wanted)
        # Some may be named already: their files were damaged, and are made again with the same bytes.
        self._before = {index: self._stamp(segment) for index, segment in read_segments(self._folder).items()}

    def of(self, shards: Collection[int]) -> tuple[int, int]:
        """(frames, bytes) of these shards' segments."""
        named = read_segments(self._folder)
        wanted = self._wanted & named.keys() & {index for shard in shards for index in self._recording.shard(shard)}
        closed = [
            named[index]
            for index in wanted
            if index not in self._before or self._stamp(named[index]) != self._before[index]
        ]
        return sum(segment.frames for segment in closed), sum(segment.bytes for segment in closed)

    def _stamp(self, segment: Segment) -> int:
        try:
            return (self._folder / segment.file).stat().st_mtime_ns
        except OSError:
            return 0


def run_local(
    recording: Recording,
    shards: Sequence[int],
    *,
    wanted: Collection[int],
    workers: int,
    progress: Progress,
    started: Callable[[int], None] = lambda pid: None,
) -> None:
    """Makes the shards in `workers` processes, of a recording whose description is written. wanted: their segments that are not
    closed. progress(frames, bytes): of all workers, without what one that died had not closed. started(pid): of each worker, also
    of one started for one that died. The first error of a worker ends all; closed segments stay."""
    _Local(recording, shards, Closed(recording, wanted), progress, started).run(min(workers, len(shards)))


class _Local:
    def __init__(
        self,
        recording: Recording,
        shards: Sequence[int],
        closed: Closed,
        progress: Progress,
        started: Callable[[int], None],
    ) -> None:
        self._plan, self._progress, self._started = recording.folder / FILE, progress, started
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for shard in shards:
            self._todo.put(shard)
        self._left = len(shards)
        self._tries = dict.fromkeys(shards, 0)
        self._closed = closed
        # Of each shard: what workers that died had closed, and what the one that makes it now says. Frames and bytes.
        self._before: dict[int, tuple[int, int]] = {}
        self._now: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._processes: set[subprocess.Popen[str]] = set()
        self._heard: dict[subprocess.Popen[str], float] = {}  # of those that work on a shard

    def run(self, workers: int) -> None:
        threads = [threading.Thread(target=self._feed, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_LISTEN_S)
                    self._end_the_silent()
        finally:
            self._ended.set()
            with self._lock:
                for process in self._processes:
                    process.kill()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _end_the_silent(self) -> None:
        silent_since = time.monotonic() - HANG_S
        with self._lock:
            for process, heard in self._heard.items():
                if heard < silent_since:
                    process.kill()

    def _feed(self) -> None:
        """One worker's life, and those of its successors."""
        process: subprocess.Popen[str] | None = None
        try:
            while not self._ended.is_set() and self._left:
                try:
                    shard = self._todo.get(timeout=0.1)  # one of a worker that died may still come back
                except queue.Empty:
                    continue
                if process is None:
                    process = self._start()
                if not self._make(process, shard):
                    process = self._bury(process, shard)
        except Exception as error:
            self._error = self._error or error
            self._ended.set()
        finally:
            if process is not None:
                self._bury(process, None)

    def _make(self, process: subprocess.Popen[str], shard: int) -> bool:
        """Whether the worker made it; False when it died. WorkerError: it says why it cannot."""
        assert process.stdin
        assert process.stdout
        with self._lock:
            self._tries[shard] += 1
            self._heard[process] = time.monotonic()
        try:
            process.stdin.write(f"{shard}\n")
            process.stdin.flush()
        except OSError:
            return False
        for line in process.stdout:
            with self._lock:
                self._heard[process] = time.monotonic()
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "frames":
                frames, size = rest.split()
                with self._lock:
                    self._now[shard] = int(frames), int(size)
                    counts = (*self._before.values(), *self._now.values())
                    totals = [sum(column) for column in zip(*counts, strict=True)]
                self._progress(*totals)
            elif word == "done":
                with self._lock:
                    self._left -= 1
                    del self._heard[process]
                return True
            elif word == "failed":
                code, _, text = rest.partition(" ")
                raise WorkerError(text.replace("\\n", "\n"), int(code))
        return False

    def _start(self) -> subprocess.Popen[str]:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "installation", "shard", "work", str(self._plan)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise OutputError(f"a worker does not start ({error.strerror})", where=sys.executable) from error
        with self._lock:
            self._processes.add(process)
            if self._ended.is_set():  # all the others were ended just now
                process.kill()
        self._started(process.pid)
        return process

    def _bury(self, process: subprocess.Popen[str], shard: int | None) -> None:
        """Ends a worker; its shard, if it had one, is for another."""
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        process.kill()
        code = process.wait()
        with self._lock:
            self._processes.discard(process)
            self._heard.pop(process, None)
        if shard is None or self._ended.is_set():
            return
        if self._tries[shard] >= MOST_TRIES:
            raise OutputError(
                f"{MOST_TRIES} workers died of shard {shard}, the last with exit code {code}",
                where=str(self._plan),
                fix=f"`installation shard run PLAN {shard}` shows what happens there",
            )
        closed = self._closed.of([shard])
        with self._lock:
            self._before[shard], self._now[shard] = closed, (0, 0)
        self._todo.put(shard)
