"""LiveFilm: real segments from frames that come too fast, too seldom, or onto a disk that refuses."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from installation.errors import OutputError
from installation.output.video import live as module
from installation.output.video.join import join
from installation.output.video.live import LiveFilm
from installation.output.video.manifest import read_segments
from tests.output.video.pictures import COUNT, decode, frame, number_in, spec


def offer_and_wait(film: LiveFilm, number: int) -> None:
    """One frame, and the encoder's time for it."""
    written = film.written
    film.offer(number, frame(number))
    while film.written == written and film._thread.is_alive():
        pass


def offer_for_ever(film: LiveFilm, number: int) -> None:
    for later in itertools.count(number):
        film.offer(later, frame(later))


def numbers(path: Path) -> list[int]:
    film = decode(path)
    assert film.pts == list(range(len(film.pts)))
    return [number_in(planes[0]) for planes in film.planes]


def test_frames_become_a_film_of_closed_segments(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    for number in range(20):
        offer_and_wait(film, number)
    film.close()
    assert join(tmp_path / "s", tmp_path / "film.mp4") == film.written == 20
    assert numbers(tmp_path / "film.mp4") == list(range(20))
    assert film.dropped == 0


def test_for_a_missing_frame_the_one_before_it_stands(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    for number in (0, 1, 2, 6, 7, 9):
        offer_and_wait(film, number)
    film.close()
    join(tmp_path / "s", tmp_path / "film.mp4")
    assert numbers(tmp_path / "film.mp4") == [0, 1, 2, 2, 2, 2, 6, 7, 7, 9]
    assert film.dropped == 4


def test_an_hour_that_is_missing_is_a_cut(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    for number in (0, 90_000):
        offer_and_wait(film, number)
    film.close()
    assert film.written == 2 + 25  # a second of the picture before
    assert film.dropped == 89_999


def test_a_hanging_encoder_never_makes_the_giver_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, write = threading.Event(), module.SegmentWriter.write

    def late(writer, picture) -> None:
        assert goes_on.wait(60)
        write(writer, picture)

    monkeypatch.setattr(module.SegmentWriter, "write", late)
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    for number in range(COUNT - 1):
        film.offer(number, frame(number))
    assert film.dropped >= COUNT - 1 - 7 - 1
    assert len(film._waiting) <= 6
    goes_on.set()
    film.close()
    join(tmp_path / "s", tmp_path / "film.mp4")
    assert numbers(tmp_path / "film.mp4")[-1] == COUNT - 2


def test_it_says_when_another_frame_would_push_one_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    write = LiveFilm._write
    monkeypatch.setattr(LiveFilm, "_write", lambda film, picture: (go_on.wait(30), write(film, picture)))
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    film.offer(0, frame(0))
    while film._waiting:
        pass
    number = 1
    while not film.full:
        film.offer(number, frame(number))
        number += 1
    assert film.dropped == 0
    film.offer(number, frame(number))
    assert film.dropped == 1
    go_on.set()
    film.close()
    assert not film.full
    assert film.written == number + 1  # one stood in for the one that was pushed out


def test_a_film_that_failed_is_not_full_so_that_it_is_offered_the_next_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def fails(film: LiveFilm, picture: object) -> None:
        assert go_on.wait(30)
        raise OutputError("disk full")

    monkeypatch.setattr(LiveFilm, "_write", fails)
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    for number in range(8):
        film.offer(number, frame(number))
    assert film.full
    go_on.set()
    film._thread.join()
    assert not film.full
    with pytest.raises(OutputError, match="disk full"):
        film.offer(8, frame(8))


def test_a_dead_encoder_comes_out_of_the_next_offer_and_closed_segments_stay(tmp_path: Path) -> None:
    film = LiveFilm(tmp_path / "s", spec("live-h264"))
    for number in range(17):
        offer_and_wait(film, number)
    opened = film._writer._open
    assert opened is not None
    opened.encoder._process.kill()
    with pytest.raises(OutputError, match="the encoder failed"):
        offer_for_ever(film, 17)
    with pytest.raises(OutputError, match="the encoder failed"):
        film.close()
    assert sum(segment.frames for segment in read_segments(tmp_path / "s").values()) in (8, 16)
    assert not list((tmp_path / "s").glob("*.part"))


def test_a_size_that_the_codec_does_not_take_is_said(tmp_path: Path) -> None:
    from fractions import Fraction

    from installation.errors import ConfigError
    from installation.output.video.presets import preset
    from installation.output.video.spec import VideoSpec

    with pytest.raises(ConfigError, match="multiples of 2"):
        VideoSpec.of((65, 64), Fraction(30), preset("live-h264"))
