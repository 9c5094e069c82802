"""The last judge: people, who see two pictures and say which is the better (or the real) one, without knowing which is whose.

A page on this machine alone. The server knows pictures by number only: no path, name or file ever comes from the browser, and what it
says back does not tell whose a picture is. Every answer is on the disk before the next pair is shown, so an evening can be interrupted.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import socketserver
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from installation.errors import ModelError, OutputError
from installation.training.judge.ab_page import CSP, PAGE
from installation.training.records import DISK_FIX

PAIRS = 200
SAME = "same"
_MOST_BODY = 1024
_REQUEST_S = 10.0
_Z = 1.959964  # 95 % of a normal distribution lie within so many deviations


@dataclass(frozen=True, slots=True)
class Pair:
    """One question. a, b: numbers of the pictures in the two sets. a_left: on which side set A's is shown."""

    a: int
    b: int
    a_left: bool


@dataclass(frozen=True, slots=True)
class Result:
    """Answers counted. share: how often A was preferred, "no difference" as half to each; low, high: its 95 % interval.

    strength: the Bradley-Terry strength of A over B, the logarithm of the odds; its standard error strength_se. text: for people.
    """

    answers: int
    a_wins: int
    b_wins: int
    same: int
    share: float
    low: float
    high: float
    strength: float
    strength_se: float
    text: str


def pairs(count_a: int, count_b: int, *, count: int = PAIRS, seed: int = 0) -> list[Pair]:
    """The questions, the same for the same seed. No picture comes twice before all of its set came once."""
    if count_a < 1 or count_b < 1:
        raise ModelError("a blind comparison needs at least one picture on each side")
    rng = np.random.RandomState(seed)
    ours, theirs = (_order(rng, n, count) for n in (count_a, count_b))
    sides = rng.rand(count) < 0.5
    return [Pair(int(a), int(b), bool(left)) for a, b, left in zip(ours, theirs, sides, strict=True)]


def result(choices: Iterable[str], a: str = "A", b: str = "B") -> Result:
    """What answers "a", "b" and "same" say together.

    The interval is Wilson's (J. Am. Stat. Assoc. 22, 1927). With two sets the Bradley-Terry model (Biometrika 39, 1952) has one number,
    the log odds; half an answer is added to each side so that it stays finite (Haldane 1956).
    """
    kept = list(choices)
    wins, losses, same = (kept.count(kind) for kind in ("a", "b", SAME))
    n = wins + losses + same
    x, y = wins + same / 2, losses + same / 2
    share = x / n if n else 0.5
    middle, reach = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n) if n else 0.5, 0.5
    if n:
        reach = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    strength = math.log((x + 0.5) / (y + 0.5))
    strength_se = math.sqrt(1 / (x + 0.5) + 1 / (y + 0.5))
    better = a if low > 0.5 else b if high < 0.5 else None
    said = f"{better} is preferred" if better else "no difference"
    text = f"{a} chosen {share:.0%} of {n} times (95 %: {low:.0%} to {high:.0%}): {said}"
    return Result(n, wins, losses, same, share, low, high, strength, strength_se, text)


