"""The review page: keys become decisions on the disk; nothing but this machine's own page is answered."""

from __future__ import annotations

import http.client
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from installation.errors import OutputError
from installation.training.data import review
from installation.training.data.manifest import Entry, Manifest
from installation.training.data.sheet import Sheet, sheet


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three uncertain pictures, one kept; the middle one's file has gone."""
    folder = tmp_path / "mine"
    folder.mkdir()
    path = tmp_path / "m.jsonl"
    with Manifest.writing(path, new={"sources": {"mine": str(folder)}, "tools": {}}) as opened:
        for i, name in enumerate(("a", "b", "c", "d")):
            pixels = np.full((1200 if name == "a" else 40, 30, 3), 60 * i, np.uint8)
            if name != "b":
                Image.fromarray(pixels).save(folder / f"{name}.png")
            decision = "keep" if name == "d" else "uncertain"
            opened.put(Entry(f"mine/{name}.png", 1, 1, name, decision=decision, reasons=["drawing: 0.5"]))
    return path


@pytest.fixture
def port(manifest: Path) -> Iterator[int]:
    """Of a page that is served."""
    ready, stop, address = threading.Event(), threading.Event(), []
    thread = threading.Thread(
        target=review.serve,
        args=(manifest,),
        kwargs={"ready": lambda url: (address.append(url), ready.set()), "stop": stop},
    )
    thread.start()
    assert ready.wait(60)
    yield int(address[0].rsplit(":", 1)[1].strip("/"))
    stop.set()
    thread.join()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        kind = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), {**kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def decisions(manifest: Path) -> dict[str, tuple[str, str]]:
    return {name[5]: (entry.decision, entry.by) for name, entry in Manifest.read(manifest).entries.items()}


def test_the_page_needs_nothing_from_elsewhere(port: int) -> None:
    status, page = ask(port, "GET", "/")
    assert status == 200
    assert b"http" not in page.replace(b"http-equiv", b"")


def test_only_the_uncertain_ones_are_asked_about(port: int) -> None:
    state = json.loads(ask(port, "GET", "/state")[1])
    assert [row["name"] for row in state["pictures"]] == ["mine/a.png", "mine/b.png", "mine/c.png"]


def test_an_answer_is_on_the_disk_at_once(port: int, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)  # which no test can look behind but by pulling the plug
    assert ask(port, "POST", "/answer", {"number": 2, "decision": "drop"})[0] == 200
    assert len(flushed) == 1
    assert decisions(manifest)["c"] == ("drop", "hand")


def test_undo_takes_back_one_answer_after_the_other(port: int, manifest: Path) -> None:
    ask(port, "POST", "/answer", {"number": 0, "decision": "keep"})
    ask(port, "POST", "/answer", {"number": 0, "decision": "drop"})
    assert json.loads(ask(port, "POST", "/undo", {})[1])["number"] == 0
    assert decisions(manifest)["a"] == ("keep", "hand")
    ask(port, "POST", "/undo", {})
    assert decisions(manifest)["a"] == ("uncertain", "rule")
    assert json.loads(ask(port, "POST", "/undo", {})[1])["number"] is None


def test_pictures_come_as_jpeg_of_bearable_size(port: int) -> None:
    status, data = ask(port, "GET", "/picture/0")
    assert status == 200
    assert max(Image.open(io.BytesIO(data)).size) == 900


@pytest.mark.parametrize(
    "path",
    [
        "/picture/1",
        "/picture/3",
        "/picture/99999999999",
        "/picture/-1",
        "/picture/..%2f..%2fetc%2fpasswd",
        "/picture/mine/a.png",
        "/m.jsonl",
    ],
)
def test_what_is_not_there_is_not_found(port: int, path: str) -> None:
    assert ask(port, "GET", path)[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"number": 0, "decision": "burn"},
        {"number": 9, "decision": "keep"},
        {"number": -1, "decision": "keep"},
        {"decision": "keep"},
        [],
        7,
    ],
)
def test_a_senseless_answer_changes_nothing(port: int, manifest: Path, body: Any) -> None:
    before = manifest.read_bytes()
    assert ask(port, "POST", "/answer", body)[0] == 400
    assert manifest.read_bytes() == before


def test_nothing_uncertain_is_said(manifest: Path) -> None:
    with Manifest.writing(manifest) as opened:
        for name in "abc":
            opened.put(Entry(f"mine/{name}.png", decision="keep"))
    with pytest.raises(OutputError, match="nothing to review"):
        review.serve(manifest)


def test_a_port_that_is_taken_is_said(manifest: Path, port: int, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(manifest.read_bytes())
    with pytest.raises(OutputError, match="port"):
        review.serve(other, port)


def test_the_sheet_shows_each_picture_and_survives_a_missing_one(manifest: Path, tmp_path: Path) -> None:
    assert sheet(manifest, tmp_path / "s.png", columns=2) == Sheet(3, 3)
    assert sheet(manifest, tmp_path / "s.png", columns=2, limit=2) == Sheet(2, 3)
    assert sheet(manifest, tmp_path / "s.png", columns=2, limit=64) == Sheet(3, 3)
    with Image.open(tmp_path / "s.png") as made:
        assert made.size[0] == 2 * 176


def test_a_sheet_takes_no_pictures_place(manifest: Path) -> None:
    picture = manifest.parent / "mine" / "a.png"
    before = picture.read_bytes()
    with pytest.raises(OutputError, match="one of the pictures has this name"):
        sheet(manifest, picture)
    assert picture.read_bytes() == before


def test_a_sheet_of_nothing_is_said(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no picture is drop"):
        sheet(manifest, tmp_path / "s.png", decision="drop")
