"""`installation data review`: a page on this machine that asks about the uncertain pictures, one after the other, by keyboard.

The standard library's HTTP server on the loopback, one thread a request; every change goes through one lock into the manifest and is on the
disk before the answer. The page names pictures by number only: no path comes from outside. Requests whose Host is not this machine's, or
whose Origin is another page's, are refused, so that no web page can reach it through the browser.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from installation.errors import OutputError
from installation.training.data.manifest import Entry, Manifest
from installation.training.data.sheet import sheet as sheet
from installation.training.picture import PictureError, read_picture, resize, to_uint8

HOST = "127.0.0.1"
_SHOWN_PX = 900
_MAX_BODY = 4096


class Review:
    """The pictures to ask about, and the answers. Any thread."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        # Fixed at the start, so that numbers keep their meaning; those decided by hand before stay where they were.
        self.names = [
            name
            for name, entry in sorted(manifest.entries.items())
            if entry.decision == "uncertain" and not entry.error
        ]
        self._past: list[tuple[int, Entry]] = []
        self._lock = threading.Lock()

    def state(self) -> dict[str, Any]:
        """All that the page shows, but the pictures themselves."""
        with self._lock:
            return {"pictures": [self._row(name) for name in self.names], "counts": self.manifest.counts()}

    def answer(self, number: int, decision: str) -> dict[str, Any]:
        """Keep or drop a picture. IndexError or ValueError for what cannot be."""
        if decision not in ("keep", "drop"):
            raise ValueError(decision)
        with self._lock:
            entry = self._entry(number)
            self._past.append((number, entry))
            done: Any = decision
            self.manifest.put(replace(entry, decision=done, by="hand"), sync=True)
            return {"number": number, "picture": self._row(entry.name), "counts": self.manifest.counts()}

    def undo(self) -> dict[str, Any]:
        """Take back the last answer of this session, if there is one."""
        with self._lock:
            if not self._past:
                return {"number": None, "counts": self.manifest.counts()}
            number, entry = self._past.pop()
            self.manifest.put(entry, sync=True)
            return {"number": number, "picture": self._row(entry.name), "counts": self.manifest.counts()}

    def picture(self, number: int) -> bytes:
        """A JPEG of at most 900 px. PictureError if the file has gone."""
        from PIL import Image

        pixels = read_picture(self.manifest.place(self._entry(number).name)).pixels
        scale = min(1.0, _SHOWN_PX / max(pixels.shape[:2]))
        if scale < 1:
            width, height = (max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
            pixels = to_uint8(resize(pixels, width, height))
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "JPEG", quality=92)
        return data.getvalue()

    def _entry(self, number: int) -> Entry:
        if not 0 <= number < len(self.names):
            raise IndexError(number)
        return self.manifest.entries[self.names[number]]

    def _row(self, name: str) -> dict[str, Any]:
        entry = self.manifest.entries[name]
        scores = {key: value for key, value in entry.scores.items() if isinstance(value, (int, float, str))}
        return {
            "name": name,
            "decision": entry.decision,
            "by": entry.by,
            "reasons": entry.reasons,
            "scores": scores,
            "faces": [face["box"] for face in entry.faces],
            "size": [entry.scores.get("width", 0), entry.scores.get("height", 0)],
        }


def serve(
    manifest_path: Path | str,
    port: int = 0,
    *,
    ready: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> dict[str, int]:
    """Serve the page until Ctrl-C (or `stop`); returns the counts of decisions then. port 0: any free one.

    ready: gets the address once it answers. OutputError if the port is taken, or if there is nothing to ask.
    """
    with Manifest.writing(manifest_path) as manifest:
        review = Review(manifest)
        if not review.names:
            raise OutputError(
                "no picture is uncertain", where=str(manifest.path), fix="There is nothing to review: go on with align"
            )
        with _server(review, port) as server:
            if ready:
                ready(f"http://{HOST}:{server.server_port}/")
            try:
                (stop or threading.Event()).wait()
            except KeyboardInterrupt:
                pass
        manifest.save()
        return manifest.counts()


@contextmanager
def _server(review: Review, port: int):
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(review))
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"port {port} cannot be used ({error})", where=HOST, fix="Name another port, or 0 for any"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="review")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(review: Review) -> type[BaseHTTPRequestHandler]:
    page = resources.files("installation.training.data").joinpath("review.html").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        server: ThreadingHTTPServer
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            if not self._ours():
                return
            path = self.path.partition("?")[0]
            try:
                if path == "/":
                    self._send(page, "text/html; charset=utf-8")
                elif path == "/state":
                    self._json(review.state())
                elif path.startswith("/picture/"):
                    self._send(review.picture(_number(path.removeprefix("/picture/"))), "image/jpeg")
                else:
                    self.send_error(HTTPStatus.NOT_FOUND)
            except (IndexError, ValueError, PictureError):
                self.send_error(HTTPStatus.NOT_FOUND)

        def do_POST(self) -> None:
            if not self._ours():
                return
            try:
                length = _number(self.headers.get("Content-Length", ""))
                if length > _MAX_BODY:
                    raise ValueError(length)
                body = json.loads(self.rfile.read(length) or b"{}")
                if self.path == "/answer":
                    self._json(review.answer(_number(str(body["number"])), body["decision"]))
                elif self.path == "/undo":
                    self._json(review.undo())
                else:
                    self.send_error(HTTPStatus.NOT_FOUND)
            except (IndexError, ValueError, KeyError, TypeError):
                self.send_error(HTTPStatus.BAD_REQUEST)
            except OutputError as error:  # the disk is full: the page says so, and nothing was lost
                self.send_error(HTTPStatus.INSUFFICIENT_STORAGE, explain=str(error))

        def log_message(self, format: str, *args: Any) -> None:
            """A line for every picture would drown what the command says."""

        def _ours(self) -> bool:
            port = self.server.server_port
            hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
            origin = self.headers.get("Origin")
            good = self.headers.get("Host") in hosts and (origin is None or origin.removeprefix("http://") in hosts)
            if not good:
                self.close_connection = True
                self.send_error(HTTPStatus.FORBIDDEN)
            return good

        def _json(self, value: Any) -> None:
            self._send(json.dumps(value).encode(), "application/json")

        def _send(self, data: bytes, kind: str) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(data)

    return Handler


def _number(text: str) -> int:
    """A small whole number in plain digits. ValueError else."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(text)
    return int(text)