class Blind:
    """One comparison: two sets of pictures, the questions, and the answers in a JSON lines file. Any thread.

    a, b: pictures uint8 [H, W, 3]. answers: appended to; answers already there count, if they are of the same pictures and questions.
    over: set once the last answer was told to the page. OutputError where the file belongs to another comparison or the disk refuses.
    """

    def __init__(
        self,
        a: Sequence[np.ndarray],
        b: Sequence[np.ndarray],
        answers: Path,
        *,
        names: tuple[str, str] = ("A", "B"),
        question: str = "Which is the better portrait?",
        count: int = PAIRS,
        seed: int = 0,
    ) -> None:
        self.question, self.names = question, names
        self._sets, self._path, self._lock = (a, b), answers, threading.Lock()
        self.pairs = pairs(len(a), len(b), count=count, seed=seed)
        self._head = {"a": names[0], "b": names[1], "count": count, "seed": seed, "pictures": [_digest(a), _digest(b)]}
        self.over = threading.Event()
        self._choices = self._read()
        if self.done == count:
            self.over.set()

    @property
    def done(self) -> int:
        return len(self._choices)

    def result(self) -> Result:
        with self._lock:
            return result(self._choices, *self.names)

    def picture(self, number: int, side: int) -> bytes:
        """The picture on the left (0) or right (1) of a question as PNG. IndexError where there is no such question."""
        if not 0 <= number < len(self.pairs) or side not in (0, 1):
            raise IndexError(number)
        pair = self.pairs[number]
        is_a = pair.a_left == (side == 0)
        return _png(self._sets[0][pair.a] if is_a else self._sets[1][pair.b])

    def answer(self, number: int, choice: str) -> bool:
        """Keeps "left", "right" or "same" for a question; False when it is not the next one, as for a second press of a key."""
        pair = self.pairs[number] if 0 <= number < len(self.pairs) else None
        if pair is None or choice not in ("left", "right", SAME):
            return False
        kept = SAME if choice == SAME else "a" if (choice == "left") == pair.a_left else "b"
        with self._lock:
            if number != len(self._choices):
                return False
            self._append({"pair": number, "choice": kept})
            self._choices.append(kept)
        return True

    def _read(self) -> list[str]:
        if not self._path.exists() or not self._path.stat().st_size:
            self._append(self._head)
            return []
        rows = []
        for line in self._path.read_bytes().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:  # cut short by a kill
                continue
        if not rows or rows[0] != self._head:
            what = "holds the answers of another comparison"
            raise OutputError(what, where=str(self._path), fix="Give another file for the answers")
        choices = []
        for row in rows[1:]:
            if isinstance(row, dict) and row.get("pair") == len(choices) and row.get("choice") in ("a", "b", SAME):
                choices.append(row["choice"])
        return choices

    def _append(self, row: dict[str, object]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    whole = file.read(1) == b"\n"
                else:
                    whole = True
                file.write((b"" if whole else b"\n") + json.dumps(row).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            what = f"the answer could not be kept ({error.strerror or error})"
            raise OutputError(what, where=str(self._path), fix=DISK_FIX) from error


def serve(blind: Blind, port: int = 0, *, ready: Callable[[str], None] = lambda address: None) -> Result:
    """Serves the page until the last pair is answered or Ctrl-C comes; what the answers say then. ready: gets the page's address."""
    if blind.over.is_set():
        return blind.result()
    with BlindServer(blind, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="blind")
        thread.start()
        try:
            ready(server.address)
            # Windows tells a thread that waits without end of no Ctrl-C.
            while not blind.over.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            server.shutdown()
            thread.join()
    return blind.result()


class BlindServer(ThreadingHTTPServer):
    """Serves one comparison on 127.0.0.1. Listens once constructed; `serve_forever` and `shutdown` as in the standard library.

    port: 0 takes a free one, see `address`. OutputError where the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # Windows lets a second program share the port with this option on

    def __init__(self, blind: Blind, port: int = 0) -> None:
        self.blind = blind
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            what = f"cannot listen ({error.strerror or error})"
            raise OutputError(what, where=f"127.0.0.1:{port}", fix="Choose another port") from error

    def server_bind(self) -> None:
        # HTTPServer's own looks the address up in the DNS, which can take seconds on an island network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: BlindServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    timeout = _REQUEST_S

    def do_GET(self) -> None:
        if not self._ours():
            return
        blind, path = self.server.blind, self._asked_for()
        parts = path.removeprefix("/").split("/")
        if path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.encode())
        elif path == "/state":
            self._state()
        elif len(parts) == 3 and parts[0] == "picture" and all(_is_number(part) for part in parts[1:]):
            try:
                self._send(HTTPStatus.OK, "image/png", blind.picture(int(parts[1]), int(parts[2])))
            except IndexError:
                self._fail(HTTPStatus.NOT_FOUND)
        else:
            self._fail(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        if not self._ours():
            return
        length = self.headers.get("Content-Length", "")
        # A page of another site can make a browser send a form, but not JSON with this type and without being asked first.
        if self._asked_for() != "/answer" or self.headers.get("Content-Type") != "application/json":
            self._fail(HTTPStatus.NOT_FOUND)
            return
        if not _is_number(length) or int(length) > _MOST_BODY:
            self._fail(HTTPStatus.BAD_REQUEST)
            return
        try:
            said = json.loads(self.rfile.read(int(length)))
            number, choice = said["pair"], said["choice"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._fail(HTTPStatus.BAD_REQUEST)
            return
        if not isinstance(number, int) or isinstance(number, bool) or not isinstance(choice, str):
            self._fail(HTTPStatus.BAD_REQUEST)
            return
        try:
            self.server.blind.answer(number, choice)
        except OutputError as error:
            self._send(HTTPStatus.INSUFFICIENT_STORAGE, "text/plain; charset=utf-8", str(error).encode())
            return
        self._state()
        if self.server.blind.done == len(self.server.blind.pairs):
            self.server.blind.over.set()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: answers are in the file, and a terminal that scrolls is of no use to the person at the page."""

    def _state(self) -> None:
        blind = self.server.blind
        over = blind.done == len(blind.pairs)
        # Not before the end: who knows the count answers differently.
        said = {
            "done": blind.done,
            "total": len(blind.pairs),
            "question": blind.question,
            "result": blind.result().text if over else None,
        }
        self._send(HTTPStatus.OK, "application/json", json.dumps(said).encode())

    def _asked_for(self) -> str:
        """As the browser wrote it: some releases of the standard library make `//` a `/`, others do not."""
        return self.requestline.split()[1]

    def _ours(self) -> bool:
        """Only this machine by its own name: a site whose name is made to point here (DNS rebinding) is refused."""
        port = self.server.server_port
        if self.headers.get("Host", "") in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return True
        self._fail(HTTPStatus.FORBIDDEN)
        return False

    def _fail(self, status: HTTPStatus) -> None:
        self.close_connection = True  # a body may be unread
        self._send(status, "text/plain; charset=utf-8", status.phrase.encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", CSP)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # the page was closed
            self.close_connection = True


def _order(rng: np.random.RandomState, n: int, count: int) -> np.ndarray:
    return np.concatenate([rng.permutation(n) for _ in range(-(-count // n))])[:count]


def _digest(pictures: Sequence[np.ndarray]) -> str:
    """Of all pictures of a set, so that answers about an earlier checkpoint are never counted for a later one."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.tobytes())
    return digest.hexdigest()[:16]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[:, :, :3])).save(file, format="PNG")
    return file.getvalue()
