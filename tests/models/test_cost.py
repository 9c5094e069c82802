"""cost: what a network holds and what a picture costs, told from shapes, against torch's own count of what runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from installation.models import checkpoint, cost, random_weights
from installation.models.header import TensorInfo
from installation.models.importers import average, families, fastgan
from installation.models.importers.safe_pickle import SourceFile
from installation.models.network import Generator, Network, Upscaler
from installation.models.stylegan2 import StyleGAN2
from tests.models import original_layouts

SIDE = 64
OURS = ("dcgan", "mobilestylegan", "r3gan", "srvgg", "stylegan2", "stylegan3")
STATES = ("lucidrains", "lucidrains, attentive", "lightweight-gan", "pggan", "fastgan")


def network(name: str, monkeypatch: pytest.MonkeyPatch) -> Network:
    if name in OURS:
        return getattr(random_weights, name)()
    monkeypatch.setattr(average, "SAMPLES", 64)
    monkeypatch.setattr(fastgan, "PIXELS", 0)
    monkeypatch.setattr(families, "read_pickle", lambda source: original_layouts.files()[name])
    converted = families.convert(SourceFile(Path("some.pth"), b"", ""))
    assert converted
    made = converted.kind(**converted.config)
    made.load_state_dict(dict(converted.tensors))
    return made


@pytest.mark.parametrize("name", [*OURS, *STATES])
def test_the_work_is_what_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(name, monkeypatch).eval()
    net.place("cpu")
    tensors = {key: TensorInfo("F32", tuple(tensor.shape), 0) for key, tensor in net.state_dict().items()}
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        if isinstance(net, Generator):
            ws = net.mapping(torch.zeros(1, net.z_dim))
            counter.flop_counts.clear()  # the mapping runs once a keyframe
            net.synthesis(ws)
        elif isinstance(net, Upscaler):
            net(torch.zeros(1, 3, SIDE, SIDE))
    told = cost.macs(checkpoint.describe(net, name="test"), tensors, SIDE)
    assert told
    # Filters of 16 taps are a lot beside these few channels.
    assert 0.98 <= counter.get_total_flops() / 2 / told <= 1.16


def test_parameters_are_what_was_trained() -> None:
    for name in OURS:
        net = getattr(random_weights, name)()
        tensors = {key: TensorInfo("F32", tuple(tensor.shape), 0) for key, tensor in net.state_dict().items()}
        fixed = sum(p.numel() for key, p in net.named_parameters() if key.endswith("noise"))
        assert cost.parameters(tensors) == sum(p.numel() for p in net.parameters()) - fixed


@pytest.mark.parametrize(
    ("arch", "name", "config"),
    [
        ("stylegan2", f"synthesis.b{'9' * 5000}.conv1.weight", {}),
        ("mobilestylegan", f"synthesis.b{'9' * 400}.conv1.weight", {}),
        ("r3gan", "stages.0.mix.weight", {}),
        ("stylegan3", "x", {"resolution": 10**300, "channels": [1], "kernel": 1, "radial": False, "bands": {}}),
        ("lightweightgan", "attentions.0.far_q.weight", {"attention": "x"}),
        ("lightweightgan", "attentions.1.far_q.weight", {"attention": [0]}),
        ("lucidrains", "attentions.0.q.weight", {"attention": [10**9]}),
    ],
)
def test_names_and_sizes_that_no_network_has_are_not_known(arch: str, name: str, config: dict[str, Any]) -> None:
    header = replace(checkpoint.describe(random_weights.dcgan(), name="test"), arch=arch, config=config, size=1 << 16)
    told = cost.describe(header, cost.macs(header, {name: TensorInfo("F32", (1 << 20, 1 << 20, 3, 3), 0)}))
    assert told == "not known"


def test_the_work_of_a_stylegan2_is_the_published_figure() -> None:
    """45 GMAC for config-f at 256 px, transposed convolutions counted at their input's size."""
    with torch.device("meta"):
        network = StyleGAN2(z_dim=512, w_dim=512, channels=[512, 512, 512, 512, 512, 256, 128])
    header = checkpoint.describe(network, name="ffhq")
    shapes = {name: TensorInfo("F32", tuple(tensor.shape), 0) for name, tensor in network.state_dict().items()}
    found = cost.macs(header, shapes)
    assert found is not None
    assert found / 1e9 == pytest.approx(45, abs=1)
