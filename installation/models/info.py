"""Everything known about one model, in words. Reads its file once, for the sum; imports torch only for networks of others' code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from installation.errors import ModelError
from installation.files import fingerprint
from installation.models import cost, sums
from installation.models.catalogue import COMMERCIAL_USE
from installation.models.header import Header, TensorInfo, read_index
from installation.models.library import Entry


def describe(entry: Entry) -> list[tuple[str, str]]:
    """What `models info` prints: (heading, text) rows, in order. Reads the whole file once, for its sha256."""
    header, tensors = read_index(entry.path)
    rows = [("name", entry.name), ("family", f"{header.arch} {header.role}")]
    if header.role == "generator":
        height, width = header.shape
        rows.append(("output", f"{width} × {height} px"))
        rows.append(("latents", f"z {header.z_dim}" + (f", w {header.w_dim}" if header.w_dim else ", no w")))
        if classes := header.config.get("c_dim"):
            rows.append(("classes", str(classes)))
    else:
        rows.append(("scale", f"×{header.scale}"))
        if side := header.fixed_side:
            rows.append(("takes", f"{side} × {side} px alone"))
        if header.w_dim:
            rows.append(("conditioned on", f"w {header.w_dim}"))
    stored = ", ".join(sorted({info.dtype for info in tensors.values()}))
    count, macs = _amounts(entry.path, header, tensors)
    rows.append(("parameters", f"{count:,} ({stored}, {entry.path.stat().st_size / 1e6:.1f} MB)"))
    rows.append(("work", cost.describe(header, macs)))
    if header.nimg is not None:
        rows.append(("images seen", f"{header.nimg:,}"))
    rows.append(("licence", " — ".join(part for part in (header.licence or "not stated", header.licence_url) if part)))
    rows.append(("commercial use", COMMERCIAL_USE[header.commercial_use]))
    rows.append(("training data", header.training_data or "not stated"))
    rows.append(("source", header.source or "not stated"))
    if header.source_sha256:
        rows.append(("source sha256", header.source_sha256))
    if header.notes:
        rows.append(("notes", header.notes))
    found, noted = fingerprint(entry.path), sums.noted(entry.path)
    sum_row = f"{found}: NOT the sum noted when it was added, {noted}" if noted not in (None, found) else found
    return [*rows, ("file", str(entry.path)), ("sha256", sum_row)]


def _amounts(path: Path, header: Header, tensors: Mapping[str, TensorInfo]) -> tuple[int, int | None]:
    """(parameters, multiply-adds of one picture). Those that run on others' code, which shapes do not tell all of, are asked."""
    if header.arch not in ("onnx", "spandrel"):
        return cost.parameters(tensors), cost.macs(header, tensors)
    from installation.models import checkpoint
    from installation.models.importers.onnx_file import signature
    from installation.models.onnx_generator import OnnxGenerator
    from installation.models.spandrel_stage import SpandrelUpscaler

    count, macs = header.parameters, None
    try:
        network = checkpoint.load(path)
    except ModelError:  # without its extra
        return count, None
    if isinstance(network, OnnxGenerator):
        count = signature(network.model.numpy().data, where=str(path)).parameters
        macs = network.macs()
    elif isinstance(network, SpandrelUpscaler):
        macs = network.macs(header.fixed_side or cost.UPSCALER_INPUT)
    return count, macs
