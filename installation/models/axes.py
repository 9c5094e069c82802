"""Directions in w: where w varies most (PCA), and what a network's styles answer to most (SeFa, in closed form).

PCA asks for tens of thousands of mapped z, so its result is kept beside the checkpoint, as NAME.axes.safetensors: data with the
checkpoint's sha256 in its header. A file that is missing, damaged or of another checkpoint is made anew; where the folder may only be
read, it is made again the next time. E. Härkönen et al., "GANSpace", arXiv:2004.02546; Y. Shen, B. Zhou, arXiv:2007.06600.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from installation import files
from installation.errors import ModelError
from installation.models.header import axes_file
from installation.models.network import Generator

AXES = 64
SAMPLES = 1 << 15  # an axis of 512 is then known to about a hundredth of a radian
BATCH = 2048
FORMAT = 1
_KEY = "installation_axes"
_SEED = 20260706

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spread:
    """How w lies. All float32, on the CPU.

    mean: [w_dim]. covariance: [w_dim, w_dim]. axes: [n, w_dim], unit length, strongest first, n = min(64, w_dim). sigma: [n], standard
    deviation of w along each.
    """

    mean: Tensor
    covariance: Tensor
    axes: Tensor
    sigma: Tensor


def spread_of(network: Generator, checkpoint: Path | None = None) -> Spread:
    """The spread of a network's w, from the file beside its checkpoint or computed now and kept there.

    checkpoint: the file it was loaded from. ModelError for a network without w.
    """
    if not network.w_dim:
        raise ModelError("has no w, so it has no axes", where=str(checkpoint or network.arch))
    if checkpoint is None or not network.file_sha256:
        return measure(network)
    # Of what was loaded, not of what lies there now: another network may have been put in its place meanwhile.
    sha256, path = network.file_sha256, axes_file(checkpoint)
    kept = _load(path, sha256, network.w_dim)
    if kept is not None:
        return kept
    log.info("finding the axes of %s, once", checkpoint.stem)
    spread = measure(network)
    _save(path, sha256, spread)
    return spread


@torch.inference_mode()
def measure(network: Generator, samples: int = SAMPLES) -> Spread:
    """The spread of w over so many z of a fixed seed, and of classes in turn where the network has classes. A few seconds on a CPU."""
    device = next(network.mapping.parameters()).device if isinstance(network.mapping, torch.nn.Module) else "cpu"
    rng = np.random.RandomState(_SEED)
    total = torch.zeros(network.w_dim, dtype=torch.float64)
    squares = torch.zeros(network.w_dim, network.w_dim, dtype=torch.float64)
    for begin in range(0, samples, BATCH):
        count = min(BATCH, samples - begin)
        z = torch.from_numpy(rng.standard_normal((count, network.z_dim)).astype(np.float32)).to(device)
        # The layers of a sample share one w; where a mapping gives each its own, the mean of them stands for it.
        if network.c_dim:
            classes = torch.arange(begin, begin + count, device=device) % network.c_dim
            ws = network.mapping(z, torch.nn.functional.one_hot(classes, network.c_dim).float())
        else:
            ws = network.mapping(z)
        w = ws.mean(dim=1).double().cpu()
        total += w.sum(dim=0)
        squares += w.T @ w
    mean = total / samples
    covariance = squares / samples - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)
    n = min(AXES, network.w_dim)
    sigma = values.flip(0)[:n].clamp_min(0.0).sqrt()
    return Spread(mean.float(), covariance.float(), _signed(vectors.T.flip(0)[:n]).float(), sigma.float())


def sefa(network: Generator, layers: tuple[int, int] | None = None) -> Tensor:
    """[n, w_dim] float32: unit directions to which the styles of these layers answer most, strongest first.

    They are the eigenvectors of the sum of AᵀA over the layers' style affines A. layers: first and last; None for all.
    ModelError for a network that tells no style weights, or has no such layers.
    """
    styles = network.style_weights()
    first, last = layers or (0, len(styles) - 1)
    chosen = [weight.double().cpu() for layer in styles[first : last + 1] for weight in layer]
    if not chosen:
        what = f"has no style weights in layers {first} to {last}" if styles else "tells no style weights"
        raise ModelError(what, where=network.arch, fix='Use source = "pca"')
    gram = sum((weight.T @ weight for weight in chosen), torch.zeros(network.w_dim, network.w_dim, dtype=torch.float64))
    _, vectors = torch.linalg.eigh(gram)
    return _signed(vectors.T.flip(0)[: min(AXES, network.w_dim)]).float()


def along(spread: Spread, direction: Tensor) -> Tensor:
    """A unit direction [w_dim] scaled to one standard deviation of w along it."""
    return direction * (direction @ spread.covariance @ direction).clamp_min(0.0).sqrt()


def _signed(axes: Tensor) -> Tensor:
    """Eigenvectors know no sign: here the largest number of each row is positive, so that a named axis keeps its direction."""
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return axes * largest.sign()


def _load(path: Path, sha256: str, w_dim: int) -> Spread | None:
    """None where the file is missing, damaged or of another checkpoint."""
    shapes = {
        "mean": [w_dim],
        "covariance": [w_dim, w_dim],
        "axes": [min(AXES, w_dim), w_dim],
        "sigma": [min(AXES, w_dim)],
    }
    try:
        if not path.is_file():  # to open a pipe would be to wait for it
            return None
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if said != _header(sha256):
                log.info("%s is of another checkpoint or version, and is made anew", path.name)
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        log.warning("%s is damaged and is made anew (%s)", path, str(error)[:100])
        return None
    good = tensors.keys() == shapes.keys() and all(
        list(tensor.shape) == shapes[name] and tensor.dtype == torch.float32 and bool(tensor.isfinite().all())
        for name, tensor in tensors.items()
    )
    if not good:
        log.warning("%s is damaged and is made anew", path)
        return None
    return Spread(**tensors)


def _save(path: Path, sha256: str, spread: Spread) -> None:
    """Complete or not at all. A folder that refuses is worth one line: the axes are as good without the file."""
    tensors = {name: getattr(spread, name).contiguous() for name in Spread.__slots__}
    try:
        with files.replacing(path) as draft:
            save_file(tensors, draft, metadata={_KEY: json.dumps(_header(sha256))})
    except (OSError, SafetensorError) as error:
        log.info("the axes are not kept, and are found again next time: %s (%s)", path, error)


def _header(sha256: str) -> dict[str, int | str]:
    return {"format": FORMAT, "checkpoint_sha256": sha256, "samples": SAMPLES, "seed": _SEED}
