"""The HUD's texture, drawn over the mount. Runs in the wall process, with the GL context current."""

import moderngl

from installation.output.hud import HudText, rasterise, text_height
from installation.output.placement import put
from installation.output.programs import Pass

_NEAREST = (moderngl.NEAREST, moderngl.NEAREST)


class HudLayer:
    """Keeps the text it drew last, so that it is rasterised only when it changes."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._drawn: tuple[HudText, int, moderngl.Texture] | None = None

    def draw(
        self, program: Pass, target: moderngl.Framebuffer, viewport: tuple[int, int], rotate: int, hud: HudText
    ) -> None:
        """Blends the text into the upper left corner of `target`, turned with the picture."""
        px = text_height(viewport[0] if rotate in (90, 270) else viewport[1])
        texture = self._texture(hud, px)
        texture.use(0)
        self._ctx.enable(moderngl.BLEND)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        program.draw(target, put((px, px, *texture.size), texture.size, viewport, rotate))
        self._ctx.disable(moderngl.BLEND)

    def release(self) -> None:
        if self._drawn is not None:
            self._drawn[2].release()
            self._drawn = None

    def _texture(self, hud: HudText, px: int) -> moderngl.Texture:
        if self._drawn is None or self._drawn[:2] != (hud, px):
            pixels = rasterise(hud, px)
            self.release()
            texture = self._ctx.texture((pixels.shape[1], pixels.shape[0]), 4, pixels.tobytes())
            texture.filter = _NEAREST
            texture.repeat_x = texture.repeat_y = False
            self._drawn = (hud, px, texture)
        return self._drawn[2]
