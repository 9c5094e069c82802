"""Files of NVIDIA's layout, a pickled dict with the averaged generator as `G_ema`: StyleGAN2-ADA, StyleGAN3 and its StyleGAN2, R3GAN.

Sizes are read from the tensors. What shapes do not tell is read from the modules' own entries, and a network that was built in a way
ours is not is refused: better no picture than another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from installation.errors import CheckpointError
from installation.models.importers import r3gan as r3gan_names
from installation.models.importers.average import estimated_w_avg
from installation.models.importers.inert import Inert, module_tensors
from installation.models.r3gan import R3GAN
from installation.models.stylegan2 import MAPPING_LR, StyleGAN2
from installation.models.stylegan2_layers import blur_kernel
from installation.models.stylegan3 import CLAMP, OUTPUT_SCALE, StyleGAN3

Parts = tuple[type, dict[str, Any], dict[str, Tensor], str, dict[str, Any]]

_BANDS = {
    "num_critical": "critical",
    "first_cutoff": "cutoff",
    "first_stopband": "stopband",
    "last_stopband_rel": "last_stopband",
    "margin_size": "margin",
    "filter_size": "taps",
    "lrelu_upsampling": "oversampling",
}


def is_stylegan2(value: Any) -> bool:
    """Whether what `read_pickle` gave is NVIDIA's layout around a StyleGAN2: its synthesis begins with `b4`."""
    return _has(value, "synthesis", "b4")


def is_stylegan3(value: Any) -> bool:
    """Whether it is so around a StyleGAN3: its synthesis begins with `input`."""
    return _has(value, "synthesis", "input")


def is_r3gan(value: Any) -> bool:
    """Whether it is so around R3GAN's code: `Model.MainLayers`."""
    return _has(value, "Model", "MainLayers")


def stylegan2(value: Any, *, where: str) -> Parts:
    """StyleGAN2-ADA (PyTorch) and StyleGAN2 as StyleGAN3's code writes it, of any aspect, with or without classes."""
    generator, tensors = _generator(value, where)
    layer = _child(generator, "synthesis", "b4", "conv1")
    blocks = [_child(generator, "synthesis", name) for name in _names(generator, "synthesis")]
    _agree("architecture", [block.get("architecture", "skip") for block in blocks], "skip", where)
    layers = [_child(block, name) for block in blocks for name in _names(block)]
    clamp = _number(layer.get("conv_clamp"), where)
    _agree("activation", [each.get("activation", "lrelu") for each in layers], "lrelu", where)
    _agree("a layer's conv_clamp", [each.get("conv_clamp", clamp) for each in layers], clamp, where)
    _mapping_agrees(generator, where)
    fir = blur_kernel(torch.device("cpu"))[0, 0]
    for name, tensor in tensors.items():
        if name.endswith("resample_filter") and not (tensor.shape == fir.shape and torch.allclose(tensor.float(), fir)):
            raise CheckpointError(f"{name} is not the filter [1, 3, 3, 1]", where=where)
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("resample_filter")}
    estimated = _without_centre(kept, "synthesis.b4.conv1.affine.weight")
    config = StyleGAN2.config_of(kept, conv_clamp=clamp)
    if estimated:
        kept["mapping.w_avg"] = estimated_w_avg(StyleGAN2, config, kept)
    options = generator.get("_init_kwargs")
    nested = isinstance(options, dict) and "synthesis_kwargs" in options
    title = "StyleGAN2-ADA (PyTorch)" if nested else "StyleGAN2 as StyleGAN3's code writes it"
    return StyleGAN2, config, kept, title + (", w_avg estimated" if estimated else ""), _facts(value)


