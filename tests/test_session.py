"""The run's description on its way to the other processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installation.errors import OutputError
from installation.session import SESSION, Session
from tests.show.shows import make_show


def session(folder: Path) -> Session:
    file = folder / "net.safetensors"
    return Session(
        identity="show-1",
        state_folder=folder,
        show=make_show(walk={"tour": [{"seed": 1}, {"seed": 2}]}, screen={"monitor": 1}),
        size=(64, 32),
        base=file,
        stages=(file, file),
        models={"other": (file,)},
        still=folder / "still.png",
        pictures=folder,
        films=folder,
        headless=True,
        take=folder / "take",
        refused=(("other", 1.5),),
    )


@pytest.mark.parametrize("name", [b"caf\xe9 # dir", "Übung ☃".encode(), b"a'b"])
def test_a_session_is_read_as_it_was_written_whatever_its_folders_are_called(tmp_path: Path, name: bytes) -> None:
    written = session(Path("/shows") / os.fsdecode(name))
    written.write(tmp_path)
    assert Session.read(tmp_path) == written


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"base": 5}', "\x00"])
def test_a_damaged_one_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / SESSION).write_text(text)
    with pytest.raises(OutputError, match="missing or damaged"):
        Session.read(tmp_path)
