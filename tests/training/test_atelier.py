"""The show that an atelier writes, and the time that a run has had. The whole way, which takes minutes, is in e2e/test_atelier.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installation.show import reading
from installation.training.atelier import spent_minutes, write_show
from installation.training.runs import Run


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
@pytest.mark.parametrize(
    ("name", "title"),
    [
        (b"my faces", "my faces"),
        ("gesichter ä 写真".encode(), "gesichter ä 写真"),
        (b"line\nend\tand \x7f", "lineendand "),
        (b'quote"\\u1234', "quoteu1234"),
        (b"latin-1 \xe4", "latin-1 "),
        (b"\n", ""),
        (b"x" * 255, "x" * 200),
    ],
)
def test_a_show_can_be_read_whatever_its_folder_is_called(tmp_path: Path, name: bytes, title: str) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    config = reading.load(write_show(folder, 4))
    assert config.title == title
    assert len(config.cascade.stages) == 1


def test_a_show_is_written_once(tmp_path: Path) -> None:
    path = write_show(tmp_path, 0)
    path.write_text("# mine")
    assert write_show(tmp_path, 4).read_text() == "# mine"


def test_of_a_runs_time_what_came_before_its_steps_counts(tmp_path: Path) -> None:
    with Run.begin(tmp_path, "base", "discs", {}, dataset_sha256="", manifest_sha256="", parents={}, device="") as run:
        run.log(0, set_up_s=60.0)
        run.log(3000, images_per_s=50.0)
        run.log(3000, set_up_s=30.0)
        run.log(6000, images_per_s=100.0)
    assert spent_minutes(tmp_path / "discs") == pytest.approx(1 + 1 + 0.5 + 0.5)
    assert spent_minutes(tmp_path / "none") == 0
