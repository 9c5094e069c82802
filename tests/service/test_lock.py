"""A show runs once; the lock is as mortal as its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from installation.errors import OutputError
from installation.service.lock import ShowLock

HOLDER = """
import sys
from pathlib import Path
from installation.service.lock import ShowLock
lock = ShowLock(sys.argv[1], Path(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "show.toml"), str(tmp_path / "locks")]
    environment = {**os.environ, "PYTHONPATH": root}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_of_a_show_is_refused_with_the_number_of_the_first(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=rf"'show' is running already \(process {holder.pid}\)"):
        ShowLock(tmp_path / "show.toml", tmp_path / "locks")


def test_another_way_to_write_the_same_path_is_the_same_show(
    holder: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError):
        ShowLock("x/../show.toml", tmp_path / "locks")


def test_another_show_runs_beside_it(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    ShowLock(tmp_path / "other" / "show.toml", tmp_path / "locks").close()


def test_a_killed_process_frees_its_lock(holder: subprocess.Popen[bytes], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    ShowLock(tmp_path / "show.toml", tmp_path / "locks").close()


def test_files_left_behind_mean_nothing(tmp_path: Path) -> None:
    lock = ShowLock("show", tmp_path)
    lock.close()
    for path in tmp_path.iterdir():
        path.write_text("4711")
    (tmp_path / "junk.pid").write_bytes(b"\xff\xfe")
    lock = ShowLock("show", tmp_path)
    lock.close()
    ShowLock("show", tmp_path).close()


@pytest.mark.parametrize("name", ["", "日本語 show.toml", "x" * 300, "a/b\nc"])
def test_odd_names_are_locked_too(tmp_path: Path, name: str) -> None:
    lock = ShowLock(name, tmp_path)
    with pytest.raises(OutputError):
        ShowLock(name, tmp_path)
    lock.close()


def test_a_read_only_disk_is_told_and_the_show_still_runs_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    refusing, spare = tmp_path / "file" / "locks", tmp_path / "spare"
    lock = ShowLock("show", refusing, spare=spare)
    assert "cannot be written to" in caplog.messages[0]
    with pytest.raises(OutputError, match=rf"running already \(process {os.getpid()}\)"):
        ShowLock("show", refusing, spare=spare)
    lock.close()


def test_two_folders_that_cannot_be_are_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot keep a lock file"):
        ShowLock("show", tmp_path / "file" / "locks", spare=tmp_path / "file" / "spare")
