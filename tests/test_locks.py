"""locks: one process at a time, a killed one lets go, and a place without locks is an error like any other of the disk."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from installation import locks
from installation.service.lock import ShowLock

HOLDER = """
import sys
from pathlib import Path
from installation import locks
lock = locks.take(Path(sys.argv[1]))
print(flush=True)
input()
"""


def test_another_process_has_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdin=-1, stdout=-1) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(Timeout):
            locks.take(path)
        holder.kill()
        holder.wait()
        locks.take(path, wait_s=10).release()


def test_a_file_system_without_locks_refuses_like_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(lock: FileLock, *args: object, **options: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", unable)
        with pytest.raises(OSError, match=str(tmp_path)) as told:
            locks.take(tmp_path / "a.lock")
    assert told.value.errno == errno.ENOLCK


def test_a_show_whose_folder_has_no_locks_runs_with_the_spare_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, spare, take = tmp_path / "network home", tmp_path / "spare", locks.take

    def only_here(path: Path, *, wait_s: float = 0.0) -> FileLock:
        if path.parent == home:
            raise OSError(errno.ENOLCK, "No locks available", str(path))
        return take(path, wait_s=wait_s)

    monkeypatch.setattr(locks, "take", only_here)
    ShowLock("faces.toml", home, spare=spare).close()
    assert list(spare.glob("*.lock"))
