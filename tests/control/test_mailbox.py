"""The merging queue: newest value, order across triggers, bounds."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from installation.control.mailbox import Mailbox
from installation.show.messages import ControlMessage
from installation.show.params import ParamTable, parameter_table


def speed(value: float) -> ControlMessage:
    return ControlMessage("drift/speed", value)


def psi(value: float) -> ControlMessage:
    return ControlMessage("latent/psi", value)


NEXT = ControlMessage("walk/next", None)


def test_a_faders_values_merge_to_the_newest(table: ParamTable) -> None:
    box = Mailbox(table)
    box.put(speed(i / 1000) for i in range(1000))
    assert box.drain() == [speed(0.999)]
    assert box.drain() == []


def test_two_faders_merge_each(table: ParamTable) -> None:
    box = Mailbox(table)
    box.put([speed(1.0), psi(0.1), speed(2.0), psi(0.2)])
    assert box.drain() == [speed(2.0), psi(0.2)]


def test_values_never_merge_across_a_trigger(table: ParamTable) -> None:
    box = Mailbox(table)
    messages = [speed(1.0), NEXT, speed(2.0), ControlMessage("drift/pause", True), speed(3.0)]
    box.put(messages)
    assert box.drain() == messages


def test_triggers_are_all_kept(table: ParamTable) -> None:
    box = Mailbox(table)
    box.put([NEXT] * 5)
    assert box.drain() == [NEXT] * 5


def test_a_drained_box_does_not_merge_into_what_it_gave(table: ParamTable) -> None:
    box = Mailbox(table)
    box.put([speed(1.0)])
    given_out = box.drain()
    box.put([speed(2.0)])
    assert given_out == [speed(1.0)]
    assert box.drain() == [speed(2.0)]


def test_overflow_keeps_the_newest_of_each_and_counts(table: ParamTable) -> None:
    box = Mailbox(table, capacity=100)
    for i in range(10_000):
        box.put([NEXT, speed(i / 10_000)])
        assert len(box) <= 100
    box.put([ControlMessage("look/blackout", True)])
    items = box.drain()
    assert items[-1] == ControlMessage("look/blackout", True)
    assert [item for item in items if item.name == "drift/speed"][-1] == speed(0.9999)
    assert box.folded == 20_001 - len(items)


names = st.sampled_from([row.name for row in parameter_table()])


@given(st.lists(st.tuples(names, st.integers(0, 9)), max_size=60))
def test_the_last_value_of_each_name_and_all_triggers_survive(pairs: list[tuple[str, int]]) -> None:
    table = parameter_table()
    box = Mailbox(table)
    messages = [ControlMessage(name, value) for name, value in pairs]
    box.put(messages)
    drained = box.drain()
    triggers = [message for message in messages if not table[message.name].continuous]
    assert [message for message in drained if not table[message.name].continuous] == triggers
    assert {message.name: message.value for message in drained} == {m.name: m.value for m in messages}


def test_nothing_is_lost_between_threads(table: ParamTable) -> None:
    box = Mailbox(table, capacity=1_000_000)
    count, writers = 5000, 4
    threads = [threading.Thread(target=lambda: [box.put((NEXT,)) for _ in range(count)]) for _ in range(writers)]
    for thread in threads:
        thread.start()
    got = 0
    while any(thread.is_alive() for thread in threads):
        got += len(box.drain())
    for thread in threads:
        thread.join()
    assert got + len(box.drain()) == count * writers
