"""The live preview page, over real sockets: what it shows, what it costs the wall, and who gets no answer."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse

import numpy as np
import pytest
from PIL import Image

from installation.errors import OutputError
from installation.output import preview_http
from installation.output.preview import WATCHED_S, Preview
from installation.output.preview_http import MAX_STREAMS
from installation.show.status import Standing, Status
from tests.xserver import until

RED = np.full((90, 160, 4), (200, 30, 10, 255), np.uint8)


class Wall:
    """Ticks like the wall: offers `frame` to the preview until stopped."""

    def __init__(self, preview: Preview, make: Callable[[], np.ndarray]) -> None:
        self.preview, self.make = preview, make
        self.made = 0
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _frame(self) -> np.ndarray:
        self.made += 1
        return self.make()

    def _run(self) -> None:
        while not self._stop.wait(1 / 120):
            began = time.perf_counter()
            self.preview.offer(self._frame)
            self.longest_s = max(self.longest_s, time.perf_counter() - began)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)


@pytest.fixture
def preview() -> Iterator[Preview]:
    made = Preview('Night <"walk"> & <script>', port=0)
    yield made
    made.close()


@pytest.fixture
def wall(preview: Preview) -> Iterator[Wall]:
    made = Wall(preview, lambda: RED)
    yield made
    made.stop()


def ask(
    preview: Preview, path: str, *, method: str = "GET", host: str | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", preview.port, timeout=60)) as connection:
        connection.request(method, path, headers={"Host": host} if host is not None else {})
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


@contextlib.contextmanager
def stream(preview: Preview) -> Iterator[HTTPResponse]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", preview.port, timeout=60)) as connection:
        connection.request("GET", "/stream.mjpg")
        with connection.getresponse() as answer:
            yield answer


def next_picture(answer: HTTPResponse) -> bytes:
    lines = [answer.readline() for _ in range(4)]
    assert lines[0] == b"--frame\r\n"
    jpeg = answer.read(int(lines[2].split(b":")[1]))
    assert answer.readline() == b"\r\n"
    return jpeg


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def raw(preview: Preview, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", preview.port), timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_the_page_names_the_show_and_needs_nothing_from_elsewhere(preview: Preview) -> None:
    status, headers, body = ask(preview, "/")
    page = body.decode()
    assert status == 200
    assert "Night &lt;&quot;walk&quot;&gt; &amp; &lt;script&gt;" in page
    assert page.count("<script>") == 1
    assert not re.search(r"https?:|//[a-z]", page)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Cache-Control"] == "no-store"


def test_a_picture_is_what_the_wall_shows(preview: Preview, wall: Wall) -> None:
    status, headers, body = ask(preview, "/frame.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    image = opened(body)
    assert image.size == (160, 90)
    assert np.allclose(np.asarray(image).mean((0, 1)), (200, 30, 10), atol=4)


def test_a_large_picture_is_made_640_px_wide(preview: Preview) -> None:
    wall = Wall(preview, lambda: np.full((720, 1280, 4), 255, np.uint8))
    try:
        assert opened(ask(preview, "/frame.jpg")[2]).size == (640, 360)
    finally:
        wall.stop()


def test_a_picture_asked_for_is_a_new_one(preview: Preview) -> None:
    level = [50]
    wall = Wall(preview, lambda: np.full((8, 8, 4), level[0], np.uint8))
    try:
        ask(preview, "/frame.jpg")
        level[0] = 200
        assert np.asarray(opened(ask(preview, "/frame.jpg")[2])).mean() == pytest.approx(200, abs=2)
    finally:
        wall.stop()


def test_a_hung_walls_last_picture_is_still_given(preview: Preview, wall: Wall) -> None:
    first = ask(preview, "/frame.jpg")[2]
    wall.stop()
    assert ask(preview, "/frame.jpg")[::2] == (200, first)


def test_before_the_first_picture_it_says_so(preview: Preview) -> None:
    status, headers, body = ask(preview, "/frame.jpg")
    assert (status, headers["Retry-After"], body) == (503, "1", b"no picture yet\n")


def test_the_stream_moves(preview: Preview) -> None:
    count = iter(range(0, 250, 10))
    wall = Wall(preview, lambda: np.full((8, 8, 4), next(count), np.uint8))
    try:
        with stream(preview) as answer:
            levels = [np.asarray(opened(next_picture(answer))).mean() for _ in range(4)]
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        assert all(b > a for a, b in itertools.pairwise(levels))
    finally:
        wall.stop()


def test_nobody_looking_costs_no_picture(preview: Preview) -> None:
    def never() -> np.ndarray:
        raise AssertionError("read back for nobody")

    for path in ("/", "/status.json", "/nothing"):
        ask(preview, path)
    for _ in range(1000):
        preview.offer(never)
    assert not preview.watched


def test_at_most_ten_pictures_a_second_and_none_two_seconds_after_the_last_look() -> None:
    now = [100.0]
    preview = Preview("show", port=0, clock=lambda: now[0])
    try:
        ask(preview, "/frame.jpg")
        assert preview.watched
        made: list[float] = []

        def make() -> np.ndarray:
            made.append(now[0])
            return RED

        while now[0] < 105.0:
            preview.offer(make)
            now[0] += 1 / 64
    finally:
        preview.close()
    assert max(made) < 100.0 + WATCHED_S
    assert len(made) <= 10 * WATCHED_S


def test_the_status_is_the_walls_newest(preview: Preview, wall: Wall) -> None:
    preview.publish({"fps": 59.9, "seed": 7, "place": threading})
    body = json.loads(ask(preview, "/status.json")[2])
    assert body["status"]["fps"] == 59.9
    assert body["show"] == 'Night <"walk"> & <script>'
    ask(preview, "/frame.jpg")
    assert json.loads(ask(preview, "/status.json")[2])["age_s"] >= 0.0


def test_the_pictures_age_is_the_walls_whether_anybody_looks_or_not() -> None:
    now = [100.0]
    preview = Preview("show", port=0, clock=lambda: now[0])
    try:
        assert json.loads(ask(preview, "/status.json")[2])["age_s"] is None
        preview.offer(lambda: pytest.fail("nobody looks"))
        now[0] += 16.0
        assert json.loads(ask(preview, "/status.json")[2])["age_s"] == 16.0
        preview.offer(lambda: pytest.fail("nobody looks"))
        assert json.loads(ask(preview, "/status.json")[2])["age_s"] == 0.0
    finally:
        preview.close()


@pytest.mark.parametrize("path", ["/", "/frame.jpg", "/status.json", "/stream.mjpg"])
def test_head_gives_the_headers_only(preview: Preview, wall: Wall, path: str) -> None:
    status, _, body = ask(preview, path, method="HEAD")
    assert (status, body) == (200, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(preview: Preview, method: str) -> None:
    answer = raw(preview, f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 405 ")
    assert b"Allow: GET, HEAD" in answer


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/etc/passwd", "/etc/passwd", "/frame.jpg/"])
def test_there_are_no_files(preview: Preview, path: str) -> None:
    assert ask(preview, path)[0] == 404


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9010", "127.0.0.1", "127.8.8.8:1", "[::1]:9010", "localhost."]
)
def test_loopback_names_are_answered(preview: Preview, host: str) -> None:
    assert ask(preview, "/", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "192.168.1.5", "", "[", "127.0.0.1.evil"])
def test_a_foreign_name_for_this_machine_is_refused(preview: Preview, host: str) -> None:
    assert ask(preview, "/", host=host)[0] == 403


def test_a_request_without_a_host_is_refused(preview: Preview) -> None:
    assert raw(preview, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 403 ")


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x00\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000, b"\r\n" * 5, b""],
)
def test_rubbish_does_not_stop_it(preview: Preview, request_bytes: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        raw(preview, request_bytes)
    assert ask(preview, "/")[0] == 200


def test_too_many_headers_do_not_stop_it(preview: Preview) -> None:
    with contextlib.suppress(ConnectionError):
        raw(preview, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1000 + b"\r\n")
    assert ask(preview, "/")[0] == 200


def test_fifty_viewers_who_never_read_do_not_slow_the_wall(preview: Preview) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 4), np.uint8)
    wall = Wall(preview, lambda: noise)
    try:
        with contextlib.ExitStack() as stack:
            codes = []
            for _ in range(50):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", preview.port), timeout=60))
                connection.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
                codes.append(connection.recv(12)[-3:])
            assert until(lambda: wall.made >= 3)
        assert codes.count(b"200") == MAX_STREAMS
        assert codes.count(b"503") == 50 - MAX_STREAMS
        assert wall.longest_s < 1.0  # waiting for one client would show as its time-out of 5 s
    finally:
        wall.stop()


def test_viewers_who_never_read_are_dropped(preview: Preview, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_http.PreviewHandler, "timeout", 0.2)
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 4), np.uint8)
    wall = Wall(preview, lambda: noise)
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_STREAMS):
                connection = stack.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", preview.port))
                connection.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")

            def admitted() -> bool:
                with stream(preview) as answer:
                    return answer.status == 200

            assert until(admitted)
    finally:
        wall.stop()


def test_a_request_sent_drop_by_drop_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_http, "REQUEST_S", 0.3)
    preview = Preview("show", port=0)
    try:
        with socket.create_connection(("127.0.0.1", preview.port), timeout=60) as connection:

            def hung_up() -> bool:
                try:
                    connection.sendall(b"G")
                    connection.settimeout(0.05)
                    return connection.recv(1) == b""
                except TimeoutError:
                    return False
                except ConnectionError:
                    return True

            assert until(hung_up)
    finally:
        preview.close()


def test_a_port_in_use_is_one_clear_error(preview: Preview) -> None:
    with pytest.raises(OutputError, match=rf"port {preview.port} .*choose another preview port") as caught:
        Preview("second", port=preview.port)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_had_is_one_clear_error(host: str, port: int) -> None:
    with pytest.raises(OutputError, match="cannot listen"):
        Preview("show", host=host, port=port)


def test_it_serves_on_ipv6_loopback() -> None:
    preview = Preview("show", host="::1", port=0)
    try:
        assert preview.url == f"http://[::1]:{preview.port}/"
        with contextlib.closing(http.client.HTTPConnection("::1", preview.port, timeout=60)) as connection:
            connection.request("GET", "/")
            with connection.getresponse() as answer:
                assert answer.status == 200
    finally:
        preview.close()


def test_closing_ends_streams_and_frees_the_port(preview: Preview, wall: Wall) -> None:
    with stream(preview) as answer:
        next_picture(answer)
        preview.close()
        assert until(lambda: answer.read(65536) == b"")
    again = Preview("again", port=preview.port)
    again.close()


def test_pillow_is_loaded_only_when_somebody_looks() -> None:
    code = "import sys, installation.output.preview; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_status_says_how_the_wall_is_though_nobody_looks() -> None:
    standing = Standing()
    preview = Preview("Night", port=0, standing=standing)
    try:
        said = json.loads(ask(preview, "/status.json")[2])["wall"]
        assert said == {"model": "", "pictures_per_s": None, "newest_s": None, "recording": False}
        standing.status = Status("Night", "faces", 12.5, time.monotonic() - 7.0, recording=True)
        said = json.loads(ask(preview, "/status.json")[2])["wall"]
        assert (said["model"], said["pictures_per_s"], said["recording"]) == ("faces", 12.5, True)
        assert 7.0 <= said["newest_s"] < 60.0
        assert not preview.watched
    finally:
        preview.close()
