"""TakeLog on real files: killed, full, slow and endless."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from installation.control import take_files, take_log
from installation.control.take_log import TakeLog
from installation.errors import TakeError
from installation.show.clock import Tick
from installation.show.messages import ControlMessage
from installation.show.replay import Replay, extent
from installation.show.state import ShowState, first_state
from installation.show.step import step
from installation.show.take import read_lines
from tests.show.evenings import SHOW
from tests.xserver import until


class Player:
    """A wall that does nothing but write its take."""

    def __init__(self, folder: Path, state: ShowState | None = None, **options) -> None:
        self.state = state or first_state(SHOW)
        self.now_s = 0.0
        self.log = TakeLog(folder, SHOW.table(), self.state, now=lambda: self.now_s, **options)

    def play(self, ticks: int) -> None:
        for _ in range(ticks):
            i = self.state.index + 1
            said = [ControlMessage("drift/speed", float(i % 7 - 3), None, "test")] if i % 3 == 0 else []
            tick = Tick(i, (round(self.state.t * 1e6) + 16667) / 1e6, 0.016667)
            self.state = step(self.state, said, tick, SHOW)
            self.log.write(tick, said, self.state)
            self.now_s += 0.016667

    def catch_up(self) -> None:
        """Waits until the disk has taken what waits: no wall plays a minute in a moment, as the player does."""
        assert until(self.log._queue.empty)


def records(folder: Path):
    return read_lines(take_files.lines(folder), SHOW)


def end_of(folder: Path) -> ShowState:
    film = Replay(records(folder), SHOW)
    return film.at(extent(records(folder)).duration_s)


def same_place(a: ShowState, b: ShowState) -> bool:
    return (a.t, a.strands, a.values, a.velocity) == (b.t, b.strands, b.values, b.velocity)


def test_what_is_played_lies_on_the_disk(tmp_path: Path) -> None:
    player = Player(tmp_path)
    player.play(500)
    player.log.close()
    player.log.close()  # twice is once
    assert extent(records(tmp_path)).ticks == 500
    assert same_place(end_of(tmp_path), player.state)
    assert player.log.counters()["dropped"] == 0


def test_many_short_parts_do_not_drive_out_an_evening(tmp_path: Path) -> None:
    evening = Player(tmp_path, most_bytes=1 << 20)
    evening.play(3000)
    evening.log.close()
    for _ in range(40):  # of a wall that dies at once, again and again
        short = Player(tmp_path, evening.state, part_bytes=64 << 10, most_bytes=1 << 20)
        short.play(1)
        short.log.close()
    assert [number for number, _ in take_files.parts(tmp_path)] == list(range(1, 42))
    assert extent(records(tmp_path)).ticks == 3040


def test_the_number_of_parts_has_a_bound_too(tmp_path: Path) -> None:
    for _ in range(20):
        short = Player(tmp_path, part_bytes=4096, most_bytes=8 * 4096)
        short.play(1)
        short.log.close()
    assert [number for number, _ in take_files.parts(tmp_path)] == list(range(13, 21))


def test_old_parts_go_and_the_rest_still_plays(tmp_path: Path) -> None:
    player = Player(tmp_path, part_bytes=4096, most_bytes=4 * 4096)
    for _ in range(30):
        player.play(100)
    player.log.close()
    found = take_files.parts(tmp_path)
    assert len(found) >= 3
    assert found[0][0] > 5
    assert sum(path.stat().st_size for _, path in found) <= 4 * 4096
    assert same_place(end_of(tmp_path), player.state)


def test_every_parts_state_is_where_the_part_before_it_ends(tmp_path: Path) -> None:
    player = Player(tmp_path, part_bytes=4096)
    player.play(1000)
    player.log.close()
    film, state, cuts = list(records(tmp_path)), None, 0
    from installation.show.replay import after

    for record in film:
        if isinstance(record, ShowState):
            if state is not None:
                assert same_place(state, record)
                cuts += 1
            state = record
        else:
            assert state is not None
            state = after(state, record, SHOW)
    assert cuts >= 3


def test_another_wall_process_goes_on_with_a_part_of_its_own(tmp_path: Path) -> None:
    first = Player(tmp_path)
    first.play(100)
    first.log.close()
    part = take_files.parts(tmp_path)[-1][1]
    part.write_bytes(part.read_bytes()[:-7])  # as a kill leaves it
    second = Player(tmp_path, first.state)
    second.play(100)
    second.log.close()
    assert [number for number, _ in take_files.parts(tmp_path)] == [1, 2]
    assert extent(records(tmp_path)).parts == 2
    assert same_place(end_of(tmp_path), second.state)


class FullDisk:
    """os.write that takes half a line and then none, until there is room."""

    def __init__(self) -> None:
        self.full, self.refused = False, threading.Event()

    def write(self, fd: int, data) -> int:
        if not self.full:
            return _WRITE(fd, data)
        if len(data) > 20:
            return _WRITE(fd, data[:10])
        self.refused.set()
        raise OSError(errno.ENOSPC, "No space left on device")


_WRITE = os.write


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    disk = FullDisk()
    monkeypatch.setattr(take_log.os, "write", disk.write)
    return disk


def test_a_full_disk_is_said_once_and_the_show_and_the_take_go_on(
    tmp_path: Path, disk: FullDisk, caplog: pytest.LogCaptureFixture
) -> None:
    player = Player(tmp_path)
    player.play(300)
    player.catch_up()
    assert until(lambda: player.log.counters()["bytes"] > 0)
    disk.full = True
    for _ in range(4):  # four times five seconds: retried each time
        disk.refused.clear()
        while not disk.refused.is_set():
            player.play(10)
            player.catch_up()
        player.now_s += 5.0
    assert player.log.counters()["faults"] >= 2
    disk.full = False
    player.catch_up()
    while not player.log.counters()["dropped"] or player.log._files.broken or player.log._broken:
        player.play(10)
        player.now_s += 5.0
        player.catch_up()
    player.play(200)
    player.log.close()
    assert caplog.text.count("No space left on device") == 1
    assert same_place(end_of(tmp_path), player.state)
    assert all(path.stat().st_size for _, path in take_files.parts(tmp_path))
    missing = player.state.index - extent(records(tmp_path)).ticks
    assert player.log.counters()["dropped"] == missing
    assert extent(records(tmp_path)).parts >= 2


def test_a_disk_that_hangs_never_makes_the_wall_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, free = threading.Event(), threading.Event()

    def write(fd: int, data) -> int:
        hangs.set()
        assert free.wait(60)
        return _WRITE(fd, data)

    monkeypatch.setattr(take_log.os, "write", write)
    player = Player(tmp_path)
    assert hangs.wait(60)
    player.play(4000)  # returns, although nothing is written
    assert player.log.counters()["dropped"] > 0
    assert "cannot keep up" in caplog.text
    free.set()
    player.catch_up()
    player.now_s += 10.0
    while player.log._broken:
        player.play(1)
        player.now_s += 5.0
    player.play(100)
    player.log.close()
    assert same_place(end_of(tmp_path), player.state)


def test_a_folder_that_goes_away_is_no_reason_to_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "gone"
    player = Player(folder)
    player.play(300)
    player.log.close()
    assert caplog.text.count("the take has a hole") == 1


KILLED = """
import sys
from pathlib import Path
from tests.control.test_take_log import Player
player = Player(Path(sys.argv[1]))
while True:
    player.play(1)
    print(player.state.t, flush=True)
    sys.stdin.readline()
