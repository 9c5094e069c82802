"""A film that Ray's workers make: the same frames, whatever room the cluster has and whatever becomes of its machines."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import Any

import psutil
import pytest

from installation.errors import ConfigError, OutputError
from installation.film import cluster
from installation.film.recording import Recording
from installation.output.video.claims import claim
from installation.output.video.join import join
from installation.output.video.manifest import read_segments
from tests.e2e.filming import SHORT, plan, record, started, wait_for_segments

LONG_S = 240.0


@pytest.fixture
def machines() -> Iterator[Callable[[int], Any]]:
    """machines(cpus) brings the first machine of a cluster, to which this process then belongs; its `add_node` brings others."""
    ray: Any = import_module("ray")
    begun: list[Any] = []

    def begin(cpus: int) -> Any:
        there = import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": cpus, "num_gpus": 0, "include_dashboard": False}
        )
        begun.append(there)
        ray.init(address=there.address, log_to_driver=False)
        return there

    yield begin
    ray.shutdown()
    for there in begun:
        there.shutdown()


def made(
    recording: Recording,
    progress: Callable[[int, int], None] = lambda frames, size: None,
    *,
    workers: int = 2,
    address: str = "",
) -> list[str]:
    """Makes all shards on Ray; gives what was said. Fails where that takes for ever."""
    said: list[str] = []
    began = time.monotonic()

    def watched(frames: int, size: int) -> None:
        assert time.monotonic() - began < LONG_S, "the farm does not end"
        progress(frames, size)

    recording.write()
    shards = range(recording.shards)
    wanted = range(recording.segments)
    cluster.run_ray(
        recording, shards, wanted=wanted, workers=workers, progress=watched, say=said.append, address=address
    )
    return said


def at_work(pid: int | None = None) -> list[psutil.Process]:
    """Ray's workers below this process that make a shard just now."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # ended meanwhile
            if "".join(child.cmdline()).startswith("ray::Worker.make"):
                found.append(child)
    return found


@pytest.mark.slow
def test_more_workers_than_there_is_room_for_are_as_many_as_there_is(show, tmp_path, whole, machines, monkeypatch):
    monkeypatch.setattr(cluster, "GATHER_S", 0.0)
    machines(1)
    recording = plan(show, out=tmp_path / "film.mp4", shards=3, **SHORT)
    said = made(recording, workers=3)
    assert len(said) == 1
    assert said[0].startswith("0 of 3 workers are at work")
    assert "; the cluster has 1 CPU (" in said[0]
    join(recording.folder, recording.out, frames=130)
    assert recording.out.read_bytes() == whole


@pytest.mark.slow
def test_a_machine_that_comes_later_works_too(show, tmp_path, machines):
    ray: Any = import_module("ray")
    there = machines(1)
    recording = plan(show, out=tmp_path / "film.mp4", shards=6, frames=400, size="96x96")
    added: list[Any] = []
    busy: list[float] = []

    def progress(frames: int, size: int) -> None:
        if frames and not added:
            added.append(there.add_node(num_cpus=1, num_gpus=0))
        busy.append(ray.cluster_resources().get("CPU", 0) - ray.available_resources().get("CPU", 0))

    made(recording, progress)
    assert max(busy) == 2
    assert sum(segment.frames for segment in read_segments(recording.folder).values()) == 400


@pytest.mark.slow
def test_a_cluster_without_room_for_one_worker_is_said(show, tmp_path, machines, monkeypatch):
    monkeypatch.setattr(cluster, "READY_S", 3.0)
    machines(0)
    with pytest.raises(OutputError, match=r"no worker is ready after 3 s; the cluster has 0 CPU \(0 free\)"):
        made(plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_machine_that_dies_leaves_its_shard_to_the_others(show, tmp_path, machines):
    wish = {"frames": 400, "size": "96x96"}
    record(show, out=tmp_path / "whole.mp4", **wish)
    there = machines(1)
    dying = there.add_node(num_cpus=1, num_gpus=0)
    raylet = dying.all_processes["raylet"][0].process.pid
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **wish)
    died: list[Any] = []

    def progress(frames: int, size: int) -> None:
        if frames and not died and any(worker.ppid() == raylet for worker in at_work()):
            died.append(dying)
            there.remove_node(dying, allow_graceful=False)

    made(recording, progress)
    assert died
    join(recording.folder, recording.out, frames=400)
    assert recording.out.read_bytes() == (tmp_path / "whole.mp4").read_bytes()


@pytest.mark.slow
def test_a_shard_that_a_lost_worker_still_holds_is_waited_for(show, tmp_path, whole, machines):
    machines(1)
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    first = sum(map(recording.frames_of, recording.shard(0)))
    looks: list[int] = []
    with ExitStack() as lost:
        lost.enter_context(claim(recording.folder, "1"))

        def progress(frames: int, size: int) -> None:
            looks.append(frames)
            if looks.count(first) == 3:
                lost.close()

        made(recording, progress, workers=1)
    assert looks.count(first) >= 3
    join(recording.folder, recording.out, frames=130)
    assert recording.out.read_bytes() == whole


@pytest.mark.slow
def test_what_a_worker_refuses_comes_back_as_its_own_error(show, tmp_path, machines):
    machines(1)
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT)
    other = recording.model_copy(update={"hashes": dict.fromkeys(recording.hashes, "0" * 64)})
    with pytest.raises(ConfigError, match="not what the recording was planned with"):
        made(other)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_shard_that_kills_every_worker_is_said(show, tmp_path, machines):
    machines(1)
    recording = plan(show, out=tmp_path / "film.mp4", shards=2, frames=100_000, size="96x96")

    def progress(frames: int, size: int) -> None:
        for worker in at_work():
            worker.kill()

    with pytest.raises(OutputError, match="4 workers died of shard"):
        made(recording, progress, workers=1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_ray_makes_the_same_film_though_a_worker_is_killed(show, tmp_path, whole):
    out = tmp_path / "film.mp4"
    options = ("--frames", "130", "--size", "96x96", "--shards", "2", "--workers", "2", "--executor", "ray")
    with started(show, *options, "--threads", "1", "--out", out) as process:
        wait_for_segments(out, 1, process)
        at_work(process.pid)[0].kill()
        assert process.stderr
        text = process.stderr.read()
    assert process.returncode == 0, text
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is POSIX's")
def test_a_term_signal_stops_a_farm_as_it_stops_a_recording(show, tmp_path):
    out = tmp_path / "film.mp4"
    options = ("--frames", "400", "--size", "96x96", "--shards", "2", "--workers", "1", "--executor", "ray")
    with started(show, *options, "--threads", "1", "--out", out) as process:
        wait_for_segments(out, 1, process)
        process.terminate()
        assert process.stderr
        text = process.stderr.read()
    assert process.returncode == 130, text
    assert "stopped; every closed segment is kept" in text


@pytest.mark.slow
def test_the_bar_moves_with_rays_workers(show, tmp_path):
    recording = plan(show, out=tmp_path / "film.mp4", shards=3, **SHORT)
    totals: list[tuple[int, int]] = []
    made(recording, lambda frames, size: totals.append((frames, size)), workers=1)
    closed = read_segments(recording.folder).values()
    assert totals[-1] == (130, sum(segment.bytes for segment in closed))
    assert totals == sorted(totals)
    assert len({frames for frames, _ in totals}) >= 3


def test_a_cluster_that_is_not_there_is_said_at_once(show, tmp_path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(OutputError, match="no Ray cluster answers") as caught:
        made(plan(show, out=tmp_path / "film.mp4", shards=2, **SHORT), address=address)
    assert caught.value.where == address
