"""The manifest loses nothing: torn lines, two commands at once, a full disk."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from installation.errors import OutputError
from installation.training.data.manifest import Entry, Manifest

FACTS = {"sources": {"s": "/pictures/s"}, "tools": {}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.jsonl"


def test_what_was_put_is_read(path: Path) -> None:
    entry = Entry("s/ü.jpg", 3, 4, "ab", scores={"width": 7}, reasons=["drawing: 0.9"])
    with Manifest.writing(path, new=FACTS) as manifest:
        manifest.put(entry)
    assert Manifest.read(path).entries == {"s/ü.jpg": entry}


def test_the_newest_line_about_a_picture_holds(path: Path) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        manifest.put(Entry("s/a"))
        manifest.put(Entry("s/a", decision="drop", by="hand"))
    assert Manifest.read(path).entries["s/a"].decision == "drop"


def test_saving_leaves_one_line_a_picture(path: Path) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        for decision in ("keep", "drop", "keep"):
            manifest.put(Entry("s/a", decision=decision))
        manifest.save()
    assert len(path.read_bytes().splitlines()) == 2


def test_a_line_torn_by_a_kill_is_forgotten_and_written_over(path: Path) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        manifest.put(Entry("s/a"))
        manifest.put(Entry("s/b"))
    path.write_bytes(path.read_bytes()[:-20])
    assert set(Manifest.read(path).entries) == {"s/a"}
    with Manifest.writing(path) as manifest:
        manifest.put(Entry("s/c"))
    assert set(Manifest.read(path).entries) == {"s/a", "s/c"}


def test_a_damaged_line_is_named(path: Path) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        manifest.put(Entry("s/a"))
        manifest.put(Entry("s/b"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{oops\n" + lines[2])
    with pytest.raises(OutputError, match="line 2"):
        Manifest.read(path)


@pytest.mark.parametrize("text", ["", "hello\n", "[]\n", '{"a": 1}\n', '{"manifest": 99, "sources": {}}\n'])
def test_another_file_is_no_manifest(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(OutputError):
        Manifest.read(path)


def test_names_that_leave_the_folder_are_refused(path: Path) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        manifest.put(Entry("s/../../etc/passwd"))
    with pytest.raises(OutputError, match="line 2"):
        Manifest.read(path)


def test_two_commands_cannot_write_at_once(path: Path) -> None:
    with Manifest.writing(path, new=FACTS), pytest.raises(OutputError, match="another command"), Manifest.writing(path):
        pass


def test_a_missing_manifest_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(OutputError, match="data scan"):
        Manifest.read(path)


def test_a_disk_that_fills_up_while_saving_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        manifest.put(Entry("s/a"))
        before = path.read_bytes()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            manifest.save()
    assert path.read_bytes() == before


def test_reasons_are_counted_by_their_code(path: Path) -> None:
    with Manifest.writing(path, new=FACTS) as manifest:
        for i, reasons in enumerate((["drawing: 0.9", "blocky: 2"], ["drawing: 0.8"], [])):
            manifest.put(replace(Entry(f"s/{i}"), decision="drop" if reasons else "keep", reasons=reasons))
        assert manifest.reasons("drop") == {"drawing": 2, "blocky": 1}
        assert manifest.counts() == {"keep": 1, "drop": 2, "uncertain": 0}