"""


def test_a_killed_wall_loses_less_than_a_second(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        t = 0.0
        for _ in range(200):
            t = float(process.stdout.readline())
            process.stdin.write("\n")
            process.stdin.flush()
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert t > 3.0
    assert t - 1.0 < end_of(tmp_path).t <= t + 0.1


def test_a_part_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part-000001.jsonl").mkdir()
    with pytest.raises(TakeError, match="part-000001"):
        list(take_files.lines(tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "part-000001.jsonl")
    os.mkfifo(tmp_path / "take.json")
    with pytest.raises(TakeError, match="is no part"):
        list(take_files.lines(tmp_path))
    with pytest.raises(TakeError, match="is no file"):
        take_files.header_bytes(tmp_path)


def test_an_endless_line_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "part-000001.jsonl").open("wb") as file:
        file.truncate(500 << 20)  # sparse zeros, without one line's end
    with pytest.raises(TakeError, match="line 1: damaged: a line of more than"):
        list(records(tmp_path))


def test_a_huge_header_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "take.json").open("wb") as file:
        file.truncate(500 << 20)
    with pytest.raises(TakeError, match="larger than"):
        take_files.header_bytes(tmp_path)


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "part-1.jsonl").write_text("x")
    (tmp_path / "part-000001.jsonl.bak").write_text("x")
    assert take_files.parts(tmp_path) == []
    with pytest.raises(TakeError, match=r"take\.json"):
        take_files.header_bytes(tmp_path)
