"""What is closed is never lost: kills, dead and stalled encoders, full disks, torn manifests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest
from filelock import FileLock

from installation.errors import ConfigError, OutputError
from installation.output.video.encoder import Encoder
from installation.output.video.join import join
from installation.output.video.manifest import intact, read_head, read_segments
from installation.output.video.presets import PRESETS
from installation.output.video.segments import SegmentWriter
from installation.output.video.spec import VideoSpec
from tests.output.video.pictures import COUNT, decode, frame, number_in, spec

ROOT = Path(__file__).resolve().parents[3]


def write(folder: Path, first: int, frames: int, **more) -> SegmentWriter:
    """Segments of 8 frames from the one numbered `first` on."""
    writer = SegmentWriter(folder, spec(), **more)
    writer.seek(first)
    for number in range(first * 8, first * 8 + frames):
        writer.write(frame(number))
    writer.close()
    return writer


def test_segments_are_closed_and_named_in_the_manifest(tmp_path):
    writer = write(tmp_path, 0, 20)
    segments = read_segments(tmp_path)
    assert [(s.index, s.first, s.frames, s.file) for s in segments.values()] == [
        (0, 0, 8, "000000.nut"),
        (1, 8, 8, "000001.nut"),
        (2, 16, 4, "000002.nut"),
    ]
    assert all(intact(tmp_path, segment) for segment in segments.values())
    assert writer.closed_bytes == sum(s.bytes for s in segments.values())
    head = read_head(tmp_path)
    assert head is not None
    assert (head.preset, head.fps, head.size) == ("museum-h264", 25, (256, 128))


def test_a_segment_made_again_alone_is_the_same_file(tmp_path):
    write(tmp_path / "whole", 0, 24)
    write(tmp_path / "part", 1, 8)
    assert (tmp_path / "whole" / "000001.nut").read_bytes() == (tmp_path / "part" / "000001.nut").read_bytes()


def fill(sink: SegmentWriter | Encoder, pictures: Iterable[int | np.ndarray]) -> None:
    for picture in pictures:
        sink.write(frame(picture) if isinstance(picture, int) else picture)


_RECORD_FOR_EVER = """
import itertools, sys
from pathlib import Path
from installation.output.video.presets import PRESETS
from installation.output.video.segments import SegmentWriter
from installation.output.video.spec import VideoSpec
from tests.output.video.pictures import frame, spec
writer = SegmentWriter(Path(sys.argv[1]), spec())
for number in itertools.count():
    writer.write(frame(number))
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_kill_loses_less_than_two_seconds_and_no_segment(tmp_path):
    command = [sys.executable, "-c", _RECORD_FOR_EVER, str(tmp_path)]
    written = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            written = int(line) + 1
            if written == 60:
                os.kill(process.pid, signal.SIGKILL)
    segments = read_segments(tmp_path)
    closed = sum(segment.frames for segment in segments.values())
    assert list(segments) == list(range(len(segments)))
    assert closed >= written - 2 * 8 - 1
    assert all(intact(tmp_path, segment) for segment in segments.values())
    write(tmp_path, len(segments), 12)
    total = join(tmp_path, tmp_path / "film.mp4")
    assert total == closed + 12
    film = decode(tmp_path / "film.mp4")
    assert film.pts == list(range(total))
    assert [number_in(planes[0]) for planes in film.planes] == [n % COUNT for n in range(total)]


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "ffmpeg" in p.name()]


def test_an_encoder_that_is_killed_is_one_clear_error_and_what_was_closed_stays(tmp_path):
    writer = SegmentWriter(tmp_path, spec())
    for number in range(20):
        writer.write(frame(number))
    (process,) = [p for p in children() if "000002" in " ".join(p.cmdline())]
    process.kill()
    with pytest.raises(OutputError, match=r"the encoder failed: .*signal 9.*closed segment is kept"):
        fill(writer, range(20, 400))
    assert list(read_segments(tmp_path)) == [0, 1]
    assert not children()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP is POSIX's")
