"""From frames to the wall: the look pass and the mount pass, in OpenGL 3.3 core.

The look (crossfade, grade) makes *linear light*: frames are sRGB textures that the sampler decodes, so they are
blended as light is, a blend of two frames sends out exactly the blend of their light, and a moving edge does not dim
half-way. The grade's contrast, saturation, gamma, lift, vignette and grain work on code values, as graders expect;
brightness, tint and blackout are gains in light. The mount (fit, rotation, dither, HUD) lays that light on the output
and encodes it as sRGB once, at the very end, in the shader: the framebuffer's own sRGB conversion stays off.

Frames are kept at the *work size*: with `aim`, the size at which they appear on the output, so that each is scaled
once and not with every picture shown. Look and mount are then one pass. Where the mount scales after all (no `aim`, or
a picture much enlarged), the look is drawn into an RGBA16F target first: scaling two sRGB frames in the one pass would
cost more under llvmpipe (11.4 ms at 1080 x 1080) than the detour (9.7 ms). The detour is also the one pass' slow twin.

Runs in the wall process, in the thread of its GL context; needs that context current. Knows no clock and no window.
"""

import logging
import math
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path

import moderngl
import numpy as np

from installation.errors import DisplayError
from installation.output.history import History, frame_texture
from installation.output.hud import HudText
from installation.output.hud_layer import HudLayer
from installation.output.look_state import Look, make_look
from installation.output.noise import TILE, noise_tile
from installation.output.placement import Placement, place, upright, work_size
from installation.output.playhead import View
from installation.output.programs import FUSED, Pass, UniformValue, compile_all, filtered
from installation.output.shader_check import ShaderCheck
from installation.output.shader_files import ShaderFault, ShaderFiles
from installation.show.config import Show
from installation.show.look import Grade
from installation.show.state import ShowState

WRAP_S = 3600.0
"""u_time starts again every hour: float32 then still resolves a quarter of a millisecond."""
log = logging.getLogger(__name__)

_NEAREST = (moderngl.NEAREST, moderngl.NEAREST)
_LINEAR = (moderngl.LINEAR, moderngl.LINEAR)


class _Light:
    """An off-screen target of linear light. 16-bit floats: 8 bits would band before the dither."""

    def __init__(self, ctx: moderngl.Context, size: tuple[int, int]) -> None:
        self.size = size
        self.texture = ctx.texture(size, 4, dtype="f2")
        self.texture.repeat_x = self.texture.repeat_y = False
        self.target = ctx.framebuffer([self.texture])

    def release(self) -> None:
        self.target.release()
        self.texture.release()


