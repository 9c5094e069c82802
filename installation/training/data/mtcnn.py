"""Faces and five points by MTCNN (Zhang et al., IEEE Signal Processing Letters 2016, arXiv 1604.02878): three small networks in a row.

The weights are those of the wheel `facenet-pytorch` (MIT), read as data; its code, which wants an old torch, is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from installation.errors import CheckpointError
from installation.training.data.extra import EXTRA_FIX, wheel_files

_THRESHOLDS = (0.6, 0.7, 0.7)
_PYRAMID = 0.709
_FILES = ("data/pnet.pt", "data/rnet.pt", "data/onet.pt")


class _Net(nn.Module):
    """conv-PReLU(-pool) three or four times, then a dense layer and heads. The names are those of the weight files."""

    def __init__(
        self, widths: list[tuple[int, int, int]], dense: tuple[int, int] | None, heads: dict[str, int]
    ) -> None:
        """widths: output channels, kernel, pool kernel (0: none) of each convolution. dense: inputs, outputs; None: heads are 1×1 conv."""
        super().__init__()
        self.pools = [pool for _, _, pool in widths]
        channels = 3
        for i, (width, kernel, _) in enumerate(widths, 1):
            self.add_module(f"conv{i}", nn.Conv2d(channels, width, kernel))
            self.add_module(f"prelu{i}", nn.PReLU(width))
            channels = width
        self.dense = f"dense{len(widths) + 1}" if dense else ""
        if dense:
            self.add_module(self.dense, nn.Linear(*dense))
            self.add_module(self.dense.replace("dense", "prelu"), nn.PReLU(dense[1]))
        self.heads = list(heads)
        for name, outputs in heads.items():
            self.add_module(name, nn.Linear(dense[1], outputs) if dense else nn.Conv2d(channels, outputs, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x: [N,3,H,W], about -1..1. The heads' outputs; the first is face or not, as a probability [N] or [N,H',W']."""
        for i, pool in enumerate(self.pools, 1):
            x = self.get_submodule(f"prelu{i}")(self.get_submodule(f"conv{i}")(x))
            if pool:
                x = F.max_pool2d(x, pool, 2, ceil_mode=True)
        if self.dense:
            x = self.get_submodule(self.dense)(x.permute(0, 3, 2, 1).flatten(1))
            x = self.get_submodule(self.dense.replace("dense", "prelu"))(x)
        first, *others = (self.get_submodule(name)(x) for name in self.heads)
        return [first.softmax(1)[:, 1], *others]


