"""The whole show under a real X server: what a visitor sees while its processes die."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.running import longest_gap, running
from tests.xserver import until, xvfb

pytestmark = pytest.mark.slow
LONGEST_GAP_S = 0.2


@pytest.fixture
def server():
    with xvfb(320, 180) as server:
        yield server


@pytest.fixture
def wall(server, tmp_path, show_text):
    with running(tmp_path, show_text, server=server) as run:
        # The first frames of a run show the walk waiting for the engine; the wall has moving ones to glide over after.
        run.wait_for_frames(60)
        yield run


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_the_wall_keeps_moving_while_the_engine_is_away(wall, server, sign):
    # Its hang is noticed after 5 s, so the walk must have waited for 3 s and more.
    waited_s = 3.0 if sign == signal.SIGSTOP else 0.0
    before = wall.state()
    pid = wall.kill("engine", sign)
    assert longest_gap(server, 60.0, over=lambda: wall.is_another("engine", pid)) <= LONGEST_GAP_S
    wall.wait_for_frames(10)
    after = wall.state()
    moved = after.strands[-1].position - before.strands[-1].position
    assert 0 < moved < 2.0 * (after.t - before.t - waited_s) + 0.1
    assert longest_gap(server, 2.0) <= LONGEST_GAP_S


def test_an_engine_that_makes_nan_is_not_shown_and_comes_back(tmp_path, server, show_text):
    show = show_text.replace("base.safetensors", "volcano.safetensors").replace("latent.psi = 1.0", "latent.psi = 0.3")
    with running(tmp_path, show, server=server) as run:
        run.wait_for_frames(60)
        pid = run.pid("engine")
        run.say("/installation/latent/psi", "1.5", "0")
        assert longest_gap(server, 60.0, over=lambda: run.pid("engine") != pid) <= LONGEST_GAP_S
        run.say("/installation/latent/psi", "0.3", "0")
        run.wait_for_another("engine", pid)
        run.wait_for_frames(10)
        assert "not finite" in run.log()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_wall_that_is_away_comes_back_where_it_was(wall, sign):
    engine, before = wall.pid("engine"), wall.state()
    pid = wall.kill("wall", sign)
    wall.wait_for_another("wall", pid)
    assert wall.pid("engine") == engine
    after = wall.state()
    assert after.index > before.index
    assert after.strands[-1].position - before.strands[-1].position < 6


def test_engine_deaths_in_a_row_never_end_the_show(wall):
    for _ in range(4):
        pid = wall.kill("engine")
        wall.wait_for_another("engine", pid)
    wall.wait_for_frames(5)
    assert wall.process.poll() is None


def test_the_x_server_dies_and_the_show_ends_or_waits_without_leaving_anything(tmp_path, show_text):
    with xvfb(320, 180) as server, running(tmp_path, show_text, server=server) as run:
        run.wait_for_frames(5)
        pid = run.pid("wall")
        server.end()
        assert until(lambda: run.pid("wall") != pid or "wall ended" in run.log()), run.log()
        assert run.process.poll() is None


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_show_cleanly(wall, sign):
    folder = wall.run_folder
    assert wall.stop(sign) == 0
    assert not folder.exists()


def test_a_killed_supervisor_takes_everything_with_it(wall):
    pids, folder = [wall.pid("wall"), wall.pid("engine")], wall.run_folder
    wall.process.kill()
    wall.process.wait(60)
    import psutil

    assert until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert until(lambda: not folder.exists())


def test_the_monitor_is_unplugged_and_comes_back(wall, server):
    server.unplug()
    board = wall.meet()
    presented = board.pulse("wall").count
    assert until(lambda: board.pulse("wall").count > presented + 60)
    assert wall.process.poll() is None
    server.plug()
    assert until(lambda: server.screenshot().std() > 5)
    wall.wait_for_frames(5)
    assert longest_gap(server, 2.0) <= LONGEST_GAP_S
