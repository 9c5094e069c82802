"""The whole way as an artist goes it: photographs, one command, killed in the middle and given again, and a show that can be seen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.training.data.extra import installed
from installation.training.runs import list_runs
from tests.test_cli import command, refused

ROOT = Path(__file__).resolve().parents[2]
FACES = 60
SMALL = {
    "base.size": "32",
    "base.channels": "16,16,16,16",
    "base.critic_channels": "16,16,16,16",
    "base.z_dim": "16",
    "base.w_dim": "16",
    "base.batch": "8",
    "base.show_kimg": "1000",
    "stage.widths": "8,12",
    "stage.blocks": "0,1",
    "stage.critic_widths": "8,12,16",
    "stage.batch": "4",
    "stage.perceptual": "0",
    "stage.show_kimg": "1000",
}
WORDS = [
    "--n",
    "50",
    "--no-text",
    "--device",
    "cpu",
    *(word for pair in SMALL.items() for word in ("--set", "=".join(pair))),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path


@pytest.fixture
def photographs(shared_dir: Path, home: Path) -> Path:
    """60 studio portraits of different people, and what else lies about in such a folder."""
    if not installed("facenet-pytorch") or not installed("ImageHash"):
        pytest.skip("the extra `data` is not installed")
    folder = home / "photographs"
    folder.mkdir()
    for path in sorted((shared_dir / "data" / "portraits_congress").glob("*.jpg"))[::14][:FACES]:
        shutil.copy(path, folder)
    (folder / "notes.txt").write_text("nothing to see")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be killed as by kill -9 there")
def test_photographs_become_a_show_whatever_kills_it_on_the_way(photographs: Path, home: Path) -> None:
    out = home / "out"
    words = ["atelier", str(photographs), "-o", str(out), *WORDS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "NO_COLOR": "1"}
    first = subprocess.Popen(
        [sys.executable, "-m", "installation", *words, "--kimg", "1000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    said = iter(first.stdout.readline, "")
    assert any(" kimg " in line for line in said), first.communicate()[1]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    scanned = (out / "manifest.jsonl").stat().st_mtime_ns

    done = command(home, *words, "--kimg", "0.1", timeout=600)
    assert done.returncode == 0, done.stderr
    assert "scanning" not in done.stdout
    assert (out / "manifest.jsonl").stat().st_mtime_ns == scanned
    runs = {run.name: run for run in list_runs(out / "runs")}
    assert set(runs) == {"base", "stage"}
    for run in runs.values():
        assert run.fault == ""
        assert run.judgement is not None
    assert "steadiness" in runs["stage"].judgement.numbers  # type: ignore[union-attr]

    seen = command(home, "still", str(out / "show.toml"), "--at", "3", "-o", "it.png")
    assert seen.returncode == 0, seen.stderr
    with Image.open(home / "here" / "it.png") as picture:
        frame = np.asarray(picture.convert("RGB"))
    assert frame.shape[0] in (64, 128)
    assert frame.std() > 2

    show = (out / "show.toml").read_bytes()
    again = command(home, *words, "--kimg", "0.1", timeout=600)
    assert again.returncode == 0, again.stderr
    assert (out / "show.toml").read_bytes() == show
    refused(home, 2, "other pictures", "atelier", str(home), "-o", str(out), *WORDS)


def test_a_folder_with_few_faces_says_why_and_what_to_do(home: Path) -> None:
    folder = home / "few"
    folder.mkdir()
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "one.png")
    done = command(home, "atelier", str(folder), "-o", "out", *WORDS)
    assert done.returncode == 6, done.stderr
    assert "only 0 faces" in done.stderr
    assert "Traceback" not in done.stderr
    empty = home / "texts"
    empty.mkdir()
    (empty / "a.txt").write_text("words")
    done = command(home, "atelier", str(empty), "-o", "out2", *WORDS)
    assert (done.returncode, "none of the 1 files is a picture" in done.stderr) == (6, True), done.stderr
