"""Writes files of the layouts that NVIDIA's StyleGAN code and its relatives write, without that code: for tests alone.

pickle writes a class by its module and name, so modules of those names exist here for as long as a file is written.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

SOURCE = "raise SystemExit('the source text in a file was run')"


class Persistent:
    """An object of a class that travels with its source text, as in StyleGAN2-ADA and StyleGAN3."""

    def __init__(self, class_name: str, state: Mapping[str, Any]) -> None:
        self.class_name, self.state = class_name, dict(state)

    def __reduce__(self) -> tuple:
        rebuild = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name, "state": self.state}
        return rebuild, (meta,)


def instance(name: str, state: Mapping[str, Any]) -> Any:
    """An object of the class `name` (dotted), stored by reference, as in R3GAN and TensorFlow's legacy files."""
    module, _, attribute = name.rpartition(".")
    made = type(attribute, (), {"__module__": module})()
    vars(made).update(state)
    return made


def module(tensors: Mapping[str, Tensor], make: Callable[[str, dict[str, Any]], Any], **attributes: Any) -> Any:
    """A torch module tree as an object. tensors: its state dict; make: prefix of a module, state -> what is stored of it.

    attributes: further entries of the root's state, such as _init_kwargs. Everything is a parameter but what our networks call a buffer.
    """

    def build(prefix: str) -> Any:
        inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        own = {name: tensor for name, tensor in inside.items() if "." not in name}
        below = dict.fromkeys(name.split(".")[0] for name in inside if "." in name)
        buffers = {name for name in own if name in BUFFERS}
        state: dict[str, Any] = {
            "training": False,
            "_parameters": OrderedDict((k, torch.nn.Parameter(t)) for k, t in own.items() if k not in buffers),
            "_buffers": OrderedDict((name, own[name]) for name in buffers),
            "_non_persistent_buffers_set": set(),
            "_backward_hooks": OrderedDict(),
            "_modules": OrderedDict((name, build(f"{prefix}{name}.")) for name in below),
        }
        return make(prefix, state | (attributes if not prefix else {}))

    return build("")


BUFFERS = {
    "w_avg", "noise_const", "resample_filter", "transform", "freqs", "phases", "magnitude_ema", "up_filter", "down_filter", "Kernel"
}  # fmt: skip


def persistent_module(tensors: Mapping[str, Tensor], **attributes: Any) -> Persistent:
    """A generator with these tensors as NVIDIA's code stores it."""
    return module(tensors, lambda prefix, state: Persistent("Layer" if prefix else "Generator", state), **attributes)


def dumps(content: Any, protocol: int = 4) -> bytes:
    """The content as a pickle, with the classes and functions in it by the names they have there."""
    names = {"torch_utils.persistence._reconstruct_persistent_obj"}

    def collect(value: Any) -> None:
        if isinstance(value, Persistent):
            collect(value.state)
        elif isinstance(value, Mapping):
            for item in value.values():
                collect(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                collect(item)
        elif type(value).__module__ not in sys.modules and hasattr(value, "__dict__"):
            classes.setdefault(f"{type(value).__module__}.{type(value).__qualname__}", type(value))
            value.__class__ = classes[f"{type(value).__module__}.{type(value).__qualname__}"]
            collect(value.__dict__)

    classes: dict[str, Any] = {}
    collect(content)
    with importable(names, classes):
        return pickle.dumps(content, protocol)


def dump(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(dumps(content, protocol))
    return path


@contextmanager
def importable(functions: set[str], classes: Mapping[str, Any]) -> Iterator[None]:
    """Modules with these members, and the packages they lie in, importable for the duration."""
    new: dict[str, ModuleType] = {}
    for name in [*functions, *classes]:
        module_name, _, attribute = name.rpartition(".")
        parts = module_name.split(".")
        for i in range(len(parts)):
            package = ".".join(parts[: i + 1])
            if package not in sys.modules:
                new[package] = sys.modules[package] = ModuleType(package)

        def function(*_: Any) -> None: ...

        function.__module__, function.__qualname__, function.__name__ = module_name, attribute, attribute
        setattr(sys.modules[module_name], attribute, classes.get(name, function))
    try:
        yield
    finally:
        for name in new:
            del sys.modules[name]
