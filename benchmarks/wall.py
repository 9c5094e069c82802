"""The whole wall measured against this machine's own limits, in one run: `python -m benchmarks.wall [SHOW]`.

Prints a table; judges nothing. It starts the show as a user does, under an X server of its own where Xvfb is
installed (else headless), lets it run, sends packets to it from another process, and kills nothing.
Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from installation import resources
from installation.cli.app import tune_libraries
from installation.control.dispatch import REASONS, Dispatcher
from installation.control.drops import Drops
from installation.control.osc import OscSource
from installation.control.osc_codec import encode, parse
from installation.engine.board import Board
from installation.models import cost, library
from installation.models.header import read_index
from installation.service.runfolder import default_bases
from installation.session import SESSION, Session
from installation.show import reading
from installation.show.config import Show
from installation.show.params import parameter_table
from tests.xserver import XServer, until, xvfb

Row = tuple[str, str, str, str]


def main() -> None:
    assert __doc__
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("show", nargs="?", default="portraits")
    arguments.add_argument("--seconds", type=float, default=30.0)
    options = arguments.parse_args()
    path = resources.show_config(options.show)
    show = reading.load(path)
    tune_libraries()
    peak = sgemm_gflops()
    rows: list[Row] = [("sgemm 2048, fp32", f"{peak:.0f} GFLOP/s", "", "the machine's own limit")]
    rows += cascade_rows(show, peak)
    rows += [parse_row(), flood_row()]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, display() as server:
        wall = Wall(Path(folder), path, server)
        rows += wall.first_run()
        rows += wall.second_run(options.seconds)
    table = Table("what", "measured", "share", "against")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def sgemm_gflops(n: int = 2048, threads: int | None = None) -> float:
    """The best of several n x n products in float32 on so many threads, all cores where it is not said; torch keeps to them."""
    import torch

    torch.set_num_threads(threads or os.cpu_count() or 1)
    a, b = torch.randn(n, n), torch.randn(n, n)
    return 2 * n**3 / best_of(lambda: a @ b, 12) / 1e9


def best_of(call: Callable[[], object], times: int) -> float:
    """Seconds of the fastest of `times` calls, after two that do not count."""
    call()
    call()
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return min(durations)


def cascade_rows(show: Show, peak: float) -> list[Row]:
    """The whole Renderer with packing, with nothing else running."""
    from installation.models.pack import Packer
    from installation.render.renderer import Renderer
    from installation.show.state import first_state

    files = [library.find(name, [resources.checkpoints_dir()]) for name in (show.cascade.base, *show.cascade.stages)]
    renderer = Renderer.open(show, files[0], files[1:])
    work, side = 0.0, 0
    for file, (_, height) in zip(files, renderer.cascade.sizes, strict=True):
        header, tensors = read_index(file)
        work += 2 * (cost.macs(header, tensors, side) or 0) / 1e9
        side = height
    frame = np.empty((renderer.size[1], renderer.size[0], 4), np.uint8)
    packer, state = Packer(*renderer.size, renderer.device), first_state(show)
    seconds = best_of(lambda: packer.pack(renderer.img(state), frame), 10)
    rate = work / seconds
    return [
        (f"cascade alone: {renderer.describe()}", f"{1e3 * seconds:.0f} ms a picture", "", f"{work:.1f} GFLOP"),
        ("cascade's arithmetic", f"{rate:.0f} GFLOP/s", f"{rate / peak:.0%}", "of sgemm; target ≥ 70 %"),
    ]


def parse_row() -> Row:
    """One OSC message from bytes to ControlMessage."""
    dispatcher = Dispatcher(parameter_table(), Drops("osc", logging.getLogger(), (*REASONS, "clamped")))
    datagram = encode("/installation/drift/speed", (0.25,))

    def thousand() -> None:
        for _ in range(1000):
            for address, args in parse(datagram):
                dispatcher.dispatch(address, args)

    seconds = best_of(thousand, 20) / 1000
    return ("OSC parse + dispatch", f"{1e6 * seconds:.2f} µs a message", f"{5e-6 / seconds:.1f}x", "target ≤ 5 µs")


# argv: port, count. Sends one parameter `count` times as fast as it can, the number of the message as its value.
SENDER = """
import socket, struct, sys
port, count = map(int, sys.argv[1:])
head = b"/installation/walk/seed\\0,i\\0\\0"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for i in range(1, count + 1):
        sender.sendto(head + struct.pack(">i", i), ("127.0.0.1", port))
