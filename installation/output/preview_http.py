"""The preview's HTTP server: a page, a picture, a stream, a status. Runs in daemon threads of the wall process.

GET and HEAD only, no file is ever opened, the number of clients is bounded, and one that does not send or does not
read is dropped. It knows pictures only as JPEG bytes with a number, from the `Pictures` it is given.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import json
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from installation.show.addresses import is_loopback
from installation.show.status import Standing

log = logging.getLogger(__name__)

REQUEST_S = 5.0  # for a whole request to arrive, and for a client to take what was sent
MAX_CLIENTS = 16
MAX_STREAMS = 8
BOUNDARY = "frame"

_SCRIPT = """
const line = document.getElementById("line");
async function look() {
  try {
    const s = await (await fetch("/status.json", {cache: "no-store"})).json();
    const old = s.age_s > 3 ? "no new picture for " + Math.round(s.age_s) + " s" : "live";
    const age = s.age_s === null ? "waiting for the first picture" : old;
    line.textContent = [age].concat(Object.entries(s.status).map(([k, v]) => k + " " + v)).join("  \\u00b7  ");
  } catch { line.textContent = "the wall does not answer"; }
  setTimeout(look, 1000);
}
look();
"""

_PAGE = """<!doctype html> <html lang="en"><head><meta charset="utf-8"><meta name="viewport"
content="width=device-width"><title>{show}</title><style> html, body {{ margin: 0; height: 100%; background: #0b0b0c;
color: #9a9a9f; font: 14px/1.5 system-ui, sans-serif }} body {{ display: flex; flex-direction: column; align-items:
center; justify-content: center; gap: 12px }} img {{ max-width: 96vw; max-height: 86vh; background: #000 }} b {{
color: #e8e8ea; font-weight: 500 }} #line {{ font-size: 12px; padding: 0 12px; text-align: center }}
</style></head><body><img src="/stream.mjpg" alt="what the wall shows"><b>{show}</b><div id="line"></div>
<script>{script}</script></body></html>
"""

_CSP = (
    "default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
    f"script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
)


class Pictures(Protocol):
    """Where the server gets what it shows. Called from many threads."""

    status: Mapping[str, object]
    standing: Standing
    closed: bool

    def number(self) -> int:
        """The newest picture's number, 0 before the first."""
        ...

    def age_s(self) -> float | None:
        """Seconds since the wall had a picture, asked for or not; None before the first."""
        ...

    def jpeg(self, after: int, wait_s: float) -> tuple[int, bytes] | None:
        """(number, JPEG) of a picture above `after`; the old one when none comes within `wait_s`; None without any."""
        ...


class PreviewServer(ThreadingHTTPServer):
    """Listens once constructed; `serve_forever` and `shutdown` as in the standard library. OSError when it cannot bind."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16
    # Windows lets a second program share the port with this option on.
    allow_reuse_address = os.name != "nt"

    def __init__(self, host: str, port: int, show: str, picture: Pictures) -> None:
        self.picture, self.show = picture, show
        self.streams = threading.BoundedSemaphore(MAX_STREAMS)
        self._clients = threading.BoundedSemaphore(MAX_CLIENTS)
        self._pending: dict[socket.socket, float] = {}
        self._pending_lock = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), PreviewHandler)

    def server_bind(self) -> None:
        # HTTPServer's own looks the address up in the DNS, which can take seconds on an island network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._clients.acquire(blocking=False):
            request.settimeout(0.0)
            with contextlib.suppress(OSError):
                request.send(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n")
            self.shutdown_request(request)
            return
        with self._pending_lock:
            self._pending[request] = time.monotonic() + REQUEST_S
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._clients.release()
            self.arrived(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.arrived(request)
            self._clients.release()

    def arrived(self, request: Any) -> None:
        """The whole request is here: no longer timed."""
        with self._pending_lock:
            self._pending.pop(request, None)

    def service_actions(self) -> None:
        """Many times a second: hang up on those who send their request drop by drop, which no time-out of a single read
        catches.
        """
        now = time.monotonic()
        with self._pending_lock:
            for request, deadline in self._pending.items():
                if now > deadline:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("preview: client %s went away", client_address, exc_info=True)  # noqa: LOG014


def _is_here(header: str) -> bool:
    """Whether a Host header names this machine: a foreign page that points its own name at this address (DNS rebinding)
    is not to be answered.
    """
    name = header.strip().lower()
    return is_loopback(name[1:].split("]")[0] if name.startswith("[") else name.split(":")[0].rstrip("."))


class PreviewHandler(BaseHTTPRequestHandler):
    server: PreviewServer
    timeout = REQUEST_S
    server_version = "installation"
    sys_version = ""

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command in ("GET", "HEAD"):
            return True
        self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET and HEAD only\n", {"Allow": "GET, HEAD"})
        return False

    def do_GET(self) -> None:
        self.server.arrived(self.connection)
        if not _is_here(self.headers.get("Host") or ""):
            return self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"unknown host name\n")
        path = self.path.split("?")[0]
        if path == "/":
            page = _PAGE.format(show=html.escape(self.server.show), script=_SCRIPT)
            return self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page.encode())
        if path == "/frame.jpg":
            return self._frame()
        if path == "/stream.mjpg":
            return self._stream()
        if path == "/status.json":
            return self._status()
        return self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"not here: / /frame.jpg /stream.mjpg /status.json\n")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _frame(self) -> None:
        picture = self.server.picture.jpeg(self.server.picture.number(), 1.0)
        if picture is None:
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"no picture yet\n", {"Retry-After": "1"})
        return self._answer(HTTPStatus.OK, "image/jpeg", picture[1])

    def _status(self) -> None:
        picture = self.server.picture
        wall = (
            picture.standing.status.as_json()
        )  # whether or not anybody looks, unlike age_s, which is the page's picture's
        body = {"show": self.server.show, "age_s": picture.age_s(), "wall": wall, "status": dict(picture.status)}
        self._answer(HTTPStatus.OK, "application/json", json.dumps(body, default=str).encode())

    def _stream(self) -> None:
        if self.command == "HEAD":
            return self._head(HTTPStatus.OK, f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        if not self.server.streams.acquire(blocking=False):
            return self._answer(
                HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"too many viewers\n", {"Retry-After": "5"}
            )
        try:
            # A client that does not read is noticed after a few pictures instead of after megabytes.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
            self._head(HTTPStatus.OK, f"multipart/x-mixed-replace; boundary={BOUNDARY}")
            number = 0
            while not self.server.picture.closed:
                # The old picture again after a second without a new one: finds out whether the client is still there.
                picture = self.server.picture.jpeg(number, 1.0)
                if picture is None:
                    continue
                number, jpeg = picture
                part = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                self.wfile.write(part + jpeg + b"\r\n")
        except OSError:
            log.debug("preview: a viewer left")
        finally:
            self.server.streams.release()

    def _answer(self, status: HTTPStatus, kind: str, body: bytes, extra: Mapping[str, str] | None = None) -> None:
        self._head(status, kind, {"Content-Length": str(len(body)), **(extra or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, extra: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        common = {
            "Content-Type": kind,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": _CSP,
            "Connection": "close",
        }
        for name, value in (common | dict(extra or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("preview: %s %s", self.client_address[0], format % args)
