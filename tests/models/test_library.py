"""library: finding and listing models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from installation.errors import InstallationError, ModelError
from installation.models import library
from tests.models.stored import model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


@pytest.mark.parametrize("name", ["con", "NUL.x"])
def test_a_name_that_windows_keeps_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name: Windows has a device of that name"):
        library.check_name(name)


@pytest.mark.parametrize("name", ["", "../evil", "a b", ".hidden", "CON", "nul.x", "x" * 65, "é", "dot.", "a\n"])
def test_a_name_that_is_no_safe_file_name_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        library.check_name(name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_pipe_in_the_models_folder_is_passed_over(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model(folder, "mine")
    os.mkfifo(folder / "pipe.safetensors")
    faults: list[InstallationError] = []
    assert [entry.name for entry in library.installed(data_dir=folder, report=faults.append)] == ["mine"]
    assert [fault.what for fault in faults] == ["not a file"]


def test_find_looks_in_the_extra_folders_first(tmp_path: Path, folder: Path) -> None:
    repository = model(tmp_path / "checkpoints", "both")
    model(folder, "both")
    only = model(folder, "only")
    assert library.find("both", [tmp_path / "checkpoints"], data_dir=folder) == repository
    assert library.find("only", [tmp_path / "checkpoints"], data_dir=folder) == only


def test_find_takes_a_path(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = model(tmp_path / "elsewhere", "mine")
    assert library.find(path, data_dir=folder) == path
    assert library.find(str(path), data_dir=folder) == path
    monkeypatch.chdir(tmp_path)
    assert library.find("elsewhere/mine.safetensors", data_dir=folder) == Path("elsewhere/mine.safetensors")
    with pytest.raises(ModelError, match="no such file"):
        library.find("elsewhere/ghost.safetensors", data_dir=folder)
    with pytest.raises(ModelError, match=r"not a \.safetensors file"):
        library.find("elsewhere/network.pkl", data_dir=folder)


def test_find_says_how_to_get_what_is_missing(folder: Path) -> None:
    with pytest.raises(ModelError, match="Run: installation models add dcgan-faces"):
        library.find("dcgan-faces", data_dir=folder)
    model(folder, "portraits-256")
    with pytest.raises(ModelError, match="did you mean 'portraits-256'"):
        library.find("portrait-256", data_dir=folder)


def test_installed_lists_by_name_and_reports_what_is_damaged(tmp_path: Path, folder: Path) -> None:
    model(folder, "beta")
    first = model(tmp_path / "checkpoints", "alpha", seed=1)
    model(folder, "alpha", seed=2)
    (folder / "broken.safetensors").write_bytes(b"no model")
    (folder / ".beta.new.safetensors").write_bytes(b"half a model")
    faults: list[InstallationError] = []
    entries = library.installed([tmp_path / "checkpoints"], data_dir=folder, report=faults.append)
    assert [(entry.name, entry.header.arch) for entry in entries] == [("alpha", "srvgg"), ("beta", "srvgg")]
    assert entries[0].path == first
    assert [Path(fault.where).name for fault in faults] == ["broken.safetensors"]


def test_a_folder_that_is_not_there_has_no_models(tmp_path: Path) -> None:
    assert library.installed(data_dir=tmp_path / "ghost") == []


def test_the_library_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, installation.models.library; print(*({'torch', 'numpy', 'safetensors'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
