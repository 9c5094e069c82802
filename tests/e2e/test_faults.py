"""What goes wrong around a running show: files, folders, displays and signals that are none of its own doing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from installation.service.store import Store
from installation.session import Session
from tests.e2e.running import home, longest_gap, running
from tests.xserver import until, xvfb

pytestmark = pytest.mark.slow


@pytest.fixture
def wall(tmp_path, show_text):
    with running(tmp_path, show_text) as run:
        run.wait_for_frames(5)
        yield run


def test_a_signal_to_one_process_alone_does_not_end_the_show(wall):
    for role in ("wall", "engine"):
        pid = wall.kill(role, signal.SIGTERM)
        wall.wait_for_another(role, pid)
    wall.wait_for_frames(5)
    assert wall.process.poll() is None


def test_a_wall_that_comes_back_without_its_port_plays_on_and_hears_again_later(wall):
    board, pid = wall.meet(), wall.pid("wall")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        wall.kill("wall")
        assert until(lambda: _bound(thief, wall.osc_port))
        wall.wait_for_another("wall", pid)
        presented = board.pulse("wall").count
        assert until(lambda: board.pulse("wall").count > presented + 10)
        assert "is in use by another program" in wall.log()
    assert until(lambda: "osc is heard again" in wall.log())


def _bound(thief: socket.socket, port: int) -> bool:
    try:
        thief.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_a_removed_run_folder_is_made_again_and_the_walk_goes_on(wall):
    before = wall.state()
    shutil.rmtree(wall.run_folder)
    assert until(lambda: "start on a new one" in wall.log())
    wall.wait_for_frames(5)
    assert wall.state().t >= before.t
    assert "Traceback" not in wall.log()


def test_a_model_that_is_lost_during_the_show_is_waited_for(tmp_path, networks, show_text):
    own = tmp_path / "base.safetensors"
    shutil.copy(networks / "base.safetensors", own)
    with running(tmp_path, show_text.replace(str(networks / "base.safetensors"), str(own))) as run:
        run.wait_for_frames(5)
        own.write_bytes(b"garbage" * 1000)
        (tmp_path / "show.toml").write_text("garbage = [")
        board = run.meet()
        run.kill("engine")
        assert until(lambda: "not a safetensors file" in run.log()), run.log()
        presented = board.pulse("wall").count
        assert until(lambda: board.pulse("wall").count > presented + 30)
        shutil.copy(networks / "base.safetensors", own)
        run.wait_for_frames(5)
        assert "Traceback" not in run.log()


def test_random_kills_leave_a_show_that_runs(wall):
    chance, board = random.Random(4), wall.meet()
    supervisor = psutil.Process(wall.process.pid)
    before = supervisor.num_fds()
    for _ in range(8):
        role = chance.choice(["wall", "engine"])
        beats = board.pulse(role).count + chance.randrange(5)
        until(lambda role=role, beats=beats: board.pulse(role).count > beats, 1.0)
        if pid := board.pulse(role).pid:
            try:
                psutil.Process(pid).send_signal(chance.choice([signal.SIGKILL, signal.SIGSEGV]))
            except psutil.NoSuchProcess:
                continue
    wall.wait_for_frames(10)
    assert supervisor.num_fds() == before
    assert wall.stop() == 0
    assert not wall.run_folder.exists()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory, show_text) -> tuple[Path, Store, dict[str, Any]]:
    """Where a show has run and ended, what it kept, and the state in it."""
    folder = tmp_path_factory.mktemp("earlier")
    with running(folder, show_text) as run:
        run.wait_for_frames(5)
        assert run.run_folder is not None
        session = Session.read(run.run_folder)
        run.stop()
    store = Store(session.identity, session.state_folder)
    kept = store.load_state()
    assert kept is not None
    return folder, store, json.loads(kept)


def test_after_four_months_it_moves_as_smoothly(earlier, show_text):
    folder, store, tree = earlier
    store.save_state(json.dumps(tree | {"t": 1e7, "index": 600_000_000}).encode())
    with xvfb(320, 180) as server, running(folder, show_text, server=server) as run:
        run.wait_for_frames(60)
        assert run.state().t > 1e7
        # A clock in float32 would move once a second here.
        assert longest_gap(server, 2.0) < 0.2
        board = run.meet()
        newest = board.newest()
        stamps = [view.stamp for index in range(newest - 2, newest + 1) if (view := board.frame(index))]
        assert 0 < np.diff(stamps).max() < 0.2


def test_an_absurd_kept_state_is_told_and_the_show_begins_anew(earlier, show_text):
    folder, store, tree = earlier
    store.save_state(json.dumps(tree | {"t": 1e300, "index": -1}).encode())
    with running(folder, show_text) as run:
        run.wait_for_frames(5)
        assert run.state().t < 60
        assert "begins at its beginning" in run.log()


def test_a_new_x_server_gets_its_wall_back(tmp_path, show_text):
    with xvfb(320, 180) as server, running(tmp_path, show_text, server=server) as run:
        run.wait_for_frames(10)
        pid, before = run.pid("wall"), run.state()
        server.end()
        assert until(lambda: "Failed to open display" in run.log()), run.log()
        again = subprocess.Popen(
            ["Xvfb", server.display, "-screen", "0", "320x180x24", "-nolisten", "tcp"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            run.wait_for_another("wall", pid)
            run.wait_for_frames(5)
            assert run.state().t > before.t
            assert run.stop() == 0
        finally:
            again.terminate()
            again.wait(60)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DISPLAY": ":4711"}, "libxrandr2"),
        ({"__EGL_VENDOR_LIBRARY_FILENAMES": "/dev/null"}, "libegl1"),
    ],
    ids=["no X server answers", "no GL"],
)
def test_a_missing_display_is_one_clear_line(tmp_path, show_text, variables, words):
    with start(tmp_path, show_text, home(tmp_path) | variables) as process:
        assert process.wait(60) == 3
    log = (tmp_path / "log").read_text()
    assert words in log
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_networks_load_ends_it_cleanly(tmp_path, show_text, number):
    with running(tmp_path, show_text) as run:
        board = run.meet()
        # From then on signals are the supervisor's to hear; before, a Ctrl-C ends a command that has not begun.
        assert until(lambda: board.pulse("engine").pid != 0), run.log()
        assert board.newest() == 0
        assert run.stop(number) == 0
        assert run.run_folder is not None
        assert not run.run_folder.exists()
        assert "Traceback" not in run.log()


def test_a_bare_environment_and_a_long_foreign_path_are_enough(tmp_path, show_text):
    """No HOME, a C locale, no terminal, no standard input at all."""
    folder = tmp_path / ("schöne Ausstellung 日本 " + "x" * 60) / ("y z" * 60)
    folder.mkdir(parents=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("INSTALLATION_", "OMP_"))}
    with start(folder, show_text, kept | {"LC_ALL": "C", "XDG_STATE_HOME": str(folder)}) as process:
        assert until(lambda: "engine: " in (folder / "log").read_text()), (folder / "log").read_text()
        process.terminate()
        assert process.wait(60) == 0


@contextmanager
def start(folder: Path, show: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`installation run` with this environment and nothing else, without standard input; its words go to the file log."""
    (folder / "show.toml").write_text(show, encoding="utf-8")
    run = [sys.executable, "-m", "installation", "run", str(folder / "show.toml")]
    line = ["sh", "-c", 'exec "$@" <&-', "sh", *run, "--osc-port", "0", "--preview-port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(line, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)
