"""Text and watermarks: the detector of PP-OCR, whose ONNX file lies in the wheel `rapidocr`, run by onnxruntime. Reads no letters.

Of that wheel only the file is used: importing its code would bring OpenCV and set up logging. Without it the score is simply not there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from installation.errors import CheckpointError
from installation.training.data.extra import EXTRA_FIX, MissingExtraError, installed, wheel_files
from installation.training.picture import resize

# The network wants sides that are multiples of 32. Captions of 1/40 of the height are still 12 px high at this size.
_SIDE = 480
_PIXEL, _REGION = 0.3, 0.6
_THICKEST = 0.15


def available() -> bool:
    """Whether what the detector needs is installed. Imports nothing."""
    return installed("rapidocr") and installed("onnxruntime")


class TextDetector:
    """Made once a process."""

    def __init__(self) -> None:
        """MissingExtraError if rapidocr or onnxruntime is missing; CheckpointError if the network cannot be read."""
        (path,) = wheel_files("rapidocr", ["_det_small.onnx"])
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime is not installed", fix=EXTRA_FIX) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        # onnxruntime's own exceptions share no base class but this.
        except Exception as error:
            raise CheckpointError(f"cannot be read ({error})", where=str(path), fix=EXTRA_FIX) from error
        self._input = self._net.get_inputs()[0].name

    def area(self, pixels: np.ndarray) -> float:
        """Share of the picture uint8 [H,W,3] that is covered by text, 0..1."""
        return round(float(self.regions(pixels)[1]), 4)

    def regions(self, pixels: np.ndarray) -> tuple[list[tuple[int, int, int, int]], float]:
        """Boxes of text (left, top, right, bottom, in px of the picture), and the share of the picture they cover."""
        from scipy.ndimage import find_objects, label, mean

        height, width = pixels.shape[:2]
        scale = _SIDE / max(height, width)
        w, h = (max(32, round(side * scale / 32) * 32) for side in (width, height))
        # As the network was trained: BGR, -1..1.
        img = (resize(pixels, w, h)[:, :, ::-1] / 127.5 - 1).transpose(2, 0, 1)[None]
        answer: Any = self._net.run(None, {self._input: np.ascontiguousarray(img, np.float32)})[0]
        chance = np.asarray(answer)[0, 0]
        found: Any = label(chance > _PIXEL)
        marks, count = found
        sure = mean(chance, marks, range(1, count + 1)) if count else []
        boxes, covered = [], 0
        for region, certainty in zip(find_objects(marks), sure, strict=True):
            rows, columns = region
            thin, long = sorted((rows.stop - rows.start, columns.stop - columns.start))
            # A line of letters is thin and long. A portrait on plain paper lights up as one large region: it is no text.
            if certainty < _REGION or thin < 4 or long < 2 * thin or thin > _THICKEST * max(chance.shape):
                continue
            covered += thin * long
            x, y = width / chance.shape[1], height / chance.shape[0]
            boxes.append((int(columns.start * x), int(rows.start * y), int(columns.stop * x), int(rows.stop * y)))
        return boxes, min(1.0, covered / chance.size)
