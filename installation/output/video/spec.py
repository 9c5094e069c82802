"""VideoSpec: what a recording is made of, and what it is checked for before the first frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from installation.errors import ConfigError
from installation.output.video.presets import Preset

SEGMENT_S = 0.8
"""Two segments may be open at once, the newer one filling while the older one's encoder drains: with the frames that
wait before them, at most 2 s of film are lost when everything is killed, at 15 frames a second and more."""

_MOST_SIDE = 16384
_MOST_AREA = 1 << 28  # with 128 px more a side: libavutil's av_image_check_size2
_RATES = (Fraction(1), Fraction(240))
_FINEST_RATE = (
    240_000  # a tick of a file's clock, in parts of a second: longer than the microseconds that FFmpeg joins by
)


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """size: (width, height), px. fps: exact. preset: the deliverable. depth: bits a channel of the frames given: 8 are
    Frames, uint8 [H, W, 4]; 16 are uint16 [H, W, 3] code values; both sRGB, origin top left. threads: of the encoder, 0 = its own
    choice. segment_frames: frames of each closed segment. ConfigError where the size does not fit the preset.
    """

    size: tuple[int, int]
    fps: Fraction
    preset: Preset
    depth: Literal[8, 16]
    segment_frames: int
    threads: int = 0

    @classmethod
    def of(
        cls,
        size: tuple[int, int],
        fps: Fraction,
        preset: Preset,
        *,
        depth: Literal[8, 16] | None = None,
        segment_frames: int | None = None,
        threads: int = 0,
    ) -> VideoSpec:
        """The usual one: the preset's own depth, segments of SEGMENT_S."""
        frames = segment_frames or max(math.floor(fps * Fraction(SEGMENT_S)), 1)
        return cls(size, fps, preset, depth or preset.depth, frames, threads)

    def __post_init__(self) -> None:
        rules = zip(self.size, self.preset.sides, self.preset.least, ("width", "height"), strict=True)
        for side, multiple, least, name in rules:
            if not 1 <= side <= _MOST_SIDE:
                raise ConfigError(f"the {name} is {side}; it must be 1 to {_MOST_SIDE} px", where="size")
            if side < least:
                raise ConfigError(
                    f"the {name} is {side} px, and {self.preset.name} takes {least} px or more",
                    where="size",
                    fix="Make it larger, or use another preset",
                )
            if side % multiple:
                below, above = side - side % multiple, side - side % multiple + multiple
                fix = f"Use {above}" + (f" or {below}" if below else "") + ", or a preset that takes any size (png)"
                raise ConfigError(
                    f"the {name} is {side} px, and {self.preset.name} takes multiples of {multiple}",
                    where="size",
                    fix=fix,
                )
        if math.prod(side + 128 for side in self.size) >= _MOST_AREA:
            what = f"{self.size[0]}x{self.size[1]} are more pixels than FFmpeg takes"
            raise ConfigError(what, where="size", fix="Up to 16000x16000 can be made")
        if not _RATES[0] <= self.fps <= _RATES[1]:
            raise ConfigError(f"{self.fps} frames a second; 1 to 240 are wanted", where="fps")
        if max(self.fps.numerator, self.fps.denominator) > _FINEST_RATE:
            near = self.fps.limit_denominator(1001)
            fix = f"Use {near}" if near != round(near) else f"Use {round(near)}"
            raise ConfigError(f"{self.fps} frames a second is finer than a file can say", where="fps", fix=fix)
        if self.segment_frames < 1:
            raise ValueError("a segment has at least one frame")

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        return self.size[1], self.size[0], 4 if self.depth == 8 else 3

    def estimated_bytes(self, frames: int) -> int:
        """Rough size of that many frames in a file."""
        return int(frames * self.size[0] * self.size[1] * self.preset.bits / 8)
