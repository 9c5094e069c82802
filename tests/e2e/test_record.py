"""Whole recordings of a real show with tiny networks, decoded again."""

from __future__ import annotations

import gc
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import typer
from PIL import Image

from installation import opening
from installation.cli import filming
from installation.errors import ConfigError, OutputError
from installation.film import making, wish
from installation.film.still import picture, state_at
from installation.film.wish import parse_fps
from installation.models import random_weights
from installation.output.video.claims import claim
from installation.output.video.join import join
from installation.output.video.manifest import read_segments
from installation.output.video.presets import PRESETS
from installation.output.video.segments import SegmentWriter
from installation.output.video.spec import VideoSpec
from installation.render.film import FilmRenderer
from installation.render.renderer import Renderer
from tests.e2e.filming import ROOT, plan, record, started, wait_for_segments
from tests.output.video.pictures import decode


@pytest.fixture
def show(tmp_path, show_text) -> Path:
    path = tmp_path / "show.toml"
    path.write_text(show_text)
    return path


def frames_of(film: Path) -> np.ndarray:
    """Luma of every frame."""
    return np.array([planes[0] for planes in decode(film).planes]).astype(int)


def test_a_film_has_its_frames_its_times_and_its_size(tmp_path, show):
    out = tmp_path / "film.mp4"
    said = record(show, frames=45, size="160x96", fps="29.97", out=out)
    film = decode(out)
    assert (len(film.pts), film.pts) == (45, list(range(45)))
    assert film.rate == parse_fps("30000/1001")
    assert film.planes[0][0].shape == (96, 160)
    moved = np.abs(np.diff(frames_of(out), axis=0)).mean(axis=(1, 2))
    assert moved.min() > 0.05, "every frame is a new one"
    assert not Path(f"{out}.segments").exists()
    assert any("Lanczos enlarges it 1.50 times to 96x96" in line for line in said)


def test_a_frame_of_the_film_is_the_still_of_that_moment(tmp_path, show):
    out = tmp_path / "film"
    record(show, frames=2, start_s=1.5, preset="png", out=out)
    path, config = opening.load_show(str(show), {})
    session = opening.open_session(path, config, headless=True, verbose=False)
    still = picture(session, state_at(session.show, 1.5 + 1 / 25), None, rotate=0)[..., :3].astype(float)
    film = np.stack(decode(out / "frame_00000001.png").planes[0], axis=-1)
    assert film.dtype == np.uint16
    assert np.abs(film / 257 - still).max() <= 1.6  # half a code value, and the still's dither


@pytest.mark.parametrize(
    "name",
    [
        "prores-422hq",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("hevc-10bit", "prores-4444", "dnxhr-hqx", "av1")),
    ],
)
def test_ten_bits_come_from_the_network_to_the_file(tmp_path, show, name):
    """A network that makes a dark ramp over 6 of 255 code values: 8 bits would leave 7 steps of it, 10 bits 21."""
    network = random_weights.dcgan(1)
    ramp = torch.linspace(40, 46, 32).expand(1, 3, 32, 32) / 127.5 - 1
    network.synthesis = lambda ws: ramp.clone()
    made = plan(show, frames=2, size="1024x1024", preset=name, out=tmp_path / f"film{PRESETS[name].suffix}")
    small = made.session.model_copy(update={"size": (32, 32)})
    made = made.model_copy(update={"session": small})
    making.make(made, [0], FilmRenderer(Renderer(small.show, network, ()), made.picture))
    filming.join(made, keep=True, say=[].append)
    film = decode(made.out)
    assert film.bits >= 10
    luma = np.median(film.planes[0][0].astype(int), axis=0) / 2 ** (film.bits - 10)
    assert len(np.unique(luma)) >= 19
    assert luma[[8, -8]] == pytest.approx(64 + 876 * np.array([40, 46]) / 255, abs=1.5)


