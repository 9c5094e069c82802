"""That no picture makes the host wait for the device, seen without one: the networks run on torch's device `meta`, which has shapes and no
numbers, under a watch over every operation. What would read a number, choose by one, or copy one over is found there.

On CUDA itself `benchmarks/gpu_check.py` asks torch's own watch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from installation.models import random_weights, tiles
from installation.models.attention import NORMS
from installation.models.fastgan import FastGAN
from installation.models.lightweightgan import DOUBLINGS, LightweightGAN
from installation.models.lucidrains import LucidrainsStyleGAN2
from installation.models.network import Generator, Upscaler
from installation.models.pggan import PGGAN
from installation.models.stage import Stage
from installation.render import axes as render_axes
from installation.render import latent
from installation.render.latent import Latents
from installation.show.clock import FrameClock
from installation.show.messages import ControlMessage
from installation.show.reading import parse
from installation.show.state import first_state
from installation.show.step import step

META = torch.device("meta")
ATEN = torch.ops.aten
# Each gives the host a number or a shape that depends on numbers; lift_fresh is a tensor made from numbers of Python's.
WAITING = {
    ATEN._local_scalar_dense,
    ATEN.is_nonzero,
    ATEN.equal,
    ATEN.nonzero,
    ATEN.masked_select,
    ATEN._unique2,
    ATEN.lift_fresh,
}


class Watch(TorchDispatchMode):
    """found: the operations that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in args if isinstance(each, Tensor)]
        devices = {each.device.type for each in tensors if each.ndim}
        if func.overloadpacket is ATEN._to_copy and kwargs.get("device") is not None:
            devices.add(torch.device(kwargs["device"]).type)
        by_truth = func.overloadpacket is ATEN.index and any(
            isinstance(each, Tensor) and each.dtype == torch.bool for each in args[1]
        )
        if func.overloadpacket in WAITING or len(devices) > 1 or by_truth:
            self.found.append(str(func))
        return func(*args, **kwargs)


@contextmanager
def nobody_waits() -> Iterator[None]:
    # In inference mode the watch would see `to` and `item` whole, not what they do.
    with torch.no_grad(), Watch() as watch:
        yield
    assert watch.found == []


