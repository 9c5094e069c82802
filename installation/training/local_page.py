"""Pages on this machine alone, on which people judge pictures: the standard library's HTTP server on the loopback, one thread a request.

A browser names things by number only: no path, name or file comes from it. Requests whose Host is not this machine's (a site whose name
was made to point here), whose Origin is another page's, or whose body is not declared as JSON (a form that another page sends) are
refused.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from installation.errors import OutputError

HOST = "127.0.0.1"
_MOST_BODY = 4096
_REQUEST_S = 10.0

# Content type and body of what is at a path. LookupError where nothing is.
Get = Callable[[str], tuple[str, bytes]]
# What is said back, as JSON, to what a page says at a path. LookupError, ValueError or TypeError where that makes no sense; OutputError
# where the disk refuses.
Post = Callable[[str, Any], Any]


class LocalPage(ThreadingHTTPServer):
    """Listens on 127.0.0.1 once constructed. port: 0 takes a free one, see `address`. policy: the Content-Security-Policy of all answers.

    told: called when an answer to a POST was sent. OutputError where the port is taken or is none.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # Windows lets a second program share the port with this option on

    def __init__(
        self, get: Get, post: Post, *, policy: str, port: int = 0, told: Callable[[], None] = lambda: None
    ) -> None:
        self.get, self.post, self.policy, self.told = get, post, policy, told
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            what = f"port {port} cannot be used ({getattr(error, 'strerror', None) or error})"
            raise OutputError(what, where=HOST, fix="Name another port, or 0 for any") from error

    def server_bind(self) -> None:
        # HTTPServer's own looks the address up in the DNS, which can take seconds on an island network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def address(self) -> str:
        """http://127.0.0.1:PORT/"""
        return f"http://{HOST}:{self.server_port}/"

    def serve(self, over: threading.Event, ready: Callable[[str], None]) -> None:
        """Answer until `over` is set or Ctrl-C comes, then close. ready: gets the address once the page answers."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="page")
        thread.start()
        try:
            ready(self.address)
            # Windows tells a thread that waits without end of no Ctrl-C.
            while not over.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet where the browser broke off, which a closed tab and every quick key do."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: LocalPage
    protocol_version = "HTTP/1.1"
    timeout = _REQUEST_S

    def do_GET(self) -> None:
        if not self._ours():
            return
        try:
            kind, body = self.server.get(self._asked_for())
        except LookupError:
            self._fail(HTTPStatus.NOT_FOUND)
            return
        self._send(HTTPStatus.OK, kind, body)

    def do_POST(self) -> None:
        if not self._ours():
            return
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type") != "application/json":
            self._fail(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            return
        try:
            if number(length) > _MOST_BODY:
                raise ValueError(length)
            said = self.server.post(self._asked_for(), json.loads(self.rfile.read(int(length))))
        except (LookupError, ValueError, TypeError, RecursionError):
            self._fail(HTTPStatus.BAD_REQUEST)
        except OutputError as error:  # the disk is full: the page says so, and nothing was lost
            self._fail(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        else:
            self._send(HTTPStatus.OK, "application/json", json.dumps(said).encode())
            self.server.told()

    def log_message(self, format: str, *args: Any) -> None:
        """A line for every picture would drown what the command says."""

    def _asked_for(self) -> str:
        """As the browser wrote it: some releases of the standard library make `//` a `/`, others do not."""
        return self.requestline.split()[1]

    def _ours(self) -> bool:
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in hosts and (origin is None or origin.removeprefix("http://") in hosts):
            return True
        self._fail(HTTPStatus.FORBIDDEN)
        return False

    def _fail(self, status: HTTPStatus, text: str = "") -> None:
        self.close_connection = True  # a body may be unread
        self._send(status, "text/plain; charset=utf-8", (text or status.phrase).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        try:
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the page was closed
            self.close_connection = True


def number(text: str) -> int:
    """A small whole number in plain digits. ValueError else."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(text)
    return int(text)
