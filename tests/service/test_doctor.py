"""The doctor on this very machine, and on faults made on purpose: taken ports, missing models, hung and crashing drivers."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from rich.console import Console

from installation.cli.app import DEFAULT_SHOW
from installation.errors import install_extra
from installation.resources import show_config
from installation.service import doctor
from installation.service.doctor import Finding, Port, machine, picture
from installation.service.doctor.ask import ask, probe
from installation.show.reading import load
from tests.xserver import xvfb

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc or runs a shell script")


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """One whole examination, of a machine without models and without a display."""
    folder = tmp_path_factory.mktemp("machine")
    return doctor.examine(data_dir=folder / "models", films=folder / "films", ports=[], ring_bytes=1 << 60)


@pytest.fixture
def screen() -> Iterator[str]:
    """The name of a fresh X display."""
    with xvfb(640, 480) as server:
        yield server.display


def _of(findings: list[Finding], topic: str) -> list[Finding]:
    return [finding for finding in findings if finding.topic == topic]


def test_every_topic_is_told(findings: list[Finding]) -> None:
    topics = {finding.topic for finding in findings}
    assert {
        "python",
        "OpenGL",
        "GPU",
        "display",
        "encoders",
        "MIDI",
        "extras",
        "models",
        "disk",
        "memory",
        "processor",
    } <= topics


def test_every_fault_says_what_to_do_in_one_line(findings: list[Finding]) -> None:
    for finding in findings:
        assert finding.status == "ok" or finding.fix, finding
        assert "\n" not in finding.what + finding.fix


def test_nothing_heavy_is_loaded_in_the_doctors_own_process() -> None:
    code = (
        "import sys; from installation.service import doctor; doctor.examine(ports=[]);"
        "print(sorted({'torch', 'moderngl', 'glfw', 'rtmidi'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_check_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("no such register")

    monkeypatch.setattr(machine, "midi", broken)
    for quick in ("opengl", "gpu"):
        monkeypatch.setattr(picture, quick, list)
    found = _of(doctor.examine(data_dir=tmp_path, ports=[]), "MIDI")
    assert [finding.what for finding in found] == ["could not be examined (RuntimeError: no such register)"]


@pytest.mark.parametrize(("protocol", "kind"), [("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)])
def test_a_taken_port_names_its_owner(protocol: Literal["udp", "tcp"], kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen(1)
        number = taken.getsockname()[1]
        port = Port("OSC", protocol, number)
        (found,) = machine.ports([port])
    assert found.status == "fail"
    assert found.what.startswith(f"OSC {number}/{protocol} is in use")
    if sys.platform.startswith("linux"):
        assert f"(pid {os.getpid()})" in found.what
    assert doctor.exit_code([found]) == 6
    (found,) = machine.ports([port])
    assert found == Finding("ports", "ok", f"OSC {number}/{protocol} is free")


def test_an_address_that_is_not_here_is_told() -> None:
    (found,) = machine.ports([Port("OSC", "udp", 9000, host="203.0.113.1")])
    assert found.status == "fail"
    assert "203.0.113.1" in found.what


def test_a_missing_network_is_a_note_with_its_command(tmp_path: Path) -> None:
    (found,) = machine.models(tmp_path / "not made yet", ["dcgan-faces"])
    assert (found.status, found.fix) == ("warn", "installation models add dcgan-faces")


def test_a_network_that_should_have_come_with_the_program_is_a_fault(tmp_path: Path) -> None:
    (found,) = machine.models(tmp_path, ["portraits-x7"])
    assert found.status == "fail"
    assert "comes with the program" in found.what


def test_the_default_networks_are_the_default_shows_and_are_here(tmp_path: Path) -> None:
    cascade = load(show_config(DEFAULT_SHOW)).cascade
    assert (cascade.base, *dict.fromkeys(cascade.stages)) == doctor.DEFAULT_NETWORKS
    assert {found.status for found in machine.models(tmp_path, doctor.DEFAULT_NETWORKS)} == {"ok"}


def test_a_damaged_network_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "dcgan-faces.safetensors").write_bytes(b"\xff" * 64)
    found = machine.models(tmp_path, ["dcgan-faces"])
    assert found[0].status == "fail"
    assert found[0].fix
    assert "dcgan-faces.safetensors" in found[0].what
    assert doctor.exit_code(found) == 5


@LINUX
def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    models, films = machine.disk(Path("/proc/installation/models"), tmp_path)
    assert (models.status, films.status) == ("fail", "ok")
    assert models.what == "/proc/installation/models cannot be written (No such file or directory in /proc)"
    assert "XDG_DATA_HOME" in models.fix


@LINUX
def test_a_show_runs_where_films_cannot_be_written(tmp_path: Path) -> None:
    models, films = machine.disk(tmp_path, Path("/proc/Videos/installation"))
    assert (models.status, films.status) == ("ok", "warn")
    assert "in /proc)" in films.what
    assert "XDG_VIDEOS_DIR" in films.fix


@LINUX
@pytest.mark.parametrize(
    ("code", "there", "advice"),
    [
        (errno.EACCES, False, "sudo install -d -o \"$(id -un)\" '{0}'"),
        (errno.EACCES, True, "sudo chown -R \"$(id -un)\" '{0}'"),
        (errno.EROFS, False, "Put right what it says"),
        (errno.EROFS, True, "Put right what it says"),
    ],
)
def test_nobody_is_told_to_take_a_folder_above_the_one_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, there: bool, advice: str
) -> None:
    def refuse(**_options: object) -> None:
        raise OSError(code, os.strerror(code))

    wanted = tmp_path / "new user" / "models"
    if there:
        wanted.mkdir(parents=True)
    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    models, _ = machine.disk(wanted, tmp_path)
    assert advice.format(wanted) in models.fix
    assert f"{tmp_path} " not in models.fix + " "
    assert str(wanted) in models.what


def test_too_little_room_is_told_for_each_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=2 * 2**30)  # enough for networks, not for an evening's film
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    models, films = machine.disk(tmp_path / "models", tmp_path / "films")
    assert models == Finding("disk", "ok", f"2 GiB free for {tmp_path / 'models'}")
    assert (films.status, films.what) == ("warn", f"only 2.0 GiB free for {tmp_path / 'films'}")


def test_an_extra_that_is_not_installed_is_a_note_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["numpy>=1", 'numpy>=1.26; extra == "onnx"', "no-such-package>=2; extra == 'farm'", 'numpy; extra == "farm"']
    monkeypatch.setattr(machine.metadata, "requires", lambda name: rows)
    there, missing = machine.extras()
    assert there == Finding("extras", "ok", "onnx")
    assert (missing.status, missing.fix) == ("warn", f"If the show is to use it: {install_extra('farm')}")
    assert "no-such-package" in missing.what
    assert "numpy" not in missing.what


def test_every_extra_of_the_program_has_a_row() -> None:
    tree = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert {*machine._EXTRAS, "midi", "record", "dev"} == set(tree["project"]["optional-dependencies"])


@LINUX
def test_too_little_shared_memory_is_told(findings: list[Finding]) -> None:
    assert any(finding.status == "warn" and "shared memory" in finding.what for finding in _of(findings, "memory"))


@LINUX
def test_without_a_display_the_show_runs_headless(findings: list[Finding]) -> None:
    (found,) = _of(findings, "display")
    assert (found.status, found.what) == ("warn", "none: the show runs headless, with its preview page")


@LINUX
def test_a_display_that_does_not_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    (found,) = picture.screens(":4711", True)
    assert found.status == "fail"
    assert ":4711" in found.what
    assert doctor.exit_code([found]) == 3


@LINUX
def test_monitors_and_blanking_of_a_real_display(screen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    found = picture.screens(screen, True)
    assert found[0] == Finding("display", "ok", "monitor 0: screen, 640x480, refresh rate unknown")
    assert "OpenGL" in found[1].what
    (asleep,) = picture.blanking(screen)
    assert (asleep.status, asleep.fix) == ("warn", "At the wall's log-in, run: xset s off -dpms")
    subprocess.run(["xset", "-display", screen, "s", "off", "-dpms"], check=True)
    assert picture.blanking(screen) == [Finding("blanking", "ok", "the screen stays on")]


@LINUX
def test_a_card_that_torch_was_not_built_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA Test Card, 999.1, 40'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    no_card = {"version": "2.13.0+cpu", "cuda": None, "device": "", "memory_gib": 0, "mps": False, "fault": ""}
    monkeypatch.setattr(picture, "probe", lambda name: (no_card, ""))
    (found,) = picture.gpu()
    assert (found.status, found.fix) == ("warn", "Set up again: `make clean setup`")
    assert "NVIDIA Test Card" in found.what


@LINUX
@pytest.mark.parametrize("card", [True, False])
def test_the_encoders_are_those_of_the_ffmpeg_that_a_recording_takes(
    card: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(path: Path, text: str) -> Path:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    own = script(tmp_path / "own", 'echo " V libx264  H.264"; echo " V hap  Hap"; echo " V h264_nvenc  NVENC"')
    script(tmp_path / "ffmpeg", 'echo " V libsvtav1  AV1"')
    script(tmp_path / "nvidia-smi", f"exit {0 if card else 9}")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(own))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (found,) = machine.encoders()
    assert found.what == f"H.264, Hap{', NVENC' if card else ''} ({own})"


def test_a_program_that_hangs_is_ended() -> None:
    answer = ask(sys.executable, "-c", "import threading; threading.Event().wait()", deadline_s=0.3)
    assert (answer.code, answer.last_word) == (None, "no answer in 0.3 s")


def test_a_probe_without_an_answer_is_a_note_and_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(picture, "probe", partial(probe, deadline_s=0.01))
    monkeypatch.setattr(machine, "probe", partial(probe, deadline_s=0.01))
    found = doctor.examine(data_dir=tmp_path, films=tmp_path, display=":4711", ports=[])
    for topic in ("OpenGL", "GPU", "display"):
        (note,) = _of(found, topic)
        assert note.status == "warn"
        assert "no answer in 0.01 s" in note.what
        assert "install" not in note.fix


def test_a_program_that_is_not_there_is_no_error() -> None:
    assert ask("no-such-program-anywhere").code is None


def test_a_probe_that_fails_gives_its_last_line() -> None:
    found, fault = probe("no_such_probe")
    assert found is None
    assert "no_such_probe" in fault


@LINUX
def test_a_probe_that_crashes_gives_the_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    assert probe("offscreen") == (None, "it crashed with signal 11")


def test_the_exit_code_is_the_first_faults() -> None:
    ok, note = Finding("python", "ok", "3.11"), Finding("GPU", "warn", "none", "buy one")
    assert doctor.exit_code([ok, note]) == 0
    assert (
        doctor.exit_code([ok, note, Finding("OpenGL", "fail", "none", "do"), Finding("ports", "fail", "used", "do")])
        == 3
    )


def test_the_table_shows_text_as_it_is() -> None:
    console = Console(width=100, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - closed below
    console.print(doctor.render([Finding("ports", "fail", "in use by [red]evil[/red] (pid 1)", "End it")]))
    console.file.close()
    text = console.export_text()
    assert "[red]evil[/red]" in text
    assert "FAULT" in text
    assert "→ End it" in text
