"""Pictures of a generator in training: a walk's video is whole, or the one before stays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from imageio_ffmpeg import count_frames_and_secs

from installation.errors import OutputError
from installation.training.base.pictures import write_video

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)


def test_a_video_holds_every_frame_and_takes_the_place_of_the_last(tmp_path: Path) -> None:
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"the walk before")
    write_video(path, NOISE)
    assert count_frames_and_secs(path) == (24, pytest.approx(1, abs=0.05))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="a limit on file sizes is POSIX's")
def test_a_full_disk_leaves_the_walk_before(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk's end. All frames are taken, and the end cannot be written."""
    import resource

    path = tmp_path / "walk.mp4"
    path.write_bytes(b"the walk before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="could not be encoded"):
            write_video(path, NOISE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"the walk before"
    assert list(tmp_path.iterdir()) == [path]
