"""Judging a stage: what it makes of held-out pictures made small, and how its detail behaves on a walk.

The kit's pictures are split by turns into A and B. A is made small and enlarged by the stage; B, untouched, is what real detail looks
like. 100 is the distance of A itself to B, 0 that of A made small and enlarged by plain bicubic interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from installation.errors import ModelError
from installation.files import fingerprint
from installation.models import checkpoint as checkpoints
from installation.models import projection
from installation.models.cascade import check_chain
from installation.models.header import read_header
from installation.models.network import Upscaler
from installation.training.features.efficientnet import Features
from installation.training.features.laplacian import SMALLEST, LaplacianFeatures
from installation.training.judge.base import load_generator, walk_latents, warnings_of
from installation.training.judge.distances import FrechetDistance, KernelDistance, Whitening, halves
from installation.training.judge.judgement import Judgement, Number, beside
from installation.training.judge.kit import Kit
from installation.training.judge.measures import HALVES, HALVES_SEED, Scale, recentred, score
from installation.training.judge.spectrum import high_frequencies
from installation.training.picture import to_bytes, to_img
from installation.training.progress import Shared
from installation.training.records import now

PATCHES, MOST_PATCH, PATCH_SEED = 4, 64, 13
WALKS, WALK_FRAMES, WALK_STEP = 3, 12, 0.02
LEAST_PICTURES = 8


def judge_stage(
    checkpoint: Path,
    kit: Kit,
    *,
    base: Path | Sequence[Path] | None = None,
    psi: float = 1.0,
    device: torch.device | str = "cpu",
    progress: Shared | None = None,
    write: bool = True,
) -> Judgement:
    """The judgement of an upscaler's checkpoint by a kit of pictures of the size it makes; written beside it as JSON (write).

    base: the generator on whose walk the stage's steadiness is measured, or the whole cascade before the stage, generator first; without
    one it is not measured. ModelError where the checkpoint is no stage, or does not fit the kit's pictures or the cascade.
    """
    before = [base] if isinstance(base, Path) else list(base or [])
    tell = progress or (lambda what, share: None)
    stage = checkpoints.load(checkpoint)
    if not isinstance(stage, Upscaler):
        raise ModelError("is no stage", where=str(checkpoint), fix="Judge it as a base")
    stage.place(device)
    _check(stage, kit, checkpoint)
    tell("looking at the pictures", None)
    yardstick = Yardstick(kit, stage.scale, device)
    large = []
    for i, one in enumerate(yardstick.low):
        tell("enlarging", i / len(yardstick.low))
        large.append(_enlarge(stage, _img(one[None], device)))
    made = np.concatenate(large)
    found = yardstick.numbers(made)
    small = np.concatenate([to_bytes(shrink(_img(one[None], device), stage.scale)) for one in made])
    found["lowres_psnr"] = _mean([psnr(a, b) for a, b in zip(small, yardstick.low, strict=True)])
    found["paired_psnr"] = _mean([psnr(a, b) for a, b in zip(made, yardstick.real, strict=True)])
    warnings = warnings_of(checkpoint, kit)
    if before:
        tell("walking", None)
        found["steadiness"] = steadiness(stage, before, kit.first_seed, psi, device)
    else:
        warnings.append("no base was given: the stage's steadiness on a walk was not measured")
    header = read_header(checkpoint)
    settings = {"scale": stage.scale, "base": "+".join(map(fingerprint, before)) or None, "psi": psi}
    judgement = Judgement(
        kit=kit.hash,
        kind="stage",
        subject=header.name,
        sha256=fingerprint(checkpoint),
        nimg=header.nimg,
        settings=settings,
        numbers=found,
        made=now(),
        warnings=tuple(warnings),
        facts={"kit": kit.describe(), "parameters": header.parameters},
    )
    if write:
        judgement.write(beside(checkpoint, kit.hash, psi))
    return judgement


@torch.inference_mode()
def steadiness(
    stage: Upscaler, before: Sequence[Path], first_seed: int, psi: float, device: torch.device | str
) -> Number:
    """How much harder the stage's added detail jerks on a walk than the base's own finest octave does.

    Jerk: the mean square of the second difference in time, over the mean square; of S - up(down(S)) for the stage and of the same, with
    a factor 2, for the base; the ratio's square root. Detail carried along with the face gives a few units at most (it is finer, so the
    same motion changes it more); detail made anew in every picture gives the base's slowness the other way round, tens.

    before: the cascade that gives the stage its pictures, generator first. Whatever lies between, the yardstick is the base's motion: what
    an earlier stage makes anew in every picture would otherwise excuse what the stage makes of it.
    """
    generator = load_generator(before[0], device)
    _, stages, _ = check_chain(generator, [*(checkpoints.load(path).place(device) for path in before[1:]), stage], None)
    found = []
    for walk in range(WALKS):
        positions = 0.25 + WALK_STEP * np.arange(WALK_FRAMES)
        latents = walk_latents(generator, first_seed + walk, psi, positions)
        small = large = [generator.synthesis(ws) for ws in latents]
        for one in stages:
            large = [_call(one, img, generator.stage_w(ws)) for img, ws in zip(large, latents, strict=True)]
        fine = torch.cat([detail(img, 2) for img in small])
        added = torch.cat([detail(img, stage.scale) for img in large])
        found.append(math.sqrt(_jerk(added) / max(_jerk(fine), 1e-12)))
    return Number(float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(WALKS)))


def shrink(img: Tensor, scale: int) -> Tensor:
    """img [N, 3, H, W] made `scale` times smaller: by the filter of `models.projection`, else bicubic with anti-aliasing."""
    if scale in projection.SCALES:
        return projection.down(img, scale)
    size = (img.shape[2] // scale, img.shape[3] // scale)
    return F.interpolate(img, size, mode="bicubic", align_corners=False, antialias=True)


def grow(img: Tensor, scale: int) -> Tensor:
    """img [N, 3, H, W] made larger by plain bicubic interpolation."""
    return F.interpolate(img, scale_factor=scale, mode="bicubic", align_corners=False)


def detail(img: Tensor, scale: int) -> Tensor:
    """What is lost of img when it goes through a picture `scale` times smaller."""
    small = shrink(img, scale)
    return img - (projection.up(small, scale) if scale in projection.SCALES else grow(small, scale))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise ratio of two uint8 pictures, dB; 99 where they are equal."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return min(99.0, 10 * math.log10(255**2 / error)) if error else 99.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is measured of one set of pictures: features of its patches, in the pictures' order, and spectra."""

    bands: np.ndarray
    trained: np.ndarray | None
    spectra: np.ndarray


