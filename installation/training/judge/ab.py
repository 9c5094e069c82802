"""The last judge: people, who see two pictures and say which is the better (or the real) one, without knowing which is whose.

A page on this machine alone (see `local_page`). What it says does not tell whose a picture is. Every answer is on the disk before the
next pair is shown, so an evening can be interrupted.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from installation.errors import DISK_FIX, ModelError, OutputError
from installation.training.judge.ab_page import CSP, PAGE
from installation.training.local_page import LocalPage, number

PAIRS = 200
SAME = "same"
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
        """How many questions are answered."""
        return len(self._choices)

    def result(self) -> Result:
        """What the answers say so far."""
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
        try:
            raw = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            what = f"the answers cannot be read ({error.strerror or error})"
            raise OutputError(what, where=str(self._path), fix="Give another file for the answers") from error
        if not raw:
            self._append(self._head)
            return []
        rows = []
        for line in raw.splitlines():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError):  # cut short by a kill
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
    """Serves the page until the last pair is answered or Ctrl-C comes; what the answers say then. ready: gets the page's address.

    OutputError where the port is taken.
    """
    if not blind.over.is_set():
        page(blind, port).serve(blind.over, ready)
    return blind.result()


def page(blind: Blind, port: int = 0) -> LocalPage:
    """The page of one comparison. It says how often was chosen which only at the end: who knows the count answers differently."""

    def state() -> dict[str, object]:
        over = blind.done == len(blind.pairs)
        return {
            "done": blind.done,
            "total": len(blind.pairs),
            "question": blind.question,
            "result": blind.result().text if over else None,
        }

    def get(path: str) -> tuple[str, bytes]:
        match path.split("/"):
            case ["", ""]:
                return "text/html; charset=utf-8", PAGE.encode()
            case ["", "state"]:
                return "application/json", json.dumps(state()).encode()
            case ["", "picture", pair, side]:
                try:
                    return "image/png", blind.picture(number(pair), number(side))
                except ValueError as error:
                    raise LookupError(path) from error
        raise LookupError(path)

    def post(path: str, said: Any) -> dict[str, object]:
        if path != "/answer":
            raise LookupError(path)
        pair, choice = said["pair"], said["choice"]
        if not isinstance(pair, int) or isinstance(pair, bool) or not isinstance(choice, str):
            raise TypeError(said)
        blind.answer(pair, choice)
        return state()

    def told() -> None:
        if blind.done == len(blind.pairs):
            blind.over.set()

    return LocalPage(get, post, policy=CSP, port=port, told=told)


def _order(rng: np.random.RandomState, n: int, count: int) -> np.ndarray:
    return np.concatenate([rng.permutation(n) for _ in range(-(-count // n))])[:count]


def _digest(pictures: Sequence[np.ndarray]) -> str:
    """Of all pictures of a set, so that answers about an earlier checkpoint are never counted for a later one."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.tobytes())
    return digest.hexdigest()[:16]


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[:, :, :3])).save(file, format="PNG")
    return file.getvalue()
