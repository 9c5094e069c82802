"""A film in parts: the same frames as in one, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from installation.cli import filming
from installation.errors import ConfigError, InstallationError, OutputError
from installation.film import farm, making
from installation.film.recording import Recording
from installation.output.video.claims import claim
from installation.output.video.join import join
from installation.output.video.manifest import read_segments
from tests.e2e.filming import ROOT, SHORT, plan, record


def made(recording: Recording, **more) -> None:
    recording.write()
    farm.run_local(
        recording,
        range(recording.shards),
        **{"workers": 2, "progress": lambda frames, size: None, "wanted": making.missing(recording)} | more,
    )


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 20])
def test_shards_are_whole_segments_and_together_the_film(show, tmp_path, shards):
    recording = plan(show, out=tmp_path / "film.mp4", shards=shards, **SHORT)
    segments = [segment for number in range(shards) for segment in recording.shard(number)]
    assert segments == list(range(7))
    assert sum(map(recording.frames_of, segments)) == 130
    with pytest.raises(ConfigError, match="no shard"):
        recording.shard(shards)


@pytest.mark.slow
def test_a_film_of_shards_is_the_film_of_one_run(show, tmp_path, whole):
    out = tmp_path / "film.mp4"
    said = record(show, out=out, shards=3, workers=2, **SHORT)
    assert "3 shards for 2 workers (local)" in said
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_workers_that_are_killed_are_followed_by_others(show, tmp_path, whole):
    recording = plan(show, out=tmp_path / "film.mp4", shards=3, **SHORT)
    workers: list[int] = []
    killed: list[int] = []
    totals: list[tuple[int, int]] = []

    def progress(frames: int, size: int) -> None:
        totals.append((frames, size))
        closed = sum(segment.frames for segment in read_segments(recording.folder).values())
        # One at the beginning, and one that came later: by frames, for a busy machine tells of many at a time. Their frames that are
        # not closed are made once more.
        if frames >= closed + 5 and frames >= 40 * len(killed) and len(killed) < 2 and workers[-1] not in killed:
            killed.append(workers[-1])
            os.kill(workers[-1], signal.SIGKILL)

    made(recording, progress=progress, started=workers.append)
    assert len(set(killed)) == 2
    assert len(workers) >= 3
    assert making.missing(recording) == []
    closed = read_segments(recording.folder).values()
    assert max(totals) == (130, sum(segment.bytes for segment in closed)), (
        "what a dead worker took is not counted twice"
    )
    join(recording.folder, recording.out, frames=130)
    assert recording.out.read_bytes() == whole


def test_a_worker_opens_the_networks_once(show, tmp_path):
    own = tmp_path / "own.safetensors"
    named = next(line for line in show.read_text().splitlines() if line.startswith("base"))
    own.write_bytes(Path(named.split("'")[1]).read_bytes())
    (tmp_path / "show.toml").write_text(show.read_text().replace(named, f"base = '{own}'"))
    recording = plan(tmp_path / "show.toml", out=tmp_path / "film.mp4", shards=3, **SHORT)
    recording.write()
    command = [sys.executable, "-m", "installation", "shard", "work", str(recording.folder / "recording.json")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin
        assert worker.stdout
        for number in (0, 2, 1):
            worker.stdin.write(f"{number}\n")
            worker.stdin.flush()
            said = next(line for line in worker.stdout if not line.startswith("frames"))
            assert said == f"done {number}\n"
            own.unlink(missing_ok=True)  # whoever wanted it again would say so
    assert making.missing(recording) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP is POSIX's")
def test_a_worker_that_hangs_is_followed_by_another(show, tmp_path, whole, monkeypatch):
    monkeypatch.setattr(farm, "HANG_S", 40.0)  # longer than a worker needs to begin on a busy machine
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    workers: list[int] = []
    totals: list[int] = []

    def progress(frames: int, size: int) -> None:
        totals.append(frames)
        if len(totals) == 5:
            os.kill(workers[0], signal.SIGSTOP)

    made(recording, progress=progress, started=workers.append, workers=1)
    assert len(workers) == 2
    assert not psutil.pid_exists(workers[0])
    join(recording.folder, recording.out, frames=130)
    assert recording.out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_shard_that_kills_every_worker_is_said(show, tmp_path):
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    with pytest.raises(OutputError, match="4 workers died of shard"):
        made(recording, started=lambda pid: os.kill(pid, signal.SIGKILL), workers=1)


def test_an_error_of_a_worker_comes_back_as_it_was(show, tmp_path):
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    gone = recording.session.model_copy(update={"base": tmp_path / "gone.safetensors"})
    with pytest.raises(InstallationError, match=r"gone\.safetensors") as caught:
        made(recording.model_copy(update={"session": gone}))
    assert caught.value.exit_code == 5


def shard(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`installation shard …` as a scheduler starts it."""
    return subprocess.run(
        [sys.executable, "-m", "installation", "shard", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
def test_any_scheduler_can_run_a_plan(show, tmp_path, whole):
    out, file = tmp_path / "film.mp4", tmp_path / "plan.json"
    options = ("--frames", "130", "--size", "96x96", "--threads", "1", "--out", out)
    planned = shard("plan", show, "--shards", "2", "--plan", file, *options)
    assert planned.returncode == 0, planned.stderr
    assert shard("run", file, "1").returncode == 0
    recording = Recording.read(file)
    with pytest.raises(
        OutputError, match=r"segments 0 to 2 are missing or damaged\. `installation shard run PLAN 0` makes it"
    ):
        filming.join_shards(recording, keep=False, say=lambda text: None)
    filming.run_shard(recording, 0, lambda text: None)
    closed = {segment.file: os.stat(f"{out}.segments/{segment.file}").st_mtime_ns for segment in _segments(out)}
    filming.run_shard(recording, 0, lambda text: None)
    assert closed == {segment.file: os.stat(f"{out}.segments/{segment.file}").st_mtime_ns for segment in _segments(out)}
    with pytest.raises(ConfigError, match="no shard 2"):
        filming.run_shard(recording, 2, lambda text: None)
    joined = shard("join", file)
    assert joined.returncode == 0, joined.stderr
    assert out.read_bytes() == whole
    again = shard("join", file)
    assert (again.returncode, out.read_bytes() == whole) == (0, True), again.stderr
    assert "is finished already" in again.stderr
    said: list[str] = []
    filming.run_shard(recording, 1, said.append)  # a scheduler that asks once more
    assert said == [f"shard 1: nothing to do, {out} is there already"]
    assert not recording.folder.exists()


def test_damaged_segments_that_are_made_again_are_counted(show, tmp_path):
    recording = plan(show, out=tmp_path / "film.mp4", frames=60, size="96x96", shards=2)
    made(recording)
    (recording.folder / "000001.nut").write_bytes(b"damaged")
    (recording.folder / "000002.nut").unlink()
    wanted = making.missing(recording)
    assert wanted == [1, 2]
    closed = farm.Closed(recording, wanted)
    assert closed.of([0, 1]) == (0, 0)
    made(recording, wanted=wanted)
    segments = read_segments(recording.folder)
    assert closed.of([0, 1]) == (40, segments[1].bytes + segments[2].bytes)
    assert making.missing(recording) == []


def test_a_shard_without_segments_has_nothing_to_do(show, tmp_path):
    recording = plan(show, out=tmp_path / "film.mp4", frames=30, size="96x96", shards=5)
    said: list[str] = []
    filming.run_shard(recording, 0, said.append)
    assert said == ["shard 0: nothing to do, there are 2 segments for 5 shards"]


def test_a_shard_that_cannot_begin_leaves_nothing(show, tmp_path):
    planned = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    other = planned.model_copy(update={"hashes": dict.fromkeys(planned.hashes, "0" * 64)})
    with pytest.raises(ConfigError, match="not what the recording was planned with"):
        filming.run_shard(other, 0, [].append)
    assert not planned.folder.exists()


def test_a_shard_that_fails_leaves_those_beside_it_at_work(show, tmp_path, monkeypatch):
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    part = recording.folder / "000003.nut.1.part"
    with ExitStack() as beside:

        def fail(*_: object) -> None:
            beside.enter_context(claim(recording.folder, "1"))
            part.touch()
            raise ConfigError("this machine cannot make it")

        monkeypatch.setattr(making, "open_renderer", fail)
        with pytest.raises(ConfigError):
            filming.run_shard(recording, 0, [].append)
        assert part.exists()
        with pytest.raises(OutputError, match="another process is recording here"):
            filming.run_shard(recording, 1, [].append)
        assert part.exists()


def _segments(out: Path):
    return read_segments(Path(f"{out}.segments")).values()
