"""The second reader of ncnn's two files: the package ncnn itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def ncnn_picture(param: bytes, weights: bytes, picture: np.ndarray, folder: Path) -> np.ndarray:
    """What the ncnn package makes of float32 [3, H, W] in 0..1, in plain fp32 arithmetic. The two files are written to `folder`."""
    ncnn = pytest.importorskip("ncnn", reason="the second reader, the package ncnn, is not installed")
    net = ncnn.Net()
    for option in (
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_storage",
        "use_winograd_convolution",
    ):
        setattr(net.opt, option, False)
    net.opt.num_threads = 1
    for name, data in (("m.param", param), ("m.bin", weights)):
        (folder / name).write_bytes(data)
    assert net.load_param(str(folder / "m.param")) == 0
    assert net.load_model(str(folder / "m.bin")) == 0
    with net.create_extractor() as extractor:
        extractor.input("data", ncnn.Mat(np.ascontiguousarray(picture)).clone())
        status, out = extractor.extract("output")
    assert status == 0
    return np.array(out)
