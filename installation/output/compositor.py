"""From frames to the wall: the look pass and the mount pass, in OpenGL 3.3 core.

The look (crossfade, grade) is drawn at picture size into an RGBA16F target and holds *linear light*: frames are sRGB
textures that the sampler decodes, so they are blended as light is, a blend of two frames sends out exactly the blend
of their light, and a moving edge does not dim half-way. The grade's contrast, saturation, gamma, lift, vignette and
grain work on code values, as graders expect; brightness, tint and blackout are gains in light. The mount (fit,
rotation, dither, HUD) scales that light on to the output and encodes it as sRGB once, at the very end, in the shader:
the framebuffer's own sRGB conversion stays off.

One pass for both was tried and dropped: decoding four texels each of two sRGB textures per output pixel costs more
under llvmpipe (11.4 ms at 1080 x 1080) than the detour over the target (9.7 ms).

Runs in the wall process, in the thread of its GL context; needs that context current. Knows no clock and no window.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import moderngl
import numpy as np

from installation.errors import DisplayError
from installation.output.hud import HudText, rasterise, text_height
from installation.output.look_state import Look, make_look
from installation.output.noise import TILE, noise_tile
from installation.output.placement import Placement, place, put, upright
from installation.output.programs import Pass, UniformValue, compile_all
from installation.output.shader_check import ShaderCheck
from installation.output.shader_files import ShaderFault, ShaderFiles
from installation.show.look import Grade

WRAP_S = 3600.0
"""u_time starts again every hour: float32 then still resolves a quarter of a millisecond."""
_SRGB8_ALPHA8 = 0x8C43
_NEAREST = (moderngl.NEAREST, moderngl.NEAREST)
_LINEAR = (moderngl.LINEAR, moderngl.LINEAR)


class Compositor:
    """size: picture (width, height), px. shaders: folder of the GLSL files. history: number of frame slots.

    DisplayError when the picture is larger than the driver's textures or a shader does not compile.
    """

    def __init__(self, ctx: moderngl.Context, shaders: Path, *, size: tuple[int, int], history: int = 16) -> None:
        self._ctx = ctx
        self._max_size = int(ctx.info["GL_MAX_TEXTURE_SIZE"])
        self._check_size(size)
        self.size = size
        self._files = ShaderFiles(shaders)
        self._check = ShaderCheck(ctx)
        try:
            self._programs = compile_all(ctx, self._files, self._check)
        except ShaderFault as fault:
            fix = "Correct the file, or install the program again to get the original back"
            raise DisplayError(f"a shader does not work: {fault}", where=str(shaders), fix=fix) from None
        self._generation = 0
        self._slots: list[moderngl.Texture | None] = [None] * history
        self._uploads = [0] * history
        self._black = self._frame_texture((1, 1))
        self._black.write(bytes((0, 0, 0, 255)))
        self._noise = ctx.texture((TILE, TILE), 4, noise_tile().tobytes(), dtype="f4")
        self._noise.filter = _NEAREST
        self._light = ctx.texture(size, 4, dtype="f2")
        self._light.repeat_x = self._light.repeat_y = False
        self._target = ctx.framebuffer([self._light])
        self._hud: tuple[HudText, int, moderngl.Texture] | None = None
        self._look = make_look(0, 0, 0.0, crossfade="mix", grade=Grade(), blackout=1.0, time_s=0.0)
        self._drawn: Look | None = None
        self._time_s = 0.0

    def upload(self, slot: int, pixels: np.ndarray) -> None:
        """Puts a Frame into history slot `slot`. A Frame of another size than the picture is scaled to it.

        ValueError when it is no Frame; DisplayError when it is larger than the driver's textures.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4 or 0 in pixels.shape:
            raise ValueError(f"a Frame is uint8 [H, W, 4], not {pixels.dtype} {list(pixels.shape)}")
        size = (pixels.shape[1], pixels.shape[0])
        texture = self._slots[slot]
        if texture is None or texture.size != size:
            self._check_size(size)
            if texture is not None:
                texture.release()
            self._slots[slot] = texture = self._frame_texture(size)
        texture.write(np.ascontiguousarray(pixels).data)
        self._uploads[slot] += 1

    def look(self, a: int, b: int, mix: float, *, crossfade: str, grade: Grade, blackout: float, time_s: float) -> None:
        """Says what the look is; it is drawn when next needed, and only if something in it changed.

        a, b: history slots (an empty one is black). mix: 0 is a, 1 is b. crossfade: mix, dissolve or cut. blackout:
        0 none .. 1 black. time_s: show time, float64.
        """
        self._look = make_look(a, b, mix, crossfade=crossfade, grade=grade, blackout=blackout, time_s=time_s)
        self._time_s = math.fmod(time_s, WRAP_S)

    def signature(self, viewport: tuple[int, int], *, fit: str, rotate: int, hud: HudText | None) -> Hashable:
        """A value that differs whenever `mount` with the same arguments would draw other pixels.

        Costs microseconds: while it stays the same, the wall can leave the output as it is.
        """
        timed = any(self._programs[name].uses("u_time") for name in ("mount", "mount+area"))
        return self._now(self._look), self._time_s if timed else 0.0, viewport, fit, rotate, hud

    def mount(
        self,
        target: moderngl.Framebuffer,
        viewport: tuple[int, int],
        *,
        fit: str,
        rotate: int,
        hud: HudText | None,
        dither: bool = True,
    ) -> None:
        """Draws the look on `target`, `viewport` = (width, height) px: 8-bit sRGB, alpha 1, black around the picture.

        fit: contain, cover, fill, or native (pixel for pixel, centred). rotate: 0, 90, 180 or 270° clockwise.
        """
        placement = place(self.size, viewport, fit=fit, rotate=rotate)
        self._draw_look()
        if placement.viewport != (0, 0, *viewport):
            target.use()
            target.viewport = (0, 0, *viewport)
            target.clear(0.0, 0.0, 0.0, 1.0)
        self._draw_mount(target, placement, viewport, dither)
        if hud is not None:
            self._draw_hud(target, viewport, rotate, hud)

    def reload(self) -> str | None:
        """Compiles the shader files anew. None on success; else what is wrong, and the old programs stay."""
        try:
            self._programs = compile_all(self._ctx, self._files, self._check, self._programs)
        except ShaderFault as fault:
            return f"{fault}. The shader as it was before stays in use"
        self._generation += 1
        return None

    def reload_if_changed(self, now: float) -> str | None:
        """`reload` when a file's content changed, looked at twice a second of `now`: so a message comes once a change."""
        return self.reload() if self._files.changed(now) else None

    def read_look(self) -> np.ndarray:
        """The look as a Frame at picture size, without mount, dither or HUD. Waits for the GPU."""
        self._draw_look()
        texture = self._ctx.texture(self.size, 4)
        target = self._ctx.framebuffer([texture])
        try:
            self._draw_mount(target, upright(self.size), self.size, dither=False)
            data = target.read(components=4, alignment=1)
        finally:
            target.release()
            texture.release()
        return np.frombuffer(data, np.uint8).reshape(self.size[1], self.size[0], 4).copy()

    def warm_up(self) -> None:
        """Draws every look variant once into one pixel, so that the driver compiles it now and not in mid-show
        (30-50 ms each under llvmpipe). Call after the first picture; what is shown stays."""
        pixel = replace(upright(self.size), viewport=(0, 0, 1, 1))
        for dissolve in (False, True):
            for grade in (Grade(), Grade(contrast=1.1)):
                self._draw_look(replace(self._look, dissolve=dissolve, grade=grade), pixel)
        self._drawn = None

    def release(self) -> None:
        """Gives every GL object back."""
        for program in self._programs.values():
            program.release()
        hud = self._hud[2] if self._hud is not None else None
        for thing in (*self._slots, hud, self._target, self._light, self._noise, self._black):
            if thing is not None:
                thing.release()
        self._slots = [None] * len(self._slots)

    def _draw_look(self, look: Look | None = None, placement: Placement | None = None) -> None:
        look = self._now(look or self._look)
        if look == self._drawn:
            return
        program = self._programs[look.variant]
        for unit, slot in enumerate((look.a, look.b)):
            texture = self._slots[slot] or self._black
            texture.filter = _NEAREST if texture.size == self.size else _LINEAR
            texture.use(unit)
        self._noise.use(2)
        _feed(program, look.uniforms() | {"u_resolution": self.size, "u_time": self._time_s})
        program.draw(self._target, placement or upright(self.size))
        self._drawn = look

    def _now(self, look: Look) -> Look:
        """The look with what else its pixels depend on: the slots' content, the shaders, and time where they use it."""
        return replace(
            look,
            uploads=(self._uploads[look.a], self._uploads[look.b]),
            programs=self._generation,
            time_s=self._time_s if self._programs[look.variant].uses("u_time") else 0.0,
        )

    def _draw_mount(
        self, target: moderngl.Framebuffer, placement: Placement, viewport: tuple[int, int], dither: bool
    ) -> None:
        taps = 1 if placement.exact else placement.taps
        program = self._programs["mount" if taps == 1 else "mount+area"]
        self._light.filter = _NEAREST if placement.exact else _LINEAR
        self._light.use(0)
        self._noise.use(2)
        _feed(
            program,
            {
                "u_resolution": viewport,
                "u_time": self._time_s,
                "u_uv_per_x": placement.per_x,
                "u_uv_per_y": placement.per_y,
                "u_taps": taps,
                "u_dither": float(dither),
            },
        )
        program.draw(target, placement)

    def _draw_hud(self, target: moderngl.Framebuffer, viewport: tuple[int, int], rotate: int, hud: HudText) -> None:
        px = text_height(viewport[0] if rotate in (90, 270) else viewport[1])
        if self._hud is None or self._hud[:2] != (hud, px):
            pixels = rasterise(hud, px)
            if self._hud is not None:
                self._hud[2].release()
            texture = self._ctx.texture((pixels.shape[1], pixels.shape[0]), 4, pixels.tobytes())
            texture.filter = _NEAREST
            texture.repeat_x = texture.repeat_y = False
            self._hud = (hud, px, texture)
        texture = self._hud[2]
        texture.use(0)
        self._ctx.enable(moderngl.BLEND)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._programs["hud"].draw(target, put((px, px, *texture.size), texture.size, viewport, rotate))
        self._ctx.disable(moderngl.BLEND)

    def _frame_texture(self, size: tuple[int, int]) -> moderngl.Texture:
        texture = self._ctx.texture(size, 4, internal_format=_SRGB8_ALPHA8)
        texture.repeat_x = texture.repeat_y = False
        return texture

    def _check_size(self, size: tuple[int, int]) -> None:
        if min(size) < 1 or max(size) > self._max_size:
            raise DisplayError(
                f"a picture of {size[0]} x {size[1]} px does not fit this GPU, whose textures end at {self._max_size} px",
                where="compositor",
                fix="Use fewer or smaller stages in the cascade",
            )


def _feed(program: Pass, values: Mapping[str, UniformValue]) -> None:
    for name, value in values.items():
        program.set(name, value)
