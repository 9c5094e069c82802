"""`make` from a fresh clone and the second time, with stand-ins for the programs that change the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stand-ins are for a Linux without libraries"),
]

ROOT = Path(__file__).resolve().parents[1]


class Clone:
    """A copy of the files that make reads, and a folder of stand-ins that stands first in PATH. `log` has one line for each call."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin, self.log = folder / "clone", folder / "bin", folder / "log"
        for place in (self.folder, self.bin, self.folder / "tests"):
            place.mkdir()
        self.log.touch()
        for name in ("Makefile", "pyproject.toml", "constraints-cpu.txt"):
            shutil.copy(ROOT / name, self.folder)
        self.stand_in("nvidia-smi", "exit 9")
        # A Python that makes an environment out of copies of itself, and only notes what pip is asked for.
        self.stand_in(
            "python3",
            'case "$*" in *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;'
            " printf '#!/bin/sh\\necho show: \"$@\"\\n' > .venv/bin/installation; chmod +x .venv/bin/installation;; esac",
        )

    def stand_in(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {self.log}\n{body}\n')
        path.chmod(0o755)

    def missing(self, *, user: int) -> None:
        """A Debian without any library, seen by a user of that number."""
        self.stand_in("ldconfig", "exit 0")
        self.stand_in("id", f"echo {user}")
        self.stand_in("apt-get", "exit 0")

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.folder)}
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def calls(self, program: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.split()[0] == program]

    def pip(self) -> list[str]:
        return [line for line in self.calls("python3") if " -m pip " in line]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_the_first_run_sets_up_and_starts_the_show(clone: Clone) -> None:
    answer = clone.make("run", "SHOW=mine.toml", "ARGS=--windowed --fresh")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "show: run mine.toml --windowed --fresh"
    (pip,) = clone.pip()
    assert pip.endswith("-c constraints-cpu.txt -e .")


def test_the_second_run_only_starts_the_show(clone: Clone) -> None:
    clone.make("run")
    answer = clone.make("run")
    assert (answer.stdout, answer.stderr) == ("show: run\n", "")
    assert clone.log.read_text() == ""


def test_changed_requirements_are_installed_again(clone: Clone) -> None:
    clone.make("run")
    stamp = clone.folder / ".venv" / ".installed"
    with (clone.folder / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    later = stamp.stat().st_mtime + 1
    os.utime(clone.folder / "pyproject.toml", (later, later))
    clone.make("run")
    assert len(clone.pip()) == 1


def test_a_failed_installation_is_tried_again(clone: Clone) -> None:
    clone.make("setup")
    shutil.rmtree(clone.folder / ".venv")
    good = (clone.bin / "python3").read_text()
    (clone.bin / "python3").write_text(good + 'case "$*" in *"-m pip"*) echo "no network" >&2; exit 1;; esac\n')
    failed = clone.make("setup")
    assert failed.returncode != 0
    assert "no network" in failed.stderr
    assert not (clone.folder / ".venv" / ".installed").exists()


def test_a_machine_with_an_nvidia_gpu_takes_the_newest_torch(clone: Clone) -> None:
    clone.stand_in("nvidia-smi", "exit 0")
    clone.make("setup")
    (pip,) = clone.pip()
    assert pip.endswith("--no-input -e .")


def test_extras_are_installed_when_asked_for(clone: Clone) -> None:
    clone.make("setup")
    clone.make("setup", "EXTRAS=midi,upscalers")
    (pip,) = clone.pip()
    assert pip.endswith("-e .[midi,upscalers]")


def test_a_show_needs_no_test_tools(clone: Clone) -> None:
    clone.make("run")
    assert "dev" not in "".join(clone.pip())


def test_after_the_tests_a_show_has_nothing_to_install(clone: Clone) -> None:
    clone.make("test-setup")
    assert clone.pip()[0].endswith("-e .[dev]")
    clone.make("run")
    assert clone.pip() == []


def test_root_gets_the_missing_libraries(clone: Clone) -> None:
    clone.missing(user=0)
    answer = clone.make("setup")
    assert answer.returncode == 0, answer.stderr
    (install,) = clone.calls("apt-get")
    assert "--no-install-recommends" in install
    for package in ("libegl1", "libgl1", "libx11-6", "libxrandr2", "libxcursor1", "libxi6", "libxinerama1"):
        assert package in install.split()
    assert "xvfb" not in install


def test_apts_lists_are_renewed_only_when_a_package_is_unknown(clone: Clone) -> None:
    clone.missing(user=0)
    clone.stand_in("apt-get", f'case "$1" in update) touch {clone.log}.new;; *) test -e {clone.log}.new;; esac')
    answer = clone.make("setup")
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[1] for line in clone.calls("apt-get")] == ["install", "update", "install"]


def test_anyone_else_is_told_the_missing_libraries_in_one_line(clone: Clone) -> None:
    clone.missing(user=1000)
    answer = clone.make("setup")
    assert answer.returncode != 0
    told = [line for line in answer.stderr.splitlines() if not line.startswith("make:")]
    assert len(told) == 1
    assert told[0].startswith(
        "System libraries are missing. Run: sudo apt-get install --no-install-recommends libegl1 libgl1"
    )
    assert clone.calls("apt-get") == []


def test_a_machine_without_a_new_python_is_told_in_one_line(clone: Clone) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14", "python"):
        clone.stand_in(name, "exit 1")
    answer = clone.make("setup")
    assert answer.returncode != 0
    told = [line for line in answer.stderr.splitlines() if not line.startswith("make:")]
    assert told == [
        "Python 3.11 or newer is needed, and none was found in PATH. On Debian or Ubuntu: sudo apt-get install python3"
    ]


def _without_ensurepip(clone: Clone) -> None:
    """Debian's python3 alone: new enough, without ensurepip until apt-get has run."""
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", "python"):
        clone.stand_in(name, "exit 1")
    python = clone.bin / "python3"
    python.write_text(
        python.read_text()
        + f'case "$*" in *ensurepip*) test -e {clone.log}.venv || exit 1;; *"-venv"*) echo python3.11-venv;; esac\n'
    )
    clone.stand_in("apt-get", f"touch {clone.log}.venv")


def test_root_gets_the_missing_venv_package(clone: Clone) -> None:
    _without_ensurepip(clone)
    clone.stand_in("id", "echo 0")
    answer = clone.make("setup")
    assert answer.returncode == 0, answer.stderr
    assert clone.calls("apt-get")[0].endswith(" python3.11-venv")


def test_anyone_else_is_told_the_missing_venv_package(clone: Clone) -> None:
    _without_ensurepip(clone)
    clone.stand_in("id", "echo 1000")
    answer = clone.make("setup")
    assert answer.returncode != 0
    assert "python3 has no ensurepip. Run: sudo apt-get install python3.11-venv" in answer.stderr.splitlines()
