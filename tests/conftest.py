"""What every test can count on: one core for each process's arithmetic, the shared data, and that nobody leaves anything behind."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Read by OpenMP and OpenBLAS when they are first loaded, in this process and in every one that a test starts. With more threads,
# tests that run several processes at once take the cores from each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil
import pytest
from filelock import FileLock, Timeout
from hypothesis import settings

# A shell ignores Ctrl-C for what a script runs in the background, and nohup ignores hang-ups. Ignoring is inherited, and a show that a test
# starts would never hear the signal that is to end it; a signal with a handler is not ignored in children.
for _name in ("SIGINT", "SIGHUP"):
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, _name), lambda *_: None)

# Mesa's software renderer brings an LLVM, and so does triton, which lies beside a CUDA build of torch and is loaded by torchvision and by
# torch's optimisers. Loaded after the renderer's it ends the process with SIGSEGV, before it both work. The program itself opens its
# networks first; tests of both come in one process in any order.
with suppress(ImportError):
    importlib.import_module("triton")

# Hypothesis gives each example 200 ms; a machine that also does something else takes longer now and then.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

_MARK = "INSTALLATION_TEST_SESSION"
_GRACE_S = 30.0


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder `shared` beside the project: pictures and foreign checkpoints that are too large to be tracked."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the shared data is not here: {folder}")
    return folder


@pytest.fixture(autouse=True)
def _logging_stays() -> Iterator[None]:
    """A command that a test runs in its own process sets up logging for all; the next test finds it as it was."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """After the last test no process that a test started lives, grandchildren included, and no run folder lies about."""
    session = os.environ[_MARK] = uuid.uuid4().hex
    before = set(_run_folders())
    yield
    deadline = time.monotonic() + _GRACE_S
    while (left := [*_processes(session), *(set(_run_folders()) - before)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [*_processes(session), *(str(folder) for folder in set(_run_folders()) - before if not _alive(folder))]
    assert not left, f"left behind by the tests: {left}"


def _processes(session: str) -> list[str]:
    """Living processes that inherited this session's mark, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and process.environ().get(_MARK) == session
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                command = " ".join(process.cmdline())
                # Python's own helper lives as long as the process that it cleans up after.
                if "multiprocessing.resource_tracker" not in command:
                    found.append(f"{process.pid} {command[:200]}")
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue
    return found


def _run_folders() -> list[Path]:
    return [path for root in ("/dev/shm", tempfile.gettempdir()) for path in Path(root).glob("installation-*/run-*")]


def _alive(folder: Path) -> bool:
    """Whether a show is running there: one of the user's own, or of other tests at the same time."""
    try:
        with FileLock(folder / "alive.lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # removed meanwhile
        return not folder.exists()