GENERATORS: dict[str, tuple[type[Generator], dict[str, Any]]] = {
    **{
        name: (type(network), network.config)
        for name, network in {
            "stylegan2": random_weights.stylegan2(c_dim=3, channels=[16, 12, 8, 8, 8]),
            "stylegan3-t": random_weights.stylegan3(c_dim=3),
            "stylegan3-r": random_weights.stylegan3(kernel=1, radial=True),
            "r3gan": random_weights.r3gan(c_dim=3, embedding=4),
            "mobilestylegan": random_weights.mobilestylegan(),
            "dcgan": random_weights.dcgan(),
        }.items()
    },
    "lucidrains": (LucidrainsStyleGAN2, {"z_dim": 8, "channels": [8, 8, 6], "mapping_layers": 2}),
    **{
        f"lucidrains, {norm}": (
            LucidrainsStyleGAN2,
            {
                "z_dim": 8,
                "channels": [8, 8, 6],
                "mapping_layers": 2,
                "constant": False,
                "attention": [0, 2],
                "attention_norm": norm,
                "colours": 4,
            },
        )
        for norm in NORMS
    },
    **{
        f"lightweight-gan, {doubling}": (
            LightweightGAN,
            {
                "z_dim": 8,
                "channels": [8, 8, 8, 6, 6],
                "gates": [[0, 3], [1, 4]],
                "gate_widths": [3, 3],
                "frequencies": False,
                "attention": [2],
                "heads_width": 4,
                "colours": 4,
                "doubling": doubling,
            },
        )
        for doubling in DOUBLINGS
    },
    **{
        name: (
            FastGAN,
            {
                "z_dim": 8,
                "channels": [8, 8, 6, 6],
                "double": [True, False, True],
                "gates": [[0, 3]],
                "normalise": True,
                "tanh": True,
                "c_dim": c_dim,
                "embedding": embedding,
            },
        )
        for name, c_dim, embedding in (("fastgan", 0, 0), ("fastgan, classes", 3, 5))
    },
    "pggan": (PGGAN, {"z_dim": 8, "channels": [8, 8, 6]}),
}


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x * float(x.sum()),
        lambda x: x[x > 0],
        lambda x: x + torch.tensor([1.0, 2.0]),
        lambda x: x.cpu(),
        lambda x: x + torch.ones(2).to(META),
        lambda x: x if bool(x.isfinite().all()) else -x,
    ],
)
def test_the_watch_finds_what_waits(waits: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises((RuntimeError, AssertionError)), nobody_waits():
        waits(torch.ones(2, device=META))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_waits_for_nothing(name: str, dtype: torch.dtype) -> None:
    kind, config = GENERATORS[name]
    with META:
        network = kind(**config)
    network.requires_grad_(False).place(META, dtype)
    z, c, plane = (torch.empty(*shape, device=META) for shape in ((2, network.z_dim), (2, network.c_dim), (3, 3)))
    with nobody_waits():
        ws = network.truncate(network.mapping(z, *([c] if network.c_dim else [])), 0.7)
        img = network.synthesis(ws, *([plane] if network.has_transform else []))
    assert (img.shape, img.dtype, img.device) == ((2, 3, *network.shape), torch.float32, META)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("kind", ["srvgg", "stage", "conditioned"])
def test_a_stage_waits_for_nothing(
    kind: str, tile: int | None, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which knows no device `meta`
    options = {"widths": [8, 8], "blocks": [1, 1], "scale": 2, "w_dim": 5 if kind == "conditioned" else 0}
    network: Upscaler = random_weights.srvgg() if kind == "srvgg" else Stage(**options)
    network.requires_grad_(False).eval().place(META, dtype)
    img, w = torch.empty(1, 3, 64, 64, device=META), torch.empty(1, 5, device=META)
    tiles.enlarge(network, img, tile, w)  # filters are made once a device
    with nobody_waits():
        out = tiles.enlarge(network, img, tile, w)
    assert out.shape == (1, 3, 64 * network.scale, 64 * network.scale)


def test_the_way_from_state_to_ws_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that moves moves; the one way to the device, pinned and not waited for, is `to_device`."""
    axes = [{"name": "smile", "index": 0}, {"name": "light", "source": "sefa", "index": 1}]
    tree = {"cascade": {"base": "x"}, "axes": axes, "walk": {"space": "w"}}
    show = parse(tree, where="test", folder=None)
    network = random_weights.stylegan2(c_dim=4)
    latents = Latents(show, network, torch.device("cpu"))
    network.place(META)
    latents._axes._directions = latents._axes._directions.to(META)

    def sent(array: np.ndarray, device: torch.device) -> Tensor:
        return torch.empty(array.shape, device=META)

    monkeypatch.setattr(latent, "to_device", sent)
    monkeypatch.setattr(render_axes, "to_device", sent)
    said = [
        ControlMessage("drift/speed", 4.0, 0.0),
        *(ControlMessage(name, 1.5, 1.0) for name in ("axis/smile", "axis/light")),
        *(ControlMessage(name, 2, 1.0) for name in ("class/select", "walk/seed", "style/seed")),
        ControlMessage("style/mix", 0.7, 1.0),
        ControlMessage("latent/cutoff", 2.5, 1.0),
    ]
    clock, state = FrameClock(5), first_state(show)
    for number in range(8):
        state = step(state, said if number == 1 else (), clock.tick(), show)
        with nobody_waits():
            ws = latents.ws(state)
        assert (ws.shape, ws.device) == ((1, network.num_ws, network.w_dim), META)
