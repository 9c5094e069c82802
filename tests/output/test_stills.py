"""Pictures as files: exact, complete or absent."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from installation.errors import OutputError
from installation.output import stills


def picture(seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 4), np.uint8)
    pixels[..., 3] = 255
    return pixels


def test_a_frame_comes_back_to_the_bit(tmp_path: Path) -> None:
    stills.save(tmp_path / "new" / "a.png", picture())
    loaded = stills.load(tmp_path / "new" / "a.png")
    assert np.array_equal(loaded, picture())
    assert loaded.flags.c_contiguous
    assert loaded.flags.writeable


def test_the_file_is_tagged_srgb_and_carries_notes(tmp_path: Path) -> None:
    from PIL import Image

    stills.save(tmp_path / "a.png", picture(), notes={"Seed": "42"})
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.mode == "RGB"
        assert image.info["srgb"] == 0
        assert image.info["Seed"] == "42"


def test_a_note_is_read_without_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    stills.save(path, picture(), notes={"Title": "see \u2603", "Seed": "x" * 60_000})
    assert stills.note(path, "Seed") == "x" * 60_000
    assert stills.note(path, "Seeds") is None
    stills.save(path, picture())
    assert stills.note(path, "Seed") is None


def test_a_damaged_or_endless_note_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    stills.save(path, picture(), notes={"Seed": "12345"})
    path.write_bytes(path.read_bytes().replace(b"12345", b"54321"))
    with pytest.raises(OutputError, match="damaged"):
        stills.note(path, "Seed")
    stills.save(path, picture(), notes={"Seed": "x" * (2 << 20)})
    with pytest.raises(OutputError, match="larger than"):
        stills.note(path, "Seed")
    for content in (b"", b"GIF89a"):
        path.write_bytes(content)
        with pytest.raises(OutputError, match="not a PNG"):
            stills.note(path, "Seed")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 500)
    assert stills.note(path, "Seed") is None
    with pytest.raises(OutputError, match="No such file"):
        stills.note(tmp_path / "none.png", "Seed")


def test_a_view_of_memory_that_is_not_contiguous_is_saved_right(tmp_path: Path) -> None:
    stills.save(tmp_path / "a.png", picture()[::-1, ::2])
    assert np.array_equal(stills.load(tmp_path / "a.png"), picture()[::-1, ::2])


def test_a_full_disk_keeps_the_old_file_and_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stills.save(tmp_path / "a.png", picture(1))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a\.png.*No space left"):
        stills.save(tmp_path / "a.png", picture(2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert np.array_equal(stills.load(tmp_path / "a.png"), picture(1))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError) as caught:
        stills.save(tmp_path / "file" / "a.png", picture())
    assert caught.value.exit_code == 6
    with pytest.raises(OutputError):
        stills.save(Path("/proc/a.png"), picture())


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(OutputError, match=r"a\.png"):
        stills.load(tmp_path / "a.png")


def test_a_torn_file_is_a_clear_error(tmp_path: Path) -> None:
    stills.save(tmp_path / "a.png", picture())
    whole = (tmp_path / "a.png").read_bytes()
    for length in range(10, len(whole) - 20, 97):
        (tmp_path / "a.png").write_bytes(whole[:length])
        with pytest.raises(OutputError):
            stills.load(tmp_path / "a.png")


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        stills.load(tmp_path / "a.png")


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Frame"):
        stills.save(tmp_path / "a.png", np.zeros((3, 3, 3), np.uint8))


def test_snapshot_names_sort_by_time_and_suit_every_file_system() -> None:
    names = [stills.snapshot_name(now) for now in (1.7e9, 1.7e9 + 0.25, 1.7e9 + 1.0, 1.7e9 + 86_400.0)]
    assert names == sorted(names)
    assert len(set(names)) == 4
    assert all(set(name) <= set("0123456789-_.png") for name in names)
    assert names[1].endswith("-250.png")
