"""The supervisor over real processes: whatever dies or hangs comes back, and an end leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from installation.engine.board import Board, Phase
from installation.service.processes import Child
from installation.service.runfolder import prepare
from installation.service.store import Store
from installation.service.supervisor import Supervisor, _Watched

pytestmark = pytest.mark.skipif(os.name != "posix", reason="drives the processes with POSIX signals")

Start = Callable[..., Any]  # -> conftest's Run
Until = Callable[..., None]


def nothing_left(run: Any) -> bool:
    return not run.folder.exists() and not any("stubs" in " ".join(p.cmdline()) for p in alive(run.known))


def alive(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def running(start: Start, **kwargs: object) -> Any:
    run = start(**kwargs)
    run.wait_for_frames()
    run.known = [run.pid("wall"), run.pid("engine")]
    return run


def test_wall_and_engine_start_and_pictures_come(start: Start) -> None:
    run = running(start)
    assert run.process.poll() is None
    assert run.log == ""


def test_a_killed_engine_comes_back_and_the_walk_goes_on_where_it_was(start: Start, until: Until) -> None:
    run = running(start)
    for _ in range(3):
        pid, newest, tick = run.pid("engine"), run.board.newest(), run.board.read_state()[0]
        wall = run.pid("wall")
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: run.pulse("engine").pid not in (0, pid))
        until(lambda newest=newest: run.board.newest() > newest + 3)
        view = run.board.frame(run.board.newest())
        assert view.stamp * 60 > tick
        assert run.pid("wall") == wall
    assert run.log.count("\n") == 1
    assert "engine ended: SIGKILL" in run.log


def test_a_killed_wall_comes_back_with_its_state_and_the_engine_stays(start: Start, until: Until) -> None:
    run = running(start)
    wall, engine = run.pid("wall"), run.pid("engine")
    tick = run.board.read_state()[0]
    os.kill(wall, signal.SIGKILL)
    until(lambda: run.pulse("wall").pid not in (0, wall))
    run.wait_for_frames()
    assert run.board.read_state()[0] > tick
    assert run.pid("engine") == engine


@pytest.mark.parametrize("role", ["engine", "wall"])
def test_a_stopped_process_counts_as_hung_and_is_replaced(start: Start, until: Until, role: str) -> None:
    run = running(start, hang_s=0.5)
    pid = run.pid(role)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: run.pulse(role).pid not in (0, pid))
    run.wait_for_frames()
    assert f"{role} hung for 0." in run.log
    assert not alive([pid])


@pytest.mark.slow
def test_a_process_that_never_beats_is_given_its_time_to_start_and_then_replaced(start: Start, until: Until) -> None:
    run = running(start, start_s=2.0)
    os.kill(run.pid("engine"), signal.SIGKILL)
    until(lambda: run.pulse("engine").pid == 0)
    fresh = until_child(run, "engine.py", until)
    os.kill(fresh, signal.SIGSTOP)
    until(lambda: not alive([fresh]))
    run.wait_for_frames()


def until_child(run: Any, script: str, until: Until) -> int:
    def found() -> list[int]:
        return [p.pid for p in run.family() if any(script in part for part in p.cmdline())]

    until(found)
    return found()[0]


def test_a_crash_loop_during_a_show_never_ends_it(start: Start, until: Until) -> None:
    run = start(engine="crash")
    until(lambda: "exit code 5 (fault 4 in a row)" in run.board.status("supervisor"))
    assert run.process.poll() is None
    run.process.terminate()
    assert run.process.wait(60) == 0


@pytest.mark.parametrize(("exits", "seconds"), [(8, 60.0), pytest.param(50, 60.0, marks=pytest.mark.slow)])
def test_an_engine_that_never_starts_is_tried_for_ever_with_pauses(
    start: Start, until: Until, exits: int, seconds: float
) -> None:
    run = start(engine="exit:1")
    until(lambda: f"fault {exits} in a row" in run.board.status("supervisor"), within_s=seconds)
    assert run.process.poll() is None
    assert run.pulse("wall").count > 0
    assert run.log.count("engine ended: exit code 1") <= 2 + seconds / 10


@pytest.mark.parametrize(("role", "code"), [("wall", 3), ("wall", 6), ("engine", 2), ("engine", 5)])
def test_a_fault_the_user_can_mend_ends_the_run_at_once_before_the_first_picture(
    start: Start, role: str, code: int
) -> None:
    run = start(**{role: f"exit:{code}"})
    assert run.process.wait(60) == code
    assert "before the first picture" in run.log
    assert not run.folder.exists()


def test_an_engine_without_a_device_ends_the_run_after_three_tries(start: Start) -> None:
    run = start(engine="nan")
    assert run.process.wait(60) == 4
    assert run.log.count("not finite") >= 3
    assert run.board.newest() == 0


def test_a_wall_that_loses_its_display_during_the_show_is_tried_for_ever(start: Start, until: Until) -> None:
    run = start(wall="crash")
    until(lambda: "fault 2 in a row" in run.board.status("supervisor"))
    assert run.process.poll() is None
    assert "wall ended: exit code 3 (no display). Starting it again in 0.02 s" in run.log


class Stuck:
    """A process that hangs and does not go when it is killed."""

    role, running, kills = "engine", True, 0

    def kill(self) -> bool:
        self.kills += 1
        return False


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[Supervisor, _Watched, Stuck]]:
    folder, board, _ = prepare(width=8, height=8, bases=[tmp_path])
    board.beat("engine", Phase.RUNNING)
    child = Stuck()
    supervisor, watched = Supervisor(folder, board, {}), _Watched(cast("Child", child))
    supervisor._listen(watched, 100.0, overslept=False)
    yield supervisor, watched, child
    board.close()
    folder.remove()


def test_a_machine_that_slept_is_not_the_childrens_fault(listening: tuple[Supervisor, _Watched, Stuck]) -> None:
    supervisor, watched, child = listening
    supervisor._listen(watched, 3700.0, overslept=True)
    assert child.kills == 0
    supervisor._listen(watched, 3706.0, overslept=False)
    assert child.kills == 1


def test_only_what_is_there_long_after_it_was_killed_is_called_stuck(
    listening: tuple[Supervisor, _Watched, Stuck], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor, watched, _ = listening
    supervisor._listen(watched, 106.0, overslept=False)
    assert caplog.text == ""
    supervisor._listen(watched, 112.0, overslept=False)
    assert "engine hung for 6.0 s (running), was killed and is still there: a driver may hold it" in caplog.text


def test_a_closed_window_ends_the_show_and_leaves_nothing(start: Start, until: Until) -> None:
    run = start(wall="close")
    known = [p.pid for p in run.family()]
    assert run.process.wait(60) == 0
    assert not run.folder.exists()
    assert not alive(known)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_a_signal_ends_the_show_cleanly_and_leaves_nothing(start: Start, number: int) -> None:
    run = running(start, stop_s=120.0)
    run.process.send_signal(number)
    assert run.process.wait(60) == 0  # sooner than anybody would be killed
    assert nothing_left(run)
    assert (run.base / "state" / "stub.state.0").exists()
    assert (run.base / "state" / "stub.picture.0").exists()


def test_the_state_is_kept_while_the_show_runs_for_when_the_power_fails(start: Start, until: Until) -> None:
    run = running(start, state_s=0.05, picture_s=0.05)
    store = Store("stub", run.base / "state")
    until(store.load_state)
    first = store.load_state()
    until(lambda: store.load_state() != first and store.load_picture() is not None)
    run.process.kill()
    shown = store.load_picture()
    assert shown is not None
    assert (shown == shown[0, 0, 0]).all()


def test_a_child_that_does_not_stop_is_killed(start: Start) -> None:
    run = running(start, wall="run", stop_s=0.5)
    os.kill(run.pid("wall"), signal.SIGSTOP)
    run.process.terminate()
    assert run.process.wait(60) == 0
    assert nothing_left(run)


def test_a_second_interrupt_kills_at_once(start: Start, until: Until) -> None:
    run = running(start, stop_s=300.0, hang_s=300.0)
    os.kill(run.pid("wall"), signal.SIGSTOP)
    run.process.send_signal(signal.SIGINT)
    until(lambda: not alive([run.known[1]]))
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 0
    assert nothing_left(run)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_supervisor_takes_everything_with_it(start: Start, until: Until, stopped: bool) -> None:
    if stopped and not os.path.exists("/proc/self"):
        pytest.skip("only Linux wakes a stopped orphan")
    run = running(start)
    if stopped:
        os.kill(run.pid("engine"), signal.SIGSTOP)
    run.process.kill()
    until(lambda: not alive(run.known))
    assert not run.folder.exists()


@pytest.mark.slow
def test_a_stuck_orphan_is_ended_by_its_own_watch(start: Start, until: Until) -> None:
    run = start(wall="stuck", engine="exit:1")
    pid = run.pid("wall")
    run.process.kill()
    until(lambda: not alive([pid]))
    assert not run.folder.exists()


def test_a_run_folder_that_somebody_removes_is_made_again(start: Start, until: Until) -> None:
    run = running(start)
    tick = run.board.read_state()[0]
    for path in run.folder.iterdir():
        path.unlink()
    run.folder.rmdir()
    until(lambda: (run.folder / "board").exists())
    until(lambda: not alive(run.known))
    fresh = Board.open(run.folder / "board")
    until(lambda: fresh.newest() > 3)
    state = fresh.read_state()
    assert state is not None
    assert state[0] > tick
    run.process.terminate()
    assert run.process.wait(60) == 0
    assert not run.folder.exists()


def test_two_runs_live_side_by_side_and_a_dead_ones_folder_is_removed(start: Start, until: Until) -> None:
    first = running(start)
    second = running(start)
    assert first.folder.exists()
    assert first.notes == second.notes == []
    stale = first.base / "run-stale"
    stale.mkdir()
    (stale / "board").write_bytes(b"x" * 100)
    third = start()
    assert third.notes == [f"removed what a killed run left: {stale}"]
    assert not stale.exists()
    assert first.folder.exists()
    assert second.folder.exists()


def signs_until_silence(manager: socket.socket) -> int:
    """How often the watchdog is fed until nothing is said for 3 s."""
    manager.settimeout(3.0)
    signs = 0
    try:
        while True:
            signs += manager.recv(4096).count(b"WATCHDOG=1")
    except TimeoutError:
        return signs


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
def test_the_service_manager_hears_ready_once_and_its_watchdog_starves_with_the_wall(
    start: Start, tmp_path: Path, until
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(60)
        run = running(start, notify=str(tmp_path / "n"), hang_s=60.0)
        heard = b""
        while heard.count(b"WATCHDOG=1") < 2:
            heard += manager.recv(4096) + b"\n"
        assert heard.count(b"READY=1") == 1
        assert b"wall running" in heard
        os.kill(run.pid("wall"), signal.SIGSTOP)
        assert signs_until_silence(manager) <= 2  # one may lie in the socket, one be on its way
        os.kill(run.pid("wall"), signal.SIGCONT)
        manager.settimeout(60)
        assert b"WATCHDOG=1" in manager.recv(4096)


@pytest.mark.slow
def test_forty_kills_of_the_engine_leak_nothing(start: Start, until: Until) -> None:
    run = running(start, backoff_s=[0.0])
    supervisor = psutil.Process(run.process.pid)
    before = supervisor.num_fds(), supervisor.num_threads()
    for _ in range(40):
        pid = run.pid("engine")
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: run.pulse("engine").pid not in (0, pid))
    run.wait_for_frames()
    assert (supervisor.num_fds(), supervisor.num_threads()) == before
    assert len(run.family()) == 2