def test_the_shows_own_stages_climb_to_the_size(tmp_path, show, networks):
    other = f"[[models]]\nname = 'other'\nbase = '{networks / 'base.safetensors'}'\n"
    show.write_text(show.read_text() + f"{other}[record]\nstages = ['{networks / 'x2.safetensors'}']\ntile = 16\n")
    said: list[str] = []
    recording = plan(show, said, frames=1, size="256x128", out=tmp_path / "film.mp4")
    assert (recording.session.size, recording.picture, said) == ((128, 128), (128, 128), [])
    climbing = recording.session.show
    assert (climbing.tile_of(climbing.cascade.name), climbing.tile_of("other")) == (16, 0)
    small = plan(show, said, frames=1, size="64x64", out=tmp_path / "film.mp4")
    assert small.session.size == (64, 64), "no more stages than the size needs"
    larger = plan(show, said, frames=1, size="512x512", out=tmp_path / "film.mp4")
    assert larger.session.size == (128, 128)
    assert "Lanczos enlarges it 4.00 times" in said[0]


@pytest.mark.parametrize("start_s", [0.0, 1.7])
def test_the_last_frame_of_a_loop_joins_the_first(tmp_path, show, start_s):
    show.write_text(show.read_text() + "[walk]\nloop_keyframes = 3\n")
    said: list[str] = []
    turn = plan(show, said, loop=True, start_s=start_s, preset="png", out=tmp_path / "film")
    count = round(3 / 2.0 * 25)
    assert turn.frames == count
    assert said[0].startswith(f"a loop of {count} frames")
    beyond = turn.model_copy(update={"frames": count + 1})
    making.make(beyond, range(beyond.segments), making.open_renderer(beyond))
    filming.join(beyond, keep=True, say=[].append)
    film = [np.stack(decode(file).planes[0], axis=-1).astype(int) for file in sorted(beyond.out.iterdir())]
    assert len(film) == count + 1
    assert film[0].max() > 20_000, "16 bits"
    moved = [np.abs(a - b).mean() for a, b in itertools.pairwise(film)]
    assert moved[-1] < 1.5 * np.median(moved), "the seam moves as every other frame does"
    assert min(moved) > 0.1 * np.median(moved)
    assert np.abs(film[-1] - film[0]).max() <= 8, "the frame after the last is the first, to 8 of 65535"


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        *(("29.97", "30000/1001"), ("29.970", "30000/1001"), ("23.98", "24000/1001"), ("119.88", "120000/1001")),
        *(("12.5", "25/2"), ("25.0", "25"), ("24.5", "49/2"), ("2997/100", "2997/100"), (" 50 ", "50")),
    ],
)
def test_a_rate_is_what_broadcasters_mean_by_it(text, rate):
    assert parse_fps(text) == Fraction(rate)


def test_a_leader_is_black_before_and_after(tmp_path, show):
    out = tmp_path / "film.mp4"
    record(show, frames=6, leader="0.2s", out=out)
    mean = frames_of(out).mean(axis=(1, 2))
    assert [value < 17 for value in mean] == [True] * 5 + [False] * 6 + [True] * 5


