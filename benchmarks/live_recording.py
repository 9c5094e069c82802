"""What filming the wall costs the wall: `python -m benchmarks.live_recording [SHOW]`.

Starts the show as a user does, headless, and looks at it in turn without and with the live recorder, several times, in one
run: turns of the wall's loop a second, their 99th percentile, pictures of the engine, CPU of each process, and what the
film dropped. Prints a table; judges nothing. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.wall import Wall
from installation import resources
from installation.control.osc_codec import encode
from installation.engine.board import Board
from tests.xserver import until

_FIGURES_S = 10.0
"""The wall's own percentiles are over so long."""


@dataclass(frozen=True, slots=True)
class Window:
    """One look at the show. turns, pictures: a second, of wall and engine. p99_ms: of the wall's loop. cpu: cores taken, by process.
    dropped: frames of the film, 0 without one."""

    turns: float
    p99_ms: float
    pictures: float
    cpu: dict[str, float]
    dropped: int


def main() -> None:
    assert __doc__
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("show", nargs="?", default="first_light")
    arguments.add_argument("--seconds", type=float, default=12.0, help="of each look; at least 10")
    arguments.add_argument("--rounds", type=int, default=2)
    options = arguments.parse_args()
    seconds = max(options.seconds, _FIGURES_S)
    found: dict[str, list[Window]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        wall = Wall(Path(folder), resources.show_config(options.show), None)
        with wall.running() as (board, _):
            assert until(lambda: board.newest() > 4, 120), "no picture"
            for _ in range(options.rounds):
                found["without"].append(look(board, seconds))
                with filmed(wall, board):
                    found["with"].append(look(board, seconds))
    Console(width=120).print(table(found))


@contextmanager
def filmed(wall: Wall, board: Board) -> Iterator[None]:
    """The wall films itself meanwhile, from the first frame of the film on."""
    say(wall.port, "/installation/record/start")
    assert until(lambda: film(board)[0] > 0, 60), board.status("wall")
    try:
        yield
    finally:
        say(wall.port, "/installation/record/stop")
        assert until(lambda: recorder() is None, 60), "the film is not closed"


def look(board: Board, seconds: float) -> Window:
    time.sleep(1.0)
    roles = {role: psutil.Process(board.pulse(role).pid) for role in ("wall", "engine")}
    if (process := recorder()) is not None:
        roles |= {"recorder": process}
    spent = {role: _cpu_s(process) for role, process in roles.items()}
    turns, pictures, dropped = board.pulse("wall").count, board.newest(), film(board)[1]
    began = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    status = board.status("wall")
    p99 = re.search(r"p99 ([0-9.]+) ms", status)
    return Window(
        (board.pulse("wall").count - turns) / elapsed,
        float(p99[1]) if p99 else 0.0,
        (board.newest() - pictures) / elapsed,
        {role: (_cpu_s(process) - spent[role]) / elapsed for role, process in roles.items()},
        film(board)[1] - dropped,
    )


def film(board: Board) -> tuple[float, int]:
    """(seconds of film, frames dropped) as the wall says; (0, 0) while it films nothing."""
    said = re.search(r"recording (\d+):(\d+) · (\d+) dropped", board.status("wall"))
    return (60 * int(said[1]) + int(said[2]), int(said[3])) if said else (0, 0)


def recorder() -> psutil.Process | None:
    """The process that films, a grandchild of this one."""
    for process in psutil.Process().children(recursive=True):
        try:
            if "recorder-process" in process.cmdline():
                return process
        except psutil.Error:  # ended meanwhile
            continue
    return None


def _cpu_s(process: psutil.Process) -> float:
    """Of the process; of the recorder also its encoders, those that have ended too. It is a child of the wall, whose it is not."""
    times = process.cpu_times()
    total = times.user + times.system
    if "recorder-process" not in process.cmdline():
        return total
    total += times.children_user + times.children_system
    for child in process.children():
        try:
            times = child.cpu_times()
        except psutil.Error:  # ended meanwhile
            continue
        total += times.user + times.system
    return total


def say(port: int, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(encode(address, (True,)), ("127.0.0.1", port))


def table(found: dict[str, list[Window]]) -> Table:
    cores = os.cpu_count() or 1
    rows = Table("filming", "wall, turns/s", "p99, ms", "engine, pictures/s", f"CPU of {cores} cores", "film dropped")
    for name, windows in found.items():
        cpu = ", ".join(
            f"{role} {statistics.mean(window.cpu.get(role, 0.0) for window in windows):.2f}" for role in windows[0].cpu
        )
        rows.add_row(
            name,
            " ".join(f"{window.turns:.2f}" for window in windows),
            " ".join(f"{window.p99_ms:.1f}" for window in windows),
            " ".join(f"{window.pictures:.2f}" for window in windows),
            cpu,
            " ".join(str(window.dropped) for window in windows) if name == "with" else "",
        )
    return rows


if __name__ == "__main__":
    main()
