"""Any picture file to sRGB uint8, and what is no picture: one clear error."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from installation.training.picture import PictureError, decode_picture, is_grey, read_picture, resize, to_uint8

RAMP = np.stack([np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))] * 3, axis=2)
RED = np.full((48, 64, 3), (200, 30, 40), np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "PPM"])
def test_lossless_formats_come_back_exactly(kind: str) -> None:
    picture = decode_picture(encoded(Image.fromarray(RED), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(picture.pixels, RED)


def test_grey_becomes_three_equal_channels() -> None:
    picture = decode_picture(encoded(Image.fromarray(RAMP[:, :, 0]), "PNG"))
    assert np.array_equal(picture.pixels, RAMP)
    assert picture.mode == "L"


def test_16_bit_is_scaled_not_cut_off() -> None:
    deep = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
    picture = decode_picture(encoded(Image.fromarray(deep), "PNG"))
    assert (picture.bits, picture.notes) == (16, ("16bit",))
    assert np.abs(picture.pixels[0, :, 0] - deep[0] / 257).max() <= 0.51


def test_float_tiff_is_read_as_0_to_1() -> None:
    picture = decode_picture(encoded(Image.fromarray(RAMP[:, :, 0] / np.float32(255)), "TIFF"))
    assert np.abs(picture.pixels[:, :, 0].astype(int) - RAMP[:, :, 0]).max() <= 1


def test_cmyk_becomes_the_same_colour() -> None:
    picture = decode_picture(encoded(Image.fromarray(RED).convert("CMYK"), "JPEG", quality=98))
    assert "cmyk" in picture.notes
    assert np.abs(picture.pixels.astype(int) - RED).max() <= 6


def test_the_cameras_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90° clockwise
    picture = decode_picture(encoded(Image.fromarray(RAMP), "JPEG", exif=exif, quality=95))
    assert (picture.width, picture.height) == (48, 64)
    assert picture.pixels[-1, 0, 0] > picture.pixels[0, 0, 0] + 200
    assert "rotated" in picture.notes


def test_an_animation_gives_its_first_frame_and_says_so() -> None:
    frames = [Image.fromarray(RED), Image.fromarray(RAMP)]
    picture = decode_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.frames == 2
    assert np.abs(picture.pixels.astype(int) - RED).max() < 8


def test_what_is_transparent_becomes_grey() -> None:
    image = Image.fromarray(RED).convert("RGBA")
    image.putalpha(0)
    picture = decode_picture(encoded(image, "PNG"))
    assert picture.notes == ("alpha",)
    assert (picture.pixels == 128).all()


def test_a_full_alpha_channel_changes_nothing() -> None:
    picture = decode_picture(encoded(Image.fromarray(RED).convert("RGBA"), "PNG"))
    assert picture.notes == ()
    assert np.array_equal(picture.pixels, RED)


def test_a_profile_other_than_srgb_is_converted() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    # A profile that does not fit the pixels is passed over, not the picture.
    assert np.array_equal(decode_picture(encoded(Image.fromarray(RED), "PNG", icc_profile=profile)).pixels, RED)
    broken = decode_picture(encoded(Image.fromarray(RED), "PNG", icc_profile=b"nonsense"))
    assert np.array_equal(broken.pixels, RED)


def swapped() -> bytes:
    """A profile in which red is what sRGB calls green, and the other way round."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {}
    for i in range(struct.unpack(">I", raw[128:132])[0]):
        entry = 132 + 12 * i
        places[bytes(raw[entry : entry + 4])] = entry
    for name, value in ((b"rXYZ", raw[places[b"gXYZ"] + 4 :][:8]), (b"gXYZ", raw[places[b"rXYZ"] + 4 :][:8])):
        raw[places[name] + 4 : places[name] + 12] = value
    return bytes(raw).replace("sRGB".encode("utf-16-be"), "odd ".encode("utf-16-be"))


@pytest.mark.parametrize("alpha", [None, "opaque", "clear"])
def test_a_profile_is_applied_whatever_is_transparent(alpha: str | None) -> None:
    image = Image.fromarray(np.full((48, 64, 3), (200, 90, 40), np.uint8))
    if alpha:
        mask = np.full((48, 64), 255, np.uint8)
        mask[0, 0] = 0 if alpha == "clear" else 255
        image.putalpha(Image.fromarray(mask))
    picture = decode_picture(encoded(image, "PNG", icc_profile=swapped()))
    assert picture.notes == (("alpha", "profile") if alpha == "clear" else ("profile",))
    assert np.abs(picture.pixels[24, 32].astype(int) - (90, 200, 40)).max() <= 3


def test_the_previews_in_a_cameras_file_are_no_animation() -> None:
    preview = Image.fromarray(RED).resize((16, 16))
    picture = decode_picture(encoded(Image.fromarray(RED), "MPO", save_all=True, append_images=[preview]))
    assert (picture.format, picture.frames, picture.pixels.shape) == ("MPO", 1, RED.shape)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match="is no file"):
        read_picture(tmp_path / "a.jpg")


def test_the_jpegs_quantisation_is_given() -> None:
    assert len(decode_picture(encoded(Image.fromarray(RED), "JPEG", quality=50)).quantisation or ()) == 64
    assert decode_picture(encoded(Image.fromarray(RED), "PNG")).quantisation is None


@pytest.mark.parametrize(
    "data", [b"", b"just some text\n" * 40, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + b"\0" * 50]
)
def test_what_is_no_picture_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(PictureError, match=r"not a picture|empty|damaged"):
        decode_picture(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_a_file_cut_in_half_is_damaged(kind: str) -> None:
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    with pytest.raises(PictureError, match=r"damaged|not a picture"):
        decode_picture(data[: len(data) // 2])


def test_a_small_file_of_gigantic_size_is_refused_unread() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [
        (kind + body, len(body)) for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    ]
    rows = (struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk, size in chunks)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(rows)
    with pytest.raises(PictureError, match="170 megapixels"):
        decode_picture(data)


def test_a_missing_file_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / "none.jpg")


@settings(max_examples=60)
@given(st.data())
def test_flipped_bytes_never_raise_anything_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]))
    raw = bytearray(encoded(Image.fromarray(RAMP), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_picture(bytes(raw)).pixels.shape[2] == 3
    except PictureError:
        pass


def test_resize_keeps_a_constant() -> None:
    assert np.abs(resize(RED, 7, 5) - RED[0, 0]).max() < 1e-3


def test_resize_leaves_no_alias_of_what_is_too_fine() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(resize(stripes, 16, 16)[:, 3:-3]) < 4


def test_resize_takes_a_part_at_fractions_of_a_pixel() -> None:
    part = resize(RAMP, 8, 8, box=(10.5, 0, 18.5, 8))
    assert np.abs(part[0, 2:-2, 0] - (np.arange(10.5, 18.5) * 4)[2:-2]).max() < 2


def test_to_uint8_rounds_and_clips() -> None:
    assert to_uint8(np.array([-3.0, 0.4, 0.6, 254.6, 300])).tolist() == [0, 0, 1, 255, 255]


def test_sepia_is_colour_and_grey_is_not() -> None:
    assert is_grey(RAMP)
    assert not is_grey(np.clip(RAMP * np.array((1.0, 0.9, 0.75)), 0, 255).astype(np.uint8))
