"""Snapshots that are asked for faster than they can be saved."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from installation.errors import OutputError
from installation.output import snapshots, stills
from installation.output.snapshots import Snapshot, Snapshots
from tests.xserver import until


def frame() -> Snapshot:
    return np.full((4, 6, 4), 255, np.uint8), {"Seed": "42"}


def test_a_flood_is_refused_and_counted_and_what_was_taken_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names, free, read = iter(range(1000)), threading.Event(), []
    save = stills.save

    def slowly(path: Path, picture: np.ndarray, *, notes: Mapping[str, str]) -> None:
        assert free.wait(60)
        save(path, picture, notes=notes)

    def picture() -> Snapshot:
        read.append(1)
        return frame()

    monkeypatch.setattr(stills, "save", slowly)
    monkeypatch.setattr(stills, "snapshot_name", lambda now: f"{next(names)}.png")
    before = threading.active_count()
    taken = Snapshots(tmp_path / "pictures")
    for _ in range(200):
        taken.offer(picture)
    assert threading.active_count() == before + 1
    assert len(read) <= snapshots._WAITING + 1, "what is refused is not read back"
    assert taken.refused == 200 - len(read)
    assert caplog.text.count("faster than they can be saved") == 1
    free.set()
    assert until(lambda: len(list((tmp_path / "pictures").glob("[!.]*.png"))) == len(read))
    taken.close()
    taken.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("fault", [OutputError("cannot write the picture"), RuntimeError("of our own")])
def test_a_disk_that_refuses_ends_nothing_and_is_said_once_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    refuses, save = [True] * 5 + [False, True, True], stills.save

    def saved(path: Path, picture: np.ndarray, *, notes: Mapping[str, str]) -> None:
        if refuses.pop(0):
            raise fault
        save(path, picture, notes=notes)

    monkeypatch.setattr(stills, "save", saved)
    taken = Snapshots(tmp_path)
    for left in range(7, -1, -1):
        taken.offer(frame)
        assert until(lambda left=left: len(refuses) == left)
    taken._queue.put(None)
    taken._thread.join(60)
    assert taken.failed == 7
    assert caplog.text.count("no snapshot") == 2
