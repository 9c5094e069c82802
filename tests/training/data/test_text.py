"""Captions and watermarks are found, portraits are not taken for text."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from installation.training.data.text import TextDetector, available

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector() -> TextDetector:
    if not available():
        pytest.skip("rapidocr and onnxruntime are not installed: they are in the extra `data`")
    return TextDetector()


def captioned(pixels: np.ndarray) -> np.ndarray:
    image = Image.fromarray(pixels).resize((450, 550))
    draw = ImageDraw.Draw(image)
    draw.text((60, 500), "© PHOTO AGENCY 2024", fill="white", font=ImageFont.load_default(28))
    return np.asarray(image)


def test_a_caption_is_found_where_it_is(detector: TextDetector, portrait: np.ndarray) -> None:
    boxes, area = detector.regions(captioned(portrait))
    assert 0.01 < area < 0.12
    assert any(top > 450 and right - left > 150 for left, top, right, _ in boxes)


def test_a_portrait_has_next_to_no_text(detector: TextDetector, portrait: np.ndarray) -> None:
    assert detector.area(portrait) < 0.01


def test_an_engraved_portrait_is_not_text(detector: TextDetector, engraving: np.ndarray) -> None:
    assert detector.area(engraving[: engraving.shape[0] * 9 // 10]) < 0.02


def test_a_tiny_picture_is_no_fault(detector: TextDetector) -> None:
    assert detector.area(np.zeros((32, 200, 3), np.uint8)) == 0
