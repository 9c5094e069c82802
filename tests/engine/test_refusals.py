"""A model that the engine refused is taken back in the state, once, and only while it is the one chosen."""

from __future__ import annotations

from installation.engine.board import Board
from installation.engine.refusals import Refusals
from installation.show.messages import ControlMessage


def test_a_refused_model_is_taken_back_once(board: Board) -> None:
    source = Refusals(board)
    source.publish({"model/select": "people"})
    assert source.poll() == []
    board.put_model("faces", None)
    assert source.poll() == []
    board.put_model("faces", ("people", 12.5))
    assert source.poll() == [ControlMessage("model/select", "faces", 0.0, "engine people 12.5")]
    assert source.poll() == []
    source.publish({"model/select": "people"})
    board.put_model("faces", ("people", 30.0))
    assert [message.value for message in source.poll()] == ["faces"]
    assert source.counters() == {"refused": 2}


def test_who_chose_another_meanwhile_has_it_and_the_take_knows(board: Board) -> None:
    source = Refusals(board)
    source.publish({"model/select": "hills"})
    board.put_model("faces", ("people", 12.5))
    assert source.poll() == [ControlMessage("model/select", None, None, "engine people 12.5")]
    assert source.poll() == []


def test_a_wall_that_is_started_again_does_not_hear_what_was_refused_before(board: Board) -> None:
    board.put_model("faces", ("people", 12.5))
    source = Refusals(board)
    source.publish({"model/select": "people"})
    assert source.poll() == []


def test_a_name_that_is_too_long_for_the_board_is_left_out(board: Board) -> None:
    board.put_model("faces", None)
    board.put_model("x" * 600, None)
    assert board.model() == ("faces", None)
