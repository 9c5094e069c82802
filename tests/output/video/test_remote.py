"""Recorder, the wall's handle: a control source whose process begins, ends, hangs and dies."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from installation.output.video.remote import ON, Recorder
from installation.show.messages import ControlMessage
from tests.xserver import until

SAYS = "import sys\nprint('12.5 375 3', flush=True)\nsys.stdin.read()\n"
FAILS = "print('fault the disk is full', flush=True)\nraise SystemExit(6)\n"
NOISE = "import sys\nsys.stdout.write('\\x00\\n1 2\\na b c\\n' * 1000)\nsys.stdout.flush()\nsys.stdin.read()\n"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Recorder]]:
    made: list[Recorder] = []

    def build(code: str) -> Recorder:
        names = (tmp_path / f"{i}.mp4" for i in range(10))
        made.append(Recorder(lambda film: [sys.executable, "-c", code, str(film)], lambda: next(names)))
        return made[-1]

    yield build
    for recorder in made:
        recorder.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "recorder"]


def begin(recorder: Recorder, films: int) -> None:
    """Publishes, as the wall's loop does, until that film has begun."""

    def begun() -> bool:
        recorder.publish({ON: True})
        return recorder.counters()["films"] == films

    assert until(begun)


def test_it_does_what_the_value_says(make) -> None:
    recorder = make(SAYS)
    recorder.publish({ON: False})
    assert recorder.text() == ""
    recorder.publish({ON: True})
    assert until(lambda: recorder.text() == "recording 0:12 · 3 dropped")
    assert recorder.poll() == []
    recorder.publish({ON: False})
    assert recorder.text() == ""
    assert recorder.poll() == []
    begin(recorder, 2)
    assert recorder.counters()["dropped"] >= 3


def test_a_film_that_ends_by_itself_is_said_back_once(make) -> None:
    recorder = make(FAILS)
    recorder.publish({ON: True})
    said: list[ControlMessage] = []
    assert until(lambda: bool(said.extend(recorder.poll()) or said))
    assert said == [ControlMessage(ON, False, None, "recorder")]
    recorder.publish({ON: False})
    assert recorder.poll() == []
    assert recorder.text() == "not recording: the disk is full"
    assert recorder.counters()["faults"] == 1
    recorder._ending[-1].ended_s -= 61.0
    assert recorder.text() == ""


def test_what_is_no_report_is_passed_over(make) -> None:
    recorder = make(NOISE)
    recorder.publish({ON: True})
    assert recorder.text() == "recording begins"


def test_a_program_that_is_not_there_is_a_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder(lambda film: [str(tmp_path / "nothing"), str(film)], lambda: tmp_path / "film.mp4")
    recorder.publish({ON: True})
    assert until(lambda: bool(recorder.poll()))
    assert "the process does not start" in recorder.text()
    recorder.close()
    assert caplog.text.count("no recording") == 1


def test_a_button_that_flutters_has_one_process_and_the_last_word_counts(make, tmp_path: Path) -> None:
    go = tmp_path / "go"
    recorder = make(
        f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)\n{SAYS}"
    )
    for _ in range(50):
        recorder.publish({ON: True})
        recorder.publish({ON: False})
    assert recorder.counters()["films"] == 1
    assert len([thread for thread in threading.enumerate() if thread.name == "recorder"]) == 1
    recorder.publish({ON: True})
    assert recorder.text() == "recording waits: the film before is being closed"
    assert recorder.poll() == []
    go.touch()
    begin(recorder, 2)
    assert until(lambda: recorder.text() == "recording 0:12 · 3 dropped")


def test_after_close_nothing_begins(make) -> None:
    recorder = make(SAYS)
    recorder.close()
    recorder.close()
    recorder.publish({ON: True})
    assert recorder.counters()["films"] == 0
    assert recorder.poll() == []
