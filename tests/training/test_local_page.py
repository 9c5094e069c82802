"""Pages of this machine: only its own page is answered, only JSON is heard, and a browser that breaks off is no fault."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from installation.errors import OutputError
from installation.training.local_page import LocalPage, number


class Desk:
    """A page that counts what it was told, and fails as asked."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.told = threading.Event()

    def get(self, path: str) -> tuple[str, bytes]:
        if path == "/large":
            return "image/png", bytes(1 << 24)
        if path != "/":
            raise LookupError(path)
        return "text/html", b"the page"

    def post(self, path: str, said: Any) -> Any:
        if said == "full":
            raise OutputError("the disk is full", where="answers.jsonl", fix="Make room")
        self.heard.append(said["choice"])
        return {"heard": len(self.heard)}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def page(desk: Desk) -> Iterator[LocalPage]:
    over, ready = threading.Event(), threading.Event()
    one = LocalPage(desk.get, desk.post, policy="default-src 'none'", told=desk.told.set)
    thread = threading.Thread(target=one.serve, args=(over, lambda address: ready.set()))
    thread.start()
    assert ready.wait(60)
    yield one
    over.set()
    thread.join()


def ask(page: LocalPage, method: str, path: str, body: bytes | None = None, /, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=60)
    try:
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, {**kind, **headers})
        answer = connection.getresponse()
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_answers_its_own_page(page: LocalPage, desk: Desk) -> None:
    port = page.server_port
    assert page.address == f"http://127.0.0.1:{port}/"
    assert ask(page, "GET", "/") == (200, b"the page")
    assert ask(page, "GET", "/", Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == (200, b"the page")
    status, said = ask(page, "POST", "/", b'{"choice": 7}', Origin=f"http://127.0.0.1:{port}")
    assert (status, json.loads(said), desk.heard) == (200, {"heard": 1}, [7])
    assert desk.told.wait(60)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
)
def test_another_page_in_the_browser_is_refused(page: LocalPage, desk: Desk, headers: dict[str, str]) -> None:
    assert ask(page, "GET", "/", **headers)[0] == 403
    assert ask(page, "POST", "/", b'{"choice": 7}', **headers)[0] == 403
    assert not desk.heard


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_is_not_heard(page: LocalPage, desk: Desk, kind: str) -> None:
    assert ask(page, "POST", "/", b'{"choice": 7}', **{"Content-Type": kind})[0] == 415
    assert not desk.heard


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"7", b"\xff", b"[" * 4000, b'"' + b"x" * 5000 + b'"'])
def test_nonsense_is_refused(page: LocalPage, desk: Desk, body: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(page, "POST", "/", body)[0] == 400
    assert not desk.heard
    assert not desk.told.is_set()
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_is_told_to_the_page(page: LocalPage, desk: Desk) -> None:
    status, said = ask(page, "POST", "/", b'"full"')
    assert status == 507
    assert b"disk is full" in said
    assert not desk.told.is_set()


@pytest.mark.parametrize(
    "request_line", [b"GET /large HTTP/1.1", b"GET /missing HTTP/1.1", b"GET /", b"POST / HTTP/1.1"]
)
def test_a_browser_that_breaks_off_leaves_no_traceback(
    page: LocalPage, request_line: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", page.server_port), timeout=60) as one:
            head = (
                f"\r\nHost: 127.0.0.1:{page.server_port}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
            )
            one.sendall(request_line + head.encode())
            # Lingering for no time closes with a reset, as a browser does that wants no more.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(page, "GET", "/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_that_is_taken_or_none_is_said(page: LocalPage, desk: Desk) -> None:
    for port in (page.server_port, 70_000):
        with pytest.raises(OutputError, match=f"port {port} cannot be used"):
            LocalPage(desk.get, desk.post, policy="", port=port)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "٣", "1" * 10, " 1", "1_0"])
def test_only_plain_digits_are_a_number(text: str) -> None:
    with pytest.raises(ValueError):
        number(text)
