"""The frames on the GPU: a fixed number of slots, each filled once for the many times it is drawn.

A Frame of another size than wanted is scaled while it is put in, in linear light and with every pixel of it counted.
An engine without a GPU makes a few frames a second, a wall shows thirty: scaling each shown frame instead took three
quarters of its time under llvmpipe (1024² px on 1280 x 720: 20 of 28 ms CPU).

Slots are sRGB textures: 8 bits hold them to half a code value, as the engine made them, and the sampler decodes. A light
frame (float16 linear light, of a recording) lies in a texture of half floats; the sampler gives the same, finer. Needs
the GL context current.
"""

from collections.abc import Mapping

import moderngl
import numpy as np

from installation.output.placement import upright
from installation.output.programs import Pass, filtered

_SRGB8_ALPHA8 = 0x8C43
_LINEAR = (moderngl.LINEAR, moderngl.LINEAR)


class History:
    """count: number of slots. An empty slot is black."""

    def __init__(self, ctx: moderngl.Context, count: int) -> None:
        self._ctx = ctx
        self._slots: list[moderngl.Texture | None] = [None] * count
        self._fills = [0] * count
        self._staging: moderngl.Texture | None = None
        self._black = frame_texture(ctx, (1, 1))
        self._black.write(bytes((0, 0, 0, 255)))

    def __getitem__(self, slot: int) -> moderngl.Texture:
        return self._slots[slot] or self._black

    def fills(self, slot: int) -> int:
        """How often the slot was filled."""
        return self._fills[slot]

    def fill(self, slot: int, pixels: np.ndarray, size: tuple[int, int], programs: Mapping[str, Pass]) -> None:
        """Puts a Frame into a slot at `size`, or a light frame of that very size. `pixels` is read before this returns.

        programs: with those of scale.frag.
        """
        source = (pixels.shape[1], pixels.shape[0])
        dtype = "f2" if pixels.dtype == np.float16 else "f1"
        if dtype == "f2" and source != size:
            raise ValueError(f"a light frame of {source} px cannot be shown at {size} px: only Frames are scaled")
        texture = self._slots[slot] = self._sized(self._slots[slot], size, dtype)
        if source == size:
            texture.write(np.ascontiguousarray(pixels).data)
        else:
            self._staging = self._sized(self._staging, source)
            self._staging.write(np.ascontiguousarray(pixels).data)
            self._scale(self._staging, texture, programs)
        self._fills[slot] += 1

    def release(self) -> None:
        for texture in (*self._slots, self._staging, self._black):
            if texture is not None:
                texture.release()
        self._slots = [None] * len(self._slots)
        self._staging = None

    def _scale(self, source: moderngl.Texture, target: moderngl.Texture, programs: Mapping[str, Pass]) -> None:
        placement = upright(target.size, source.size)
        source.filter = _LINEAR
        source.use(0)
        framebuffer = self._ctx.framebuffer([target])
        programs[filtered("scale", placement)].draw(framebuffer, placement)
        framebuffer.release()

    def _sized(self, texture: moderngl.Texture | None, size: tuple[int, int], dtype: str = "f1") -> moderngl.Texture:
        if texture is not None and (texture.size, texture.dtype) == (size, dtype):
            return texture
        if texture is not None:
            texture.release()
        return frame_texture(self._ctx, size, dtype)


def frame_texture(ctx: moderngl.Context, size: tuple[int, int], dtype: str = "f1") -> moderngl.Texture:
    """An empty texture for a Frame; sampled as linear light, written and drawn as code values. dtype: "f2" for a light
    frame, which is written as the light that is sampled."""
    if dtype == "f2":
        texture = ctx.texture(size, 4, dtype="f2")
    else:
        texture = ctx.texture(size, 4, internal_format=_SRGB8_ALPHA8)
    texture.repeat_x = texture.repeat_y = False
    return texture
