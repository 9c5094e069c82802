"""Frames kept at the size at which they appear: scaled once, mounted in one pass, and the same to the eye as in two."""

import ctypes
import sys
from pathlib import Path

import moderngl
import numpy as np
import pytest

from installation.output.compositor import Compositor
from installation.output.placement import FITS, ROTATIONS, place, work_size
from installation.output.programs import FUSED, VARIANTS
from installation.show.look import Grade
from tests.output.test_compositor import code, difference, frame, light, look, noise, show

PICTURE = (128, 128)
GRADES = {
    "neutral": Grade(),
    "gain": Grade(brightness=0.7, tint=(1.0, 0.9, 0.8)),
    "grade": Grade(contrast=1.3, saturation=0.6, gamma=1.2, lift=(0.02, 0.0, 0.05), grain=0.03, vignette=0.7),
}


@pytest.fixture
def compositor(ctx: moderngl.Context, shaders: Path):
    made = Compositor(ctx, shaders, size=PICTURE)
    yield made
    made.release()


def smooth(size: tuple[int, int]) -> np.ndarray:
    """A Frame without detail, so that how it was scaled does not matter."""
    pixels = frame(0, 0, 0, size)
    x, y = (np.arange(n) / n for n in size)
    pixels[..., 0] = (40 + 180 * x)[None, :]
    pixels[..., 1] = (30 + 200 * y)[:, None]
    pixels[..., 2] = 90
    return pixels


def two_passes(compositor: Compositor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compositor, "_fusable", lambda variant: False)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("rotate", ROTATIONS)
def test_frames_of_the_work_size_lie_on_the_output_pixel_for_pixel(fit: str, rotate: int) -> None:
    for picture in ((1024, 1024), (1000, 333), (333, 1000), (64, 64)):
        for output in ((1280, 720), (719, 1279), (1000, 333), (37, 41)):
            work = work_size(picture, output, fit=fit, rotate=rotate, largest=16384)
            placement = place(picture, output, fit=fit, rotate=rotate, source=work)
            assert placement.exact or work == picture or fit == "fill"
            assert placement.taps == 1
            assert placement.viewport == place(picture, output, fit=fit, rotate=rotate).viewport
            assert work[0] * work[1] <= 2 * picture[0] * picture[1]


def test_the_work_size_is_where_the_picture_appears_before_it_is_turned() -> None:
    def of(output: tuple[int, int], fit: str = "contain", rotate: int = 0, largest: int = 16384) -> tuple[int, int]:
        return work_size((1024, 768), output, fit=fit, rotate=rotate, largest=largest)

    assert of((640, 640)) == (640, 480)
    assert of((640, 480), rotate=90) == (480, 360)
    assert of((640, 640), "cover") == (853, 640)
    assert of((640, 640), "native") == (1024, 768)
    assert of((1280, 960)) == (1280, 960)
    assert of((2048, 1536)) == (1024, 768)
    assert of((2048, 500), "fill") == (2048, 500)
    assert of((4000, 500), "fill") == (1024, 500)
    assert of((1280, 960), largest=1200) == (1024, 768)


@pytest.mark.parametrize("grade", GRADES)
@pytest.mark.parametrize("crossfade", ["mix", "dissolve", "cut"])
@pytest.mark.parametrize("rotate", ROTATIONS)
def test_one_pass_gives_what_two_give(
    compositor: Compositor,
    ctx: moderngl.Context,
    monkeypatch: pytest.MonkeyPatch,
    grade: str,
    crossfade: str,
    rotate: int,
) -> None:
    output = (110, 90)
    compositor.aim(output, fit="contain", rotate=rotate)
    compositor.upload(0, noise(1, PICTURE))
    compositor.upload(1, noise(2, PICTURE))
    look(compositor, 0, 1, 0.4, crossfade=crossfade, grade=GRADES[grade], blackout=0.1, time_s=3.0)
    one = show(compositor, ctx, output, rotate=rotate, dither=True)
    two_passes(compositor, monkeypatch)
    assert difference(one, show(compositor, ctx, output, rotate=rotate, dither=True)) <= 1


