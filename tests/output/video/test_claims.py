"""A recording's folder goes only where nobody else is at work in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from installation import locks
from installation.errors import OutputError
from installation.output.video.claims import claim


def test_one_claim_of_a_name_and_the_one_refused_takes_nothing_away(tmp_path: Path) -> None:
    folder = tmp_path / "film.segments"
    with claim(folder, "0") as first:
        assert first.new
        (folder / "000000.nut.0.part").touch()
        with pytest.raises(OutputError, match="another process is recording here"), claim(folder, "0"):
            pass
        assert (folder / "000000.nut.0.part").exists()


def test_the_folder_stays_while_another_is_at_work_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "film.segments"
    with claim(folder, "0") as first:
        with claim(folder, "1") as second:
            assert not second.new
            (folder / "000037.nut.1.part").touch()
            with first.only() as alone:
                assert not alone
            assert not first.remove("recording.json")
            assert (folder / "000037.nut.1.part").exists()
        joining = locks.take(folder / "join.lock")
        assert not first.remove("recording.json")
        joining.release()
        with first.only() as alone:
            assert alone
        assert first.remove("recording.json")
        assert not folder.exists()
        with claim(folder, "1") as later:
            assert later.new


def test_a_disk_that_refuses_is_an_error_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), claim(tmp_path / "file", "0"):
        pass