LONG = {"frames": 90, "size": "128x128", "leader": "0.4s"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, show_text) -> bytes:
    """The long film as one run makes it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "show.toml").write_text(show_text)
    record(folder / "show.toml", out=folder / "film.mp4", **LONG)
    return (folder / "film.mp4").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_what_was_stopped_goes_on_and_becomes_the_film_of_one_never_stopped(tmp_path, show, whole, how):
    out = tmp_path / "film.mp4"
    arguments = ("--frames", "90", "--size", "128x128", "--leader", "0.4s", "--threads", "1", "--out", out)
    with started(show, *arguments) as process:
        wait_for_segments(out, 2, process)
        process.send_signal(getattr(signal, how))
        assert process.stderr
        text = process.stderr.read()
    assert process.returncode == (-9 if how == "SIGKILL" else 130)
    assert how == "SIGKILL" or "--resume goes on" in text
    with pytest.raises(OutputError, match="holds an unfinished recording"):
        record(show, out=out, **LONG)
    said = record(show, out=out, resume=True, **LONG)
    assert any("segments are closed already" in line for line in said)
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP is POSIX's")
def test_stopped_while_the_encoder_takes_nothing_it_ends_at_once(tmp_path, show, whole):
    out = tmp_path / "film.mp4"
    arguments = ("--frames", "90", "--size", "128x128", "--leader", "0.4s", "--threads", "1", "--out", out)
    with started(show, *arguments) as process:
        wait_for_segments(out, 1, process)
        recorder = psutil.Process(process.pid)
        for child in recorder.children():
            child.suspend()
        used, before = sum(recorder.cpu_times()[:2]), -1.0
        while used - before > 0.1:  # until everybody waits for the encoder
            time.sleep(1.0)
            used, before = sum(recorder.cpu_times()[:2]), used
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 130
        finally:
            process.kill()
    assert read_segments(Path(f"{out}.segments"))
    record(show, out=out, resume=True, **LONG)
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("name", ["museum-h264", "hevc-10bit", "av1", "prores-422hq", "png"])
def test_every_kind_of_film_goes_on_after_a_kill_with_the_encoders_own_threads(tmp_path, show, name):
    wish = {"frames": 70, "size": "128x128", "preset": name, "threads": 0}
    whole, out = (tmp_path / f"{which}{PRESETS[name].suffix}" for which in ("whole", "film"))
    record(show, out=whole, **wish)
    arguments = ("--frames", "70", "--size", "128x128", "--preset", name, "--out", out)
    with started(show, *arguments) as process:
        wait_for_segments(out, 2, process)
        process.kill()
    assert not out.exists()
    said = record(show, out=out, resume=True, **wish)
    assert any("segments are closed already" in line for line in said)
    assert bytes_of(out) == bytes_of(whole)


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is POSIX's")
def test_what_is_stopped_while_it_is_joined_goes_on_too(tmp_path, show):
    out = tmp_path / "film.mp4"
    record(show, frames=45, out=out, keep=True)
    whole = out.read_bytes()
    out.unlink()
    script = f"""
import os, signal, subprocess, sys
from pathlib import Path
from installation.output.video import join
run = subprocess.run
def stopped(*arguments, **options):
    if "concat" in arguments[0]:
        Path({str(tmp_path)!r}, ".film.mp4.part.mp4").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)
    return run(*arguments, **options)
join.subprocess.run = stopped
sys.argv = ["installation", "join", {str(out) + ".segments"!r}]
from installation.cli.app import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "stopped; every closed segment is kept: the same command makes the film" in done.stderr
    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == [".film.mp4.joined.json", "film.mp4.segments", "show.toml"]
    record(show, frames=45, out=out, resume=True)
    assert out.read_bytes() == whole


def bytes_of(film: Path) -> list[bytes]:
    return [file.read_bytes() for file in (sorted(film.iterdir()) if film.is_dir() else [film])]


def test_a_changed_show_is_not_gone_on_with(tmp_path, show):
    out = tmp_path / "film.mp4"
    begun = plan(show, frames=50, out=out)
    begun.write()
    making.make(begun, [0], making.open_renderer(begun))
    show.write_text(show.read_text().replace("drift.speed = 2.0", "drift.speed = 1.0"))
    with pytest.raises(ConfigError) as caught:
        record(show, frames=50, out=out, resume=True)
    assert "params.drift.speed: 2.0 was, 1.0 is" in str(caught.value)
    assert list(read_segments(begun.folder)) == [0]


def test_a_changed_network_is_not_gone_on_with(tmp_path, show, networks):
    own = tmp_path / "own.safetensors"
    own.write_bytes((networks / "base.safetensors").read_bytes())
    show.write_text(show.read_text().replace(str(networks / "base.safetensors"), str(own)))
    out = tmp_path / "film.mp4"
    plan(show, frames=50, out=out).write()
    data = bytearray(own.read_bytes())
    data[-1] ^= 1
    own.write_bytes(data)
    with pytest.raises(ConfigError, match=r"sha256 of own\.safetensors"):
        record(show, frames=50, out=out, resume=True)


