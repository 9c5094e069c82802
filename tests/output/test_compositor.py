"""Pixels of the look and of the mount, read back from a real GL context."""

from collections.abc import Callable
from pathlib import Path

import moderngl
import numpy as np
import pytest

from installation.errors import DisplayError
from installation.output.compositor import Compositor
from installation.output.hud import HudText
from installation.output.noise import blue_noise, triangular
from installation.output.placement import FITS, ROTATIONS, place
from installation.show.look import Grade

SIZE = (96, 64)
Shown = Callable[..., np.ndarray]


def frame(r: float, g: float, b: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    pixels = np.empty((size[1], size[0], 4), np.uint8)
    pixels[:] = (r, g, b, 255)
    return pixels


def noise(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    pixels[..., 3] = 255
    return pixels


def light(code: np.ndarray) -> np.ndarray:
    c = code.astype(np.float64) / 255.0
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def code(value: np.ndarray) -> np.ndarray:
    return 255.0 * np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


@pytest.fixture
def compositor(ctx: moderngl.Context, shaders: Path):
    made = Compositor(ctx, shaders, size=SIZE)
    yield made
    made.release()


def show(
    compositor: Compositor,
    ctx: moderngl.Context,
    output: tuple[int, int] = SIZE,
    *,
    fit: str = "contain",
    rotate: int = 0,
    hud: HudText | None = None,
    dither: bool = False,
) -> np.ndarray:
    """What the mount draws, as Frame."""
    texture = ctx.texture(output, 4)
    target = ctx.framebuffer([texture])
    target.clear(1.0, 0.0, 1.0, 0.0)
    compositor.mount(target, output, fit=fit, rotate=rotate, hud=hud, dither=dither)
    pixels = np.frombuffer(target.read(components=4, alignment=1), np.uint8).reshape(output[1], output[0], 4)
    target.release()
    texture.release()
    return pixels[::-1].copy()


def look(compositor: Compositor, a: int = 0, b: int = 0, mix: float = 0.0, **other: object) -> None:
    settings: dict = {"crossfade": "mix", "grade": Grade(), "blackout": 0.0, "time_s": 0.0} | other
    compositor.look(a, b, mix, **settings)


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_the_neutral_look_is_exact_to_the_bit(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, noise(1))
    look(compositor)
    assert difference(show(compositor, ctx), noise(1)) == 0
    assert difference(compositor.read_look(), noise(1)) == 0


def test_every_code_value_survives(compositor: Compositor, ctx: moderngl.Context) -> None:
    ramp = frame(0, 0, 0)
    ramp[..., :3] = (np.arange(SIZE[0] * SIZE[1]) % 256).reshape(SIZE[1], SIZE[0], 1)
    compositor.upload(0, ramp)
    look(compositor)
    assert difference(show(compositor, ctx), ramp) == 0


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("rotate", ROTATIONS)
def test_at_one_to_one_every_fit_turns_the_picture_clockwise(
    compositor: Compositor, ctx: moderngl.Context, fit: str, rotate: int
) -> None:
    compositor.upload(0, noise(2))
    look(compositor)
    output = SIZE if rotate in (0, 180) else (SIZE[1], SIZE[0])
    shown = show(compositor, ctx, output, fit=fit, rotate=rotate)
    assert difference(shown, np.rot90(noise(2), -rotate // 90)) == 0


def test_dither_moves_a_code_by_one_at_most_and_keeps_the_mean(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, noise(3))
    look(compositor)
    shown = show(compositor, ctx, dither=True)
    assert difference(shown, noise(3)) == 1
    middle = frame(100, 150, 200)
    compositor.upload(0, middle)
    look(compositor)
    shown = show(compositor, ctx, dither=True)
    # Mesa's software sampler decodes sRGB to within 0.35 of a code; hardware and the dither itself are far closer.
    assert np.abs(shown[..., :3].mean((0, 1)) - (100, 150, 200)).max() < 0.4


def test_dither_shows_what_lies_between_two_codes(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, frame(100, 100, 100))
    compositor.upload(1, frame(101, 101, 101))
    means = []
    for mix in (0.0, 0.25, 0.5, 0.75, 1.0):
        look(compositor, 0, 1, mix)
        means.append(show(compositor, ctx, dither=True)[..., :3].mean())
    assert means[-1] - means[0] == pytest.approx(1.0, abs=0.1)
    assert np.abs(np.diff(means) - 0.25).max() < 0.05


def test_dither_does_not_flicker(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, noise(4))
    look(compositor, time_s=1.0)
    first = show(compositor, ctx, dither=True)
    look(compositor, time_s=2.0)
    assert difference(show(compositor, ctx, dither=True), first) == 0


def test_a_blend_sends_out_the_blend_of_the_light(compositor: Compositor) -> None:
    compositor.upload(0, noise(5))
    compositor.upload(1, noise(6))
    for mix in (0.1, 0.5, 0.8):
        look(compositor, 0, 1, mix)
        wanted = code((1 - mix) * light(noise(5)[..., :3]) + mix * light(noise(6)[..., :3]))
        assert np.abs(compositor.read_look()[..., :3] - wanted).max() < 0.9  # rounding, and Mesa's decoding


def test_a_moving_edge_does_not_pump(compositor: Compositor, ctx: moderngl.Context) -> None:
    stripes = np.repeat((np.arange(SIZE[0]) // 4 % 2 * 255)[None, :, None], SIZE[1], 0).astype(np.uint8)
    near = frame(0, 0, 0)
    near[..., :3] = stripes
    compositor.upload(0, near)
    compositor.upload(1, np.roll(near, 2, axis=1))
    means = []
    for mix in np.linspace(0, 1, 9):
        look(compositor, 0, 1, float(mix))
        means.append(light(compositor.read_look()[..., :3]).mean())
    assert max(means) - min(means) < 0.005 * means[0]


def test_identical_frames_blend_to_themselves(compositor: Compositor) -> None:
    compositor.upload(0, noise(7))
    compositor.upload(1, noise(7))
    look(compositor, 0, 1, 0.37)
    assert difference(compositor.read_look(), noise(7)) == 0


def test_cut_shows_the_nearer_frame(compositor: Compositor) -> None:
    compositor.upload(0, noise(1))
    compositor.upload(1, noise(2))
    look(compositor, 0, 1, 0.49, crossfade="cut")
    assert difference(compositor.read_look(), noise(1)) == 0
    look(compositor, 0, 1, 0.51, crossfade="cut")
    assert difference(compositor.read_look(), noise(2)) == 0


def test_dissolve_starts_and_ends_clean_and_changes_places_one_after_another(compositor: Compositor) -> None:
    compositor.upload(0, frame(0, 0, 0))
    compositor.upload(1, frame(255, 255, 255))
    shares = []
    before = np.zeros(SIZE[::-1])
    for mix in np.linspace(0, 1, 11):
        look(compositor, 0, 1, float(mix), crossfade="dissolve")
        now = light(compositor.read_look()[..., 0])
        assert (now >= before - 1e-6).all()
        before = now
        shares.append(now.mean())
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert np.abs(np.array(shares) - np.linspace(0, 1, 11)).max() < 0.12


def test_an_unknown_crossfade_is_refused(compositor: Compositor) -> None:
    with pytest.raises(ValueError, match="wipe"):
        look(compositor, crossfade="wipe")


def graded(compositor: Compositor, rgb: tuple[int, int, int], **numbers: object) -> np.ndarray:
    compositor.upload(0, frame(*rgb))
    look(compositor, grade=Grade(**numbers))  # pyright: ignore[reportArgumentType]
    return compositor.read_look()[SIZE[1] // 2, SIZE[0] // 2, :3].astype(int)


def test_brightness_is_a_gain_in_light(compositor: Compositor) -> None:
    wanted = code(0.5 * light(np.array([200, 100, 50])))
    assert np.abs(graded(compositor, (200, 100, 50), brightness=0.5) - wanted).max() <= 1


def test_contrast_turns_about_middle_grey(compositor: Compositor) -> None:
    assert graded(compositor, (128, 128, 128), contrast=1.7)[0] == pytest.approx(128, abs=1)
    assert graded(compositor, (192, 64, 128), contrast=0.5).tolist() == pytest.approx([160, 96, 128], abs=1)


def test_saturation_zero_is_rec_709_luma(compositor: Compositor) -> None:
    luma = 0.2126 * 200 + 0.7152 * 100 + 0.0722 * 30
    assert graded(compositor, (200, 100, 30), saturation=0.0).tolist() == pytest.approx([luma] * 3, abs=1)


def test_gamma_above_one_lifts_the_midtones_and_leaves_the_ends(compositor: Compositor) -> None:
    assert graded(compositor, (0, 128, 255), gamma=2.0).tolist() == pytest.approx([0, 181, 255], abs=1)


def test_lift_shows_in_the_blacks(compositor: Compositor) -> None:
    assert graded(compositor, (0, 0, 0), lift=(0.1, 0.2, 0.0)).tolist() == pytest.approx([25.5, 51, 0], abs=1)


def test_tint_is_a_gain_per_channel(compositor: Compositor) -> None:
    wanted = code(light(np.array([200, 200, 200])) * (1.0, 0.8, 0.6))
    assert np.abs(graded(compositor, (200, 200, 200), tint=(1.0, 0.8, 0.6)) - wanted).max() <= 1


@pytest.mark.parametrize("tint", [(1.0, 0.8, 0.6), (0.7, 0.9, 1.0)])
def test_a_tint_stays_where_the_colours_go(compositor: Compositor, tint: tuple[float, float, float]) -> None:
    toned = graded(compositor, (90, 150, 200), saturation=0.0, tint=tint)
    luma = 0.2126 * 90 + 0.7152 * 150 + 0.0722 * 200
    wanted = code(light(np.array([luma] * 3)) * tint)
    # The shader's curve has no toe: two codes or so.
    assert np.abs(toned - wanted).max() <= 3
    assert np.abs(graded(compositor, (90, 150, 200), saturation=0.999, tint=tint)
                  - graded(compositor, (90, 150, 200), tint=tint)).max() <= 1  # fmt: skip


def test_a_tint_may_take_a_channel_away(compositor: Compositor) -> None:
    red, green, blue = graded(compositor, (90, 150, 200), saturation=0.0, tint=(1.0, 0.0, 1.0))
    assert green <= 1
    assert red == blue > 20
    # Contrast lifts the channel off 0, which is no reason for the others to jump.
    toned = graded(compositor, (90, 150, 200), contrast=0.9, saturation=0.9, tint=(1.0, 0.0, 1.0))
    pale = 0.9 * np.array([90, 0, 200]) + 0.1 * (0.2126 * 90 + 0.0722 * 200) * np.array([1, 0, 1])
    assert np.abs(toned - (0.9 * (pale - 127.5) + 127.5)).max() <= 2


def test_a_vignette_of_one_blackens_the_corners_and_leaves_the_middle(compositor: Compositor) -> None:
    assert graded(compositor, (200, 200, 200), vignette=1.0).tolist() == [200, 200, 200]
    corners = compositor.read_look()[[0, 0, -1, -1], [0, -1, 0, -1], :3]
    assert corners.max() < 12


def test_blackout_ends_in_black_and_falls_evenly(compositor: Compositor) -> None:
    compositor.upload(0, frame(240, 240, 240))
    seen = []
    for blackout in (0.0, 0.25, 0.5, 0.75, 1.0):
        look(compositor, blackout=blackout)
        seen.append(int(compositor.read_look()[0, 0, 0]))
    assert seen[0] == 240
    assert seen[-1] == 0
    assert np.abs(np.diff(seen) + 60).max() < 12


def test_grain_has_the_asked_strength_and_depends_on_show_time_alone(compositor: Compositor) -> None:
    compositor.upload(0, frame(128, 128, 128))

    def at(time_s: float) -> np.ndarray:
        look(compositor, grade=Grade(grain=8 / 255), time_s=time_s)
        return compositor.read_look()[..., 0].astype(float)

    first = at(1e7 + 0.01)
    assert first.std() == pytest.approx(8.0, rel=0.1)
    assert first.mean() == pytest.approx(128.0, abs=0.7)
    assert np.abs(at(1e7 + 1.0) - first).max() > 5
    assert (at(1e7 + 0.01) == first).all()


def test_native_is_pixel_for_pixel_centred_on_black(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, noise(8))
    look(compositor)
    shown = show(compositor, ctx, (120, 100), fit="native")
    assert difference(shown[18:82, 12:108], noise(8)) == 0
    shown[18:82, 12:108] = (0, 0, 0, 255)
    assert (shown == (0, 0, 0, 255)).all()
    small = show(compositor, ctx, (50, 40), fit="native")
    assert difference(small, noise(8)[12:52, 23:73]) == 0


def test_contain_leaves_bars_and_cover_leaves_none(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, frame(255, 255, 255))
    look(compositor)
    bars = show(compositor, ctx, (200, 64), fit="contain")[..., 0]
    assert (bars[:, 52:148] == 255).all()
    assert (bars[:, :52] == 0).all()
    assert (bars[:, 148:] == 0).all()
    for fit in ("cover", "fill"):
        assert (show(compositor, ctx, (200, 64), fit=fit) == 255).all()


def test_cover_keeps_the_aspect_and_fill_does_not(compositor: Compositor, ctx: moderngl.Context) -> None:
    card = frame(0, 0, 0)
    card[16:48, 32:64] = 255
    compositor.upload(0, card)
    look(compositor)
    for fit, wanted in (("cover", (64, 64)), ("fill", (64, 32))):
        white = show(compositor, ctx, (192, 64), fit=fit)[..., 0] > 188  # half the light
        assert (white.any(0).sum(), white.any(1).sum()) == wanted


def test_a_picture_made_smaller_is_averaged_in_light(ctx: moderngl.Context, shaders: Path) -> None:
    compositor = Compositor(ctx, shaders, size=(256, 256))
    checks = np.zeros((256, 256, 4), np.uint8)
    checks[..., :3] = (np.indices((256, 256)).sum(0) % 2 * 255)[..., None]
    compositor.upload(0, checks)
    look(compositor)
    for side in (64, 128, 32):
        assert np.abs(show(compositor, ctx, (side, side))[..., 0].astype(int) - 188).max() <= 1
    compositor.release()


def test_fine_lines_do_not_alias_when_made_smaller(ctx: moderngl.Context, shaders: Path) -> None:
    compositor = Compositor(ctx, shaders, size=(256, 256))
    lines = np.zeros((256, 256, 4), np.uint8)
    lines[:, ::2, :3] = 255
    compositor.upload(0, lines)
    look(compositor)
    shown = light(show(compositor, ctx, (180, 180))[90, 2:-2, 0])
    assert np.ptp(shown) < 0.35  # one sample a pixel gives a beat over the full range, 1.0
    compositor.release()


def test_a_frame_of_another_size_is_scaled_to_the_picture(compositor: Compositor) -> None:
    compositor.upload(0, frame(10, 20, 30, size=(7, 5)))
    compositor.upload(0, frame(40, 50, 60, size=(300, 200)))
    look(compositor)
    assert difference(compositor.read_look(), frame(40, 50, 60)) == 0


def test_an_empty_slot_is_black(compositor: Compositor, ctx: moderngl.Context) -> None:
    look(compositor, 3, 4, 0.5)
    assert (show(compositor, ctx, (50, 50)) == (0, 0, 0, 255)).all()


def test_what_is_no_frame_is_refused(compositor: Compositor) -> None:
    for wrong in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 4), np.float32), np.zeros((0, 4, 4), np.uint8)):
        with pytest.raises(ValueError, match="Frame"):
            compositor.upload(0, wrong)


def test_a_picture_beyond_the_gpu_is_a_clear_error(ctx: moderngl.Context, shaders: Path) -> None:
    side = int(ctx.info["GL_MAX_TEXTURE_SIZE"]) + 1
    with pytest.raises(DisplayError, match=f"{side} x 16 px does not fit"):
        Compositor(ctx, shaders, size=(side, 16))


def test_the_hud_is_on_the_mount_and_not_on_the_look(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, frame(90, 90, 90))
    look(compositor)
    plain = show(compositor, ctx, (480, 320))
    shown = show(compositor, ctx, (480, 320), hud=HudText(("60.0 fps", "seed 7")))
    changed = np.argwhere((shown != plain).any(2))
    assert changed.min(0).min() >= 8
    assert changed.max(0)[0] < 80
    assert changed.max(0)[1] < 160
    assert (shown[..., 3] == 255).all()
    assert difference(compositor.read_look(), frame(90, 90, 90)) == 0
    assert (show(compositor, ctx, (480, 320)) == plain).all()


@pytest.mark.parametrize("rotate", ROTATIONS)
def test_the_hud_turns_with_the_picture(compositor: Compositor, ctx: moderngl.Context, rotate: int) -> None:
    look(compositor)
    hud = HudText(("60.0 fps", "seed 7"))
    upright = show(compositor, ctx, (480, 320), hud=hud)
    output = (480, 320) if rotate in (0, 180) else (320, 480)
    assert difference(show(compositor, ctx, output, rotate=rotate, hud=hud), np.rot90(upright, -rotate // 90)) == 0


def test_the_signature_stands_still_exactly_while_the_pixels_do(compositor: Compositor) -> None:
    def signature(**other: object) -> object:
        settings: dict = {"a": 0, "b": 1, "mix": 0.5, "time_s": 1.0} | other
        look(compositor, **settings)
        return compositor.signature((64, 64), fit="contain", rotate=0, hud=None)

    compositor.upload(0, noise(1))
    compositor.upload(1, noise(2))
    first = signature()
    assert signature(time_s=2.0) == first
    assert signature(mix=0.6) != first
    assert signature(grade=Grade(contrast=1.1)) != first
    assert signature(blackout=0.5) != first
    assert compositor.signature((64, 65), fit="contain", rotate=0, hud=None) != first
    assert signature(grade=Grade(grain=0.1), time_s=1.0) != signature(grade=Grade(grain=0.1), time_s=2.0)
    assert signature(b=0, mix=0.2) == signature(b=0, mix=0.7)
    assert signature() == first
    compositor.upload(0, noise(3))
    assert compositor.signature((64, 64), fit="contain", rotate=0, hud=None) != first


def test_pixels_follow_an_upload_without_a_new_look(compositor: Compositor) -> None:
    compositor.upload(0, noise(1))
    look(compositor)
    compositor.read_look()
    compositor.upload(0, noise(2))
    assert difference(compositor.read_look(), noise(2)) == 0


def test_warming_up_leaves_the_picture_alone(compositor: Compositor, ctx: moderngl.Context) -> None:
    compositor.upload(0, noise(1))
    look(compositor)
    before = show(compositor, ctx)
    texture = ctx.texture(SIZE, 4)
    target = ctx.framebuffer([texture])
    compositor.warm_up(target, SIZE, fit="contain", rotate=0)
    target.release()
    texture.release()
    assert difference(show(compositor, ctx), before) == 0


def test_the_noise_tile_is_uniform_and_blue() -> None:
    tile = blue_noise(1)
    assert np.array_equal(np.sort(tile, axis=None), ((np.arange(4096) + 0.5) / 4096).astype(np.float32))
    power = np.abs(np.fft.fft2(tile - tile.mean())) ** 2
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    assert power[f < 0.1].mean() < 0.05 * power[f > 0.3].mean()
    shaped = triangular(tile)
    assert shaped.std() == pytest.approx(1 / np.sqrt(6), rel=0.01)
    assert np.abs(shaped).max() < 1.0


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("rotate", ROTATIONS)
def test_every_viewport_lies_on_the_output(fit: str, rotate: int) -> None:
    for picture in ((1, 1), (1024, 1024), (3, 4000)):
        for output in ((1, 1), (1920, 1080), (1080, 1921)):
            x, y, w, h = place(picture, output, fit=fit, rotate=rotate).viewport
            assert w >= 1
            assert h >= 1
            assert 0 <= x <= x + w <= output[0]
            assert 0 <= y <= y + h <= output[1]


def test_an_unknown_fit_or_rotation_is_refused() -> None:
    with pytest.raises(ValueError, match="stretch"):
        place((4, 4), (4, 4), fit="stretch", rotate=0)
    with pytest.raises(ValueError, match="45"):
        place((4, 4), (4, 4), fit="fill", rotate=45)