def test_an_encoder_that_hangs_is_ended(tmp_path):
    encoder = Encoder(spec(), tmp_path / "x.nut", stall_s=0.5)
    encoder.write(frame(0))
    os.kill(encoder.pid, signal.SIGSTOP)
    with pytest.raises(OutputError, match=r"took nothing for 0\.5 s"):
        fill(encoder, range(400))
    assert not children()


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupted_writer_waits_for_no_encoder_begun_before_or_after(tmp_path, begun):
    writer = SegmentWriter(tmp_path, spec(), stall_s=60.0)
    if begun:
        writer.write(frame(0))
    writer.interrupt()
    began = time.monotonic()
    with pytest.raises(OutputError):
        fill(writer, range(400))
    writer.abort()
    assert time.monotonic() - began < 30
    assert not children()


@pytest.mark.skipif(os.name != "posix", reason="a limit on file sizes is POSIX's")
def test_a_full_disk_is_one_clear_error_and_what_was_closed_stays(tmp_path):
    """A limit on the size of files stands for the disk's end; the encoder meets both in the same call."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = SegmentWriter(tmp_path, spec("ffv1"))
    noise = np.random.default_rng(1).integers(0, 65536, (128, 256, 3), np.uint16)
    try:
        for _ in range(8):
            writer.write(frame(0, 16))
        writer.seek(1)
        while not read_segments(tmp_path):
            time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        with pytest.raises(OutputError, match=r"larger than the system allows|signal|exit code"):
            fill(writer, [noise] * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(read_segments(tmp_path)) == [0]
    assert not children()


@pytest.mark.skipif(os.name != "posix", reason="a limit on file sizes is POSIX's")
def test_a_disk_that_fills_while_the_film_is_joined_keeps_the_segments_and_the_film_before(tmp_path):
    import resource

    folder, out = tmp_path / "segments", tmp_path / "film.mkv"
    out.write_bytes(b"the film before")
    noise = np.random.default_rng(1).integers(0, 65536, (128, 256, 3), np.uint16)
    writer = SegmentWriter(folder, spec("ffv1"))
    fill(writer, [noise] * 16)
    writer.close()
    closed = read_segments(folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (closed[0].bytes + 100_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"film\.mkv: the segments cannot be joined") as caught:
            join(folder, out, frames=16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--resume" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mkv", "segments"]
    assert out.read_bytes() == b"the film before"
    assert all(intact(folder, segment) for segment in closed.values())
    assert join(folder, out, frames=16) == 16
    assert len(decode(out).pts) == 16


def test_too_little_free_space_is_said_before_the_first_frame(tmp_path):
    writer = SegmentWriter(tmp_path, spec(), reserve_bytes=1 << 60)
    with pytest.raises(OutputError, match=r"are free on the disk and .* are needed"):
        writer.write(frame(0))


def test_a_changed_recording_is_refused_and_loses_nothing(tmp_path):
    write(tmp_path, 0, 8, config="a")
    with pytest.raises(OutputError, match="another recording: config changed"):
        SegmentWriter(tmp_path, spec(), config="b")
    with pytest.raises(OutputError, match="another recording: fps changed"):
        SegmentWriter(tmp_path, spec(fps=30), config="a")
    assert list(read_segments(tmp_path)) == [0]


def test_a_torn_last_line_is_no_line_and_spoils_none(tmp_path):
    write(tmp_path, 0, 16)
    manifest = tmp_path / "0.manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    assert list(read_segments(tmp_path)) == [0]
    write(tmp_path, 1, 8)
    assert list(read_segments(tmp_path)) == [0, 1]


@pytest.mark.parametrize("line", ["{", '{"index": 1}', "[]", json.dumps({"index": 0, "first": 0, "frames": 1}) + "x"])
def test_a_damaged_manifest_is_said(tmp_path, line):
    write(tmp_path, 0, 8)
    manifest = tmp_path / "0.manifest.jsonl"
    manifest.write_text(manifest.read_text() + line + "\n")
    with pytest.raises(OutputError, match="the manifest is damaged"):
        read_segments(tmp_path)


def test_a_segment_outside_the_folder_is_no_segment(tmp_path):
    write(tmp_path, 0, 8)
    manifest = tmp_path / "0.manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("000000.nut", "../000000.nut"))
    with pytest.raises(OutputError, match="damaged"):
        read_segments(tmp_path)


@pytest.mark.parametrize(("preset", "last"), [("prores-422hq", 0), ("museum-h264", 12)])
def test_the_film_holds_the_very_packets_of_its_segments(tmp_path, preset, last):
    """last: so many bytes of each, 0 for all. In MP4 H.264 has lengths where NUT has start codes."""
    whole = spec(preset, segment_frames=8)
    made(tmp_path, whole, [frame(i, whole.depth) for i in range(20)])
    out = tmp_path / f"film{whole.preset.suffix}"
    join(tmp_path, out)

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet)[-last:] for packet in container.demux(video=0) if packet.size]

    segments = sorted(tmp_path.glob("*.nut"))
    assert len(segments) == 3
    assert packets(out) == [packet for segment in segments for packet in packets(segment)]


def test_a_segment_made_again_by_another_writer_counts_as_its_file_is(tmp_path):
    write(tmp_path, 0, 8, writer="2")
    write(tmp_path, 1, 8, writer="2")
    manifest = tmp_path / "2.manifest.jsonl"
    # On another machine the bytes were others.
    good = read_segments(tmp_path)[0].sha256
    manifest.write_text(manifest.read_text().replace(good, "0" * 64))
    assert not intact(tmp_path, read_segments(tmp_path)[0])
    write(tmp_path, 0, 8, writer="0")
    assert read_segments(tmp_path)[0].sha256 == good
    assert join(tmp_path, tmp_path / "film.mp4") == 16


def test_two_writers_have_one_recording(tmp_path):
    write(tmp_path, 1, 8, writer="1")
    write(tmp_path, 0, 8, writer="0")
    assert join(tmp_path, tmp_path / "film.mp4") == 16
    assert [number_in(planes[0]) for planes in decode(tmp_path / "film.mp4").planes] == list(range(16))


def test_a_missing_or_damaged_segment_is_not_joined_over(tmp_path):
    write(tmp_path, 0, 24)
    out = tmp_path / "film.mp4"
    out.write_bytes(b"an older film")
    file = tmp_path / "000001.nut"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(OutputError, match="segment 1 is missing or damaged"):
        join(tmp_path, out)
    assert out.read_bytes() == b"an older film"
    file.unlink()
    with pytest.raises(OutputError, match="segment 1 is missing or damaged"):
        join(tmp_path, out)
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(OutputError, match="segment 3 is missing or damaged"):
        join(tmp_path, out, frames=25)
    assert join(tmp_path, out, frames=24) == 24


@pytest.mark.parametrize("place", ["take #3", "Who are you?", "q?/../r", "100% 'x' a:b"])
def test_a_film_may_lie_anywhere(tmp_path, place):
    folder = tmp_path / place
    write(folder / "film.mp4.segments", 0, 12)
    assert join(folder / "film.mp4.segments", folder / "film#.mp4") == 12
    assert decode(folder / "film#.mp4").pts == list(range(12))


def test_all_that_is_missing_is_named_with_what_to_do(tmp_path):
    write(tmp_path, 0, 8)
    write(tmp_path, 3, 24)
    (tmp_path / "000004.nut").unlink()
    with pytest.raises(OutputError, match=r"segments 1 to 2, 4 are missing or damaged\. Make 1"):
        join(tmp_path, tmp_path / "film.mp4", remedy=lambda segment: f"Make {segment}")


def test_a_film_is_made_without_what_is_missing_where_that_is_asked_for(tmp_path):
    write(tmp_path, 0, 20)
    (tmp_path / "000001.nut").write_bytes(b"damaged")
    said: list[str] = []
    assert join(tmp_path, tmp_path / "film.mp4", leave_out=said.append) == 12
    assert said == ["segment 1 is left out"]
    film = decode(tmp_path / "film.mp4")
    assert film.pts == list(range(12))
    assert [number_in(planes[0]) for planes in film.planes] == [*range(8), *range(16, 20)]
    for segment in (0, 2):
        (tmp_path / f"00000{segment}.nut").unlink()
    with pytest.raises(OutputError, match="no segment is closed"):
        join(tmp_path, tmp_path / "film.mp4", leave_out=said.append)


def test_a_second_recorder_of_the_same_part_is_refused(tmp_path):
    first = SegmentWriter(tmp_path, spec())
    with pytest.raises(OutputError, match="another recorder is writing here"):
        SegmentWriter(tmp_path, spec())
    first.close()
    SegmentWriter(tmp_path, spec()).close()


def made(folder: Path, whole: VideoSpec, frames: Iterable[np.ndarray]) -> None:
    writer = SegmentWriter(folder, whole)
    for one in frames:
        writer.write(one)
    writer.close()


@pytest.mark.parametrize("preset", ["museum-h264", "prores-422hq"])
@pytest.mark.parametrize("rate", ["24", "30000/1001", "120000/1001", "2997/25", "50000/1001", "240000/1001", "101/3"])
def test_every_rate_is_the_films_to_the_last_frame(tmp_path, rate, preset):
    """Of some FFmpeg guesses another: 120 for 120000/1001, and a last frame of 1/120 s."""
    fps = Fraction(rate)
    whole = spec(preset, fps=fps, segment_frames=4)
    made(tmp_path, whole, [frame(i, whole.depth) for i in range(11)])
    out = tmp_path / f"film{whole.preset.suffix}"
    join(tmp_path, out)
    film = decode(out)
    assert film.rate == fps
    assert film.pts == list(range(11))
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert Fraction(stream.duration or 0) * (stream.time_base or 0) == 11 / fps


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "60000/1001", "120000/1001", "24"])
def test_a_long_film_keeps_its_rate_to_the_last_frame(tmp_path, rate):
    fps = Fraction(rate)
    whole = VideoSpec.of((32, 32), fps, PRESETS["museum-h264"], threads=1)
    made(tmp_path, whole, [np.full(whole.frame_shape, 5 * i % 256, np.uint8) for i in range(whole.segment_frames)])
    # One segment over and over, 100 s of film: what is rounded at each adds up.
    manifest, count = tmp_path / "0.manifest.jsonl", round(100 / 0.8)
    head, line = manifest.read_text().splitlines()
    rows = [{**json.loads(line), "index": i, "first": i * whole.segment_frames} for i in range(count)]
    manifest.write_text("\n".join([head, *map(json.dumps, rows)]) + "\n")
    join(tmp_path, tmp_path / "long.mp4")
    with av.open(str(tmp_path / "long.mp4")) as container:
        stream = container.streams.video[0]
        times = sorted(
            Fraction(packet.pts) * (stream.time_base or 0)
            for packet in container.demux(stream)
            if packet.pts is not None
        )
    assert times == [i / fps for i in range(count * whole.segment_frames)]


@pytest.mark.slow
def test_noise_beyond_any_rate_is_the_same_film_again_with_many_threads(tmp_path):
    """A cap of the rate made x264's frames depend on the timing of its threads."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (1080, 1920, 4), np.uint8) for _ in range(12)]
    files = []
    for name in ("one", "other"):
        whole = VideoSpec.of((1920, 1080), Fraction(25), PRESETS["museum-h264"], segment_frames=12, threads=8)
        made(tmp_path / name, whole, noise)
        files.append((tmp_path / name / read_segments(tmp_path / name)[0].file).read_bytes())
    assert files[0] == files[1]


def test_what_a_killed_join_left_is_removed_and_one_joins_at_a_time(tmp_path):
    write(tmp_path / "f", 0, 16).close()
    left = tmp_path / ".film.mp4.part.mp4"
    left.write_bytes(b"half")
    with FileLock(tmp_path / "f" / "join.lock"), pytest.raises(OutputError, match="another process is joining"):
        join(tmp_path / "f", tmp_path / "film.mp4")
    assert left.read_bytes() == b"half"
    assert join(tmp_path / "f", tmp_path / "film.mp4") == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "film.mp4"]
    assert not list((tmp_path / "f").glob("*.ffconcat"))


def test_a_rate_that_no_file_can_say_is_refused_with_the_nearest_that_can():
    with pytest.raises(ConfigError, match=r"finer than a file can say\. Use 24000/1001"):
        VideoSpec.of((64, 64), Fraction("23.9760239760239"), PRESETS["museum-h264"])
