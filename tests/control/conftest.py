"""What the tests of the control room share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from installation.control.osc import OscSource
from installation.show.params import ParamTable, parameter_table


@pytest.fixture
def table() -> ParamTable:
    return parameter_table(("neutral", "ember"))


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for a condition with a generous deadline; gives what the condition gave."""

    def wait(condition: Callable[[], Any], deadline_s: float = 60.0) -> Any:
        end = time.monotonic() + deadline_s
        while not (result := condition()):
            assert time.monotonic() < end, "the condition did not come true in time"
            time.sleep(0.002)
        return result

    return wait


@pytest.fixture
def osc(table: ParamTable) -> Iterator[Callable[..., OscSource]]:
    """Opens OSC sources on free ports and closes them."""
    opened: list[OscSource] = []

    def open_source(**options: Any) -> OscSource:
        source = OscSource(table, **{"port": 0, "version": "1.2.3", **options})
        opened.append(source)
        return source

    yield open_source
    for source in opened:
        source.close()
