"""Tiny real networks with random weights, and shows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.filming import SHORT, record
from tests.e2e.networks import save_tiny_networks


@pytest.fixture(scope="session")
def networks(tmp_path_factory) -> Path:
    """A folder with base.safetensors (32 px), x2.safetensors and volcano.safetensors, which makes NaN at high psi."""
    folder = tmp_path_factory.mktemp("networks")
    save_tiny_networks(folder)
    return folder


@pytest.fixture(scope="session")
def show_text(networks) -> str:
    """A show of 64 px that drifts fast, so that every new frame differs."""
    return f"""
title = "test"
[cascade]
base = '{networks / "base.safetensors"}'
stages = ['{networks / "x2.safetensors"}']
threads = 1
[params]
drift.speed = 2.0
latent.psi = 1.0
walk.fade_s = 0.3
[looks.neutral]
[looks.silver]
saturation = 0.0
[screen]
size = [320, 180]
fps = 60
"""


@pytest.fixture(scope="module")
def show(tmp_path_factory, show_text) -> Path:
    path = tmp_path_factory.mktemp("show") / "show.toml"
    path.write_text(show_text)
    return path


@pytest.fixture(scope="module")
def whole(show, tmp_path_factory) -> bytes:
    """The short film of the show as one run makes it."""
    out = tmp_path_factory.mktemp("whole") / "film.mp4"
    record(show, out=out, **SHORT)
    return out.read_bytes()
