"""Each preset is written in segments, joined and decoded again: frames, times, tags, colours, bits."""

from __future__ import annotations

import math
from fractions import Fraction

import imageio.v3 as iio
import numpy as np
import pytest

from installation.errors import ConfigError, OutputError
from installation.output.video import ffmpeg
from installation.output.video.join import join
from installation.output.video.presets import PRESETS, preset
from installation.output.video.segments import SegmentWriter
from installation.output.video.spec import VideoSpec
from tests.output.video.pictures import COLOUR, SIZE, bt709, decode, frame, number_in, presets, spec

FRAMES = 20
TAGS = {"museum-h264": "avc1", "hevc-10bit": "hvc1", "prores-422hq": "apch", "prores-4444": "ap4h", "dnxhr-hqx": "AVdh"}
TAGS |= {"hap-q": "HapY", "av1": "av01", "ffv1": "", "live-h264": "avc1"}

each_video = pytest.mark.parametrize("kind", presets(pictures=False), ids=lambda kind: kind.name)


def record(tmp_path, kind, frames, **more):
    made = spec(kind.name, **more)
    writer = SegmentWriter(tmp_path / "segments", made)
    for picture in frames:
        writer.write(picture)
    writer.close()
    out = tmp_path / f"film{kind.suffix}"
    assert join(tmp_path / "segments", out) == len(frames)
    return out


