"""The networks that ship: small, described, free to be shown, and all that their shows need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from installation import resources
from installation.models import checkpoint, projection
from installation.models.cascade import Cascade
from installation.models.header import AXES_SUFFIX, read_header
from installation.models.network import Generator, Upscaler
from installation.show.config import Show
from installation.show.reading import load
from tests.e2e.running import command

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"
SHOWS = ("archive", "portraits")
# Licences that the cards may name, and none besides.
FREE = ("MIT", "public domain", "CC BY 4.0")
MIB = 1 << 20


def show(name: str) -> Show:
    return load(resources.show_config(name))


def networks(name: str) -> list[str]:
    cascade = show(name).cascade
    return [cascade.base, *cascade.stages]


# Axes lie beside a network once somebody asked for them; they do not ship.
SHIPPED = sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors") if not path.name.endswith(AXES_SUFFIX))


def test_the_shows_need_nothing_else_and_nothing_lies_there_unused():
    needed: set[str] = set()
    for name in SHOWS:
        needed |= {*networks(name), *show(name).record.stages}
        needed |= {each for model in show(name).models for each in (model.base, *model.stages)}
    assert sorted(needed) == SHIPPED


def test_they_are_small():
    sizes = [(CHECKPOINTS / f"{name}.safetensors").stat().st_size for name in SHIPPED]
    assert max(sizes) <= 16 * MIB
    kept = [path.stat().st_size for path in (CHECKPOINTS / "states").rglob("*.safetensors")]
    assert max(kept) <= 16 * MIB
    assert sum(sizes) + sum(kept) <= 48 * MIB


@pytest.mark.parametrize("name", SHIPPED)
def test_each_has_a_card_that_says_what_it_is_and_where_it_came_from(name: str):
    card = (CHECKPOINTS / f"{name}.md").read_text()
    for part in ("## Pictures", "## Training", "images seen", "## Judged", "## Known faults", "licence"):
        assert part in card, part
    assert any(source in card for source in ("portraits_congress", "portraits_archive", "portraits_studio_hires"))
    licence = read_header(CHECKPOINTS / f"{name}.safetensors").licence
    named = licence.removeprefix("follows its training data: ").split("; ")
    assert named
    assert all(each.startswith(FREE) for each in named), licence


@pytest.mark.parametrize("name", SHOWS)
def test_its_cascade_makes_portraits_of_1024_px_that_are_the_bases_when_made_small(name: str):
    base, *rest = (checkpoint.load(CHECKPOINTS / f"{each}.safetensors") for each in networks(name))
    stages = [stage for stage in rest if isinstance(stage, Upscaler)]
    assert isinstance(base, Generator)
    assert len(stages) == len(rest)
    cascade = Cascade(base, stages, device="cpu")
    alone = Cascade(checkpoint.load(CHECKPOINTS / f"{networks(name)[0]}.safetensors"), (), device="cpu")
    z = torch.randn(2, base.z_dim, generator=torch.Generator().manual_seed(1))
    pictures = []
    for row in z:
        ws = cascade.truncate(cascade.mapping(row[None]), 0.7)
        img, small = cascade(ws).clone(), alone(ws).clone().clamp(-1, 1)
        assert img.shape == (1, 3, 1024, 1024)
        for stage in reversed(stages):
            img = projection.down(img, stage.scale)
        assert (img - small).abs().mean() < 0.02
        pictures.append(small)
    # Two people, and neither a flat one.
    assert (pictures[0] - pictures[1]).abs().mean() > 0.05
    assert min(float(img.std()) for img in pictures) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWS)
def test_an_empty_machine_makes_its_picture(name: str, tmp_path: Path):
    result = command(tmp_path, "still", name, "--at", "3", "--out", str(tmp_path / "still.png"))
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.rglob("*.safetensors"))
    with Image.open(tmp_path / "still.png") as img:
        assert img.size == (1024, 1024)
        assert np.asarray(img.convert("L")).std() > 20
