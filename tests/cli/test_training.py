"""`installation data` as it is typed on a folder as it is: files that are none are named, and a kill costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.training.data.extra import installed
from installation.training.data.manifest import Manifest
from tests.cli.test_app import command, refused
from tests.training.base.conftest import pack_discs

ROOT = Path(__file__).resolve().parents[2]
PICTURES = 40


@pytest.fixture
def home(tmp_path: Path) -> Path:
    if not installed("facenet-pytorch") or not installed("ImageHash"):
        pytest.skip("the extra `data` is not installed")
    folder = tmp_path / "here" / "pictures"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(PICTURES):
        Image.fromarray(rng.integers(0, 256, (120, 100, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "00.png").read_bytes()[:2000])
    return tmp_path


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_names_what_cannot_be_read(home: Path) -> None:
    words = ["data", "scan", "pictures", "--manifest", "m.jsonl", "--no-text"]
    manifest = home / "here" / "m.jsonl"
    first = subprocess.Popen(
        [sys.executable, "-m", "installation", *words],
        cwd=home / "here",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not manifest.exists() or manifest.read_bytes().count(b"\n") < 6:
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.wait()
    kept = Manifest.read(manifest).entries
    assert 0 < len(kept) < PICTURES

    done = command(home, *words, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "pictures/notes.txt: not a picture" in done.stderr
    assert "pictures/cut.png: damaged" in done.stderr
    entries = Manifest.read(manifest).entries
    assert len(entries) == PICTURES + 2
    assert all(entries[name].scores == entry.scores for name, entry in kept.items())


@pytest.mark.slow
def test_a_folder_of_texts_or_none_is_refused(home: Path) -> None:
    texts = home / "here" / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("words")
    refused(home, 6, "none of the 1 files is a picture", "data", "scan", "texts", "--manifest", "t.jsonl")
    refused(home, 6, "there is no such folder", "data", "scan", "nowhere", "--manifest", "n.jsonl")


@pytest.mark.slow
def test_a_dataset_is_held_against_its_sum(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    file = pack_discs(tmp_path / "here" / "discs.safetensors")
    said = command(tmp_path, "data", "check", "discs.safetensors")
    assert said.returncode == 0, said.stderr
    assert "pictures of 32 px, as they were written" in said.stdout
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused(tmp_path, 6, "the file is damaged", "data", "check", "discs.safetensors")


def test_a_seed_that_no_generator_of_numbers_takes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    refused(tmp_path, 2, "--seed", "train", "base", "discs.safetensors", "runs/a", "--seed", "1" + "0" * 27)
    refused(tmp_path, 2, "--seed", "train", "base", "discs.safetensors", "runs/a", "--seed", "-1")
