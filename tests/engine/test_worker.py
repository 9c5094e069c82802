"""The engine's loop: newest state in, finite pictures out, an exit code when it is broken."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from installation.engine import worker
from installation.engine.board import Board, Phase
from installation.errors import ModelError


class Drawer:
    """A renderer that paints the state's value; `act` may raise, or say that the picture is not finite."""

    def __init__(self, act: Callable[[Any], bool] = lambda _: True) -> None:
        self.act, self.seen = act, []

    def render(self, state: Any, out: np.ndarray, /) -> bool:
        self.seen.append(state)
        out[:] = state["value"]
        return self.act(state)


def decode(payload: bytes) -> tuple[float, Any]:
    state = json.loads(payload)
    return state["time_s"], state


def state(value: int, time_s: float = 0.0) -> bytes:
    return json.dumps({"value": value, "time_s": time_s}).encode()


class Engine:
    """The loop in a thread, with what it said and its exit code."""

    def __init__(self, board: Board, make: Callable[[], Any]) -> None:
        self.stop, self.alive, self.said = threading.Event(), True, []
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run, args=(board, make), daemon=True)
        self._thread.start()

    def _run(self, board: Board, make: Callable[[], Any]) -> None:
        self.code = worker.run(
            board,
            make,
            decode=decode,
            parent_alive=lambda: self.alive,
            stop=self.stop,
            report=lambda key, text: self.said.append((key, text)),
        )

    def join(self) -> int | None:
        self._thread.join(10.0)
        assert not self._thread.is_alive()
        return self.code


@pytest.fixture
def shared(board: Board) -> Board:
    """The same board as the wall sees it."""
    return Board.open(board.path)


def test_a_state_becomes_a_picture_with_its_show_time(board: Board, shared: Board, until: Callable[..., None]) -> None:
    engine = Engine(board, Drawer)
    shared.write_state(1, state(42, 3.25))
    until(lambda: shared.newest() == 1)
    view = shared.frame(1)
    assert view is not None
    assert view.stamp == 3.25
    assert (view.pixels == 42).all()
    engine.stop.set()
    assert engine.join() == 0


def test_one_state_gives_one_picture_and_a_slow_engine_skips_to_the_newest(
    board: Board, shared: Board, until: Callable[..., None]
) -> None:
    gate = threading.Event()
    drawer = Drawer(lambda _: gate.wait(5.0))
    engine = Engine(board, lambda: drawer)
    shared.write_state(1, state(1))
    until(lambda: drawer.seen)
    for tick in (2, 3, 4):
        shared.write_state(tick, state(tick))
    gate.set()
    until(lambda: shared.newest() == 2)
    time.sleep(0.05)  # time enough for pictures that must not come
    assert [seen["value"] for seen in drawer.seen] == [1, 4]
    engine.stop.set()
    assert engine.join() == 0


def test_it_goes_on_when_the_wall_starts_its_ticks_anew(
    board: Board, shared: Board, until: Callable[..., None]
) -> None:
    engine = Engine(board, Drawer)
    shared.write_state(500, state(1))
    until(lambda: shared.newest() == 1)
    shared.write_state(0, state(2))
    until(lambda: shared.newest() == 2)
    engine.stop.set()
    assert engine.join() == 0


def test_it_ends_when_its_supervisor_is_gone(board: Board) -> None:
    engine = Engine(board, Drawer)
    engine.alive = False
    assert engine.join() == 0


def test_it_loads_until_the_first_picture_and_beats_while_idle(
    board: Board, shared: Board, until: Callable[..., None]
) -> None:
    engine = Engine(board, Drawer)
    until(lambda: shared.pulse("engine").count > 2)
    assert shared.pulse("engine").phase is Phase.LOADING
    shared.write_state(1, state(1))
    until(lambda: shared.pulse("engine").phase is Phase.RUNNING)
    count = shared.pulse("engine").count
    until(lambda: shared.pulse("engine").count > count + 1)
    engine.stop.set()
    assert engine.join() == 0


