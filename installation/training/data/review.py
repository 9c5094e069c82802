"""`installation data review`: a page on this machine that asks about the uncertain pictures, one after the other, by keyboard.

Every change goes through one lock into the manifest and is on the disk before the answer. See `local_page` for who is answered.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from installation.errors import OutputError
from installation.training.data.manifest import Entry, Manifest
from installation.training.data.sheet import sheet as sheet
from installation.training.local_page import LocalPage, number
from installation.training.picture import PictureError, read_picture, resize, to_uint8

_SHOWN_PX = 900


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
    ready: Callable[[str], None] = lambda address: None,
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
        _page(review, port).serve(stop or threading.Event(), ready)
        manifest.save()
        return manifest.counts()


def _page(review: Review, port: int) -> LocalPage:
    page = resources.files("installation.training.data").joinpath("review.html").read_bytes()

    def get(path: str) -> tuple[str, bytes]:
        match path.split("/"):
            case ["", ""]:
                return "text/html; charset=utf-8", page
            case ["", "state"]:
                return "application/json", json.dumps(review.state()).encode()
            case ["", "picture", picture]:
                try:
                    return "image/jpeg", review.picture(number(picture))
                except (ValueError, PictureError) as error:
                    raise LookupError(path) from error
        raise LookupError(path)

    def post(path: str, said: Any) -> dict[str, Any]:
        match path:
            case "/answer":
                return review.answer(number(str(said["number"])), said["decision"])
            case "/undo":
                return review.undo()
        raise LookupError(path)

    return LocalPage(get, post, policy="default-src 'self' 'unsafe-inline'", port=port)