def test_a_damaged_segment_is_made_again(tmp_path, show):
    out = tmp_path / "film.mp4"
    record(show, frames=45, out=out, keep=True)
    whole = out.read_bytes()
    out.unlink()
    segment = Path(f"{out}.segments") / "000001.nut"
    segment.write_bytes(segment.read_bytes()[:-5])
    record(show, frames=45, out=out, resume=True)
    assert out.read_bytes() == whole


@pytest.mark.slow
def test_an_encoder_that_dies_ends_the_recording_and_keeps_what_was_closed(tmp_path, show):
    out = tmp_path / "film.mp4"
    with started(show, "--frames", "2000", "--size", "128x128", "--threads", "1", "--out", out) as process:
        wait_for_segments(out, 1, process)
        for child in psutil.Process(process.pid).children():
            child.kill()
        assert process.stderr
        text = process.stderr.read()
    assert process.returncode == 6
    assert "the encoder failed" in text
    assert "Traceback" not in text
    assert read_segments(Path(f"{out}.segments"))


@pytest.mark.parametrize(
    ("wish", "error", "wrong"),
    [
        ({}, ConfigError, "how long it is to be is wanted once"),
        ({"frames": 5, "seconds": 1.0}, ConfigError, "wanted once"),
        ({"start_s": 4.0, "end_s": 4.0}, ConfigError, "ends before it begins"),
        ({"frames": 5, "fps": "fast"}, ConfigError, "is no frame rate"),
        ({"frames": 5, "fps": "1/0"}, ConfigError, "is no frame rate"),
        ({"frames": 5, "fps": "1000"}, ConfigError, "1 to 240"),
        ({"frames": 5, "size": "63x64"}, ConfigError, "Use 64 or 62"),
        ({"frames": 5, "size": "254x128", "preset": "dnxhr-hqx"}, ConfigError, "takes 256 px or more"),
        ({"frames": 5, "size": "256x118", "preset": "dnxhr-hqx"}, ConfigError, "takes 120 px or more"),
        ({"frames": 5, "preset": "prores"}, ConfigError, "no such preset"),
        ({"frames": 5, "preset": "live-h264"}, ConfigError, "is for the wall's own films"),
        ({"frames": 5, "leader": "long"}, ConfigError, "is no time"),
        ({"loop": True, "leader": "1s"}, ConfigError, "does not close"),
        ({"frames": 5, "preset": "prores-422hq", "out": Path("film.mp4")}, ConfigError, r"Name it film\.mov"),
        ({"frames": 5, "preset": "png", "out": Path("film.mp4")}, ConfigError, "makes a folder of pictures"),
        ({"frames": 5, "out": Path()}, ConfigError, "names no film"),
        ({"frames": 5, "out": Path("..")}, ConfigError, "names no film"),
        ({"frames": 5, "fps": "23.3333333333"}, ConfigError, "finer than a file can say"),
        ({"frames": 5, "size": "16384x16384", "preset": "png"}, ConfigError, "more pixels than FFmpeg takes"),
        ({"frames": 5, "size": "3x4", "preset": "ffv1"}, ConfigError, "takes 4 px or more"),
        ({"frames": 5, "size": "8x8", "preset": "av1"}, ConfigError, "takes 16 px or more"),
        ({"frames": 5, "out": Path("x" * 246 + ".mp4")}, OutputError, "no film can be there"),
        (
            {"frames": 5, "out": Path("/usr")},
            ConfigError,
            "/usr: is a folder. Name the film too, for example /usr/film.mp4",
        ),
        ({"frames": 5, "fps": "1e99999999"}, ConfigError, "is no frame rate"),
        ({"frames": 5, "leader": "1E99999999"}, ConfigError, "is no time"),
        ({"frames": 5, "leader": "s"}, ConfigError, "is no time"),
        ({"frames": 5, "executor": "ray"}, ConfigError, "Give --shards too"),
    ],
)
def test_a_wish_that_cannot_be_met_is_said_before_anything_is_written(tmp_path, show, monkeypatch, wish, error, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=wrong):
        record(show, **wish)
    assert [path.name for path in tmp_path.iterdir()] == ["show.toml"]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["3840x2160", "2160x3840", "4096x4096"])
