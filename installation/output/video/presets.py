"""The deliverables by name: codec, pixel format, container and tags of each. Data and nothing else.

YUV presets are BT.709, limited range, tagged so: `setparams` sets it on every frame, which is where FFmpeg's muxers and
the ProRes frame header take it from (the command line's -color_trc no longer reaches the file). RGB presets keep code
values as they are. Sources: ITU-R BT.709-6; Apple ProRes white paper (2022); SMPTE ST 2019-1 (DNxHR); RFC 9043 (FFV1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from installation.errors import ConfigError, did_you_mean

# zscale, not scale: swscale makes 943 of 16-bit white in 10 bits, where BT.709 says 940.
_TO_709 = (
    "zscale=matrixin=gbr:rangein=full:matrix=709:range=limited:transferin=709:transfer=709:primariesin=709:primaries=709"
    ":filter=bicubic:dither=none"
)
_TAGS_709 = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
_TAGS_RGB = "setparams=color_primaries=bt709:color_trc=iec61966-2-1:colorspace=gbr:range=pc"
_TO_LIGHT = "zscale=matrixin=gbr:matrix=gbr:transferin=iec61966-2-1:transfer=linear:primariesin=bt709:primaries=bt709"


@dataclass(frozen=True, slots=True)
class Preset:
    """One deliverable.

    suffix: of the finished file; "" is a folder of numbered pictures. encoder: FFmpeg's name of it. pix_fmt: what it
    stores. depth: bits a channel of the frames it is given, 8 or 16. sides: width and height must be multiples of
    these; least: the smallest it takes. filters: before the encoder. options: the encoder's. muxer: options of the finished
    file's container. picture: suffix of one picture, for a folder of them. bits: rough bits a pixel, for the disk
    space needed. about: one line for people. live: for the wall's own films alone; under a cap of its rate x264's frames
    depend on the timing of its threads, and a film that was gone on with would be another.
    """

    name: str
    suffix: str
    encoder: str
    pix_fmt: str
    depth: Literal[8, 16]
    sides: tuple[int, int]
    filters: tuple[str, ...]
    options: tuple[str, ...]
    bits: float
    about: str
    muxer: tuple[str, ...] = ()
    least: tuple[int, int] = (1, 1)
    picture: str = ""
    live: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """The container's colour tags, said once more when joining: DNxHR, Hap and FFV1 carry none in their frames."""
        yuv = _TAGS_709 in self.filters
        curve, matrix, span = ("bt709", "bt709", "tv") if yuv else ("iec61966-2-1", "rgb", "pc")
        return "-color_primaries", "bt709", "-color_trc", curve, "-colorspace", matrix, "-color_range", span


def _yuv(pix_fmt: str) -> tuple[str, ...]:
    return (_TO_709, f"format={pix_fmt}", _TAGS_709)


_H264 = Preset(
    name="museum-h264",
    suffix=".mp4",
    encoder="libx264",
    pix_fmt="yuv420p",
    depth=8,
    sides=(2, 2),
    filters=_yuv("yuv420p"),
    # Within what players in museums take: High profile, 4:2:0. No cap of the rate: with one, x264's frames depend on the timing of its
    # threads, no film could go on after a kill as the same one, and each segment would begin with a full buffer anyway.
    options=("-preset", "medium", "-crf", "16", "-profile:v", "high"),
    muxer=("-movflags", "+faststart+write_colr"),
    bits=0.15,
    about="H.264 High, 8 bits 4:2:0, MP4: museum players, BrightSign, web",
)
_HEVC = Preset(
    name="hevc-10bit",
    suffix=".mp4",
    encoder="libx265",
    pix_fmt="yuv420p10le",
    depth=16,
    sides=(2, 2),
    filters=_yuv("yuv420p10le"),
    options=("-preset", "medium", "-crf", "16", "-profile:v", "main10"),
    muxer=("-movflags", "+faststart+write_colr", "-tag:v", "hvc1"),
    least=(16, 16),
    bits=0.12,
    about="H.265 Main 10, 10 bits 4:2:0, MP4: screens and players that take it",
)
_PRORES = Preset(
    name="prores-422hq",
    suffix=".mov",
    encoder="prores_ks",
    pix_fmt="yuv422p10le",
    depth=16,
    sides=(2, 1),
    filters=_yuv("yuv422p10le"),
    options=("-profile:v", "3", "-vendor", "apl0"),
    muxer=("-movflags", "+write_colr"),
    bits=4.0,
    about="Apple ProRes 422 HQ, 10 bits 4:2:2, MOV: post-production, projection",
)

