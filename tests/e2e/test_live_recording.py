"""The wall filmed while it plays: by OSC and by key, on a headless wall and in a window, with things that die."""

from __future__ import annotations

import os
import shutil
import signal
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest

from installation.cli import record
from installation.errors import OutputError
from installation.output.video.manifest import intact, read_head, read_segments
from tests.e2e.running import Running, command, running
from tests.output.video.pictures import decode
from tests.xserver import Hand, until, xvfb

pytestmark = pytest.mark.slow


def folder_of(run: Running) -> Path:
    return run.folder / "Videos" / "installation"


def films(run: Running) -> list[Path]:
    return sorted(folder_of(run).glob("[!.]*.mp4"))


def recorder(run: Running, *, but: int = 0) -> psutil.Process | None:
    """The recording process of this run."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "recorder-process" in command and str(run.run_folder) in command and process.pid != but:
            return process
    return None


def recording(run: Running, at_least_s: float) -> bool:
    """Whether the wall says that so many seconds of film were written."""
    words = run.meet().status("wall").partition("recording ")[2].split()
    if not words or ":" not in words[0]:
        return False
    minutes, seconds = words[0].split(":")
    return 60 * int(minutes) + int(seconds) >= at_least_s


@pytest.fixture(scope="module")
def one_wall(tmp_path_factory, show_text):
    with running(tmp_path_factory.mktemp("wall"), show_text, "--headless") as run:
        run.wait_for_frames(5)
        yield run


@pytest.fixture
def wall(one_wall):
    """A wall that is not recording, and no film of an earlier test."""
    shutil.rmtree(folder_of(one_wall), ignore_errors=True)
    yield one_wall
    one_wall.say("/installation/record/stop", "true")
    assert until(lambda: recorder(one_wall) is None, 60)
    assert until(lambda: not recording(one_wall, 0), 60)  # or the next test would read this film's seconds as its own


def test_osc_begins_and_ends_a_film_that_shows_the_wall(wall):
    wall.say("/installation/look/select", "silver")
    wall.say("/installation/record/start", "../../evil")  # an argument that is no press: dropped
    assert wall.state().values["record/on"] is False
    wall.say("/installation/record/start", "true")
    assert until(lambda: recording(wall, 2), 60), wall.log()
    wall.say("/installation/record/stop", "true")
    assert until(lambda: bool(films(wall)), 60), wall.log()
    (path,) = films(wall)
    assert until(lambda: not path.with_name(path.name + ".segments").exists())
    assert wall.state().values["record/on"] is False
    film = decode(path)
    assert film.rate == Fraction(30)
    assert film.pts == list(range(len(film.pts)))
    assert len(film.pts) >= 60
    luma = np.array([planes[0] for planes in film.planes]).astype(float)
    assert luma.shape[1:] == (64, 64)
    assert luma.std(axis=(1, 2)).min() > 2.0, "a picture without anything on it"
    assert len({planes[0].tobytes() for planes in film.planes}) > len(film.planes) / 3, "it moves"
    chroma = np.array([planes[1:] for planes in film.planes[-10:]]).astype(float)
    assert np.abs(chroma - 128).max() <= 3, "the look of the wall, silver"
    assert "Traceback" not in wall.log()


def test_a_killed_wall_leaves_a_whole_film_and_begins_another(wall):
    wall.say("/installation/record/start", "true")
    assert until(lambda: recording(wall, 2), 60), wall.log()
    pid = wall.kill("wall")
    wall.wait_for_another("wall", pid)
    assert until(lambda: len(films(wall)) == 1, 60), wall.log()
    assert len(decode(films(wall)[0]).pts) >= 60
    assert until(lambda: recording(wall, 0), 60), wall.log()
    wall.say("/installation/record/on", "false")
    assert until(lambda: len(films(wall)) == 2, 60), wall.log()


def test_a_killed_recorder_leaves_its_closed_segments_and_is_said(wall):
    wall.say("/installation/record/start", "true")
    assert until(lambda: recording(wall, 3), 60), wall.log()
    process = recorder(wall)
    assert process is not None
    process.kill()
    assert until(lambda: wall.state().values["record/on"] is False)
    assert until(lambda: "not recording: its process ended" in wall.meet().status("wall"))
    (segments,) = folder_of(wall).glob("*.segments")
    closed = read_segments(segments)
    assert sum(segment.frames for segment in closed.values()) >= 3 * 30 - 60
    assert all(intact(segments, segment) for segment in closed.values())
    head = read_head(segments)
    assert head is not None
    assert (head.size, head.fps, head.preset) == ((64, 64), Fraction(30), "live-h264")
    done = command(wall.folder, "join", str(segments))
    assert done.returncode == 0, done.stderr
    assert len(decode(films(wall)[0]).pts) == sum(segment.frames for segment in closed.values())
    with pytest.raises(OutputError, match="is there already"):
        record.join_film(segments, None)
    board = wall.meet()
    newest, presented = board.newest(), board.pulse("wall").count
    assert until(lambda: board.newest() > newest + 5 and board.pulse("wall").count > presented + 10)


def test_an_encoder_that_dies_is_said_and_the_show_goes_on(wall):
    wall.say("/installation/record/start", "true")
    assert until(lambda: recording(wall, 1), 60), wall.log()
    process = recorder(wall)
    assert process is not None
    assert until(lambda: any(_kill(child) for child in process.children()))
    assert until(lambda: wall.state().values["record/on"] is False, 60)
    assert until(lambda: "not recording: the encoder failed" in wall.meet().status("wall")), wall.meet().status("wall")
    assert any(folder_of(wall).glob("*.segments/000000.nut"))
    wall.wait_for_frames(5)


def _kill(process: psutil.Process) -> bool:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def test_a_frozen_encoder_costs_frames_of_the_film_and_none_of_the_wall(wall):
    wall.say("/installation/record/start", "true")
    assert until(lambda: recording(wall, 1), 60), wall.log()
    process = recorder(wall)
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:
        board, presented = wall.meet(), wall.meet().pulse("wall").count
        assert until(lambda: board.pulse("wall").count > presented + 60)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert until(lambda: _dropped(wall) > 0), wall.meet().status("wall")
    wall.say("/installation/record/stop", "true")
    assert until(lambda: bool(films(wall)), 60)


def test_the_wall_turns_as_often_while_it_is_filmed(wall):
    def turns(seconds: float = 4.0) -> int:
        board = wall.meet()
        first = board.pulse("wall").count
        time.sleep(seconds)
        return board.pulse("wall").count - first

    alone = turns()
    wall.say("/installation/record/start", "true")
    assert until(lambda: recording(wall, 1), 60), wall.log()
    # Again where the machine was busy with something else; a recorder for which the wall waits never gets there.
    assert until(lambda: turns() >= 0.95 * alone, 60), (alone, turns())
    assert recording(wall, 3)
    process = recorder(wall)
    assert process is not None
    # It has what the others leave of the cores, and so have its encoders.
    others = [psutil.Process(wall.pid(role)).nice() for role in ("wall", "engine")]
    assert all(each.nice() > max(others) for each in (process, *process.children()))


def _dropped(run: Running) -> int:
    words = run.meet().status("wall").partition("recording ")[2].split()
    return int(words[2]) if len(words) > 3 and words[2].isdecimal() else 0


def test_a_film_that_cannot_be_written_is_said_once(wall):
    videos = wall.folder / "Videos"
    shutil.rmtree(videos, ignore_errors=True)
    videos.write_text("a file where the folder should be")
    try:
        before = wall.log().count("installation: ")
        wall.say("/installation/record/start", "true")
        assert until(lambda: wall.log().count("installation: ") == before + 1, 60), wall.log()
        assert until(lambda: wall.state().values["record/on"] is False)
        assert until(lambda: "not recording: " in wall.meet().status("wall"))
        wall.wait_for_frames(5)
        assert wall.log().count("installation: ") == before + 1
    finally:
        videos.unlink()


def test_the_end_of_the_show_closes_the_film_and_the_next_run_begins_none(tmp_path, show_text):
    with running(tmp_path, show_text, "--headless") as run:
        run.wait_for_frames(5)
        run.say("/installation/record/start", "true")
        assert until(lambda: recording(run, 1), 60), run.log()
        assert run.stop() == 0
        assert until(lambda: bool(films(run)), 60), run.log()
        assert len(decode(films(run)[0]).pts) >= 30
        assert until(lambda: recorder(run) is None)
    with running(tmp_path, show_text, "--headless") as run:
        run.wait_for_frames(3)
        assert "goes on where it was" in run.log()
        assert run.state().values["record/on"] is False


def test_the_key_r_in_a_window(tmp_path, show_text):
    with xvfb(640, 480) as server, running(tmp_path, show_text, "--windowed", server=server) as run:
        hand = Hand(server.display)
        run.wait_for_frames(5)
        hand.press("r")
        assert until(lambda: run.state().values["record/on"] is True)
        assert until(lambda: recording(run, 2), 60), run.log()
        hand.press("h")
        assert until(lambda: run.state().values["hud/show"] is True)
        hand.press("r")
        assert until(lambda: bool(films(run)), 60), run.log()
        film = decode(films(run)[0])
        assert film.planes[0][0].shape == (64, 64), "the cascade's own size, not the window's"
        hand.release()
