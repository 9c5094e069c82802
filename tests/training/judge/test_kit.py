"""The kit: frozen, known by its hash, refused when it is not what it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from installation.errors import ConfigError, ModelError, OutputError
from installation.training.dataset import Dataset
from installation.training.features import efficientnet
from installation.training.judge.kit import Kit, KitFeatures, make_kit, open_kit

from .conftest import packed


def test_the_same_pictures_give_the_same_kit(dataset: Dataset, kit: Kit, tmp_path: Path) -> None:
    again = make_kit(dataset, tmp_path / "again", n=120, held_out=0.3, trained=False)
    assert again.hash == kit.hash
    assert open_kit(kit.path).hash == kit.hash


def test_another_n_gives_another_kit(dataset: Dataset, kit: Kit, tmp_path: Path) -> None:
    assert make_kit(dataset, tmp_path, n=100, held_out=0.3, trained=False).hash != kit.hash


def test_a_kit_says_what_it_is_made_of(dataset: Dataset, kit: Kit) -> None:
    assert kit.facts["dataset_sha256"] == dataset.sha256
    assert kit.facts["features"]["efficientnet"] is None
    assert "no trained features" in kit.describe()
    assert set(kit.scales) == {"sw", "lb"}
    assert all(0 < scale.floor < scale.bad for scale in kit.scales.values())


def test_a_kit_judges_against_the_held_out_pictures(dataset: Dataset, kit: Kit) -> None:
    train, held = dataset.split(0.3)
    assert len(kit.reference) == min(len(held), kit.n)
    assert len(kit.train) == len(train)


def test_looking_again_gives_the_kept_features(dataset: Dataset, kit: Kit) -> None:
    held = dataset.split(0.3)[1][:10]
    assert np.allclose(KitFeatures.of(kit).look(dataset.images[held]).bands, kit.reference.bands[:10], atol=1e-3)


@pytest.mark.slow
def test_a_kit_takes_no_other_kits_place(dataset: Dataset, tmp_path: Path) -> None:
    kit = make_kit(dataset, tmp_path, n=50, held_out=0.3, trained=False)
    assert make_kit(dataset, tmp_path, n=50, held_out=0.3, trained=False).hash == kit.hash
    for changes in ({"n": 60}, {"held_out": 0.25}):
        with pytest.raises(ConfigError, match="another kit is here"):
            make_kit(dataset, tmp_path, **{"n": 50, "held_out": 0.3, "trained": False, **changes})
    assert open_kit(tmp_path).hash == kit.hash
    facts = json.loads((tmp_path / "kit.json").read_text())
    (tmp_path / "kit.json").write_text(json.dumps({**facts, "eval_version": 0}))
    with pytest.raises(ConfigError, match="another kit is here"):  # by the program of before it can still be read
        make_kit(dataset, tmp_path, n=50, held_out=0.3, trained=False)
    (tmp_path / "kit.json").write_text("{")
    assert make_kit(dataset, tmp_path, n=60, held_out=0.3, trained=False).n == 60


def test_where_no_kit_is_it_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="installation judge kit"):
        open_kit(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "facts", "version"])
def test_a_damaged_kit_is_refused(dataset: Dataset, tmp_path: Path, damage: str) -> None:
    make_kit(dataset, tmp_path, n=50, held_out=0.3, trained=False)
    reference, facts = tmp_path / "reference.safetensors", tmp_path / "kit.json"
    if damage == "cut":
        reference.write_bytes(reference.read_bytes()[:-8])
    elif damage == "changed":  # still a file that can be read, of the same size
        raw = bytearray(reference.read_bytes())
        raw[-1] ^= 1
        reference.write_bytes(raw)
    elif damage == "missing":
        reference.unlink()
    elif damage == "facts":
        facts.write_text("{")
    else:
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "eval_version": 0}))
    with pytest.raises(OutputError):
        open_kit(tmp_path)


def test_a_handful_of_pictures_is_refused(tmp_path: Path) -> None:
    few = packed(tmp_path / "few.safetensors", 12, 32)
    with pytest.raises(ModelError, match="too few pictures"):
        make_kit(few, tmp_path / "kit", trained=False)


def test_tiny_pictures_are_refused(tmp_path: Path) -> None:
    tiny = packed(tmp_path / "tiny.safetensors", 60, 8)
    with pytest.raises(ModelError, match="too small"):
        make_kit(tiny, tmp_path / "kit", held_out=0.3, trained=False)


def test_trained_features_that_are_wanted_and_missing_name_the_extra(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise ModelError("not installed", fix="installation[eval]")

    monkeypatch.setattr(efficientnet, "find_weights", missing)
    with pytest.raises(ModelError, match=r"installation\[eval\]"):
        make_kit(dataset, tmp_path, trained=True)


def test_without_them_a_kit_of_bands_is_made(
    dataset: Dataset, kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet, "installed", lambda: False)
    assert make_kit(dataset, tmp_path, n=120, held_out=0.3).hash == kit.hash
