"""The recorder's process: what it leaves and says when a film of the wall cannot go on."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from installation.errors import DisplayError, OutputError
from installation.film import live
from installation.output.video.manifest import read_segments


def no_gl(*_: Any) -> None:
    raise DisplayError("no OpenGL here")


def stopped_at_once(*_: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("run", "words"), [(no_gl, "no OpenGL here"), (stopped_at_once, "it was stopped before its first picture")]
)
def test_a_film_without_a_picture_leaves_nothing_and_says_why(tmp_path, monkeypatch, run, words):
    monkeypatch.setattr(live, "_run", run)
    record = SimpleNamespace(live_fps=30, live_preset="live-h264")
    session: Any = SimpleNamespace(size=(64, 64), show=SimpleNamespace(record=record))
    board: Any = None
    with pytest.raises(OutputError, match=words):
        live._film(session, board, tmp_path / "film.mp4", threading.Event(), tmp_path / "shaders")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [0, 40])
def test_a_full_disk_leaves_what_is_closed_and_says_what_to_do_with_it(tmp_path, monkeypatch, frames):
    def run(session: Any, board: Any, live: Any, stop: Any, path: Any, kept: Any) -> None:
        for number in range(frames):
            while live.full:
                pass
            live.offer(number, np.full((64, 64, 4), number, np.uint8))
        raise OutputError(
            "1 MB are free on the disk", where="the disk", fix="Free some space, then go on with --resume"
        )

    monkeypatch.setattr(live, "_run", run)
    record = SimpleNamespace(live_fps=30, live_preset="live-h264")
    session: Any = SimpleNamespace(size=(64, 64), show=SimpleNamespace(record=record))
    board: Any = None
    film = tmp_path / "film.mp4"
    with pytest.raises(OutputError, match="1 MB are free on the disk") as caught:
        live._film(session, board, film, threading.Event(), tmp_path / "shaders")
    assert "--resume" not in str(caught.value)
    folder = tmp_path / "film.mp4.segments"
    if frames:
        assert sum(segment.frames for segment in read_segments(folder).values()) == frames
        assert caught.value.fix == f"`installation join {folder}` makes a film of what is closed"
    else:
        assert list(tmp_path.iterdir()) == []
