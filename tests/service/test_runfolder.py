"""A run's folder is private, found room for, and removed when its supervisor is dead."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from installation.engine.board import Board
from installation.errors import OutputError
from installation.service import runfolder
from installation.service.runfolder import default_bases, prepare, sweep


def test_a_fresh_folder_holds_a_board_and_goes_when_removed(tmp_path: Path) -> None:
    folder, board, notes = prepare(width=8, height=8, bases=[tmp_path / "base"])
    assert notes == []
    Board.open(folder.board_path).close()
    board.close()
    folder.remove()
    assert [path.name for path in (tmp_path / "base").iterdir() if path.name.startswith("run-")] == []


def test_only_dead_folders_are_swept(tmp_path: Path) -> None:
    living, board, _ = prepare(width=8, height=8, bases=[tmp_path])
    dead = tmp_path / "run-dead"
    dead.mkdir()
    (dead / "alive.lock").write_text("")
    (tmp_path / "keep-me").mkdir()
    assert sweep(tmp_path) == [f"removed what a killed run left: {dead}"]
    assert living.board_path.exists()
    assert (tmp_path / "keep-me").exists()
    board.close()
    living.remove()


def test_the_next_place_is_taken_when_the_first_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = Board.create

    def full_at_first(path: Path, **sizes: int) -> Board:
        if "first" in str(path):
            raise OutputError("No space left")
        return create(path, **sizes)

    monkeypatch.setattr(runfolder.Board, "create", full_at_first)
    folder, board, notes = prepare(width=8, height=8, bases=[tmp_path / "first", tmp_path / "second"])
    assert folder.path.parent == tmp_path / "second"
    assert "No space left" in notes[0]
    assert not list((tmp_path / "first").glob("run-*"))
    board.close()
    folder.remove()


def test_no_place_at_all_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no place for"):
        prepare(width=8, height=8, bases=[tmp_path / "file"])


def test_an_intact_folder_knows_when_its_board_is_gone_and_is_made_again(tmp_path: Path) -> None:
    folder, board, _ = prepare(width=8, height=8, bases=[tmp_path])
    (folder.path / "session.json").write_text("{}")
    folder.remember()
    assert folder.intact()
    board.close()
    runfolder.remove_tree(folder.path)
    assert not folder.intact()
    folder.restore()
    Board.create(folder.board_path, width=8, height=8).close()
    assert folder.intact()
    assert (folder.path / "session.json").read_text() == "{}"
    assert sweep(tmp_path) == []
    folder.remove()
    assert not folder.path.exists()


def test_a_folder_is_made_again_when_its_base_went_with_it(tmp_path: Path) -> None:
    base = tmp_path / "installation-7"
    folder, board, _ = prepare(width=8, height=8, bases=[base])
    (folder.path / "session.json").write_text("{}")
    folder.remember()
    board.close()
    runfolder.remove_tree(base)
    folder.restore()
    assert (folder.path / "session.json").read_text() == "{}"
    assert stat.S_IMODE(base.stat().st_mode) & 0o077 == 0
    assert sweep(base) == []
    folder.remove()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")
def test_a_living_run_whose_lock_was_removed_locks_again_and_is_not_swept(tmp_path: Path) -> None:
    folder, board, _ = prepare(width=8, height=8, bases=[tmp_path])
    (folder.path / "alive.lock").unlink()
    assert not folder.intact()
    folder.restore()
    assert folder.intact()
    assert sweep(tmp_path) == []
    board.close()
    folder.remove()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="file owners are a POSIX matter")
def test_a_base_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: os.lstat(theirs).st_uid + 1)
    with pytest.raises(OutputError, match="belongs to another user"):
        prepare(width=8, height=8, bases=[theirs])


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="symbolic links need no privilege on POSIX only")
def test_a_link_planted_as_the_base_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OutputError):
        prepare(width=8, height=8, bases=[tmp_path / "link"])
    assert list((tmp_path / "real").iterdir()) == []


def test_there_is_always_a_default_place() -> None:
    assert default_bases()
    assert all("installation" in base.name for base in default_bases())