def test_one_pass_without_dither_rounds_the_exact_blend(compositor: Compositor, ctx: moderngl.Context) -> None:
    a, b = noise(1, PICTURE), noise(2, PICTURE)
    compositor.aim(PICTURE, fit="contain", rotate=0)
    compositor.upload(0, a)
    compositor.upload(1, b)
    look(compositor, 0, 1, 0.3)
    wanted = code(0.7 * light(a[..., :3]) + 0.3 * light(b[..., :3]))
    assert np.abs(show(compositor, ctx, PICTURE)[..., :3] - wanted).max() < 0.9  # rounding, and Mesa's decoding


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_a_neutral_picture_shown_at_its_size_is_exact_to_the_bit(
    compositor: Compositor, ctx: moderngl.Context, rotate: int
) -> None:
    assert not compositor.aim(PICTURE, fit="contain", rotate=rotate)
    compositor.upload(0, noise(3, PICTURE))
    look(compositor)
    assert difference(show(compositor, ctx, PICTURE, rotate=rotate), np.rot90(noise(3, PICTURE), -rotate // 90)) == 0


@pytest.mark.parametrize("output", [(90, 90), (64, 64), (30, 50), (150, 150)])
def test_scaling_a_frame_once_gives_what_scaling_each_picture_gives(
    compositor: Compositor, ctx: moderngl.Context, output: tuple[int, int]
) -> None:
    compositor.upload(0, noise(4, PICTURE))
    look(compositor)
    each = show(compositor, ctx, output)
    assert compositor.aim(output, fit="contain", rotate=0)
    compositor.upload(0, noise(4, PICTURE))
    assert difference(show(compositor, ctx, output), each) <= 1


def test_frames_are_averaged_in_light(compositor: Compositor, ctx: moderngl.Context) -> None:
    checks = frame(0, 0, 0, PICTURE)
    checks[..., :3] = (np.indices(PICTURE).sum(0) % 2 * 255)[..., None]
    for side in (64, 32, 16):
        compositor.aim((side, side), fit="contain", rotate=0)
        compositor.upload(0, checks)
        look(compositor)
        assert np.abs(show(compositor, ctx, (side, side))[..., 0].astype(int) - 188).max() <= 1


def test_the_blend_of_two_scaled_frames_shows_what_lies_between_two_codes(
    compositor: Compositor, ctx: moderngl.Context
) -> None:
    compositor.aim((64, 64), fit="contain", rotate=0)
    compositor.upload(0, frame(100, 100, 100, PICTURE))
    compositor.upload(1, frame(101, 101, 101, PICTURE))
    means = []
    for mix in (0.0, 0.25, 0.5, 0.75, 1.0):
        look(compositor, 0, 1, mix)
        means.append(show(compositor, ctx, (64, 64), dither=True)[..., :3].mean())
    assert np.abs(np.diff(means) - 0.25).max() < 0.05


def test_frames_from_before_a_resize_stay_in_place_until_new_ones_come(
    compositor: Compositor, ctx: moderngl.Context
) -> None:
    compositor.aim((64, 64), fit="contain", rotate=0)
    compositor.upload(0, smooth(PICTURE))
    look(compositor, 0, 0)
    before = compositor.signature((100, 100), fit="contain", rotate=0, hud=None)
    assert compositor.aim((100, 100), fit="contain", rotate=0)
    assert compositor.signature((100, 100), fit="contain", rotate=0, hud=None) != before
    old = show(compositor, ctx, (100, 100))
    compositor.upload(0, smooth(PICTURE))
    new = show(compositor, ctx, (100, 100))
    assert difference(old, new) <= 4
    assert (new[..., 3] == 255).all()


def test_the_rest_of_the_output_is_black(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.aim((200, 64), fit="contain", rotate=0)
    compositor.upload(0, frame(255, 255, 255, PICTURE))
    look(compositor)
    shown = show(compositor, ctx, (200, 64))
    assert (shown[:, 68:132] == 255).all()
    shown[:, 68:132] = (0, 0, 0, 255)
    assert (shown == (0, 0, 0, 255)).all()


def test_a_still_has_the_pictures_own_size_and_the_grade_of_now(compositor: Compositor) -> None:
    compositor.aim((50, 40), fit="contain", rotate=90)
    compositor.upload(0, noise(5, PICTURE))
    look(compositor)
    assert difference(compositor.still(noise(6, PICTURE)), noise(6, PICTURE)) == 0
    look(compositor, grade=Grade(brightness=0.5))
    wanted = code(0.5 * light(noise(6, PICTURE)[..., :3]))
    assert np.abs(compositor.still(noise(6, PICTURE))[..., :3] - wanted).max() <= 1
    look(compositor, blackout=1.0)
    assert (compositor.still(noise(6, PICTURE)) == (0, 0, 0, 255)).all()
    with pytest.raises(ValueError, match="Frame"):
        compositor.still(np.zeros((4, 4, 3), np.uint8))


def test_a_still_leaves_the_wall_alone(
    compositor: Compositor, ctx: moderngl.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    compositor.upload(0, noise(5, PICTURE))
    look(compositor)
    two_passes(compositor, monkeypatch)
    before = show(compositor, ctx, PICTURE)
    compositor.still(noise(6, PICTURE))
    assert difference(show(compositor, ctx, PICTURE), before) == 0


OWN_MOUNT = """#version 330 core
uniform sampler2D u_tex0;
in vec2 v_uv;
out vec4 o_code;
void main() { o_code = vec4(1.0 - texture(u_tex0, v_uv).rgb, 1.0); }
"""
OWN_LOOK = "#version 330 core\nout vec4 o_light;\nvoid main() { o_light = vec4(1.0, 0.0, 0.0, 1.0); }\n"


@pytest.mark.parametrize(("file", "text", "wanted"), [("mount", OWN_MOUNT, 0), ("look", OWN_LOOK, 255)])
def test_a_shader_written_anew_need_not_know_of_the_one_pass(
    ctx: moderngl.Context, shaders: Path, tmp_path: Path, file: str, text: str, wanted: int
) -> None:
    for path in shaders.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    compositor = Compositor(ctx, tmp_path, size=PICTURE)
    compositor.upload(0, frame(0, 0, 0, PICTURE))
    compositor.upload(1, frame(255, 255, 255, PICTURE))
    (tmp_path / f"{file}.frag").write_text(text)
    assert compositor.reload() is None
    look(compositor, 0, 1, 1.0)
    assert show(compositor, ctx, PICTURE)[64, 64, 0] == wanted
    compositor.release()


def test_every_look_has_its_one_pass_form() -> None:
    looks = [name for name, (file, _) in VARIANTS.items() if file == "look.frag"]
    assert looks
    for name in looks:
        file, defines = VARIANTS[FUSED + name]
        assert file == "mount.frag"
        assert defines.items() >= VARIANTS[name][1].items()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts objects through Linux' libGL")
def test_a_thousand_resizes_leave_no_gl_objects_behind(compositor: Compositor, ctx: moderngl.Context) -> None:
    gl = ctypes.CDLL("libGL.so.1")

    def living() -> tuple[int, int]:
        name = ctypes.c_uint()
        counts = []
        for kind in ("Texture", "Framebuffer"):
            getattr(gl, f"glGen{kind}s")(1, ctypes.byref(name))
            getattr(gl, f"glDelete{kind}s")(1, ctypes.byref(name))
            is_one = getattr(gl, f"glIs{kind}")
            is_one.restype = ctypes.c_ubyte
            counts.append(sum(bool(is_one(i)) for i in range(1, name.value + 64)))
        return counts[0], counts[1]

    target = ctx.simple_framebuffer((8, 8))
    look(compositor, 0, 1, 0.5)

    def turn(i: int) -> None:
        compositor.aim((8 + i % 90, 8), fit="fill", rotate=0)
        compositor.upload(i % 2, noise(7, PICTURE))
        # Every other one at a size that it was not aimed at, so that the off-screen target is made as well.
        compositor.mount(target, (8, 8), fit="contain" if i % 2 else "fill", rotate=0, hud=None)
        if i % 100 == 0:
            compositor.still(noise(8, PICTURE))

    for i in range(4):
        turn(i)
    before = living()
    for i in range(1000):
        turn(i)
    assert living() == before
    target.release()
