"""What is kept is read back whole or not at all, and the disk's troubles never reach the show."""

from __future__ import annotations

import logging
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installation.counted_log import CountedLog
from installation.service.store import Store


@pytest.fixture
def store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Store:
    caplog.set_level(logging.WARNING)
    return Store("first light-1.2", tmp_path)


def picture(height: int = 6, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)


def generations(store: Store, kind: str) -> list[Path]:
    return sorted(store.folder.glob(f"*.{kind}.?"))


def test_an_empty_store_has_nothing_and_says_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert store.load_state() is None
    assert store.load_picture() is None
    assert caplog.messages == []


def test_a_state_and_a_picture_come_back_as_they_were(store: Store) -> None:
    shown = picture()
    assert store.save_state(b'{"position": 1.25}')
    assert store.save_picture(shown)
    again = Store("first light-1.2", store.folder)
    assert again.load_state() == b'{"position": 1.25}'
    kept = again.load_picture()
    assert kept is not None
    assert np.array_equal(kept, shown)


def test_the_newest_of_many_wins_and_two_files_are_kept(store: Store) -> None:
    for k in range(7):
        store.save_state(b"%d" % k)
    assert store.load_state() == b"6"
    assert len(list(store.folder.iterdir())) == 2


def test_shows_do_not_share_their_records(store: Store) -> None:
    store.save_state(b"mine")
    assert Store("other", store.folder).load_state() is None


def test_a_large_picture_is_kept_smaller_by_a_whole_number(store: Store) -> None:
    large = np.repeat(np.repeat(picture(1025, 3), 3, 0), 3, 1)  # 3075 x 9: k = 2
    store.save_picture(large)
    kept = store.load_picture()
    assert kept is not None
    assert kept.shape == (1537, 4, 4)
    mean = large[:2, :2].reshape(-1, 4).astype(float).mean(0)
    assert np.abs(kept[0, 0] - mean).max() <= 0.5


def damaged(data: bytes, how: str) -> bytes:
    newer = data[:8] + struct.pack("<I", 99) + data[12:]
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    return {"empty": b"", "cut": data[: len(data) // 2], "newer": newer, "flipped": flipped, "junk": b"junk" * 99}[how]


@pytest.mark.parametrize("how", ["empty", "cut", "newer", "flipped", "junk"])
def test_a_damaged_newest_gives_the_one_before(store: Store, caplog: pytest.LogCaptureFixture, how: str) -> None:
    store.save_state(b"older " * 20)
    store.save_state(b"newer " * 20)
    newest = generations(store, "state")[1]
    newest.write_bytes(damaged(newest.read_bytes(), how))
    assert store.load_state() == b"older " * 20
    assert len(caplog.messages) <= 1


@pytest.mark.parametrize("how", ["empty", "cut", "newer", "flipped", "junk"])
def test_two_damaged_files_give_nothing_and_one_line_and_are_replaced(
    store: Store, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    for k in range(2):
        store.save_state(b"%d" % k * 100)
    for path in generations(store, "state"):
        path.write_bytes(damaged(path.read_bytes(), how))
    assert store.load_state() is None
    assert len(caplog.messages) == 1
    assert store.save_state(b"new")
    assert store.load_state() == b"new"


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_random_bytes_are_never_taken_for_a_record(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("store")
    for kind in ("state", "picture"):
        (folder / f"s.{kind}.0").write_bytes(noise)
    kept = Store("s", folder, log=CountedLog(quiet_s=1e9))
    assert kept.load_state() is None
    assert kept.load_picture() is None


def test_a_file_that_grew_beyond_any_record_is_not_read(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.save_state(b"kept")
    (path,) = store.folder.glob("*.state.0")
    os.truncate(path, 1 << 33)  # sparse
    assert store.load_state() is None
    assert "larger than any" in caplog.text


def test_a_state_is_not_taken_for_a_picture(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.save_state(b"x")
    for path in generations(store, "state"):
        path.rename(str(path).replace(".state.", ".picture."))
    assert store.load_picture() is None
    assert "wrong size" in caplog.messages[0]


@pytest.mark.parametrize("where", [(os, "fsync"), (os, "replace"), (Path, "write_bytes")], ids=lambda where: where[1])
def test_a_full_disk_is_one_line_and_the_old_record_stays(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
) -> None:
    store.save_state(b"good")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*where, full)
    assert not store.save_state(b"lost")
    assert not store.save_state(b"lost")
    monkeypatch.undo()
    assert len(caplog.messages) == 1
    assert "No space left" in caplog.messages[0]
    assert store.load_state() == b"good"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device_is_one_line_and_no_draft_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".s.state.0.part").symlink_to("/dev/full")
    assert not Store("s", tmp_path).save_state(b"x" * 100_000)
    assert "No space left" in caplog.messages[0]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    kept = Store("s", tmp_path / "file" / "state")
    assert not kept.save_state(b"x")
    assert not kept.save_picture(picture())
    assert kept.load_state() is None
    assert kept.load_picture() is None
    assert len(caplog.messages) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are made by fork, which this system lacks")
@pytest.mark.parametrize("kills", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_writers_killed_at_random_moments_never_leave_a_corrupt_record(
    tmp_path: Path, nursery: Callable, kills: int
) -> None:
    process = nursery(tmp_path)
    chance = random.Random(1)
    kept, changes, before = Store("stub", tmp_path), 0, None
    for _ in range(kills):
        process.stdin.write(b"go\n")
        process.stdin.flush()
        writer = int(process.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.01))  # the random moment
        os.kill(writer, signal.SIGKILL)
        assert process.stdout.readline() == b"dead\n"
        state, shown = kept.load_state(), kept.load_picture()
        if before is not None:
            assert state is not None  # what was kept once is never lost
        if state is not None:
            assert state == state[:1] * 20_000
        if shown is not None:
            assert (shown == shown[0, 0, 0]).all()
        changes += state != before
        before = state
    assert changes > 0
