"""The table of recipes and its overrides."""

from __future__ import annotations

import pytest

from installation.errors import ConfigError
from installation.training.base.config import CONFIGS, resolve


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_sound(name: str) -> None:
    config = resolve(name, {})
    assert 4 << (len(config.channels) - 1) == config.size
    assert config.batch % config.group == 0


def test_gamma_follows_size_and_batch_unless_it_is_set() -> None:
    assert resolve("tiny", {}).penalty_weight == pytest.approx(4e-3 * 64**2 / 16)
    assert resolve("tiny", {"batch": "32"}).penalty_weight == pytest.approx(4e-3 * 64**2 / 32)
    assert resolve("tiny", {"loss": "ns"}).penalty_weight == pytest.approx(2e-4 * 64**2 / 16)
    assert resolve("tiny", {"gamma": "0.3"}).penalty_weight == 0.3
    assert resolve("tiny", {"gamma": "none"}).gamma is None


def test_fields_of_every_kind_can_be_set() -> None:
    config = resolve(
        "tiny",
        {"channels": "32,32,32,16,8", "flip": "no", "loss": "ns", "penalty_every": "8", "lr_generator": "1e-3"},
    )
    assert config.channels == (32, 32, 32, 16, 8)
    assert (config.flip, config.loss, config.penalty_every, config.lr_generator) == (False, "ns", 8, 1e-3)


def test_all_faults_are_listed_together_with_a_hint() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("tiny", {"gama": "1", "batch": "many", "flip": "perhaps", "augment_p": "2"})
    text = str(caught.value)
    assert "did you mean 'gamma'" in text
    assert "batch=many" in text
    assert "flip=perhaps" in text
    assert "augment_p" in text


@pytest.mark.parametrize("text", ["nan", "inf", "-1"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        resolve("tiny", {"lr_generator": text})


def test_an_unknown_config_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="tiny"):
        resolve("tinny", {})
