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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from installation.engine.board import Board, Phase
from installation.service.runfolder import default_bases
from installation.session import SESSION
from installation.show.state import ShowState, from_json
from tests.xserver import XServer, until

START_S = 120.0


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

    def is_another(self, role: str, pid: int) -> bool:
        """Whether the role runs under another pid."""
        pulse = self.meet().pulse(role)
        return pulse.pid not in (0, pid) and pulse.phase is Phase.RUNNING

    def wait_for_another(self, role: str, pid: int) -> None:
        assert until(lambda: self.is_another(role, pid), START_S), self.log()

    def say(self, address: str, *args: str) -> None:
        """One OSC message, from a process of its own."""
        words = ["osc-send", "--wait", "0", "--port", str(self.osc_port), "--", address, *args]
        command = [sys.executable, "-m", "installation", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr

    def stop(self, sign: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(60)

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
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
        if run.board is not None:
            run.board.close()


def home(folder: Path) -> dict[str, str]:
    """This process's environment with a home of its own and no display."""
    keep = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")}
    places = {name: str(folder / name.lower()) for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")}
    return keep | places | {"HOME": str(folder)}


def command(folder: Path, *args: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """One `installation` command to its end, with a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "installation", *args],
        env=home(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def longest_gap(server: XServer, seconds: float, over: Callable[[], bool] = lambda: False) -> float:
    """Looks at the screen as often as it can, until the time is up or `over`; the longest time, s, in which it was seen not to change.

    Counted from the first look at a picture to the last one: on a busy machine this process, too, waits for its turn, and what the screen
    did meanwhile nobody saw. It has to look often enough to notice a wall that stands.
    """
    start, last, since, longest, looks = time.monotonic(), b"", 0.0, 0.0, []
    while (now := time.monotonic() - start) < seconds and not over():
        seen = hashlib.blake2b(server.screenshot()[::4, ::4].tobytes()).digest()
        looks.append(now)
        if seen != last:
            last, since = seen, now
        longest = max(longest, now - since)
        time.sleep(0.01)
    assert np.median(np.diff(looks)) < 0.05, "this machine is too busy to look at the screen"
    return longest


def _wake(pid: int) -> None:
    """A process stopped by a test can only be ended once it goes on."""
    try:
        if pid:
            os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