"""


def flood_row(count: int = 10_000) -> Row:
    """Unpaced packets from another process."""
    source = OscSource(parameter_table(), port=0)
    try:
        subprocess.run([sys.executable, "-c", SENDER, str(source.address[1]), str(count)], check=True, timeout=60)
        until(lambda: source.counters()["datagrams"] >= count, 2)
        heard = source.counters()["datagrams"]
        newest = source.poll()[-1].value
    finally:
        source.close()
    return (f"{count} packets unpaced", f"{heard} heard", f"{heard / count:.1%}", f"newest value {newest}")


@contextmanager
def display() -> Iterator[XServer | None]:
    import shutil

    with xvfb(1280, 720) if shutil.which("Xvfb") else nullcontext() as server:
        yield server


class Wall:
    """The show in processes of its own."""

    def __init__(self, folder: Path, show: Path, server: XServer | None) -> None:
        self.folder, self.show, self.server = folder, show, server
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @contextmanager
    def running(self) -> Iterator[tuple[Board, float]]:
        """(board, moment of the command on the monotonic clock)."""
        command = [sys.executable, "-m", "installation", "run", str(self.show), "--osc-port", str(self.port)]
        env = {**os.environ, "XDG_STATE_HOME": str(self.folder), "XDG_VIDEOS_DIR": str(self.folder)}
        env["DISPLAY"] = self.server.display if self.server else ""
        began = time.monotonic()
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen([*command, "--preview-port", "0"], env=env, stdout=log, stderr=log)
        try:
            found: list[Board] = []
            assert until(lambda: process.poll() is not None or self._meet(found), 60)
            if not found:
                raise SystemExit((self.folder / "log").read_text())
            yield found[0], began
        finally:
            process.terminate()
            process.wait(20)

    def _meet(self, found: list[Board]) -> bool:
        for path in (path for base in default_bases() for path in base.glob(f"run-*/{SESSION}")):
            try:
                if Session.read(path.parent).state_folder.is_relative_to(self.folder):
                    found.append(Board.open(path.parent / "board"))
                    return True
            except (OSError, ValueError):
                continue
        return False

    def first_run(self) -> list[Row]:
        """Makes the last good picture that the second run begins with."""
        with self.running() as (board, _):
            assert until(lambda: board.newest() >= 2, 60), "no picture"
        return []

    def second_run(self, seconds: float) -> list[Row]:
        with self.running() as (board, began):
            assert until(lambda: board.pulse("wall").phase == 3, 60), "no wall"
            on_wall = board.pulse("wall").time_s - began
            assert until(lambda: board.newest() > 0, 60), "no picture"
            first_new = time.monotonic() - began
            until(lambda: board.newest() > 4, 60)
            # The wall's figures are over its last ten seconds; those of the start are not what is asked.
            time.sleep(10.0)
            made, shown, start = board.newest(), board.pulse("wall").count, time.monotonic()
            processes = {role: psutil.Process(board.pulse(role).pid) for role in ("supervisor", "wall", "engine")}
            spent = {role: cpu_s(process) for role, process in processes.items()}
            time.sleep(seconds)
            elapsed = time.monotonic() - start
            cores = os.cpu_count() or 1
            fps = (board.newest() - made) / elapsed
            rows: list[Row] = [
                (
                    "last picture on the wall",
                    f"{on_wall:.2f} s after the command",
                    f"{1.5 / on_wall:.1f}x",
                    "target ≤ 1.5 s",
                ),
                ("first new picture", f"{first_new:.2f} s after the command", f"{6 / first_new:.1f}x", "target ≤ 6 s"),
                ("generated", f"{fps:.2f} fps", "", board.status("engine")),
                ("loop turns", f"{(board.pulse('wall').count - shown) / elapsed:.1f} /s", "", board.status("wall")),
            ]
            for role, process in processes.items():
                share = (cpu_s(process) - spent[role]) / elapsed
                memory = process.memory_info().rss / 2**20
                rows.append((role, f"{memory:.0f} MiB resident", f"{share / cores:.0%}", f"of {cores} cores"))
            rows += self._packets(board)
            return rows

    def _packets(self, board: Board) -> list[Row]:
        """From a packet sent to the screen black: fifteen times, after each of which the light comes back."""
        if self.server is None:
            return [("packet to changed pixel", "not measured", "", "Xvfb is not installed")]
        server = self.server
        address = ("127.0.0.1", self.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def send(on: bool) -> None:
                sender.sendto(encode("/installation/look/blackout", (on, 0.0)), address)

            latencies = []
            for _ in range(15):
                send(False)
                assert until(lambda: server.screenshot().max() > 30, 10), "the wall is dark"
                time.sleep(0.3)
                sent = time.perf_counter()
                send(True)
                assert until(lambda: server.screenshot().max() <= 2, 10), "the wall did not go dark"
                latencies.append(time.perf_counter() - sent)
            send(False)
        middle, worst = 1e3 * statistics.median(latencies), 1e3 * max(latencies)
        return [("packet to changed pixel", f"{middle:.0f} ms", "", f"worst of 15: {worst:.0f} ms")]


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
