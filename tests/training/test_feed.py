"""The order of pictures is a matter of seed and nimg alone."""

from __future__ import annotations

import numpy as np
import torch

from installation.training.feed import Feed
from installation.training.streams import numpy_stream, torch_stream

CPU = torch.device("cpu")


def numbered(count: int) -> np.ndarray:
    """Picture i has the value i in its left half and 0 in its right one."""
    images = np.zeros((count, 3, 4, 4), np.uint8)
    images[:, :, :, :2] = np.arange(count)[:, None, None, None]
    return images


def shown(img: torch.Tensor) -> list[int]:
    return [round(value) for value in ((img.amax(dim=(1, 2, 3)) + 1) * 127.5).tolist()]


def test_an_epoch_shows_each_picture_once_and_the_next_in_another_order() -> None:
    feed = Feed(numbered(10), np.arange(10), CPU, seed=0, flip=False)
    first, second = shown(feed.batch(0, 10)), shown(feed.batch(10, 10))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_batches_of_any_size_are_cut_from_the_same_row() -> None:
    rows = np.array([1, 3, 5, 7, 9])
    whole = shown(Feed(numbered(10), rows, CPU, seed=3, flip=True).batch(0, 23))
    feed = Feed(numbered(10), rows, CPU, seed=3, flip=True)
    assert [n for at in range(23) for n in shown(feed.batch(at, 1))] == whole
    assert shown(feed.batch(4, 6)) == whole[4:10]
    assert shown(feed.batch(4, 6, slice(2, 4))) == whole[6:8]


def test_held_out_pictures_are_never_shown() -> None:
    feed = Feed(numbered(10), np.array([2, 4]), CPU, seed=0, flip=False)
    assert set(shown(feed.batch(0, 50))) == {2, 4}


def test_values_are_minus_one_to_one_and_the_layout_channels_last() -> None:
    images = np.zeros((2, 3, 4, 4), np.uint8)
    images[1] = 255
    img = Feed(images, np.arange(2), CPU, seed=0, flip=False).batch(0, 2)
    assert img.dtype == torch.float32
    assert sorted(img.mean(dim=(1, 2, 3)).tolist()) == [-1.0, 1.0]
    assert img.is_contiguous(memory_format=torch.channels_last)


def test_about_half_are_mirrored() -> None:
    feed = Feed(numbered(200)[1:2].repeat(400, 0), np.arange(400), CPU, seed=0, flip=True)
    mirrored = (feed.batch(0, 400)[:, 0, 0, 0] < -0.995).float().mean().item()
    assert 0.4 < mirrored < 0.6


def test_streams_are_equal_for_equal_keys_and_differ_otherwise() -> None:
    def first(*key: int | str) -> float:
        return torch.rand((), generator=torch_stream(*key)).item()

    assert first(0, "z", 16) == first(0, "z", 16)
    assert len({first(0, "z", 16), first(1, "z", 16), first(0, "y", 16), first(0, "z", 32), first(0, "z1", 6)}) == 5
    assert numpy_stream(0, 1).random() == numpy_stream(0, 1).random() != numpy_stream(0, 2).random()
