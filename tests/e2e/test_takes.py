"""A performance under real hands, written down, killed in the middle, and played again on the wall."""

from __future__ import annotations

import math
import shutil
import signal
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer

from installation import takes
from installation.cli import filming
from installation.cli.app import run
from installation.cli.record import of_take
from installation.errors import ConfigError, TakeError
from installation.film.recording import FILE, Recording
from installation.show.replay import Replay
from tests.e2e.filming import WISH
from tests.e2e.running import command, running
from tests.output.video.pictures import decode
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


def plan(take: Path, show: str | None = None, **wish) -> Recording:
    return of_take(take, show, replace(WISH, **wish))


def record(take: Path, show: str | None = None, **wish) -> Recording:
    recording = plan(take, show, **wish)
    filming.run(recording, resume=False, keep=False, workers=1, executor="local", say=lambda line: None)
    return recording


def test_its_films_of_two_rates_are_the_same_performance(evening, tmp_path):
    """30 and 60 frames a second, around the moment at which the artist's seed fades in."""
    replay, duration_s = film(evening)
    jump_s = next(i / 30 for i in range(int(duration_s * 30)) if replay.at(i / 30).values["walk/seed"] == 42)
    for fps, frames in (("30", 12), ("60", 24)):
        wish = {"start_s": jump_s - 0.2, "frames": frames, "fps": fps, "size": (96, 64), "preset": "png"}
        record(evening, out=tmp_path / fps, **wish)
    for number in range(12):
        slow = (tmp_path / "30" / f"frame_{number:08d}.png").read_bytes()
        fast = (tmp_path / "60" / f"frame_{2 * number:08d}.png").read_bytes()
        assert slow == fast
    assert len({file.read_bytes() for file in (tmp_path / "60").iterdir()}) == 24


def test_its_film_is_as_long_as_the_evening_in_another_codec(evening, tmp_path):
    options = ("--fps", "24000/1001", "--size", "64x64", "--preset", "prores-422hq", "--threads", "1")
    done = command(tmp_path, "record", "--take", str(evening), *options, "--out", str(tmp_path / "film.mov"))
    assert done.returncode == 0, done.stderr
    decoded = decode(tmp_path / "film.mov")
    assert len(decoded.pts) == math.floor(film(evening)[1] * Fraction(24000, 1001))
    chroma = np.abs(np.array([planes[1:] for planes in decoded.planes]).astype(float) / 4 - 128)
    assert chroma[0].max() > 10
    assert chroma[-1].max() <= 2, "it ends in silver, as the evening did"


def test_shards_of_its_film_are_the_film(evening, tmp_path):
    wish = {"frames": 90, "fps": "50", "size": (64, 64), "preset": "ffv1", "start_s": 0.5}
    record(evening, out=tmp_path / "single.mkv", **wish)
    sharded = plan(evening, out=tmp_path / "sharded.mkv", shards=2, **wish)
    for number in (1, 0):
        filming.run_shard(sharded, number, lambda line: None)
    filming.join_shards(sharded, keep=False, say=lambda line: None)
    films = [decode(tmp_path / f"{name}.mkv").planes for name in ("single", "sharded")]
    assert len(films[0]) == 90
    assert all(np.array_equal(a, b) for a, b in zip(*films, strict=True))


def test_a_take_that_changed_while_its_film_was_made_is_named(evening, tmp_path):
    other = shutil.copytree(evening, tmp_path / "other")
    recording = plan(other, out=tmp_path / "film.mp4", frames=10, shards=1)
    max(other.glob("part-*.jsonl")).unlink()
    with pytest.raises(TakeError, match="has changed since the film was begun"):
        filming.run_shard(recording, 0, lambda line: None)


def test_a_show_lends_a_take_its_table_record_and_nothing_else(evening, tmp_path, networks, show_text):
    show = tmp_path / "show.toml"
    stage = f"[record]\nstages = ['{networks / 'x2.safetensors'}']\npreset = 'ffv1'\n"
    show.write_text(show_text.replace("drift.speed = 2.0", "drift.speed = 0.5") + stage)
    recording = plan(evening, str(show), frames=1, size=(128, 128))
    assert recording.session.size == (128, 128)
    assert recording.preset == "ffv1"
    assert recording.out.name == "take.mkv"
    assert recording.session.show.params["drift/speed"] == 2.0


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"loop": True}, "one performance"),
        ({"seed": 3}, "one performance"),
        ({"start_s": 3000.0}, "s long"),
        ({"seconds": 3000.0}, "is to end at 3000.00 s"),
    ],
)
def test_what_a_take_does_not_have_is_said(evening, wish, words):
    with pytest.raises(ConfigError, match=words):
        plan(evening, **wish)


def test_a_film_of_a_take_does_not_go_on_with_another(evening, tmp_path):
    begun = plan(evening, out=tmp_path / "film.mp4", frames=10)
    begun.write()
    other = shutil.copytree(evening, tmp_path / "other")
    last = max(other.glob("part-*.jsonl"))
    last.write_bytes(last.read_bytes() + b'{"us":[1]}\n')
    with pytest.raises(ConfigError, match="take_sha256"):
        plan(other, out=tmp_path / "film.mp4", frames=10).check_unchanged(Recording.read(begun.folder / FILE))


def test_a_take_whose_network_changed_is_not_played(evening, tmp_path, networks):
    """The evening as it would have been with a network that lies elsewhere, and has changed since."""
    own, take = tmp_path / "base.safetensors", shutil.copytree(evening, tmp_path / "take")
    text = (take / "take.json").read_text()
    assert str(networks / "base.safetensors") in text
    (take / "take.json").write_text(text.replace(str(networks / "base.safetensors"), str(own)))
    shutil.copy(networks / "volcano.safetensors", own)
    for verb in (("run", "--headless", "--replay"), ("record", "--frames", "1")):
        done = command(tmp_path, *verb, "--take", str(tmp_path / "take"))
        assert done.returncode == 6
        assert "has changed since the take was played" in done.stderr
        assert str(own) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, typer.BadParameter, "--take"),
        ({"show": "first_light", "take": Path()}, typer.BadParameter, "the take has its own show"),
        ({"take": Path("none")}, TakeError, "no take there"),
    ],
)
def test_a_replay_needs_a_take_and_no_show(arguments, error, words):
    with pytest.raises(error, match=words):
        run(headless=True, replay=True, **arguments)