class _Patches:
    """The kit's features of patches: their size follows the pictures, their places are fixed by the kit."""

    def __init__(self, kit: Kit, device: torch.device | str) -> None:
        self.side = min(MOST_PATCH, kit.pictures.shape[3] // 2)
        self.bands = LaplacianFeatures(self.side, device)
        self.trained = Features(device) if kit.trained else None

    def cut(self, images: np.ndarray) -> np.ndarray:
        """images uint8 [N, 3, P, P] -> [4 N, 3, side, side]."""
        rng = np.random.RandomState(PATCH_SEED)
        room = images.shape[3] - self.side + 1
        places = rng.randint(0, room, (len(images), PATCHES, 2))
        cut = [
            image[:, y : y + self.side, x : x + self.side]
            for image, four in zip(images, places, strict=True)
            for y, x in four
        ]
        return np.stack(cut)

    def look(self, images: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """images uint8 [N, 3, P, P] -> bands [4 N, d] of its patches, trained features [4 N, 1280] or None, spectra [N, rings]."""
        patches = self.cut(images)
        trained = None if self.trained is None else self.trained.embed(patches)
        return self.bands.embed(patches), trained, high_frequencies(images, scale)


class Yardstick:
    """What stages are held against: how far real pictures lie from other real ones, and plain enlargements from both."""

    def __init__(self, kit: Kit, scale: int, device: torch.device | str = "cpu") -> None:
        """scale: of the stages, 2 or 4. `real`, `low`, `plain`: uint8 [N, 3, P, P], the pictures of A, those made small, and enlarged."""
        self.scale, self._patches = scale, _Patches(kit, device)
        self.real, other = (np.ascontiguousarray(kit.pictures[i::2]) for i in (0, 1))
        self.low = np.concatenate([to_bytes(shrink(_img(one[None], device), scale)) for one in self.real])
        self.plain = np.concatenate([to_bytes(grow(_img(one[None], device), scale)) for one in self.low])
        looks = [self._patches.look(images, scale) for images in (self.real, self.plain, other)]
        # The basis comes from both real sides: from one alone, that side would be nearer to itself than the other can be.
        self._whitening = Whitening.of(np.concatenate([looks[0][0], looks[2][0]]))
        real, bad, self._other = (_Seen(self._whitening(bands), trained, spectra) for bands, trained, spectra in looks)
        self.sizes = len(self.real), len(other)
        everything = np.arange(self.sizes[0]), np.arange(self.sizes[1])
        floor = Gap(real, self._other)
        low, high = floor.at(*everything), Gap(bad, self._other).at(*everything)
        found = [floor.at(a, b) for a, b in halves(*self.sizes, HALVES, HALVES_SEED)]
        self.scales = {}
        for name in low:
            spread = float(np.std([one[name] for one in found], ddof=1))
            bottom = max(max(low[name], 0.0) + spread, 1e-3 * high[name], 1e-9)
            self.scales[name] = Scale(bottom, max(high[name], 1.5 * bottom))

    def gap(self, made: np.ndarray) -> Gap:
        """Of pictures made of `low`, uint8 [N, 3, P, P] in its order."""
        bands, trained, spectra = self._patches.look(made, self.scale)
        return Gap(_Seen(self._whitening(bands), trained, spectra), self._other)

    def numbers(self, made: np.ndarray) -> dict[str, Number]:
        """Q, kd, lb and hf_distance with their errors; the errors from random halves of the pictures of both sides."""
        gap = self.gap(made)
        value = gap.at(np.arange(self.sizes[0]), np.arange(self.sizes[1]))
        around = recentred(value, [gap.at(a, b) for a, b in halves(*self.sizes, HALVES, HALVES_SEED)])
        found = {name: Number.of(value[name], around[name]) for name in value}
        qs = tuple(score({name: around[name][i] for name in value}, self.scales) for i in range(HALVES))
        return {"q": Number.of(score(value, self.scales), qs), **found}


class Gap:
    """The distances of one set's patches and spectra to the reference's, on any part of the pictures of both."""

    def __init__(self, one: _Seen, reference: _Seen) -> None:
        self._lb = FrechetDistance(one.bands, reference.bands)
        self._kd = (
            KernelDistance(one.trained, reference.trained)
            if one.trained is not None and reference.trained is not None
            else None
        )
        self._spectra = (one.spectra, reference.spectra)

    def at(self, a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        """a, b: indices of pictures, of this set and of the reference; both may repeat."""
        patches = [(PATCHES * index[:, None] + np.arange(PATCHES)).ravel() for index in (a, b)]
        gap = self._spectra[0][a].mean(0) - self._spectra[1][b].mean(0)
        found = {"lb": self._lb.at(*patches), "hf_distance": float(np.sqrt(np.mean(gap**2)))}
        return found if self._kd is None else {"kd": self._kd.at(*patches), **found}


def _check(stage: Upscaler, kit: Kit, checkpoint: Path) -> None:
    side, scale = kit.pictures.shape[3], stage.scale
    small = side // scale
    if len(kit.pictures) < LEAST_PICTURES or side < 2 * SMALLEST:
        what = (
            f"the kit has {len(kit.pictures)} pictures of {side} px; a stage needs {LEAST_PICTURES} of {2 * SMALLEST}"
        )
        raise ModelError(what, where=str(kit.path), fix="Make a kit of larger pictures")
    fits = not stage.fixed_side or small == stage.fixed_side
    if side % scale or small % stage.input_multiple or small < stage.min_input or not fits:
        what = f"a ×{scale} stage cannot make the kit's pictures of {side} px: its input would have {side / scale:g} px"
        raise ModelError(what, where=str(checkpoint), fix="Make a kit of the size that the stage makes")


def _call(stage: Upscaler, img: Tensor, w: Tensor) -> Tensor:
    try:
        return stage.styled(img, w)
    except RuntimeError as error:
        what = f"cannot enlarge pictures of {img.shape[3]}×{img.shape[2]} px ({str(error)[:80]})"
        raise ModelError(what, where=stage.arch) from error


@torch.inference_mode()
def _enlarge(stage: Upscaler, img: Tensor) -> np.ndarray:
    out = stage(img)
    if not bool(out.isfinite().all()):
        raise ModelError("the stage makes numbers that are not finite", fix="Judge an earlier checkpoint")
    return to_bytes(out)


def _img(images: np.ndarray, device: torch.device | str) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 -1..1 on `device`."""
    return to_img(torch.from_numpy(np.ascontiguousarray(images)).to(device))


def _jerk(frames: Tensor) -> float:
    """frames [T, 3, H, W], evenly spaced in time: the mean square of their second difference over their mean square."""
    second = frames[2:] - 2 * frames[1:-1] + frames[:-2]
    return float(second.square().mean() / frames.square().mean().clamp_min(1e-12))


def _mean(values: list[float]) -> Number:
    return Number(float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values))))
