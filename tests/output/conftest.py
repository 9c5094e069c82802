"""One GL context for every pixel test: EGL, so a software renderer without a display suffices."""

from collections.abc import Iterator
from pathlib import Path

import moderngl
import pytest


@pytest.fixture(scope="session")
def ctx() -> Iterator[moderngl.Context]:
    context = moderngl.create_context(require=330, standalone=True, backend="egl")  # pyright: ignore[reportArgumentType]
    yield context
    context.release()


@pytest.fixture(autouse=True)
def _current(request: pytest.FixtureRequest) -> None:
    """A window test may have made its own context current meanwhile."""
    if "ctx" in request.fixturenames:
        request.getfixturevalue("ctx").__enter__()


@pytest.fixture(scope="session")
def shaders() -> Path:
    return Path(__file__).resolve().parents[2] / "shaders"
