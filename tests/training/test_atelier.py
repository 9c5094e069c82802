"""The show that an atelier writes. The whole way, which takes minutes, is in e2e/test_atelier.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installation.show import reading
from installation.training.atelier import write_show


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