class Compositor:
    """size: picture (width, height), px. shaders: folder of the GLSL files. history: number of frame slots. kept: a folder for
    the shaders that worked last, begun with where those of `shaders` do not work; None = nowhere.

    DisplayError when the picture is larger than the driver's textures or a shader does not compile.
    """

    def __init__(
        self,
        ctx: moderngl.Context,
        shaders: Path,
        *,
        size: tuple[int, int],
        history: int = 16,
        kept: Path | None = None,
    ) -> None:
        self._ctx = ctx
        self._max_size = int(ctx.info["GL_MAX_TEXTURE_SIZE"])
        self._check_size(size)
        self.size = self._work = size
        self._files = ShaderFiles(shaders)
        self._check = ShaderCheck(ctx)
        self._kept = kept
        self._programs = self._first_programs()
        self._generation = 0
        self._history = History(ctx, history)
        self._noise = ctx.texture((TILE, TILE), 4, noise_tile().tobytes(), dtype="f4")
        self._noise.filter = _NEAREST
        self._light: _Light | None = None
        self._hud = HudLayer(ctx)
        self._look = make_look(0, 0, 0.0, crossfade="mix", grade=Grade(), blackout=1.0, time_s=0.0)
        self._drawn: Look | None = None
        self._time_s = 0.0

    def aim(self, viewport: tuple[int, int], *, fit: str, rotate: int) -> bool:
        """Says how the picture will be mounted, so that frames are scaled when they come. Costs microseconds.

        True when the work size changed: the slots keep their frames at the size before, a little soft or coarse,
        until they are filled again.
        """
        work = work_size(self.size, viewport, fit=fit, rotate=rotate, largest=self._max_size)
        if work == self._work:
            return False
        self._work = work
        if self._light is not None:
            self._light.release()
            self._light = self._drawn = None
        return True

    def upload(self, slot: int, pixels: np.ndarray) -> None:
        """Puts a Frame into history slot `slot`, scaled to the work size; or a light frame (models/light.py) of that
        size. `pixels` is read before this returns.

        ValueError when it is neither; DisplayError when it is larger than the driver's textures.
        """
        self._check_frame(pixels, light=True)
        self._history.fill(slot, pixels, self._work, self._programs)

    def look(self, a: int, b: int, mix: float, *, crossfade: str, grade: Grade, blackout: float, time_s: float) -> None:
        """Says what the look is; it is drawn when next needed, and only if something in it changed.

        a, b: history slots (an empty one is black). mix: 0 is a, 1 is b. crossfade: mix, dissolve or cut. blackout:
        0 none .. 1 black. time_s: show time, float64.
        """
        self._look = make_look(a, b, mix, crossfade=crossfade, grade=grade, blackout=blackout, time_s=time_s)
        self._time_s = math.fmod(time_s, WRAP_S)

    def show(self, state: ShowState, show: Show, view: View | None = None) -> None:
        """`look`, as the show is at this state. view: the slots and their mix; None = slot 0 alone."""
        a, b, mix = (view.a_slot, view.b_slot, view.mix) if view else (0, 0, 0.0)
        self.look(
            a,
            b,
            mix,
            crossfade=str(state.values["look/crossfade"]),
            grade=state.grade(show),
            blackout=state.value("look/blackout"),
            time_s=state.t,
        )

    def signature(self, viewport: tuple[int, int], *, fit: str, rotate: int, hud: HudText | None) -> Hashable:
        """A value that differs whenever `mount` with the same arguments would draw other pixels.

        Costs microseconds: while it stays the same, the wall can leave the output as it is.
        """
        timed = any(self._programs[name].uses("u_time") for name in ("mount", "mount+area2", "mount+area"))
        return self._now(self._look), self._time_s if timed else 0.0, self._work, viewport, fit, rotate, hud

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
        placement = place(self.size, viewport, fit=fit, rotate=rotate, source=self._work)
        if placement.viewport != (0, 0, *viewport):
            target.use()
            target.viewport = (0, 0, *viewport)
            target.clear(0.0, 0.0, 0.0, 1.0)
        if placement.exact and self._fusable(self._look.variant):
            self._draw_fused(target, placement, dither)
        else:
            self._draw_mount(target, placement, dither)
        if hud is not None:
            self._hud.draw(self._programs["hud"], target, viewport, rotate, hud)

    def _first_programs(self) -> dict[str, Pass]:
        """Those of the files; where they do not work, those that did before, for a wall that is started again."""
        try:
            programs = compile_all(self._ctx, self._files, self._check)
        except ShaderFault as fault:
            try:
                if self._kept is None:
                    raise
                programs = compile_all(self._ctx, ShaderFiles(self._kept), self._check)
            except ShaderFault:
                fix = "Correct the file, or install the program again to get the original back"
                where = str(self._files.folder)
                raise DisplayError(f"a shader does not work: {fault}", where=where, fix=fix) from None
            log.warning("%s", _as_before(fault))
            return programs
        self._keep()
        return programs

    def _keep(self) -> None:
        if self._kept is None:
            return
        try:
            self._files.keep(self._kept)
        except OSError as error:
            log.warning("the shaders are not kept for a restart of the wall: %s", error)

    def reload(self) -> str | None:
        """Compiles the shader files anew. None on success; else what is wrong, and the old programs stay."""
        try:
            self._programs = compile_all(self._ctx, self._files, self._check, self._programs)
        except ShaderFault as fault:
            return _as_before(fault)
        self._generation += 1
        self._keep()
        return None

    def reload_if_changed(self, now: float) -> str | None:
        """`reload` when a file's content changed, looked at twice a second of `now`: so a message comes once a change."""
        return self.reload() if self._files.changed(now) else None

    def read_look(self) -> np.ndarray:
        """The look as a Frame at work size, without mount, dither or HUD. Waits for the GPU."""
        return self._code_values(self._draw_look())

    def still(self, pixels: np.ndarray) -> np.ndarray:
        """A Frame as it looks under the grade and blackout of now, at its own size, without mount, dither or HUD.

        Waits for the GPU. ValueError and DisplayError as for `upload`.
        """
        size = self._check_frame(pixels)
        frame, light = frame_texture(self._ctx, size), _Light(self._ctx, size)
        try:
            frame.write(np.ascontiguousarray(pixels).data)
            self._paint(replace(self._look, mix=0.0, dissolve=False), (frame, frame), light)
            return self._code_values(light)
        finally:
            frame.release()
            light.release()

    def warm_up(self, target: moderngl.Framebuffer, viewport: tuple[int, int], *, fit: str, rotate: int) -> None:
        """Mounts every look variant once, so that the driver compiles it now and not in mid-show (30-50 ms each under
        llvmpipe). Call when there are frames; afterwards `mount` again what is to be shown."""
        look = self._look
        for dissolve in (False, True):
            for grade in (Grade(), Grade(contrast=1.1)):
                self._look = replace(look, dissolve=dissolve, grade=grade)
                self.mount(target, viewport, fit=fit, rotate=rotate, hud=None)
        self._look = look

    def release(self) -> None:
        """Gives every GL object back."""
        for program in self._programs.values():
            program.release()
        for thing in (self._history, self._hud, self._light, self._noise):
            if thing is not None:
                thing.release()
        self._light = None

    def _fusable(self, variant: str) -> bool:
        """Whether the one pass makes what the two would. A shader written anew may take no notice of FUSED, or leave
        look.glsl out: then one of the two programs asks for no second frame."""
        return all(self._programs[name].uses("u_tex1") for name in (variant, FUSED + variant))

    def _draw_fused(self, target: moderngl.Framebuffer, placement: Placement, dither: bool) -> None:
        program = self._programs[FUSED + self._look.variant]
        self._use_frames((self._history[self._look.a], self._history[self._look.b]), self._work)
        program.feed(self._look.uniforms() | self._common(self._work) | {"u_dither": float(dither)})
        program.draw(target, placement)

    def _draw_look(self) -> _Light:
        """Into the target of its own, which is made when first needed; does nothing while it is up to date."""
        look = self._now(self._look)
        if self._light is None:
            self._light = _Light(self._ctx, self._work)
        if look != self._drawn:
            self._paint(look, (self._history[look.a], self._history[look.b]), self._light)
            self._drawn = look
        return self._light

    def _paint(self, look: Look, frames: tuple[moderngl.Texture, moderngl.Texture], light: _Light) -> None:
        program = self._programs[look.variant]
        self._use_frames(frames, light.size)
        program.feed(look.uniforms() | self._common(light.size))
        program.draw(light.target, upright(light.size))

    def _use_frames(self, frames: tuple[moderngl.Texture, moderngl.Texture], size: tuple[int, int]) -> None:
        for unit, texture in enumerate(frames):
            texture.filter = _NEAREST if texture.size == size else _LINEAR
            texture.use(unit)
        self._noise.use(2)

    def _common(self, size: tuple[int, int]) -> dict[str, UniformValue]:
        return {"u_resolution": size, "u_time": self._time_s}

    def _code_values(self, light: _Light) -> np.ndarray:
        """What `light` holds, as a Frame."""
        texture = self._ctx.texture(light.size, 4)
        target = self._ctx.framebuffer([texture])
        try:
            light.texture.filter = _NEAREST
            light.texture.use(0)
            self._programs["scale"].draw(target, upright(light.size))
            data = target.read(components=4, alignment=1)
        finally:
            target.release()
            texture.release()
        return np.frombuffer(data, np.uint8).reshape(light.size[1], light.size[0], 4).copy()

    def _now(self, look: Look) -> Look:
        """The look with what else its pixels depend on: the slots' content, the shaders, and time where they use it."""
        return replace(
            look,
            uploads=(self._history.fills(look.a), self._history.fills(look.b)),
            programs=self._generation,
            time_s=self._time_s if self._programs[look.variant].uses("u_time") else 0.0,
        )

    def _draw_mount(self, target: moderngl.Framebuffer, placement: Placement, dither: bool) -> None:
        light = self._draw_look().texture
        program = self._programs[filtered("mount", placement)]
        light.filter = _NEAREST if placement.exact else _LINEAR
        light.use(0)
        self._noise.use(2)
        program.feed(self._common(light.size) | {"u_dither": float(dither)})
        program.draw(target, placement)

    def _check_frame(self, pixels: np.ndarray, *, light: bool = False) -> tuple[int, int]:
        """Its (width, height). light: a light frame will do, too."""
        if (
            pixels.dtype not in ((np.uint8, np.float16) if light else (np.uint8,))
            or pixels.ndim != 3
            or pixels.shape[2] != 4
            or 0 in pixels.shape
        ):
            raise ValueError(f"a Frame is uint8 [H, W, 4], not {pixels.dtype} {list(pixels.shape)}")
        size = (pixels.shape[1], pixels.shape[0])
        self._check_size(size)
        return size

    def _check_size(self, size: tuple[int, int]) -> None:
        if min(size) < 1 or max(size) > self._max_size:
            raise DisplayError(
                f"a picture of {size[0]} x {size[1]} px does not fit this GPU, whose textures end at {self._max_size} px",
                where="compositor",
                fix="Use fewer or smaller stages in the cascade",
            )


def _as_before(fault: ShaderFault) -> str:
    return f"{fault}. The shader as it was before stays in use"
