"""Light frames: the sRGB curve, half floats, and that NaN is noticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from installation.models.light import LightPacker, light_from_code


def test_the_curve_is_srgb():
    code = torch.linspace(0, 1, 1001)
    c = code.numpy().astype(float)
    wanted = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    assert light_from_code(code).numpy() == pytest.approx(wanted, abs=1e-6)


def test_half_floats_of_light_hold_more_than_ten_bits_of_code_value():
    code = np.arange(4096) / 4095
    light = light_from_code(torch.from_numpy(code)).to(torch.float16).double().numpy()
    back = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(back - code).max() < 0.25 / 1023


@pytest.mark.parametrize("spoilt", [None, float("nan"), float("inf")])
def test_a_picture_is_packed_and_its_soundness_said(spoilt):
    light = torch.rand(1, 3, 5, 7)
    if spoilt is not None:
        light[0, 1, 2, 3] = spoilt
    out = np.zeros((5, 7, 4), np.float16)
    assert LightPacker(7, 5).pack(light, out) is (spoilt is None)
    if spoilt is None:
        assert (out[..., :3] == light[0].permute(1, 2, 0).numpy().astype(np.float16)).all()
        assert (out[..., 3] == 1).all()
