"""A performance under real hands, written down, killed in the middle, and played again on the wall."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from installation import takes
from installation.show.replay import Replay
from tests.e2e.running import command, running
from tests.xserver import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def evening(tmp_path_factory, show_text) -> Path:
    """The take of a wall that was killed in the middle of the evening."""
    folder = tmp_path_factory.mktemp("evening")
    with running(folder, show_text, "--take", str(folder / "take"), "--headless") as run:
        run.wait_for_frames(5)
        run.say("/installation/walk/seed", "42", "0.5")
        run.say("/installation/look/select", "silver")
        board, pid = run.meet(), run.pid("wall")
        assert until(lambda: run.state().values["look/select"] == "silver")
        ticks = board.pulse("wall").count
        assert until(lambda: board.pulse("wall").count > ticks + 60)
        t = run.state().t
        run.kill("wall")
        run.wait_for_another("wall", pid)
        assert until(lambda: run.state().t > t + 1.0)
        run.say("/installation/drift/speed", "-1", "1")
        assert until(lambda: run.state().values["drift/speed"] == -1.0)
        t = run.state().t
        assert until(lambda: run.state().t > t + 1.5)
        run.stop()
    return folder / "take"


def film(take: Path) -> tuple[Replay, float]:
    show = takes.header(take).show
    return Replay(takes.records(take, show), show), takes.checked(take, show).duration_s


def test_the_evening_lies_in_the_take(evening):
    replay, duration_s = film(evening)
    extent = takes.checked(evening, takes.header(evening).show)
    assert extent.parts == 2
    assert extent.messages == 3
    assert 3.0 < duration_s < 120.0
    states = [replay.at(i * duration_s / 200) for i in range(201)]
    assert [state.values["walk/seed"] for state in states][::200] == [0, 42]
    assert states[-1].values["look/select"] == "silver"
    assert states[-1].velocity.at(states[-1].t) == -1.0
    assert states[0].velocity.at(states[0].t) == 2.0


def test_the_wall_plays_it_again(evening, tmp_path, show_text):
    replay, duration_s = film(evening)
    last = replay.at(duration_s)
    options = ("--take", str(evening), "--replay", "--headless")
    with running(tmp_path, show_text, *options, named=False) as run:
        run.wait_for_frames(5)
        assert "a take of 0:00:" in run.log()
        assert until(lambda: run.state().values["walk/seed"] == 42)
        run.wait_for_another("wall", run.kill("wall"))
        assert until(lambda: run.state().values["drift/speed"] == -1.0, 120), run.log()
        assert until(lambda: "the take is over" in run.log(), 120)
        state = run.state()
        went_on_s = state.t - last.t
        assert state.strands[-1].seed == last.strands[-1].seed
        moved = state.strands[-1].position - last.strands[-1].position
        assert moved == pytest.approx(-went_on_s, abs=0.2)
        run.say("/installation/look/select", "neutral")
        assert until(lambda: run.state().values["look/select"] == "neutral")
        assert run.stop(signal.SIGTERM) == 0


def test_a_take_whose_network_changed_is_not_played(tmp_path, networks, show_text):
    own = tmp_path / "base.safetensors"
    shutil.copy(networks / "base.safetensors", own)
    text = show_text.replace(str(networks / "base.safetensors"), str(own))
    with running(tmp_path, text, "--take", str(tmp_path / "take"), "--headless") as run:
        run.wait_for_frames(5)
        run.stop()
    shutil.copy(networks / "volcano.safetensors", own)
    done = command(tmp_path, "run", "--headless", "--take", str(tmp_path / "take"), "--replay")
    assert done.returncode == 6
    assert "has changed since the take was played" in done.stderr
    assert str(own) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_replay_needs_a_take_and_no_show(tmp_path):
    done = command(tmp_path, "run", "--headless", "--replay")
    assert done.returncode == 2
    assert "--take" in done.stderr
    done = command(tmp_path, "run", "first_light", "--headless", "--take", str(tmp_path), "--replay")
    assert done.returncode == 2
    assert "the take has its own show" in done.stderr
    done = command(tmp_path, "run", "--headless", "--take", str(tmp_path / "none"), "--replay")
    assert done.returncode == 6
    assert "no take there" in done.stderr