class MTCNN:
    """The detector. Made once a process; `detect` is its one question."""

    def __init__(self) -> None:
        """MissingExtraError if the wheel with the weights is not installed; CheckpointError if they do not fit."""
        files = wheel_files("facenet-pytorch", _FILES)
        self.p = _Net([(10, 3, 2), (16, 3, 0), (32, 3, 0)], None, {"conv4_1": 2, "conv4_2": 4})
        self.r = _Net([(28, 3, 3), (48, 3, 3), (64, 2, 0)], (576, 128), {"dense5_1": 2, "dense5_2": 4})
        layers = [(32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)]
        self.o = _Net(layers, (1152, 256), {"dense6_1": 2, "dense6_2": 4, "dense6_3": 10})
        for net, file in zip((self.p, self.r, self.o), files, strict=True):
            weights: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
            try:
                net.load_state_dict(weights)
            except RuntimeError as error:
                raise CheckpointError("the weights do not fit", where=str(file), fix=EXTRA_FIX) from error
            net.eval()

    @torch.inference_mode()
    def detect(self, pixels: np.ndarray, min_face: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Faces of at least min_face px. pixels: uint8 [H,W,3].

        Returns boxes [N,4] (left, top, right, bottom), points [N,5,2] (the eye at the picture's left, the other, nose, mouth's corners),
        confidence [N], float32 in px, best first.
        """
        img = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
        boxes = self._propose(img, max(min_face, 20))
        if len(boxes):
            score, shift = self.r(_cut(img, boxes, 24))
            boxes, score, (shift,) = _select(boxes, score, _THRESHOLDS[1], shift)
            keep = _nms(boxes, score, 0.7)
            boxes = _square(_shifted(boxes[keep], shift[keep]))
        if not len(boxes):
            return np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32)
        score, shift, points = self.o(_cut(img, boxes, 48))
        boxes, score, (shift, points) = _select(boxes, score, _THRESHOLDS[2], shift, points)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        points = points.view(-1, 2, 5).transpose(1, 2) * sides[:, None] + boxes[:, None, :2] - 1
        boxes = _shifted(boxes, shift)
        keep = _nms(boxes, score, 0.7, smaller=True)
        return boxes[keep].numpy(), points[keep].numpy(), score[keep].numpy()

    def _propose(self, img: Tensor, min_face: int) -> Tensor:
        """The first network over a pyramid of sizes: square boxes [N,4]."""
        height, width = img.shape[2:]
        scale = 12.0 / min_face
        boxes, scores, shifts = [], [], []
        while min(height, width) * scale >= 12:
            score, shift = self.p(
                _normal(F.interpolate(img, (int(height * scale + 1), int(width * scale + 1)), mode="area"))
            )
            rows, columns = (score[0] >= _THRESHOLDS[0]).nonzero(as_tuple=True)
            corner = torch.stack((columns, rows), 1) * 2.0
            found = torch.cat((((corner + 1) / scale).floor(), ((corner + 12) / scale).floor()), 1)
            keep = _nms(found, score[0, rows, columns], 0.5)
            boxes.append(found[keep])
            scores.append(score[0, rows, columns][keep])
            shifts.append(shift[0, :, rows, columns].T[keep])
            scale *= _PYRAMID
        if not boxes:
            return torch.zeros(0, 4)
        box, shift = torch.cat(boxes), torch.cat(shifts)
        keep = _nms(box, torch.cat(scores), 0.7)
        box, shift = box[keep], shift[keep]
        return _square(box + shift * (box[:, 2:] - box[:, :2]).repeat(1, 2))


def _normal(img: Tensor) -> Tensor:
    return (img - 127.5) / 128


def _select(boxes: Tensor, score: Tensor, threshold: float, *others: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    good = score > threshold
    return boxes[good], score[good], [other[good] for other in others]


def _shifted(boxes: Tensor, shift: Tensor) -> Tensor:
    """Boxes moved by shift [N,4], in parts of their sides."""
    return boxes + shift * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _square(boxes: Tensor) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2]
    longest = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + sides / 2 - longest / 2
    return torch.cat((corner, corner + longest), 1)


def _cut(img: Tensor, boxes: Tensor, size: int) -> Tensor:
    """[N,3,size,size]: the part of each box that lies in the picture, as the networks were trained."""
    height, width = img.shape[2:]
    cuts = []
    for left, top, right, bottom in boxes.trunc().int().tolist():
        left, top = min(max(left, 1), width), min(max(top, 1), height)
        right, bottom = max(min(right, width), left), max(min(bottom, height), top)
        cuts.append(F.interpolate(img[:, :, top - 1 : bottom, left - 1 : right], (size, size), mode="area"))
    return _normal(torch.cat(cuts))


def _nms(boxes: Tensor, scores: Tensor, threshold: float, *, smaller: bool = False) -> Tensor:
    """Indices of boxes that no better box covers, best first. smaller: overlap as a part of the smaller box, else of the union."""
    left, top, right, bottom = boxes.T.numpy() if len(boxes) else np.zeros((4, 0), np.float32)
    area = (right - left + 1) * (bottom - top + 1)
    order = np.argsort(-scores.numpy(), kind="stable")
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(int(best))
        w = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order]) + 1
        h = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order]) + 1
        shared = np.maximum(w, 0) * np.maximum(h, 0)
        whole = np.minimum(area[best], area[order]) if smaller else area[best] + area[order] - shared
        order = order[shared / np.maximum(whole, 1e-9) <= threshold]
    return torch.tensor(kept, dtype=torch.int64)
