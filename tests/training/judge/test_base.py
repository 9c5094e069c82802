"""Judging a generator end to end, on tiny networks and Laplacian bands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from installation.errors import CheckpointError, ModelError
from installation.models import checkpoint, random_weights
from installation.training.judge.base import fitted, judge_base, made, warnings_of
from installation.training.judge.judgement import compare, read_judgement
from installation.training.judge.kit import Kit
from installation.training.run_info import read_run
from installation.training.runs import Run


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "random.safetensors"
    generator = random_weights.stylegan2(noise=False)
    checkpoint.save(path, generator.state_dict(), checkpoint.describe(generator, name="random", nimg=5000))
    return path


def test_a_generator_is_judged_and_the_judgement_lies_beside_it(kit: Kit, network: Path) -> None:
    one = judge_base(network, kit)
    assert set(one.numbers) == {"q", "sw", "lb", "density", "coverage", "memorisation", "walk_cv"}
    assert one.q.value < 60
    assert one.numbers["walk_cv"].value > 0
    assert any("without trained features" in text for text in one.warnings)
    (path,) = network.parent.glob("*.judgement.json")
    assert read_judgement(path) == one


def test_the_same_checkpoint_gets_the_same_numbers(kit: Kit, network: Path) -> None:
    first, again = (judge_base(network, kit, write=False) for _ in range(2))
    assert first.numbers == again.numbers
    assert compare(first, again)[0].text == "no difference"


def test_psi_is_part_of_what_is_judged(kit: Kit, network: Path) -> None:
    assert judge_base(network, kit, psi=0.5, write=False).settings == {"psi": 0.5}


def test_a_run_trained_on_other_pictures_is_marked(kit: Kit, network: Path, tmp_path: Path) -> None:
    with Run.begin(tmp_path, "base", "mine", {"seed": 0}, dataset_sha256="x" * 64, parents={}) as run:
        inside = run.folder / "network.safetensors"
        inside.write_bytes(network.read_bytes())
        one = judge_base(inside, kit)
    assert any("another dataset" in text for text in one.warnings)
    assert read_run(run.folder).judgement == one


def test_the_pictures_are_the_seeds_the_kit_names(kit: Kit) -> None:
    generator = random_weights.stylegan2(noise=False)
    few = made(generator, replace(kit, n=5), 1.0, lambda what, share: None, batch=2)
    assert few.shape == (5, 3, 32, 32)
    assert np.array_equal(few, made(generator, replace(kit, n=5), 1.0, lambda what, share: None, batch=5))


def test_a_picture_of_another_shape_gives_its_middle_square() -> None:
    img = torch.zeros(1, 3, 32, 64)
    img[:, :, :, 16:48] = 1.0
    assert fitted(img, 16).min() == 255


def test_numbers_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ModelError, match="not finite"):
        fitted(torch.full((1, 3, 16, 16), float("nan")), 16)


def test_a_stage_is_no_generator(kit: Kit, tmp_path: Path) -> None:
    stage = random_weights.srvgg()
    checkpoint.save(tmp_path / "s.safetensors", stage.state_dict(), checkpoint.describe(stage, name="stage"))
    with pytest.raises(ModelError, match="no generator"):
        judge_base(tmp_path / "s.safetensors", kit)


def test_a_file_of_text_is_refused(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_text("hello, this is no network")
    with pytest.raises(CheckpointError):
        judge_base(tmp_path / "t.safetensors", kit)


@pytest.mark.parametrize(("share", "told"), [(0.0, True), (None, False), (0.9, False)])
def test_a_run_that_kept_back_less_than_the_kit_is_marked(
    kit: Kit, tmp_path: Path, share: float | None, told: bool
) -> None:
    config = {} if share is None else {"held_out": share}
    facts = {"dataset_sha256": kit.facts["dataset_sha256"], "config": config}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    warnings = warnings_of(tmp_path / "G_ema.safetensors", kit)
    assert any("held_out was 0, the kit's" in text for text in warnings) is told


@pytest.mark.parametrize(("used", "told"), [(True, True), (False, False)])
def test_a_run_that_had_the_judges_features_in_its_loss_is_marked(
    kit: Kit, tmp_path: Path, used: bool, told: bool
) -> None:
    features = {**kit.facts["features"], "efficientnet": "0" * 64}
    trained = replace(kit, facts={**kit.facts, "features": features})
    config = {"perceptual": 0.2, "perceptual_features": used}
    facts = {"dataset_sha256": kit.facts["dataset_sha256"], "config": config}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    warnings = warnings_of(tmp_path / "G_ema.safetensors", trained)
    assert any("flatter" in text for text in warnings) is told
