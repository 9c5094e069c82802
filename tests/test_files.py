"""Files that are whole or not there: what was there stays until the new one lies on the disk."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installation.files import fingerprint, home, replacing, write_whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "file"
    write_whole(path, b"old")
    return path


def test_a_file_is_written_and_its_folder_made(path: Path) -> None:
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("only_writer", [False, True])
def test_what_was_there_stays_until_the_block_is_over(path: Path, only_writer: bool) -> None:
    with replacing(path, only_writer=only_writer) as draft:
        assert draft.parent == path.parent
        draft.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_fault_passes_through_and_leaves_what_was_there(path: Path) -> None:
    def stumble() -> None:
        with replacing(path) as draft:
            draft.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_have_a_draft_each(path: Path) -> None:
    with replacing(path) as one, replacing(path) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_of_the_only_writer_is_written_over(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from installation.files import replacing\n"
        "with replacing(Path(sys.argv[1]), only_writer=True) as draft:\n"
        "    draft.write_bytes(b'half of it'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], timeout=60, check=False).returncode == 9
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 2
    write_whole(path, b"new", only_writer=True)
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_is_removed_when_the_file_is_written_a_day_later(path: Path) -> None:
    folder = path.parent / "a day later"
    folder.mkdir()
    old, young, other = (
        folder / name for name in (".file.0123abcd.part", ".file.4567abcd.part", ".another.0123abcd.part")
    )
    for draft, age_h in ((old, 25), (young, 23), (other, 25)):
        draft.write_bytes(b"half of it")
        written = time.time() - 3600 * age_h
        os.utime(draft, (written, written))
    write_whole(folder / "file", b"new")
    assert sorted(folder.iterdir()) == sorted([young, other, folder / "file"])
    write_whole(folder / "another", b"new")
    assert sorted(folder.iterdir()) == sorted([young, folder / "another", folder / "file"])


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_the_file_is_as_readable_as_the_users_others_whatever_the_writer_does(path: Path) -> None:
    with replacing(path) as draft:
        draft.chmod(0o600)
    (path.parent / "other").touch()
    assert path.stat().st_mode == (path.parent / "other").stat().st_mode


def test_the_fingerprint_is_the_sha256(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"wall" * 100_000)
    assert fingerprint(path) == hashlib.sha256(b"wall" * 100_000).hexdigest()


def test_a_home_that_no_shell_put_in_is_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert home("~/film.mp4") == tmp_path / "film.mp4"
    assert home(Path("~nobody-here/film.mp4")) == Path("~nobody-here/film.mp4")