def test_a_picture_that_is_not_finite_is_never_published(
    board: Board, shared: Board, until: Callable[..., None]
) -> None:
    drawer = Drawer(lambda seen: seen["value"] != 2)
    engine = Engine(board, lambda: drawer)
    for tick, value in enumerate([1, 2, 3]):
        shared.write_state(tick, state(value, tick))
        until(lambda tick=tick: len(drawer.seen) == tick + 1)
    until(lambda: shared.newest() == 2)
    shown = [view.stamp for k in (1, 2) if (view := shared.frame(k))]
    assert shown == [0.0, 2.0]
    assert engine.said == [("bad picture", "a picture was not finite and is not shown")]
    engine.stop.set()
    assert engine.join() == 0


def feed(board: Board, engine: Engine, until: Callable[..., None]) -> int | None:
    """New states until the loop ends by itself."""
    ticks = iter(range(1, 1_000_000))

    def ended() -> bool:
        board.write_state(next(ticks), state(1))
        return engine.code is not None

    until(ended)
    return engine.join()


def test_ten_bad_pictures_in_a_row_end_the_process_with_code_4(
    board: Board, shared: Board, until: Callable[..., None]
) -> None:
    drawer = Drawer(lambda _: False)
    engine = Engine(board, lambda: drawer)
    assert feed(shared, engine, until) == 4
    assert len(drawer.seen) == 10
    assert shared.newest() == 0


def test_a_renderer_that_raises_holds_the_picture_and_then_ends_with_code_4(
    board: Board, shared: Board, until: Callable[..., None]
) -> None:
    def fail(_: Any) -> bool:
        raise ValueError("odd size")

    engine = Engine(board, lambda: Drawer(fail))
    assert feed(shared, engine, until) == 4
    assert engine.said[0] == ("bad picture", "a picture could not be made: ValueError: odd size")


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried 400 bytes"
        ),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        MemoryError(),
    ],
)
def test_a_fault_of_the_device_ends_the_process_at_once(
    board: Board, shared: Board, until: Callable[..., None], error: Exception
) -> None:
    def fail(_: Any) -> bool:
        raise error

    drawer = Drawer(fail)
    engine = Engine(board, lambda: drawer)
    assert feed(shared, engine, until) == 4
    assert len(drawer.seen) == 1
    assert engine.said[0][0] == "device"


def test_a_device_fault_while_loading_is_code_4_too(board: Board) -> None:
    def make() -> Drawer:
        raise RuntimeError("CUDA error: no CUDA-capable device is detected")

    assert Engine(board, make).join() == 4


def test_an_error_for_the_user_passes_through(board: Board) -> None:
    def make() -> Drawer:
        raise ModelError("no network 'x'")

    with pytest.raises(ModelError):
        worker.run(
            board, make, decode=decode, parent_alive=lambda: True, stop=threading.Event(), report=lambda *_: None
        )


def test_plain_errors_are_no_device_faults() -> None:
    assert not worker.is_device_fault(ValueError("CUDA error in name only"))
    assert not worker.is_device_fault(RuntimeError("shapes do not fit"))


def test_figures_reach_the_board_and_a_slow_engine_says_how_slow(
    board: Board, shared: Board, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STATUS_S", 0.05)
    engine = Engine(board, lambda: Drawer(lambda _: not time.sleep(0.02)))
    ticks = iter(range(1, 1_000_000))

    def figures() -> bool:
        shared.write_state(next(ticks), state(1))
        return "fps" in shared.status("engine")

    until(figures)
    assert shared.pulse("engine").expect_s >= 4 * 0.02
    engine.stop.set()
    assert engine.join() == 0


def test_engine_and_service_load_nothing_heavy() -> None:
    code = (
        "import sys, installation.engine.worker, installation.service.supervisor\n"
        "print([m for m in ('torch', 'moderngl', 'glfw', 'pydantic', 'PIL', 'imageio') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
