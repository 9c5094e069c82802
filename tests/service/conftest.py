"""Real supervisors and polling for the service's tests."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from installation.engine.board import Board, Pulse

ROOT = Path(__file__).resolve().parents[2]
STUBS = Path(__file__).parent / "stubs"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
QUICK = {"backoff_s": [0.02, 0.05], "poll_s": 0.01, "stop_s": 3.0}

Until = Callable[..., None]


def wait_until(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {within_s} s"
        time.sleep(0.005)


class Run:
    """A supervisor process with its wall and engine, seen from outside."""

    def __init__(self, base: Path, wall: str, engine: str, policy: dict[str, object], address: str) -> None:
        self.base, self._log_path = base, base.parent / f"{base.name}.{time.monotonic_ns()}.log"
        command = [sys.executable, str(STUBS / "supervisor.py"), str(base), wall, engine]
        command += [json.dumps({**QUICK, **policy}), address]
        with open(self._log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT)
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.log
        told = json.loads(line)
        self.folder, self.notes = Path(told["folder"]), told["notes"]
        self.board = Board.open(self.folder / "board")

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def pulse(self, role: str) -> Pulse:
        return self.board.pulse(role)

    def pid(self, role: str) -> int:
        wait_until(lambda: self.pulse(role).pid)
        return self.pulse(role).pid

    def wait_for_frames(self, count: int = 3) -> None:
        target = self.board.newest() + count
        wait_until(lambda: self.board.newest() >= target)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> None:
        """For the test's own tidiness, whatever state the run is in."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*self.family(), psutil.Process(self.process.pid)]:
                process.kill()
        self.process.communicate()
        self.board.close()


@pytest.fixture
def until() -> Until:
    return wait_until


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """start(wall="run", engine="run", notify="", **policy) -> Run."""
    runs: list[Run] = []

    def begin(wall: str = "run", engine: str = "run", notify: str = "", **policy: object) -> Run:
        runs.append(Run(tmp_path / "base", wall, engine, policy, notify))
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


@pytest.fixture
def nursery() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(STUBS / "nursery.py"), str(folder)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
