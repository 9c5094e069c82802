"""A small live page of what the wall shows, for a headless machine and for a look from the office through a tunnel.

The wall's loop calls `Preview.offer` each tick. That costs a comparison unless somebody looked within the last two
seconds, and then takes one picture at most ten times a second. Shrinking, JPEG and sockets live in the server's own
daemon threads (preview_http.py), never in the loop.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from installation.errors import OutputError
from installation.output.preview_http import PreviewServer
from installation.show.status import Standing

DEFAULT_PORT = 9010
MAX_WIDTH = 640
EVERY_S = 0.1  # the least time between two pictures
WATCHED_S = 2.0  # somebody who asked this recently is still looking


class Preview:
    """Serves from construction to `close`, this machine alone. host: 127.0.0.1 or ::1; port 0 takes any free one.

    OutputError: the address or port cannot be had.
    """

    def __init__(
        self,
        show: str,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        standing: Standing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._picture = _Picture(clock, standing or Standing())
        self._clock = clock
        self._offered = float("-inf")
        try:
            self._server = PreviewServer(host, port, show, self._picture)
        except (OSError, OverflowError) as error:
            raise OutputError(
                f"cannot listen on {host} port {port} ({error})",
                where="preview",
                fix="Another program or another show has it: choose another preview port, or 0 for any free one",
            ) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        serve = partial(self._server.serve_forever, poll_interval=0.05)
        self._thread = threading.Thread(target=serve, name="preview", daemon=True)
        self._thread.start()

    @property
    def watched(self) -> bool:
        """True while somebody looks."""
        return self._clock() - self._picture.asked < WATCHED_S

    def offer(self, make: Callable[[], np.ndarray]) -> None:
        """Called each tick. `make` gives the Frame on the wall now and is called only when wanted; the Frame must not
        change afterwards.
        """
        now = self._clock()
        self._picture.at = now
        if now - self._picture.asked >= WATCHED_S or now - self._offered < EVERY_S:
            return
        self._offered = now
        self._picture.put(make())

    def publish(self, status: Mapping[str, object]) -> None:
        """The newest status for the page: names to JSON values. Keeps the reference: hand over a fresh mapping."""
        self._picture.status = status

    def close(self) -> None:
        """Stop serving and end every stream."""
        self._picture.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)


class _Picture:
    """The newest Frame and its JPEG, shared by the wall (`put`) and the server threads. Its lock is never held while
    encoding.
    """

    def __init__(self, clock: Callable[[], float], standing: Standing) -> None:
        self.asked = float("-inf")
        self.at: float | None = None  # the wall's last turn with a picture, whether anybody looks or not
        self.status: Mapping[str, object] = {}
        self.standing = standing
        self.closed = False
        self._clock = clock
        self._new = threading.Condition()
        self._frame: np.ndarray | None = None
        self._number = 0
        self._encoding = threading.Lock()
        self._encoded: tuple[int, bytes] = (0, b"")

    def put(self, frame: np.ndarray) -> None:
        with self._new:
            self._frame, self._number = frame, self._number + 1
            self._new.notify_all()

    def age_s(self) -> float | None:
        return None if self.at is None else max(self._clock() - self.at, 0.0)

    def number(self) -> int:
        return self._number

    def jpeg(self, after: int, wait_s: float) -> tuple[int, bytes] | None:
        """The newest picture, if possible one numbered above `after`; the old one when the wall gave none in time;
        None without any.
        """
        self.asked = self._clock()
        with self._new:
            self._new.wait_for(lambda: self._number > after or self.closed, wait_s)
            number, frame = self._number, self._frame
        if frame is None or self.closed:
            return None
        with self._encoding:  # one client encodes, the others take its bytes
            if self._encoded[0] < number:
                self._encoded = (number, _encode(frame))
            return self._encoded

    def close(self) -> None:
        with self._new:
            self.closed = True
            self._new.notify_all()


def _encode(frame: np.ndarray) -> bytes:
    from PIL import Image

    height, width = frame.shape[:2]
    image = Image.frombuffer("RGBA", (width, height), np.ascontiguousarray(frame), "raw", "RGBA", 0, 1).convert("RGB")
    if width > MAX_WIDTH:
        size = MAX_WIDTH, max(1, round(height * MAX_WIDTH / width))
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()