def stylegan3(value: Any, *, where: str) -> Parts:
    """StyleGAN3-T and -R."""
    generator, tensors = _generator(value, where)
    synthesis = _child(generator, "synthesis")
    layers = [_child(synthesis, name) for name in _names(synthesis) if name != "input"]
    _agree("conv_clamp", [layer.get("conv_clamp", CLAMP) for layer in layers], CLAMP, where)
    _agree("output_scale", [synthesis.get("output_scale", OUTPUT_SCALE)], OUTPUT_SCALE, where)
    _mapping_agrees(generator, where)
    options = generator.get("_init_kwargs")
    given = options if isinstance(options, dict) else {}
    given = given | nested if isinstance(nested := given.get("synthesis_kwargs"), dict) else given
    estimated = _without_centre(tensors, "synthesis.input.affine.weight")
    config = StyleGAN3.config_of(
        tensors, bands={ours: given[name] for name, ours in _BANDS.items() if type(given.get(name)) in (int, float)}
    )
    if estimated:
        tensors["mapping.w_avg"] = estimated_w_avg(StyleGAN3, config, tensors)
    title = {3: "StyleGAN3-T", 1: "StyleGAN3-R" if config["radial"] else "StyleGAN3 with 1x1 kernels"}
    title = title.get(config["kernel"], "StyleGAN3") + (", w_avg estimated" if estimated else "")
    return StyleGAN3, config, tensors, title, _facts(value)


def _without_centre(tensors: dict[str, Tensor], affine: str) -> bool:
    """Whether the mapping was trained with w_avg_beta=None and has no w_avg; then it gets one of zeros, as wide as an affine takes w."""
    if "mapping.w_avg" in tensors or affine not in tensors:
        return False
    tensors["mapping.w_avg"] = torch.zeros(tensors[affine].shape[1:])
    return True


def r3gan(value: Any, *, where: str) -> Parts:
    """R3GAN, with or without classes."""
    _, tensors = _generator(value, where)
    renamed = r3gan_names.rename(tensors, where=where)
    return R3GAN, R3GAN.config_of(renamed), renamed, "R3GAN", _facts(value)


def _has(value: Any, *path: str) -> bool:
    generator = value.get("G_ema") if isinstance(value, dict) else None
    return isinstance(generator, Inert) and _child(generator, *path).state is not None


def _generator(value: Any, where: str) -> tuple[Inert, dict[str, Tensor]]:
    generator = value.get("G_ema") if isinstance(value, dict) else None
    if not isinstance(generator, Inert):
        raise CheckpointError("holds no averaged generator, G_ema", where=where)
    return generator, module_tensors(generator, where=where)


def _child(module: Inert, *path: str) -> Inert:
    """The module at a path below, or an empty record."""
    for name in path:
        modules = module.get("_modules")
        child = modules.get(name) if isinstance(modules, dict) else None
        module = child if isinstance(child, Inert) else Inert("")
    return module


def _names(module: Inert, *path: str) -> list[str]:
    modules = _child(module, *path).get("_modules")
    return list(modules) if isinstance(modules, dict) else []


def _mapping_agrees(generator: Inert, where: str) -> None:
    layers = [_child(generator, "mapping", name) for name in _names(generator, "mapping") if name.startswith("fc")]
    _agree("the mapping's learning rate", [each.get("bias_gain", MAPPING_LR) for each in layers], MAPPING_LR, where)
    _agree("the mapping's activation", [each.get("activation", "lrelu") for each in layers], "lrelu", where)


_PLAIN = (str, int, float, type(None))


def _agree(what: str, found: list[Any], ours: Any, where: str) -> None:
    """CheckpointError unless all are what our network does."""
    for item in found:
        if not isinstance(item, _PLAIN) or item != ours:  # a tensor of many numbers is neither equal nor not
            name = str(item)[:20] if isinstance(item, (str, int, float)) else type(item).__name__
            raise CheckpointError(f"{what} is {name!r}; only {ours!r} can be run", where=where)


def _number(value: Any, where: str) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise CheckpointError("conv_clamp is no number", where=where)
    return None if value is None else float(value)


def _facts(value: Mapping[str, Any]) -> dict[str, Any]:
    """What the training left beside the networks: how many images it saw, and what its data set is called."""
    facts: dict[str, Any] = {}
    nimg, data = value.get("cur_nimg"), value.get("training_set_kwargs")
    if type(nimg) is int and 0 <= nimg < 1 << 53:
        facts["nimg"] = nimg
    path = data.get("path") if isinstance(data, dict) else None
    if isinstance(path, str):
        facts["training_data"] = path.replace("\\", "/").rstrip("/").rpartition("/")[2][:100]
    return facts