_ALL = (
    _H264,
    _HEVC,
    _PRORES,
    replace(
        _PRORES,
        name="prores-4444",
        pix_fmt="yuv444p10le",
        sides=(1, 1),
        filters=_yuv("yuv444p10le"),
        options=("-profile:v", "4", "-vendor", "apl0"),
        bits=6.0,
        about="Apple ProRes 4444, 10 bits 4:4:4 without alpha, MOV: masters",
    ),
    Preset(
        name="dnxhr-hqx",
        suffix=".mov",
        encoder="dnxhd",
        pix_fmt="yuv422p10le",
        depth=16,
        sides=(2, 2),
        filters=_yuv("yuv422p10le"),
        options=("-profile:v", "dnxhr_hqx"),
        muxer=("-movflags", "+write_colr"),
        least=(256, 120),
        bits=4.4,
        about="Avid DNxHR HQX, 10 bits 4:2:2, MOV: post-production; from 256x120 px on",
    ),
    Preset(
        name="hap-q",
        suffix=".mov",
        encoder="hap",
        pix_fmt="rgba",
        depth=8,
        sides=(4, 4),
        filters=("format=rgba",),
        options=("-format", "hap_q", "-chunks", "4"),
        bits=7.0,
        about="Hap Q, MOV: media servers (Resolume, TouchDesigner, Millumin)",
    ),
    Preset(
        name="ffv1",
        suffix=".mkv",
        encoder="ffv1",
        pix_fmt="gbrp16le",
        depth=16,
        sides=(1, 1),
        filters=("format=gbrp16le", _TAGS_RGB),
        options=("-level", "3", "-g", "1", "-slicecrc", "1"),
        least=(4, 4),
        bits=30.0,
        about="FFV1 version 3, RGB 16 bits, lossless, MKV: archives; times rounded to 1 ms by the container",
    ),
    Preset(
        name="png",
        suffix="",
        encoder="png",
        pix_fmt="rgb48be",
        depth=16,
        sides=(1, 1),
        filters=("format=rgb48be", _TAGS_RGB),
        options=("-pred", "mixed", "-compression_level", "3"),
        bits=32.0,
        about="A folder of PNG, RGB 16 bits, lossless, sRGB",
        picture=".png",
    ),
    Preset(
        name="exr",
        suffix="",
        encoder="exr",
        pix_fmt="gbrpf32le",
        depth=16,
        sides=(1, 1),
        filters=("format=gbrp16le", _TAGS_RGB, _TO_LIGHT, "format=gbrpf32le"),
        options=("-format", "half", "-compression", "zip16"),
        bits=34.0,
        about="A folder of OpenEXR, half floats, linear light, BT.709 primaries",
        picture=".exr",
    ),
    Preset(
        name="av1",
        suffix=".mp4",
        encoder="libsvtav1",
        pix_fmt="yuv420p10le",
        depth=16,
        sides=(2, 2),
        filters=_yuv("yuv420p10le"),
        options=("-preset", "6", "-crf", "20"),
        muxer=("-movflags", "+faststart+write_colr"),
        least=(16, 16),
        bits=0.1,
        about="AV1, 10 bits 4:2:0, MP4: web",
    ),
    replace(
        _H264,
        name="live-h264",
        options=("-preset", "veryfast", "-crf", "17", "-maxrate", "100M", "-bufsize", "100M", "-profile:v", "high"),
        about="H.264 High, 8 bits 4:2:0, MP4, quickly encoded: the wall's own recordings",
        live=True,
    ),
    replace(
        _H264,
        name="h264-nvenc",
        encoder="h264_nvenc",
        options=("-preset", "p6", "-rc", "vbr", "-cq", "18", "-b:v", "0", "-profile:v", "high"),
        about="H.264 by an NVIDIA GPU, 8 bits 4:2:0, MP4",
    ),
    replace(
        _HEVC,
        name="hevc-nvenc",
        encoder="hevc_nvenc",
        pix_fmt="p010le",
        filters=_yuv("p010le"),
        options=("-preset", "p6", "-rc", "vbr", "-cq", "19", "-b:v", "0", "-profile:v", "main10"),
        about="H.265 Main 10 by an NVIDIA GPU, 10 bits 4:2:0, MP4",
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _ALL}


def preset(name: str) -> Preset:
    """The preset of that name. ConfigError names those there are."""
    if name not in PRESETS:
        there = ", ".join(one.name + (" (for the wall's own films)" if one.live else "") for one in PRESETS.values())
        what = f"no such preset{did_you_mean(name, PRESETS)}"
        raise ConfigError(what, where=name[:60], fix=f"There are {there}")
    return PRESETS[name]