def test_the_large_formats_stand_upright_whole_and_in_the_middle(tmp_path, show, size):
    width, height = (int(side) for side in size.split("x"))
    out = tmp_path / "film.mov"
    record(show, frames=2, size=size, preset="prores-422hq", out=out)
    film = decode(out)
    assert len(film.pts) == 2
    luma = film.planes[0][0].astype(int)
    assert luma.shape == (height, width)
    assert film.planes[0][1].shape == (height, width // 2)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    picture = luma[top : top + side, left : left + side]
    assert picture.std() > 20
    for black in (
        luma[: max(top - 8, 0)],
        luma[:, : max(left - 8, 0)],
        luma[top + side + 8 :],
        luma[:, left + side + 8 :],
    ):
        assert not black.size or abs(black - 64).max() <= 8  # 64 is black in 10 bits
    # Larger, and the same picture: shrunk, it is the film of a small size.
    record(show, frames=1, size="64x64", preset="png", out=tmp_path / "small")
    small = np.stack(decode(tmp_path / "small" / "frame_00000000.png").planes[0], axis=-1) / 65535
    expected = 64 + 876 * (small @ np.array([0.2126, 0.7152, 0.0722]))
    shrunk = Image.fromarray(picture.astype(np.float32)).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(shrunk) - expected).mean() < 12


def test_a_log_gets_a_line_with_rate_time_left_and_size_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(filming, "_SAY_EVERY_S", 0.0)
    with filming.bar("film.mp4", 100) as progress:
        time.sleep(0.05)
        progress(25, 3_000_000)
    said = capsys.readouterr().err
    found = re.search(r"film\.mp4: 25 of 100 frames · ([\d.]+) fps · 3(?:\.0)? MB closed · ([\d.]+) s left", said)
    assert found, said
    rate, left = map(float, found.groups())
    assert 0 < rate < 25 / 0.05
    assert left == pytest.approx(75 / rate, abs=1)


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal is POSIX's")
def test_a_terminal_gets_a_bar_with_rate_time_left_and_size(tmp_path, show):
    import pty

    out, (ours, theirs) = tmp_path / "film[x].mkv", pty.openpty()
    options = ("--frames", "60", "--size", "256x256", "--preset", "ffv1", "--threads", "1", "--out", str(out))
    command = [sys.executable, "-m", "installation", "record", str(show), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # EIO, when the other side has closed it
            while piece := os.read(ours, 1 << 16):
                seen += piece
    os.close(ours)
    assert process.returncode == 0, seen
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    shown = re.findall(r"film\[x\]\.mkv \S+ +(\d+)/60 ([\d.]+) fps · ([\d.]+) MB · left ([\d:-]+)", text)
    assert any(int(done) < 60 and left != "-:--:--" for done, _, _, left in shown), text
    done, rate, size, left = shown[-1]
    assert (done, left) == ("60", "0:00:00"), "at the end nothing is left"
    assert float(rate) > 0
    assert float(size) == pytest.approx(out.stat().st_size / 1e6, rel=0.1)


def test_a_film_that_is_there_is_not_written_over(tmp_path, show):
    out = tmp_path / "film.mp4"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="is there already"):
        record(show, frames=5, out=out)
    assert out.read_bytes() == b"precious"


def test_a_disk_that_is_too_small_is_said_before_the_first_frame(tmp_path, show):
    with pytest.raises(OutputError, match="are free on the disk"):
        record(show, frames=2_000_000, preset="png", size="4096x4096", out=tmp_path / "film")
    assert [path.name for path in tmp_path.iterdir()] == ["show.toml"]


def test_drawing_look_and_encoding_overlap(tmp_path, show, monkeypatch):
    """The first frame is not taken by the encoder before the third is drawn: one after the other, this waits for ever."""
    third, drawn = threading.Event(), []
    draw, write = FilmRenderer.draw, SegmentWriter.write

    def count(self, state, out):
        draw(self, state, out)
        drawn.append(state)
        if len(drawn) == 3:
            third.set()

    def wait(self, frame):
        assert third.wait(60), "drawing waits for the encoder"
        write(self, frame)

    monkeypatch.setattr(FilmRenderer, "draw", count)
    monkeypatch.setattr(SegmentWriter, "write", wait)
    record(show, frames=6, out=tmp_path / "film.mp4")
    assert len(frames_of(tmp_path / "film.mp4")) == 6


