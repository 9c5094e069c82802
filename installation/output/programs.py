"""The compositor's GL programs: compiled together, replaced together, and fed by uniform name.

A set is complete or does not exist: `compile_all` gives every program, or raises ShaderFault and changes nothing.
Uniforms that a shader does not use are left out without a word, because the driver removes them too; one declared
with another type than the compositor feeds is a fault, found when compiling and not when drawing.
"""

from collections.abc import Mapping
from types import MappingProxyType

import moderngl

from installation.output.placement import Placement
from installation.output.shader_check import FRAGMENT, VERTEX, ShaderCheck
from installation.output.shader_files import ShaderFault, ShaderFiles, Source

VERTEX_FILE = "screen.vert"
_LOOKS: Mapping[str, Mapping[str, int]] = {
    "mix": {"DISSOLVE": 0, "GRADE": 0},
    "mix+grade": {"DISSOLVE": 0, "GRADE": 1},
    "dissolve": {"DISSOLVE": 1, "GRADE": 0},
    "dissolve+grade": {"DISSOLVE": 1, "GRADE": 1},
}
FUSED = "mount of "
"""Prefix of a look's name: look and mount in one pass."""
VARIANTS: Mapping[str, tuple[str, Mapping[str, int]]] = {
    **{name: ("look.frag", defines) for name, defines in _LOOKS.items()},
    **{FUSED + name: ("mount.frag", {"FUSED": 1, "AREA": 0, **defines}) for name, defines in _LOOKS.items()},
    "mount": ("mount.frag", {"FUSED": 0, "AREA": 0}),
    "mount+area2": ("mount.frag", {"FUSED": 0, "AREA": 2}),
    "mount+area": ("mount.frag", {"FUSED": 0, "AREA": 1}),
    "scale": ("scale.frag", {"AREA": 0}),
    "scale+area2": ("scale.frag", {"AREA": 2}),
    "scale+area": ("scale.frag", {"AREA": 1}),
    "hud": ("hud.frag", {}),
}
"""Variants, not branches on a uniform: llvmpipe runs both sides of every branch, and a loop of one turn made the mount
three times slower. For the same reason 2 x 2 samples, the everyday case, have a variant of their own: half the time."""

TEXTURE_UNITS = {"u_tex0": 0, "u_tex1": 1, "u_noise": 2}
_TYPES = {
    **dict.fromkeys(TEXTURE_UNITS, "sampler2D"),
    **dict.fromkeys(("u_uv_origin", "u_uv_across", "u_uv_up", "u_uv_per_x", "u_uv_per_y", "u_resolution"), "vec2"),
    **dict.fromkeys(("u_time", "u_mix", "u_contrast", "u_saturation", "u_gamma", "u_vignette"), "float"),
    **dict.fromkeys(("u_grain", "u_grain_seed", "u_dither"), "float"),
    **dict.fromkeys(("u_gain", "u_tint", "u_lift"), "vec3"),
    "u_taps": "int",
}
_GL_TYPES = {0x1406: "float", 0x8B50: "vec2", 0x8B51: "vec3", 0x8B52: "vec4", 0x1404: "int", 0x8B5E: "sampler2D"}

UniformValue = float | int | tuple[float, ...]


def filtered(name: str, placement: Placement) -> str:
    """Which variant of "mount" or "scale" draws a placement."""
    return name + {1: "", 2: "+area2"}.get(placement.taps, "+area")


class Pass:
    """One program with its vertex array; draws one full-viewport triangle."""

    def __init__(self, ctx: moderngl.Context, vertex: Source, fragment: Source, check: ShaderCheck) -> None:
        for kind, source in ((VERTEX, vertex), (FRAGMENT, fragment)):
            if (log := check(kind, source.text)) is not None:
                raise ShaderFault(source.explain(log))
        try:
            self._program = ctx.program(vertex_shader=vertex.text, fragment_shader=fragment.text)
        except moderngl.Error as error:
            raise ShaderFault(fragment.explain(_bare(str(error)))) from None
        members = {name: self._program[name] for name in self._program}
        self._uniforms = {name: member for name, member in members.items() if isinstance(member, moderngl.Uniform)}
        try:
            _check_types(self._uniforms, fragment.name)
        except ShaderFault:
            self._program.release()
            raise
        for name, unit in TEXTURE_UNITS.items():
            self.set(name, unit)
        self._array = ctx.vertex_array(self._program, [])
        self.texts = vertex.text, fragment.text

    def uses(self, name: str) -> bool:
        """Whether the driver kept a uniform of that name."""
        return name in self._uniforms

    def set(self, name: str, value: UniformValue) -> None:
        """Sets a uniform, or does nothing where the program has none of that name."""
        if (uniform := self._uniforms.get(name)) is not None:
            uniform.value = value

    def feed(self, values: Mapping[str, UniformValue]) -> None:
        """`set` for each."""
        for name, value in values.items():
            self.set(name, value)

    def draw(self, target: moderngl.Framebuffer, placement: Placement) -> None:
        """Draws into the placement's viewport; leaves the target bound."""
        self.set("u_uv_origin", placement.origin)
        self.set("u_uv_across", placement.across)
        self.set("u_uv_up", placement.up)
        self.set("u_uv_per_x", placement.per_x)
        self.set("u_uv_per_y", placement.per_y)
        self.set("u_taps", placement.taps)
        target.use()
        target.viewport = placement.viewport
        self._array.render(moderngl.TRIANGLES, vertices=3)

    def release(self) -> None:
        self._array.release()
        self._program.release()


def compile_all(
    ctx: moderngl.Context, files: ShaderFiles, check: ShaderCheck, current: Mapping[str, Pass] = MappingProxyType({})
) -> dict[str, Pass]:
    """Every variant. One of `current` whose source is the same is taken over; the others of `current` are released.

    ShaderFault names file, line and the driver's message; then `current` is whole and nothing else is left behind.
    """
    fresh: dict[str, Pass] = {}
    kept: dict[str, Pass] = {}
    try:
        vertex = files.read(VERTEX_FILE)
        sources = {name: files.read(name) for name in dict.fromkeys(file for file, _ in VARIANTS.values())}
        for variant, (name, defines) in VARIANTS.items():
            fragment = sources[name].with_defines(defines)
            old = current.get(variant)
            if old is not None and old.texts == (vertex.text, fragment.text):
                kept[variant] = old
            else:
                fresh[variant] = Pass(ctx, vertex, fragment, check)
    except ShaderFault:
        for program in fresh.values():
            program.release()
        raise
    for variant, program in current.items():
        if variant not in kept:
            program.release()
    return kept | fresh


def _check_types(uniforms: Mapping[str, moderngl.Uniform], file: str) -> None:
    for name, uniform in uniforms.items():
        wanted = _TYPES.get(name)
        declared = _GL_TYPES.get(
            getattr(uniform, "gl_type", 0), "another type"
        )  # set by the C module, unknown to pyright
        if uniform.array_length != 1:
            declared += f"[{uniform.array_length}]"
        if wanted is not None and declared != wanted:
            raise ShaderFault(f"{file}: {name} is declared as {declared}; it must be {wanted}")


def _bare(log: str) -> str:
    """moderngl's message without its headings."""
    return log.split("=\n", 1)[-1]
