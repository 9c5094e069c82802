"""The engine's loop: newest state in, picture out, in a process of its own.

Runs on the main thread of the engine process. Knows no network and does not import torch: `make_renderer` does. A
picture that is not finite is never published. A fault of the device ends the process, because CUDA errors stay with a
process until its end; the supervisor then starts it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from installation.engine.board import Board, Phase
from installation.errors import EngineError, InstallationError

State = TypeVar("State")
Drawn = TypeVar("Drawn", contravariant=True)
Report = Callable[[str, str], None]

ROLE = "engine"
BAD_LIMIT = 10
BAD_S = 3.0
BEAT_S = 0.1
STATUS_S = 1.0
SHORT_NAP_S, LONG_NAP_S = 0.0005, 0.005

_DEVICE_TYPES = {"OutOfMemoryError", "AcceleratorError"}
_DEVICE_WORDS = (
    "cuda",
    "cudnn",
    "cublas",
    "hip error",
    "mps backend",
    "nvrtc",
    "device-side assert",
    "allocate memory",
)

_log = logging.getLogger(__name__)


class Renderer(Protocol[Drawn]):
    """What the loop needs of a renderer."""

    def render(self, state: Drawn, out: NDArray[np.uint8], /) -> bool:
        """Draws `state` into `out`, a Frame; complete on return. False when the picture has NaN or infinite values:
        `out` is then not shown."""
        ...


def run(
    board: Board,
    make_renderer: Callable[[], Renderer[State]],
    *,
    decode: Callable[[bytes], tuple[float, State]],
    parent_alive: Callable[[], bool],
    stop: threading.Event,
    report: Report,
) -> int:
    """Renders the newest state until told to stop. Gives the exit code: 0 stopped, 4 the device or the pictures are
    broken.

    decode: a state's bytes -> (show time in s, state). report(key, text): a log that counts and limits by key.
    InstallationError of `make_renderer` passes through, for the command line to say.
    """
    board.beat(ROLE, Phase.LOADING)
    try:
        renderer = make_renderer()
    except InstallationError:
        raise
    except Exception as error:
        if not is_device_fault(error):
            raise
        report("device", f"the engine cannot start on its device: {_brief(error)}")
        return EngineError.exit_code
    return _Loop(board, renderer, decode, report).run(lambda: stop.is_set() or not parent_alive())


class _Loop:
    def __init__(
        self, board: Board, renderer: Renderer[State], decode: Callable[[bytes], tuple[float, State]], report: Report
    ) -> None:
        self._board, self._renderer, self._decode, self._report = board, renderer, decode, report
        self._phase = Phase.LOADING
        self._tick: int | None = None
        self._bad = 0
        self._bad_since = 0.0
        self._bad_total = 0
        self._slowest_s = 0.0
        self._last_beat_s = 0.0
        self._meter = _Meter()

    def run(self, ended: Callable[[], bool]) -> int:
        nap_s = SHORT_NAP_S
        while not ended():
            newest = self._board.read_state()
            if newest is None or newest[0] == self._tick:
                self._beat(every_s=BEAT_S)
                time.sleep(nap_s)
                # 60 ticks a second come 17 ms apart: short naps find them, longer ones save the core when the wall is
                # away.
                nap_s = min(nap_s * 1.05, LONG_NAP_S)
                continue
            nap_s = SHORT_NAP_S
            self._tick = newest[0]
            if not self._draw(newest[1]):
                return EngineError.exit_code
            self._beat(every_s=0.0)
        return 0

    def _draw(self, payload: bytes) -> bool:
        """One picture. False when the process had better start anew."""
        started = time.perf_counter()
        try:
            stamp, state = self._decode(payload)
            finite = self._renderer.render(state, self._board.begin_frame())
        except Exception as error:
            if is_device_fault(error):
                self._report("device", f"the engine's device failed: {_brief(error)}")
                self._board.put_status(ROLE, f"device failed: {_brief(error)}")
                return False
            _log.debug("a picture could not be made", exc_info=True)
            return self._hold(f"a picture could not be made: {_brief(error)}")
        if not finite:
            return self._hold("a picture was not finite and is not shown")
        self._board.commit_frame(stamp)
        took_s = time.perf_counter() - started
        self._bad = 0
        self._slowest_s = max(took_s, 0.9 * self._slowest_s) if self._phase is Phase.RUNNING else 0.0
        self._phase = Phase.RUNNING
        if self._meter.add(took_s):
            self._board.put_status(ROLE, f"{self._meter.text()} · {self._bad_total} bad")
        return True

    def _hold(self, text: str) -> bool:
        """Counts a picture that is not shown; False after 10 in a row, or 3 s of them."""
        now = time.monotonic()
        if self._bad == 0:
            self._bad_since = now
        self._bad += 1
        self._bad_total += 1
        self._report("bad picture", text)
        self._board.put_status(ROLE, text)
        return self._bad < BAD_LIMIT and now - self._bad_since < BAD_S

    def _beat(self, *, every_s: float) -> None:
        now = time.monotonic()
        if now - self._last_beat_s >= every_s:
            self._last_beat_s = now
            # An engine that needs 8 s a picture is slow, not hung.
            self._board.beat(ROLE, self._phase, expect_s=4 * self._slowest_s)


class _Meter:
    """Pictures a second over the last second or so, and how long one takes."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=240)
        self._count = 0
        self._since = time.monotonic()
        self._fps = 0.0

    def add(self, took_s: float) -> bool:
        """True when there are new figures, about once a second."""
        self._durations.append(took_s)
        self._count += 1
        elapsed = time.monotonic() - self._since
        if elapsed < STATUS_S:
            return False
        self._fps = self._count / elapsed
        self._count, self._since = 0, time.monotonic()
        return True

    def text(self) -> str:
        p50, p99 = np.percentile(np.array(self._durations), (50, 99)) * 1000
        return f"{self._fps:.1f} fps · p50 {p50:.1f} ms · p99 {p99:.1f} ms"


def is_device_fault(error: BaseException) -> bool:
    """Whether an exception means that this process's device (or memory) is not usable any more. By name and words, so
    that torch need not be loaded to ask."""
    if isinstance(error, MemoryError) or type(error).__name__ in _DEVICE_TYPES:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _DEVICE_WORDS)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