@pytest.mark.slow
def test_nothing_grows_with_the_films_length(tmp_path, show):
    made = plan(show, frames=120, size="256x256", preset="ffv1", out=tmp_path / "film.mkv")
    renderer, held = making.open_renderer(made), {}

    def progress(frames: int, size: int) -> None:
        gc.collect()
        held[frames] = tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        making.make(made, range(made.segments), renderer, progress=progress)
    finally:
        tracemalloc.stop()
    one = 256 * 256 * 6
    early, late = (np.median([held[n] for n in span]) for span in (range(20, 40), range(80, 120)))
    assert late - early < 2 * one


@pytest.mark.parametrize("fps", [15, 24, 25, Fraction(30000, 1001), 50, 60, Fraction(120000, 1001)])
def test_what_a_kill_can_take_is_two_seconds_at_most(fps):
    """Two segments that are not closed, and the frames on their way to them."""
    spec = VideoSpec.of((64, 64), Fraction(fps), PRESETS["museum-h264"])
    waiting = 2 * (making._AHEAD + 1)
    assert (2 * spec.segment_frames + waiting) / spec.fps <= 2


def test_a_film_is_named_for_its_show_or_its_take(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evening.2026.11").mkdir()
    for path, name in (("evening.2026.11", "evening.2026.11.mp4"), ("my.show.toml", "my.show.mp4")):
        assert wish.film_path(Path(path), None, PRESETS["museum-h264"]) == tmp_path / name
    assert wish.film_path(Path("a.toml"), None, PRESETS["png"]) == tmp_path / "a-png"


def test_a_home_that_no_shell_put_in_is_put_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    film = wish.film_path(Path("show.toml"), Path("~/film.mp4"), PRESETS["museum-h264"])
    assert film == tmp_path / "film.mp4"


def test_frames_larger_than_the_memory_are_said(tmp_path, show, monkeypatch):
    monkeypatch.setattr("installation.machine.total_memory", lambda: 10_000_000)
    said = record(show, frames=1, size="256x256", out=tmp_path / "film.mp4")
    assert "frames of 256x256 need about 17.0 MB of memory, and there are 10.0 MB here" in said
    assert not any("memory" in line for line in record(show, frames=1, size="64x64", out=tmp_path / "small.mp4"))


def test_a_beginning_of_which_nothing_is_closed_binds_nobody(tmp_path, show, monkeypatch):
    out = tmp_path / "film.mov"
    with monkeypatch.context() as patch:
        # As any fault that only the encoder knows of.
        patch.setitem(PRESETS, "dnxhr-hqx", replace(PRESETS["dnxhr-hqx"], least=(1, 1)))
        with pytest.raises(OutputError, match="the encoder"):
            record(show, frames=5, preset="dnxhr-hqx", size="128x96", out=out)
    record(show, frames=5, preset="dnxhr-hqx", size="256x128", out=out)
    assert len(frames_of(out)) == 5


def test_a_beginning_that_was_killed_binds_nobody_either(tmp_path, show):
    begun = plan(show, frames=50, out=tmp_path / "film.mp4")
    begun.write()
    SegmentWriter(begun.folder, begun.spec, config=begun.digest()).abort()
    record(show, frames=5, out=begun.out)
    assert len(frames_of(begun.out)) == 5


def test_a_recording_under_way_is_no_unfinished_one(tmp_path, show):
    out = tmp_path / "film.mp4"
    plan(show, frames=5, out=out).write()
    for name in ("film", "3"):
        with claim(Path(f"{out}.segments"), name), pytest.raises(OutputError, match="another process is recording"):
            record(show, frames=5, out=out)
    assert Path(f"{out}.segments/recording.json").exists()


@pytest.mark.parametrize("name", ["museum-h264", "png"])
def test_a_film_that_was_stopped_while_its_segments_were_removed_is_finished(tmp_path, show, name):
    out = tmp_path / f"film{PRESETS[name].suffix}"
    record(show, frames=25, preset=name, out=out, keep=True)
    whole, folder = bytes_of(out), Path(f"{out}.segments")
    with pytest.raises(OutputError, match="is there already"):
        record(show, frames=25, preset=name, out=out)
    with pytest.raises(ConfigError, match="not the recording that was begun"):
        record(show, frames=24, preset=name, out=out, resume=True)
    (folder / "0.manifest.jsonl").unlink()
    record(show, frames=25, preset=name, out=out, resume=True)
    assert bytes_of(out) == whole
    assert not folder.exists()


@pytest.mark.parametrize("name", ["museum-h264", "png"])
def test_a_film_that_was_stopped_as_soon_as_it_was_there_is_finished(tmp_path, show, monkeypatch, name):
    out = tmp_path / f"film{PRESETS[name].suffix}"

    def stop(folder: Path) -> None:
        assert out.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("installation.output.video.join.flush_folder", stop)
        with pytest.raises(typer.Exit):
            record(show, frames=25, preset=name, out=out)
    assert f"{out}: is finished already" in record(show, frames=25, preset=name, out=out, resume=True)
    assert not Path(f"{out}.segments").exists()


@pytest.mark.parametrize("name", ["museum-h264", "png"])
def test_a_finished_film_may_be_asked_for_again(tmp_path, show, name):
    out = tmp_path / f"film{PRESETS[name].suffix}"
    record(show, frames=25, preset=name, out=out)
    whole, there = bytes_of(out), sorted(tmp_path.iterdir())
    assert f"{out}: is finished already" in record(show, frames=25, preset=name, out=out, resume=True)
    for other in ({}, {"resume": True, "seed": 1}):
        with pytest.raises(OutputError, match="is there already"):
            record(show, frames=25, preset=name, out=out, **other)
    assert (bytes_of(out), sorted(tmp_path.iterdir())) == (whole, there)


def test_another_film_of_that_name_is_not_taken_for_this_one(tmp_path, show):
    other = tmp_path / "other.mp4"
    record(show, frames=45, seed=1, out=other)
    begun = plan(show, frames=45, out=tmp_path / "film.mp4")
    begun.write()
    making.make(begun, [0], making.open_renderer(begun))
    shutil.copy2(other, begun.out)
    with pytest.raises(OutputError, match="is there already"):
        record(show, frames=45, out=begun.out, resume=True)
    assert list(read_segments(begun.folder)) == [0]


def test_a_film_of_what_is_closed_so_far_is_not_taken_for_the_whole(tmp_path, show):
    begun = plan(show, frames=45, out=tmp_path / "film.mp4")
    begun.write()
    making.make(begun, [0], making.open_renderer(begun))
    join(begun.folder, begun.out)
    with pytest.raises(OutputError, match="is there already"):
        record(show, frames=45, out=begun.out, resume=True)
    assert list(read_segments(begun.folder)) == [0]


def test_segments_of_another_film_are_not_joined_as_this_one(tmp_path, show):
    out = tmp_path / "film.mp4"
    record(show, frames=25, out=out, keep=True)
    out.unlink()
    Path(f"{out}.segments/recording.json").unlink()
    with pytest.raises(OutputError, match="holds an unfinished recording"):
        record(show, frames=25, seed=999, out=out)
    with pytest.raises(OutputError, match="another recording: config changed"):
        record(show, frames=25, seed=999, out=out, resume=True)
    other = plan(show, frames=25, seed=999, out=out)
    with pytest.raises(OutputError, match="another recording: config changed"):
        filming.join(other, keep=False, say=[].append)
    record(show, frames=25, out=out, resume=True)
    assert len(frames_of(out)) == 25


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is POSIX's")
def test_what_is_stopped_before_the_first_frame_leaves_nothing(tmp_path, show, monkeypatch):
    monkeypatch.setattr(making, "open_renderer", lambda recording: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(typer.Exit) as ended:
        record(show, frames=5, out=tmp_path / "film.mp4")
    assert ended.value.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["show.toml"]