@each_video
def test_frames_times_tags_and_colours_are_those_that_were_given(tmp_path, kind):
    rate = Fraction(30000, 1001)
    film = decode(record(tmp_path, kind, [frame(n, kind.depth) for n in range(FRAMES)], fps=rate))
    assert film.tag == TAGS[kind.name]
    assert film.rate == rate
    if kind.suffix == ".mkv":  # whose clock is in milliseconds
        assert [pts * 1000 / rate for pts in film.pts] == [
            math.floor(n * 1000 / rate + Fraction(1, 2)) for n in range(FRAMES)
        ]
    else:
        assert film.pts == list(range(FRAMES))
    assert [number_in(planes[1 if "rgb" in film.format or "gbr" in film.format else 0]) for planes in film.planes] == [
        *range(FRAMES)
    ]
    yuv = film.format.startswith("yuv")
    # 1 = BT.709, 13 = IEC 61966-2-1 (sRGB), matrix 0 = RGB; range 1 = limited
    assert film.tags[:3] == ((1, 1, 1) if yuv else (1, 13, 0))
    assert film.tags[3] == 1 or not yuv
    measured = np.array([np.median(plane[plane.shape[0] * 3 // 4]) for plane in film.planes[-1]])
    wanted = bt709(COLOUR, film.bits) if yuv else np.array(COLOUR) * (257 if film.bits == 16 else 1)
    assert np.abs(measured - wanted).max() <= (4 if kind.name == "hap-q" else 0.51) * 2 ** max(film.bits - 10, 0)


@pytest.mark.parametrize("name", ["prores-422hq", "prores-4444", "museum-h264", "hevc-10bit", "av1"])
def test_the_frames_themselves_say_bt709(tmp_path, name):
    """A segment's container has no place for tags, so what is read there comes from the stream."""
    kind = PRESETS[name]
    record(tmp_path, kind, [frame(n, kind.depth) for n in range(8)])
    assert decode(tmp_path / "segments" / "000000.nut").tags[:3] == (1, 1, 1)


@pytest.mark.parametrize("kind", presets(pictures=True), ids=lambda kind: kind.name)
def test_a_folder_of_pictures_holds_every_one_under_its_number(tmp_path, kind):
    folder = record(tmp_path, kind, [frame(n, 16) for n in range(FRAMES)])
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"frame_{n:08d}{kind.picture}" for n in range(FRAMES)]
    film = decode(files[13])
    planes = film.planes[0]
    if kind.name == "png":
        assert [int(plane[-1, -1]) for plane in planes] == [value * 257 for value in COLOUR]
        assert number_in(planes[0]) == 13
        assert "srgb" in iio.immeta(files[13])
    else:
        light = np.array([plane.view(np.float16)[-1, -1] for plane in planes], float)
        code = np.array(COLOUR) / 255
        assert light == pytest.approx(np.where(code > 0.04045, ((code + 0.055) / 1.055) ** 2.4, code / 12.92), rel=2e-3)


@pytest.mark.parametrize("kind", [k for k in presets(pictures=False) if k.depth == 16], ids=lambda kind: kind.name)
def test_a_gradient_of_sixteen_bits_is_finer_than_eight_in_the_file(tmp_path, kind):
    """From black to a sixteenth of white over the width there are 16 code values of 8 bits, and 64 of 10."""
    width, height = SIZE
    ramp = np.linspace(0, 65535 / 16, width).round().astype(np.uint16)
    picture = np.repeat(np.repeat(ramp[None, :, None], height, 0), 3, 2)
    film = decode(record(tmp_path, kind, [picture] * 2))
    luma = np.median(film.planes[0][1 if film.format.startswith("gbr") else 0], axis=0)
    assert film.bits >= 10
    assert len(np.unique(luma)) > 45
    steps = np.diff(luma.astype(int))
    assert steps.min() >= -1 - (film.bits > 10) * 3, "a gradient rises"


def test_two_recordings_of_the_same_frames_are_the_same_bytes(tmp_path):
    for kind in presets(pictures=False):
        files = [record(tmp_path / kind.name / side, kind, [frame(n, kind.depth) for n in range(10)]) for side in "ab"]
        assert files[0].read_bytes() == files[1].read_bytes(), kind.name


@pytest.mark.parametrize(
    ("name", "size", "wrong"),
    [
        ("museum-h264", (1921, 1080), "width is 1921 px, and museum-h264 takes multiples of 2. Use 1922 or 1920"),
        ("prores-422hq", (1921, 1080), "multiples of 2"),
        ("hap-q", (1920, 1082), "height is 1082 px, and hap-q takes multiples of 4"),
        ("png", (0, 10), "width is 0"),
    ],
)
def test_a_size_that_the_codec_cannot_hold_is_refused_and_never_padded(name, size, wrong):
    with pytest.raises(ConfigError) as caught:
        VideoSpec.of(size, Fraction(25), PRESETS[name])
    assert wrong in str(caught.value)


def test_sides_that_the_codec_can_hold_are_kept_to_the_pixel(tmp_path):
    """1080 is no multiple of 16, and 1088 rows is what careless writers make of it."""
    made = VideoSpec.of((270, 1080), Fraction(25), PRESETS["museum-h264"], segment_frames=2)
    writer = SegmentWriter(tmp_path / "segments", made)
    writer.write(np.full((1080, 270, 4), 90, np.uint8))
    writer.close()
    join(tmp_path / "segments", tmp_path / "film.mp4")
    assert decode(tmp_path / "film.mp4").planes[0][0].shape == (1080, 270)


def test_a_folder_may_be_named_like_a_pattern(tmp_path):
    folder = tmp_path / "50%d"
    assert len(list(record(folder, PRESETS["png"], [frame(n, 16) for n in range(3)]).iterdir())) == 3


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'prores-422hq'"):
        preset("prores-422-hq")


@pytest.mark.parametrize("name", ["h264-nvenc", "hevc-nvenc"])
def test_nvenc_is_refused_where_it_does_not_work(tmp_path, name):
    """Every FFmpeg lists NVENC; whether it works, only trying tells."""
    if not ffmpeg.probe(PRESETS[name]):
        pytest.skip("this machine has a working NVENC")
    with pytest.raises(OutputError, match="this machine cannot make it"):
        SegmentWriter(tmp_path / "segments", spec(name))
    assert not (tmp_path / "segments").exists()


def test_a_preset_written_large_is_suggested_and_the_walls_own_is_marked():
    with pytest.raises(ConfigError, match=r"PNG: no such preset; did you mean 'png'\? There are .*") as caught:
        preset("PNG")
    assert "live-h264 (for the wall's own films), " in str(caught.value)
