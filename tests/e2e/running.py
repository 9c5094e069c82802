"""A whole show in processes of its own, as a user starts it, and eyes and hands for it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from installation.engine.board import Board
from installation.service.runfolder import default_bases
from installation.session import SESSION
from installation.show.state import ShowState, from_json
from tests.xserver import XServer, until

START_S = 60.0


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(slots=True)
class Running:
    """One `installation run`. folder: everything of its user lies there."""

    process: subprocess.Popen[bytes]
    folder: Path
    osc_port: int
    preview_port: int
    board: Board | None = None
    run_folder: Path | None = None

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def meet(self) -> Board:
        """Waits for the run folder and opens its board."""
        assert until(self._find, START_S), self.log()
        assert self.board is not None
        return self.board

    def wait_for_frames(self, count: int = 3) -> None:
        board = self.meet()
        first = board.newest()
        assert until(lambda: board.newest() >= first + count or self.process.poll() is not None, START_S), self.log()
        assert self.process.poll() is None, self.log()

    def state(self) -> ShowState:
        newest = self.meet().read_state()
        assert newest is not None
        return from_json(newest[1])

    def pid(self, role: str) -> int:
        return self.meet().pulse(role).pid

    def kill(self, role: str, sign: int = signal.SIGKILL) -> int:
        pid = self.pid(role)
        os.kill(pid, sign)
        return pid

    def wait_for_another(self, role: str, pid: int, seconds: float = 60.0) -> None:
        """Until the role runs under another pid."""
        board = self.meet()
        assert until(lambda: board.pulse(role).pid not in (0, pid) and board.pulse(role).phase == 3, seconds), (
            self.log()
        )

    def say(self, address: str, *args: str) -> None:
        """One OSC message, from a process of its own."""
        command = [sys.executable, "-m", "installation", "osc-send", "--port", str(self.osc_port), "--", address, *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr

    def stop(self, sign: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(20)

    def _find(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the show ended with {self.process.returncode}:\n{self.log()}")
        for session in (path for base in default_bases() for path in base.glob(f"run-*/{SESSION}")):
            try:
                tree = json.loads(session.read_text())
            except (OSError, ValueError):
                continue
            if Path(tree["state_folder"]).is_relative_to(self.folder):
                self.run_folder = session.parent
                self.board = Board.open(session.parent / "board")
                return True
        return False


@contextmanager
def running(
    folder: Path,
    show: str,
    *options: str,
    server: XServer | None = None,
    program: Path | None = None,
    named: bool = True,
) -> Iterator[Running]:
    """Starts `installation run` on the show's text; ends it, whatever happens. Without a server it is headless.

    program: the folder of another copy of the program, to be run instead of this one. named: whether the show is named
    on the command line.
    """
    path = folder / "show.toml"
    path.write_text(show, encoding="utf-8")
    osc, preview = free_port(), free_port(socket.SOCK_STREAM)
    command = [sys.executable, "-m", "installation", "run", *([str(path)] if named else []), "--osc-port", str(osc)]
    command += ["--preview-port", str(preview), "--verbose", *options]
    env = home(folder) | ({"DISPLAY": server.display} if server else {})
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=env, cwd=program, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    run = Running(process, folder, osc, preview)
    try:
        yield run
    finally:
        if run.board is not None:
            for role in ("wall", "engine"):
                _wake(run.board.pulse(role).pid)
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)
        if run.board is not None:
            run.board.close()


def home(folder: Path) -> dict[str, str]:
    """This process's environment with a home of its own and no display."""
    keep = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")}
    places = {name: str(folder / name.lower()) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    return keep | places | {"HOME": str(folder)}


def command(folder: Path, *args: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """One `installation` command to its end, with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "installation", *args],
        env=home(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def changes(server: XServer, seconds: float) -> np.ndarray:
    """Looks at the screen as often as it can and gives the times, in s from the start, at which it had changed."""
    start, last, times = time.monotonic(), b"", []
    while (now := time.monotonic() - start) < seconds:
        seen = hashlib.blake2b(server.screenshot()[::4, ::4].tobytes()).digest()
        if seen != last:
            times.append(now)
            last = seen
        time.sleep(0.01)
    return np.array([0.0, *times, seconds])


def _wake(pid: int) -> None:
    """A process stopped by a test can only be ended once it goes on."""
    try:
        if pid:
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
