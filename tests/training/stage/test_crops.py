"""Crops of large pictures: native scale, detail preferred, sources kept apart, bad files passed over."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.errors import OutputError
from installation.training.stage.crops import make_crops


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, half wall and half texture; one too small; one that is none."""
    place = tmp_path / "pictures"
    place.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        pixels = np.full((200, 400, 3), 90, np.uint8)
        pixels[:, 200:] = rng.integers(0, 255, (200, 200, 3))
        Image.fromarray(pixels).save(place / name)
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(place / "small.png")
    (place / "none.jpg").write_text("no picture")
    return place


def test_crops_are_windows_of_the_pictures_pixel_by_pixel(folder: Path, tmp_path: Path) -> None:
    data = make_crops(folder, tmp_path / "crops.safetensors", size=64, per_picture=3, licence="CC0-1.0")
    assert (len(data), data.size) == (6, 64)
    source = np.asarray(Image.open(folder / "a.png"))
    windows = np.lib.stride_tricks.sliding_window_view(source[:, :, 1], (64, 64))
    assert (windows == data.images[0][1]).all(axis=(2, 3)).any()


def test_what_was_left_out_and_the_licence_are_in_the_manifest(folder: Path, tmp_path: Path) -> None:
    data = make_crops(folder, tmp_path / "crops.safetensors", size=64, licence="CC BY 4.0")
    assert data.manifest["dropped"] == {"too_small": 1, "unreadable": 1, "name_not_unicode": 0}
    assert data.manifest["licences"] == {"pictures": "CC BY 4.0"}
    assert set(data.manifest["sha256"]) == {"a.png", "b.png"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere file names are Unicode")
def test_a_name_that_is_not_unicode_is_passed_over_and_counted(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.png", folder / os.fsdecode(b"bad\xff.png"))
    data = make_crops(folder, tmp_path / "crops.safetensors", size=64)
    assert data.manifest["dropped"]["name_not_unicode"] == 1
    assert set(data.manifest["sha256"]) == {"a.png", "b.png"}


def test_windows_with_detail_are_preferred(folder: Path, tmp_path: Path) -> None:
    data = make_crops(folder, tmp_path / "crops.safetensors", size=64, per_picture=40)
    textured = np.mean([image.std() > 5 for image in data.images])
    assert textured > 0.85, "a window at random has some with a chance of 0.6"


def test_the_same_seed_cuts_the_same(folder: Path, tmp_path: Path) -> None:
    first, second = (make_crops(folder, tmp_path / f"{i}.safetensors", size=64, seed=s) for i, s in enumerate((1, 1)))
    other = make_crops(folder, tmp_path / "other.safetensors", size=64, seed=2)
    assert first.sha256 == second.sha256 != other.sha256


def test_all_windows_of_a_picture_stay_on_one_side_of_a_split(folder: Path, tmp_path: Path) -> None:
    data = make_crops(folder, tmp_path / "crops.safetensors", size=64, per_picture=10)
    for seed in range(8):
        learn, _ = data.split(0.5, seed)
        sides = [sum(data.names[i].startswith(f"pictures/{name}") for i in learn) for name in ("a", "b")]
        assert set(sides) <= {0, 10}


def test_a_folder_without_large_pictures_says_what_it_holds(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"4 files, 1 unreadable, 3 smaller than 512 px"):
        make_crops(folder, tmp_path / "crops.safetensors", size=512)
    with pytest.raises(OutputError, match="no such folder"):
        make_crops(folder / "nowhere", tmp_path / "crops.safetensors")
