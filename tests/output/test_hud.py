"""HUD text as pixels."""

import subprocess
import sys

import numpy as np
import pytest

from installation.output.hud import HudText, rasterise, text_height


def test_text_is_light_on_a_dim_panel_with_premultiplied_alpha() -> None:
    pixels = rasterise(HudText(("60.0 fps", "seed 1234")), 16)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 4
    assert (pixels[..., :3] <= pixels[..., 3:]).all()
    assert pixels[0, 0].tolist() == [0, 0, 0, 150]
    assert pixels[..., 0].max() == 255


def test_every_line_has_its_place() -> None:
    ink = rasterise(HudText(("one", "", "three")), 20)[..., 0].max(1) > 100
    starts = np.flatnonzero(np.diff(np.concatenate([[0], ink.astype(int)])) == 1)
    assert starts[-1] - starts[0] == pytest.approx(2 * 27, abs=6)


def test_size_follows_the_output() -> None:
    assert text_height(1080) == 22
    assert text_height(100) == 10
    small, large = (rasterise(HudText(("12345",)), px).shape for px in (11, 22))
    assert large[0] == pytest.approx(2 * small[0], rel=0.1)


@pytest.mark.parametrize("lines", [(), ("",), ("\x00\x1b[31m\n\t",), ("x" * 10_000,), ("line",) * 500, ("日本 – ✓",)])
def test_any_text_gives_a_panel_of_bounded_size(lines: tuple[str, ...]) -> None:
    pixels = rasterise(HudText(lines), 12)
    assert 0 < pixels.shape[0] < 500
    assert 0 < pixels.shape[1] < 2000


def test_pillow_is_loaded_with_the_first_text() -> None:
    code = "import sys, installation.output.hud; print('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
